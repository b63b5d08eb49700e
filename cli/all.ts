/** Every command, once. */
import type { Command } from './command.ts'
import { doctor } from './doctor.ts'
import { importCommand } from './import.ts'
import { parse } from './parse.ts'
import { rejects } from './rejects.ts'
import { up } from './up.ts'

export const commands: readonly Command[] = [up, importCommand, parse, rejects, doctor]
