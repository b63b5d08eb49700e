/**
 * Rows that count, as SQL. A condition is a text with `{name:Type}` placeholders, or `'1'`; it may use only columns that
 * all deliveries and variants of a report share (policy_domain, day, report_key, org, report_id, begin, end): what
 * differs between them must be asked of the winner, outside.
 *
 * A report's winner is its row with the smallest (received_at, variant); mail_id, part and parser_version only make
 * the choice between equal ones certain. The tables are sorted so that the winner is the first row of its report.
 */
import type { TableName } from '../topics/generation.ts'
import { verdictNames } from '../topics/verdicts.ts'

export type Tables = Readonly<Record<TableName, string>>

const DMARC_REPORT = 'policy_domain, day, report_key'
const TLS_REPORT = 'day, report_key'
const SHORT_KEY = 'reinterpretAsUInt64(report_key)'
const FIRST_DELIVERY = 'received_at, variant, mail_id, part, parser_version'

/** One row per DMARC report that matches: the columns named, of its winner. A subquery without brackets. */
export function winningDmarcReports(tables: Tables, condition: string, columns: readonly string[]): string {
  return `SELECT ${columns.join(', ')} FROM ${tables.dmarc_reports} WHERE ${condition}
    ORDER BY ${DMARC_REPORT}, ${FIRST_DELIVERY} LIMIT 1 BY ${DMARC_REPORT}`
}

/**
 * The same rows as `winningDmarcReports`, for conditions that many domains match: reports with one row, nearly all, need
 * no sorting (measured: 170 ms instead of 360 for 830,000 reports, but 28 instead of 14 for the reports of one domain).
 * Reports are told apart by 64 bits of their key; should two share them, both are only sorted with the others.
 */
export function winningDmarcReportsOfMany(tables: Tables, condition: string, columns: readonly string[]): string {
  const several = `SELECT ${SHORT_KEY} AS short_key FROM ${tables.dmarc_reports} WHERE ${condition}
    GROUP BY short_key HAVING count() > 1`
  return `SELECT ${columns.join(', ')} FROM ${tables.dmarc_reports}
    WHERE (${condition}) AND ${SHORT_KEY} NOT IN (${several})
    UNION ALL (${winningDmarcReports(tables, `(${condition}) AND ${SHORT_KEY} IN (${several})`, columns)})`
}

/** One row per TLS report that matches: the columns named, of its winner. */
export function winningTlsReports(tables: Tables, condition: string, columns: readonly string[]): string {
  return `SELECT ${columns.join(', ')} FROM ${tables.tls_reports} WHERE ${condition}
    ORDER BY ${TLS_REPORT}, ${FIRST_DELIVERY} LIMIT 1 BY ${TLS_REPORT}`
}

/**
 * What follows FROM: the records that count, each once. `reports` narrows the reports, `records` the records (and may
 * use any of their columns, for they are the same wherever a record arrives); the first goes to both.
 */
export function winningDmarcRecords(tables: Tables, reports: string, records = '1'): string {
  return `${tables.dmarc_records} FINAL WHERE (${reports}) AND (${records}) AND (report_key, variant) IN (
    ${winningDmarcReports(tables, reports, ['report_key', 'variant'])})`
}

/**
 * One row per report that counts and whose records are all judged: the columns named, of its winner, and the messages
 * by verdict. A report with no record is judged. `condition` may use only policy_domain, day and report_key.
 */
export function judgedDmarcReports(tables: Tables, condition: string, columns: readonly string[]): string {
  const sums = verdictNames.map((verdict) => `sum(${verdict}) AS ${verdict}`).join(', ')
  const wanted = [...new Set([...columns, 'report_key', 'variant', 'records'])]
  return `SELECT ${[...columns.map((name) => `w.${name} AS ${name}`), ...verdictNames.map((name) => `v.${name} AS ${name}`)].join(', ')}
    FROM (${winningDmarcReports(tables, condition, wanted)}) AS w
    LEFT JOIN (SELECT report_key, variant, sum(records) AS judged, ${sums} FROM ${tables.report_verdicts} FINAL
      WHERE ${condition} GROUP BY report_key, variant) AS v ON v.report_key = w.report_key AND v.variant = w.variant
    WHERE w.records = v.judged`
}

/** What follows FROM: the verdicts of the reports that count and are judged, each once. */
export function countedVerdicts(tables: Tables, condition: string): string {
  return `${tables.record_verdicts} FINAL WHERE (${condition}) AND (report_key, variant) IN (
    SELECT report_key, variant FROM (${judgedDmarcReports(tables, condition, ['report_key', 'variant'])}))`
}

/** What follows FROM: the policies of the TLS reports that count. `policies` may use any column of the policies. */
export function winningTlsPolicies(tables: Tables, reports: string, policies = '1'): string {
  return `${tables.tls_policies} FINAL WHERE (${policies}) AND (report_key, variant) IN (
    ${winningTlsReports(tables, reports, ['report_key', 'variant'])})`
}

/** What follows FROM: the failure details of the TLS reports that count. */
export function winningTlsFailures(tables: Tables, reports: string, failures = '1'): string {
  return `${tables.tls_failures} FINAL WHERE (${failures}) AND (report_key, variant) IN (
    ${winningTlsReports(tables, reports, ['report_key', 'variant'])})`
}

/** Of several readings of one mail the one that found most is shown; the rest makes the choice certain. */
const BEST_READING =
  'length(found_part) DESC, rejected ASC, parser_version DESC, kind ASC, received_at ASC, ingest_partition ASC, ingest_offset ASC'

/**
 * One row per mail that matches, under the earliest of its `received_at`. `condition` may use only `mail_id`. Columns:
 * all of the table; `received_at` is the earliest.
 */
export function shownMail(tables: Tables, condition: string): string {
  return `SELECT shown.* EXCEPT (received_at), earliest.received_at AS received_at FROM (
      SELECT * FROM ${tables.mail} WHERE ${condition} ORDER BY mail_id, ${BEST_READING} LIMIT 1 BY mail_id
    ) AS shown INNER JOIN (
      SELECT mail_id, min(received_at) AS received_at FROM ${tables.mail} WHERE ${condition} GROUP BY mail_id
    ) AS earliest USING (mail_id)`
}

/** One row per failure report: that of its earliest delivery, as the newest reader read it. */
export function shownFailures(tables: Tables, condition: string): string {
  return `SELECT * FROM ${tables.failure_reports} WHERE ${condition}
    ORDER BY reported_domain, failure_id, received_at, parser_version DESC LIMIT 1 BY failure_id`
}

/**
 * One row per reject (mail, part, code) that still stands, as it came first. It is resolved when some reading of the
 * same mail rejected nothing, or found its part; a mail that was rejected as a whole (part '') when a reading made
 * anything of it. `condition` may use any column.
 */
export function unresolvedRejects(tables: Tables, condition: string): string {
  const mails = `SELECT mail_id FROM ${tables.rejects} WHERE ${condition}`
  return `SELECT * FROM ${tables.rejects} WHERE (${condition})
    AND mail_id NOT IN (SELECT mail_id FROM ${tables.mail} WHERE rejected = 0 AND mail_id IN (${mails}))
    AND NOT (part = '' AND mail_id IN (
      SELECT mail_id FROM ${tables.mail} WHERE kind != 'rejected' AND mail_id IN (${mails})))
    AND (mail_id, part) NOT IN (
      SELECT mail_id, arrayJoin(found_part) FROM ${tables.mail} WHERE mail_id IN (${mails}))
    ORDER BY mail_id, part, code, received_at, parser_version, ingest_partition, ingest_offset
    LIMIT 1 BY mail_id, part, code`
}
