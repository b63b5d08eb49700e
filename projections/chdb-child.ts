/** Starts `chdb-server.ts` as a child process: for the embedded store, which supervises it, and for `mailtrail store`. */
import { type ChildProcess, spawn } from 'node:child_process'
import { extname } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { ServerSettings } from './chdb-server.ts'

/** What a child may take, in bytes, when nothing else is said. */
export const DEFAULT_MEMORY_BYTES = 600_000_000
const START_MILLISECONDS = 60_000

/** A child that serves; one that would not (the folder, the address) and ended; one that ended without a word. */
export type ChdbStart =
  | {
      readonly kind: 'serving'
      readonly child: ChildProcess
      readonly port: number
      /** Resolves when it is gone. */
      readonly ended: Promise<void>
      /** The end of what it wrote to standard error. */
      readonly lastWords: () => string
    }
  | { readonly kind: 'refused'; readonly reason: string }
  | { readonly kind: 'died'; readonly reason: string }

/** Starts one child and waits until it serves, refuses or dies. It ends when its stdin is closed. */
export async function startChdb(settings: ServerSettings): Promise<ChdbStart> {
  const program = fileURLToPath(new URL(`./chdb-server${extname(import.meta.url)}`, import.meta.url))
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', program], {
    stdio: ['pipe', 'pipe', 'pipe'],
    // Each running statement holds a thread of the pool (see chdb-engine.ts).
    env: { PATH: '', TZ: 'UTC', HOME: settings.tmp, UV_THREADPOOL_SIZE: '16' },
  })
  let lastWords = ''
  child.stderr.on('data', (piece: Buffer) => {
    lastWords = (lastWords + piece.toString()).slice(-2000)
  })
  // A child that died takes no more settings; its end says so.
  child.stdin.on('error', () => {})
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()))
  child.stdin.write(`${JSON.stringify(settings)}\n`)
  const lines = createInterface({ input: child.stdout })
  const line = await Promise.race([
    new Promise<string>((resolve) => lines.once('line', resolve)),
    ended.then(() => null),
    sleep(START_MILLISECONDS, null, { ref: false }),
  ])
  if (line === null) {
    child.kill('SIGKILL')
    const reason = lastWords.trim() === '' ? `signal ${child.signalCode}, code ${child.exitCode}` : lastWords.trim()
    return { kind: 'died', reason }
  }
  const answer = JSON.parse(line) as { port: number } | { error: string }
  if ('error' in answer) {
    await ended
    // chDB throws a general sentence and prints the engine's own, which says whether the folder is locked or damaged.
    return { kind: 'refused', reason: lastWords.trim() === '' ? answer.error : lastWords.trim() }
  }
  return { kind: 'serving', child, port: answer.port, ended, lastWords: () => lastWords.trim() }
}

export const isLocked = (reason: string) => /Cannot lock file|another server instance|already locked/i.test(reason)
/** Faults of the machine, not of what the folder holds. */
export const isNotOurs = (reason: string) =>
  /EACCES|EPERM|ENOSPC|EROFS|Permission denied|No space left|Read-only file/i.test(reason)
