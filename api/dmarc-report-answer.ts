/** What answers say of an aggregate report. */
import Type, { type Static } from 'typebox'
import { type AuthenticatedRow, authenticationFacts, authenticationOf } from './authentication-answer.ts'
import { isoSeconds, said, type Warned, warningsOf } from './said.ts'
import { closed, count, day, hexId, instant, messageSums, nullable, text, warning } from './schemas.ts'
import { messageColumns } from './sums.ts'

export const dmarcReportFacts = {
  id: hexId('of the report: the same however often it arrives'),
  domain: Type.String({ description: 'policy domain' }),
  day: day('UTC day of the middle of the period'),
  org: Type.String({ description: 'submitter, lower case' }),
  report: closed({
    org_name: text(),
    email: text(),
    extra_contact_info: text(),
    report_id: Type.String({ description: 'as the submitter names it' }),
    begin: instant(),
    end: instant(),
    version: text(),
    generator: text(),
    errors: Type.Array(Type.String()),
  }),
  policy: closed(
    {
      domain: Type.String(),
      adkim: text(),
      aspf: text(),
      p: text(),
      sp: text(),
      np: text(),
      pct: nullable(Type.Number()),
      fo: text(),
      testing: text(),
      discovery_method: text(),
    },
    'as the report states it',
  ),
  span_days: count('length of the period'),
  implausible_period: Type.Boolean(),
  records: count(),
  ...messageSums,
  received_at: instant(),
  mail_id: hexId('of /mail/{id}'),
  part: Type.String({ description: 'where in the mail' }),
  warnings: Type.Array(warning),
  parser_version: Type.String(),
  ...authenticationFacts,
}
const facts = Type.Object(dmarcReportFacts)

export interface DmarcReportRow extends Warned, AuthenticatedRow, Record<keyof typeof messageSums, number> {
  readonly key: string
  readonly mail: string
  readonly policy_domain: string
  readonly day: string
  readonly org: string
  readonly org_name: string
  readonly email: string
  readonly extra_contact_info: string
  readonly report_id: string
  readonly begin: number
  readonly end: number
  readonly version: string
  readonly generator: string
  readonly errors: string[]
  readonly adkim: string
  readonly aspf: string
  readonly p: string
  readonly sp: string
  readonly np: string
  readonly pct: number | null
  readonly fo: string
  readonly testing: string
  readonly discovery_method: string
  readonly span_days: number
  readonly implausible_period: boolean
  readonly records: number
  readonly received_at: string
  readonly part: string
  readonly parser_version: string
}

export function dmarcReportFactsOf(row: DmarcReportRow): Static<typeof facts> {
  const sums = Object.fromEntries(messageColumns.map((name) => [name, row[name]])) as Record<
    keyof typeof messageSums,
    number
  >
  return {
    id: row.key,
    domain: row.policy_domain,
    day: row.day,
    org: row.org,
    report: {
      org_name: said(row.org_name),
      email: said(row.email),
      extra_contact_info: said(row.extra_contact_info),
      report_id: row.report_id,
      begin: isoSeconds(row.begin),
      end: isoSeconds(row.end),
      version: said(row.version),
      generator: said(row.generator),
      errors: row.errors,
    },
    policy: {
      domain: row.policy_domain,
      adkim: said(row.adkim),
      aspf: said(row.aspf),
      p: said(row.p),
      sp: said(row.sp),
      np: said(row.np),
      pct: row.pct,
      fo: said(row.fo),
      testing: said(row.testing),
      discovery_method: said(row.discovery_method),
    },
    span_days: row.span_days,
    implausible_period: row.implausible_period,
    records: row.records,
    ...sums,
    received_at: row.received_at,
    mail_id: row.mail,
    part: row.part,
    warnings: warningsOf(row),
    parser_version: row.parser_version,
    ...authenticationOf(row),
  }
}
