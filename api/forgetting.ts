/** What the API asks of whoever erases mails. Its implementation is chosen at the composition root. */

export interface ForgetRequest {
  /** Mails from or to it, and mails with failure reports that name it. Null when mails are named. */
  readonly address: string | null
  readonly mailIds: readonly string[]
  /** Look for the address in the bytes of every mail on the log, too. */
  readonly scan: boolean
}

/** Where the address was found: a field of the mail, of a failure report in it, or its bytes. */
export type Place = 'from' | 'to' | 'envelope_from' | 'envelope_to' | 'failure_report' | 'bytes' | 'mail_id'

export interface FoundMail {
  readonly id: string
  readonly found_in: readonly Place[]
  /** Null where no table knows the mail (any more). */
  readonly received_at: string | null
  readonly kind: string | null
  readonly subject: string | null
  /** Reports in it, which stay counted; failure reports and rejects, which go. */
  readonly reports: number
  readonly failure_reports: number
  readonly rejects: number
}

export interface ErasureStatus {
  readonly erasure: number
  /**
   * `erasing`: under way, also across restarts. `erased`: gone from log, blobs and tables. `unreadable`: nothing reads it
   * any more, but the log cannot take single events out and holds it until its retention does.
   */
  readonly state: 'erasing' | 'erased' | 'unreadable'
  readonly mails: number
  readonly block: boolean
  readonly begun_at: string
  readonly finished_at: string | null
  /** When the log has removed the raw mails at the latest; null when they are gone, or when it never does. */
  readonly raw_until: string | null
  /** Whether the log keeps the raw mails for ever: then the erasure is never done. */
  readonly raw_for_ever: boolean
  /** The generation that is being built without them, where the log cannot take single events out; else null. */
  readonly rebuilt_by: string | null
}

export interface Forgetting {
  /** Looks for the mails. Changes nothing. */
  find(request: ForgetRequest, signal: AbortSignal): Promise<readonly FoundMail[]>
  /** Begins to erase these mails; answers at once. `mailIds` must not be empty. */
  begin(
    mailIds: readonly string[],
    options: { readonly reason: string; readonly block: boolean },
  ): Promise<ErasureStatus>
  /** Null when there is no such erasure. */
  status(erasure: number): ErasureStatus | null
}
