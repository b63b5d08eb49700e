/** Every processor, once. */
import { type ParseMailOptions, parseMail } from './parse-mail.ts'
import type { Processor } from './processor.ts'

export interface ProcessorDependencies {
  readonly parseMail: ParseMailOptions
}

export const processors = (dependencies: ProcessorDependencies): readonly Processor[] => [
  parseMail(dependencies.parseMail),
]
