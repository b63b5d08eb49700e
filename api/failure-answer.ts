/** What answers say of a failure report. */
import Type, { type Static } from 'typebox'
import { type AuthenticatedRow, authenticationFacts, authenticationOf } from './authentication-answer.ts'
import { said, type Warned, warningsOf } from './said.ts'
import { count, day, hexId, instant, text, warning } from './schemas.ts'

export const failureFacts = {
  id: hexId(),
  day: day('UTC day of receipt'),
  received_at: instant(),
  mail_id: hexId('of /mail/{id}'),
  part: Type.String({ description: 'where in the mail' }),
  feedback_type: text(),
  auth_failure: Type.Array(Type.String()),
  source_ip: text(),
  reported_domain: text(),
  original_mail_from: text(),
  original_rcpt_to: text(),
  arrival: text('ISO 8601, UTC'),
  delivery_result: text(),
  identity_alignment: text('as stated; its meaning changed between RFC 7489 and RFC 9991'),
  user_agent: text(),
  incidents: count(),
  dkim_domain: text(),
  dkim_selector: text(),
  spf_dns: text(),
  subject: text(),
  message_id: text(),
  from: text(),
  warnings: Type.Array(warning),
  parser_version: Type.String(),
  ...authenticationFacts,
}
const facts = Type.Object(failureFacts)

/** Columns of a statement over failure reports, for `failureFactsOf`. */
export const failureColumns =
  '* EXCEPT (failure_id, mail_id), lower(hex(failure_id)) AS id, lower(hex(mail_id)) AS mail'

export interface FailureRow extends Warned, AuthenticatedRow {
  readonly id: string
  readonly mail: string
  readonly day: string
  readonly received_at: string
  readonly part: string
  readonly feedback_type: string
  readonly auth_failure: string[]
  readonly source_ip: string
  readonly reported_domain: string
  readonly original_mail_from: string
  readonly original_rcpt_to: string
  readonly arrival: string
  readonly delivery_result: string
  readonly identity_alignment: string
  readonly user_agent: string
  readonly incidents: number
  readonly dkim_domain: string
  readonly dkim_selector: string
  readonly spf_dns: string
  readonly subject: string
  readonly message_id: string
  readonly from: string
  readonly parser_version: string
}

export function failureFactsOf(row: FailureRow): Static<typeof facts> {
  return {
    id: row.id,
    day: row.day,
    received_at: row.received_at,
    mail_id: row.mail,
    part: row.part,
    feedback_type: said(row.feedback_type),
    auth_failure: row.auth_failure,
    source_ip: said(row.source_ip),
    reported_domain: said(row.reported_domain),
    original_mail_from: said(row.original_mail_from),
    original_rcpt_to: said(row.original_rcpt_to),
    arrival: said(row.arrival),
    delivery_result: said(row.delivery_result),
    identity_alignment: said(row.identity_alignment),
    user_agent: said(row.user_agent),
    incidents: row.incidents,
    dkim_domain: said(row.dkim_domain),
    dkim_selector: said(row.dkim_selector),
    spf_dns: said(row.spf_dns),
    subject: said(row.subject),
    message_id: said(row.message_id),
    from: said(row.from),
    warnings: warningsOf(row),
    parser_version: row.parser_version,
    ...authenticationOf(row),
  }
}
