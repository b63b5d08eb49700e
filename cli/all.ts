/** Every command, once. */
import type { Command } from './command.ts'
import { doctor } from './doctor.ts'
import { exportCommand } from './export.ts'
import { forget } from './forget.ts'
import { importCommand } from './import.ts'
import { parse } from './parse.ts'
import { reObserve } from './re-observe.ts'
import { rejects } from './rejects.ts'
import { replay } from './replay.ts'
import { rules } from './rules.ts'
import { schemas } from './schemas.ts'
import { store } from './store.ts'
import { triage } from './triage.ts'
import { up } from './up.ts'

export const commands: readonly Command[] = [
  up,
  importCommand,
  exportCommand,
  parse,
  rejects,
  rules,
  replay,
  triage,
  reObserve,
  forget,
  schemas,
  store,
  doctor,
]
