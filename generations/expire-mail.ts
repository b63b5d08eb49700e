/** Rows of mail and failure reports go when the log's `private` does, so that no answer outlives what it was read from. */
import { deleteReceivedBefore } from '../projections/erase.ts'
import type { Store } from '../projections/store.ts'
import type { ControlState } from '../topics/control-state.ts'

const MINUTE = 60_000
const DAY = 24 * 60 * MINUTE
/** A table is rewritten whenever something goes, so that happens once a day, or so many times in a shorter retention. */
const TIMES_IN_A_RETENTION = 20

/** Mail received before this instant is to go; milliseconds. It stays at the same for a day, or a twentieth of the retention. */
export function expiryOf(now: number, retention: number): number {
  const step = Math.min(DAY, Math.max(MINUTE, Math.floor(retention / TIMES_IN_A_RETENTION)))
  return Math.floor((now - retention) / step) * step
}

/** Removes rows by their `received_at`, of all kept generations. Returns how many. */
export function expireMail(store: Store, control: ControlState, retention: number, now: number): Promise<number> {
  const kept = control.kept().map(({ generation }) => generation)
  return deleteReceivedBefore(store, kept, expiryOf(now, retention))
}
