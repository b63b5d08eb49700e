/** What answers say of a mail. */
import Type, { type Static } from 'typebox'
import { type AuthenticatedRow, authenticationFacts, authenticationOf } from './authentication-answer.ts'
import { said, type Warned, warningsOf } from './said.ts'
import { closed, count, day, hexId, instant, text, warning } from './schemas.ts'

export const mailKinds = ['dmarc', 'tls', 'failure', 'other', 'rejected'] as const

export const mailFacts = {
  id: hexId('SHA-256 of the bytes'),
  day: day('UTC day of receipt'),
  received_at: instant(),
  received_from: text('what that time was taken from: received, mbox, maildir, import, http; null = the log'),
  kind: Type.String({ description: `${mailKinds.join(', ')}; of several the first of these` }),
  source: text('where it came from'),
  envelope_from: text(),
  envelope_to: text(),
  from: text(),
  to: text(),
  subject: text(),
  date: text('ISO 8601, UTC'),
  message_id: text(),
  size: count('bytes'),
  found: Type.Array(
    closed({
      kind: Type.String({ description: 'dmarc, tls, failure' }),
      part: Type.String({ description: 'where in the mail' }),
      id: hexId('of the report'),
    }),
  ),
  rejected: count('parts that could not be read'),
  warnings: Type.Array(warning),
  parser_version: Type.String(),
  ...authenticationFacts,
}
const facts = Type.Object(mailFacts)

/** Columns of a statement over mails, for `mailFactsOf`. */
export const mailColumns = `* EXCEPT (mail_id, found_key), lower(hex(mail_id)) AS id,
  arrayMap(key -> lower(hex(key)), found_key) AS found_id, toDate(received_at) AS day`

export interface MailRow extends Warned, AuthenticatedRow {
  readonly id: string
  readonly day: string
  readonly received_at: string
  readonly received_from: string
  readonly kind: string
  readonly source: string
  readonly envelope_from: string
  readonly envelope_to: string
  readonly from: string
  readonly to: string
  readonly subject: string
  readonly date: string
  readonly message_id: string
  readonly size: number
  readonly found_kind: readonly string[]
  readonly found_part: readonly string[]
  readonly found_id: readonly string[]
  readonly rejected: number
  readonly parser_version: string
  readonly ingest_partition: number
  readonly ingest_offset: number
}

export function mailFactsOf(row: MailRow): Static<typeof facts> {
  return {
    id: row.id,
    day: row.day,
    received_at: row.received_at,
    received_from: said(row.received_from),
    kind: row.kind,
    source: said(row.source),
    envelope_from: said(row.envelope_from),
    envelope_to: said(row.envelope_to),
    from: said(row.from),
    to: said(row.to),
    subject: said(row.subject),
    date: said(row.date),
    message_id: said(row.message_id),
    size: row.size,
    found: row.found_kind.map((kind, i) => ({ kind, part: row.found_part[i] ?? '', id: row.found_id[i] ?? '' })),
    rejected: row.rejected,
    warnings: warningsOf(row),
    parser_version: row.parser_version,
    ...authenticationOf(row),
  }
}
