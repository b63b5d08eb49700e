/**
 * The stable names for SQL users: `v_*` show what counts, once, with ids as hex, addresses as text and NULL where
 * nothing was said. A view switches to another generation as a whole.
 */
import type { Generation } from '../topics/generation.ts'
import { verdictNames } from '../topics/verdicts.ts'
import {
  shownFailures,
  shownMail,
  type Tables,
  unresolvedRejects,
  winningDmarcRecords,
  winningDmarcReports,
  winningTlsFailures,
  winningTlsPolicies,
} from './winners.ts'

const hex = (column: string) => `lower(hex(${column})) AS ${column}`
const said = (column: string) => `nullIf(${column}, '') AS ${column}`
/** An IPv4 address is stored as ::ffff:a.b.c.d and shown without. */
export const addressText = (ip: string, text: string) =>
  `if(${text} != '', ${text}, replaceRegexpOne(toString(${ip}), '^::ffff:([0-9.]+)$', '\\\\1'))`
const address = addressText('source_ip', 'source_text')

const warnings = ['warning_code', 'warning_detail']
const authentication = ['authentication', 'authentication_reason', said('authentication_domain')]

const dmarcRecordColumns = [
  'policy_domain',
  'day',
  hex('report_key'),
  hex('variant'),
  'record_index',
  'org',
  `${address} AS source_ip`,
  'count',
  'messages',
  said('disposition'),
  said('dkim'),
  said('spf'),
  'dkim_aligned',
  'spf_aligned',
  said('header_from'),
  said('envelope_from'),
  said('envelope_to'),
  'reason_type',
  'reason_comment',
  'dkim_domain',
  'dkim_selector',
  'dkim_result',
  'dkim_human_result',
  'spf_domain',
  'spf_scope',
  'spf_result',
  'observed',
  said('ptr'),
  'ptr_names',
  'nullIf(asn, 0) AS asn',
  ...['as_name', 'country', 'sender', 'verdict', 'rule', 'excluded'].map(said),
]

const dmarcReportColumns = [
  'policy_domain',
  'day',
  hex('report_key'),
  hex('variant'),
  'received_at',
  hex('mail_id'),
  'part',
  'org',
  said('org_name'),
  said('email'),
  said('extra_contact_info'),
  'report_id',
  "fromUnixTimestamp64Second(begin, 'UTC') AS begin",
  "fromUnixTimestamp64Second(end, 'UTC') AS end",
  'span_days',
  'implausible_period',
  said('version'),
  said('generator'),
  'errors',
  ...['adkim', 'aspf', 'p', 'sp', 'np'].map(said),
  'pct',
  ...['fo', 'testing', 'discovery_method'].map(said),
  'records',
  'messages',
  'passed',
  'full_pass',
  'dkim_only',
  'spf_only',
  'failed',
  'none',
  'quarantine',
  'reject',
  ...verdictNames,
  ...warnings,
  'parser_version',
  ...authentication,
]

const tlsPolicyColumns = [
  'policy_domain',
  'day',
  hex('report_key'),
  hex('variant'),
  'policy_index',
  'org',
  said('type'),
  'host_level',
  'policy_string',
  'mx_host',
  'successful',
  'failed',
]

const tlsFailureColumns = [
  'policy_domain',
  'day',
  hex('report_key'),
  hex('variant'),
  'policy_index',
  'detail_index',
  'org',
  ...['result_type', 'sending_mta_ip', 'receiving_mx_hostname', 'receiving_mx_helo', 'receiving_ip'].map(said),
  'count',
  ...['additional_information', 'reason_code'].map(said),
]

const failureColumns = [
  said('reported_domain'),
  'day',
  hex('failure_id'),
  'received_at',
  hex('mail_id'),
  'part',
  said('feedback_type'),
  'auth_failure',
  ...['source_ip', 'original_mail_from', 'original_rcpt_to', 'arrival', 'delivery_result'].map(said),
  ...['identity_alignment', 'user_agent'].map(said),
  'incidents',
  ...['dkim_domain', 'dkim_selector', 'spf_dns', 'subject', 'message_id', 'from'].map(said),
  ...warnings,
  'parser_version',
  ...authentication,
]

const rejectColumns = [
  hex('mail_id'),
  'part',
  'code',
  'received_at',
  'stage',
  'detail',
  'deterministic',
  'size',
  'parser_version',
]

const mailColumns = [
  hex('mail_id'),
  'received_at',
  said('received_from'),
  'kind',
  'rejected',
  ...['source', 'envelope_from', 'envelope_to', 'from', 'to', 'subject', 'date', 'message_id'].map(said),
  'size',
  'found_kind',
  'found_part',
  'arrayMap(key -> lower(hex(key)), found_key) AS found_key',
  ...warnings,
  'parser_version',
  ...authentication,
]

const RECORD = 'policy_domain, day, report_key, variant, record_index'

/** Records that count, with what the rules say of them. Both tables are read in order: whole years fit in memory. */
function judgedRecords(tables: Tables): string {
  return `SELECT * FROM (SELECT * FROM ${winningDmarcRecords(tables, '1')}) AS r
    ANY LEFT JOIN (SELECT ${RECORD}, sender, verdict, rule, excluded FROM ${tables.record_verdicts} FINAL) AS v
      USING (${RECORD}) SETTINGS join_algorithm = 'full_sorting_merge'`
}

/** Reports that count, with their messages by verdict: NULL until all their records are judged. */
function reportsWithVerdicts(tables: Tables): string {
  const sums = verdictNames.map((verdict) => `if(r.records = v.judged, v.${verdict}, NULL) AS ${verdict}`).join(', ')
  const judged = verdictNames.map((verdict) => `sum(${verdict}) AS ${verdict}`).join(', ')
  return `SELECT r.*, ${sums} FROM (${winningDmarcReports(tables, '1', ['*'])}) AS r
    LEFT JOIN (SELECT policy_domain, day, report_key, variant, sum(records) AS judged, ${judged}
      FROM ${tables.report_verdicts} FINAL GROUP BY policy_domain, day, report_key, variant) AS v
      USING (policy_domain, day, report_key, variant)`
}

export interface View {
  readonly name: string
  /** The SELECT behind it. */
  readonly sql: string
}

/** The views of a generation. */
export function viewsOf(generation: Generation): readonly View[] {
  const { tables, name } = generation
  const view = (viewName: string, columns: readonly string[], from: string): View => ({
    name: viewName,
    // Names such as `report_key` mean the stored column below and the shown one outside.
    sql: `SELECT '${name}' AS generation, ${columns.join(', ')} FROM (${from})`,
  })
  const all = (from: string) => `SELECT * FROM ${from}`
  return [
    view('v_dmarc_records', dmarcRecordColumns, judgedRecords(tables)),
    view('v_dmarc_reports', dmarcReportColumns, reportsWithVerdicts(tables)),
    view('v_tls_policies', tlsPolicyColumns, all(winningTlsPolicies(tables, '1'))),
    view('v_tls_failures', tlsFailureColumns, all(winningTlsFailures(tables, '1'))),
    view('v_failure_reports', failureColumns, shownFailures(tables, '1')),
    view('v_rejects', rejectColumns, unresolvedRejects(tables, '1')),
    view('v_mail', mailColumns, shownMail(tables, '1')),
  ]
}
