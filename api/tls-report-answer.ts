/** What answers say of a TLS report. */
import Type, { type Static } from 'typebox'
import { type AuthenticatedRow, authenticationFacts, authenticationOf } from './authentication-answer.ts'
import { isoSeconds, said, type Warned, warningsOf } from './said.ts'
import { count, day, hexId, instant, text, warning } from './schemas.ts'

export const tlsReportFacts = {
  id: hexId('of the report: the same however often it arrives'),
  day: day('UTC day of the middle of the period'),
  org: Type.String({ description: 'submitter, lower case' }),
  org_name: text(),
  contact: text(),
  report_id: Type.String({ description: 'as the submitter names it' }),
  begin: instant(),
  end: instant(),
  span_days: count('length of the period'),
  implausible_period: Type.Boolean(),
  domains: Type.Array(Type.String(), { description: 'policy domains' }),
  successful: count('sessions, over all policies'),
  failed: count('sessions, over all policies'),
  received_at: instant(),
  mail_id: hexId('of /mail/{id}'),
  part: Type.String({ description: 'where in the mail' }),
  warnings: Type.Array(warning),
  parser_version: Type.String(),
  ...authenticationFacts,
}
const facts = Type.Object(tlsReportFacts)

export interface TlsReportRow extends Warned, AuthenticatedRow {
  readonly key: string
  readonly mail: string
  readonly day: string
  readonly org: string
  readonly org_name: string
  readonly contact: string
  readonly report_id: string
  readonly begin: number
  readonly end: number
  readonly span_days: number
  readonly implausible_period: boolean
  readonly domains: string[]
  readonly successful: number
  readonly failed: number
  readonly received_at: string
  readonly part: string
  readonly parser_version: string
}

export function tlsReportFactsOf(row: TlsReportRow): Static<typeof facts> {
  return {
    id: row.key,
    day: row.day,
    org: row.org,
    org_name: said(row.org_name),
    contact: said(row.contact),
    report_id: row.report_id,
    begin: isoSeconds(row.begin),
    end: isoSeconds(row.end),
    span_days: row.span_days,
    implausible_period: row.implausible_period,
    domains: row.domains,
    successful: row.successful,
    failed: row.failed,
    received_at: row.received_at,
    mail_id: row.mail,
    part: row.part,
    warnings: warningsOf(row),
    parser_version: row.parser_version,
    ...authenticationOf(row),
  }
}
