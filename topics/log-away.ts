/** What to do when the log cannot do its work just now: wait and try again, since nothing is lost by it. */
import { setTimeout as sleep } from 'node:timers/promises'
import { LogFull, LogUnavailable } from './log.ts'

const PAUSE_MILLISECONDS = 1000

/** Why the log cannot take or give anything now, as a clause; null for faults that do not pass. */
export function logAway(error: unknown): string | null {
  if (error instanceof LogFull) return `the log is full (${error.message})`
  if (error instanceof LogUnavailable) return `the log does not answer (${error.message})`
  return null
}

/** Does the work until the log answers. Rejects with what else it fails with, and when the signal aborts. */
export async function untilLogAnswers<T>(
  work: () => Promise<T>,
  options: { readonly signal: AbortSignal; readonly onAway?: (reason: string) => void },
): Promise<T> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await work()
    } catch (error) {
      const reason = logAway(error)
      if (reason === null) throw error
      if (attempt === 0) options.onAway?.(reason)
    }
    await sleep(PAUSE_MILLISECONDS, undefined, { signal: options.signal })
  }
}
