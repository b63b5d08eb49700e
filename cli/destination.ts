/** Where imported mail goes, and what an import says at its end. */
import type { Delivered, IncomingMail } from './command.ts'

export interface ImportSummary {
  read: number
  new: number
  duplicates: number
  /** Null when nobody waited for the answer. */
  rejects: number | null
}

/** Where imported mail goes: a running server, or an instance in this process. */
export interface Destination {
  deliver(mails: readonly IncomingMail[]): Promise<readonly Delivered[]>
  /** Resolves when what was delivered is queryable; then says how many of the mails are rejected. */
  settle(delivered: readonly Delivered[]): Promise<number>
}
