/** Every processor, once, by the name of its stage. */
import { enrich } from './enrich.ts'
import { evaluate } from './evaluate.ts'
import { parseMail } from './parse-mail.ts'

export const processors = { 'parse-mail': parseMail, enrich, evaluate } as const
