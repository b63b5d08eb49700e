/** The rows of aggregate reports that count, newest first. */
import Type, { type Static } from 'typebox'
import { winningDmarcRecords, winningDmarcReports } from '../../projections/winners.ts'
import { hashOf } from '../../topics/cause.ts'
import { allOf } from '../filters.ts'
import { answerList, listRange } from '../lists.ts'
import { itemsOf, newestFirst } from '../newest-first.ts'
import { openReading, type Reading } from '../reading.ts'
import { recordConditions, recordFilters, reportConditions, reportFilters } from '../record-filters.ts'
import type { Route } from '../route.ts'
import { isoSeconds, said, sourceAddress } from '../said.ts'
import { closed, count, day, errorAnswer, hexId, instant, listAnswer, listQuery, nullable, text } from '../schemas.ts'
import { inRange, type TimeRange } from '../time-range.ts'

const item = closed({
  id: hexId(),
  report_id: hexId('of /dmarc/reports/{id}'),
  record_index: count('place in the report, from 0'),
  domain: Type.String({ description: 'policy domain' }),
  day: day('UTC day of the middle of the report period'),
  begin: instant(),
  end: instant(),
  org: Type.String({ description: 'submitter, lower case' }),
  org_name: text('submitter, as sent'),
  submitter_report_id: Type.String({ description: "the report's own id" }),
  source_ip: Type.String(),
  count: nullable(count('as sent; null when it was no number')),
  messages: count('what it adds to totals: count when plausible, else 0'),
  disposition: text(),
  dkim: text('policy-evaluated result'),
  spf: text('policy-evaluated result'),
  dkim_aligned: Type.Boolean(),
  spf_aligned: Type.Boolean(),
  reasons: Type.Array(closed({ type: text(), comment: text() })),
  header_from: text(),
  envelope_from: text(),
  envelope_to: text(),
  dkim_results: Type.Array(closed({ domain: text(), selector: text(), result: text(), human_result: text() })),
  spf_results: Type.Array(closed({ domain: text(), scope: text(), result: text() })),
  sender: Type.Null({ description: 'the service behind the source; null while there are no rules' }),
  verdict: Type.Null({ description: 'null while there are no rules' }),
  rule: Type.Null({ description: 'the rule that decided; null while there are no rules' }),
})
type Item = Static<typeof item>

const key = Type.Tuple([
  Type.String({ pattern: '^\\d{4}-\\d\\d-\\d\\d$' }),
  Type.String({ maxLength: 1024 }),
  Type.String({ pattern: '^[0-9a-f]{64}$' }),
  Type.Integer({ minimum: 0, maximum: 0xffffffff }),
])
type Key = Static<typeof key>

const schema = {
  tags: ['dmarc'],
  summary: 'Records of aggregate reports',
  description:
    'Filters combine; a repeated one means any of its values, `!value` excludes. Example: ' +
    '`/api/v1/dmarc/records?domain=example.com&dkim=fail&spf=fail&org=!google.com`',
  querystring: closed({ ...listQuery, ...reportFilters, ...recordFilters }),
  response: { 200: listAnswer(item), '4xx': errorAnswer, 503: errorAnswer },
}

export const getDmarcRecords: Route = (server, context) => {
  server.get('/api/v1/dmarc/records', { schema }, async (request, reply) => {
    const reading = openReading(context, request.query, reply)
    const range = listRange(request.query, context.now())
    const reports = allOf(reportConditions(request.query))
    const records = allOf(recordConditions(request.query))
    const page = await answerList(
      { request, reply, reading, range },
      {
        item,
        key,
        keyOf: (record: Item): Key => [record.day, record.domain, record.report_id, record.record_index],
        read: (after: Key | null, limit: number | null) =>
          itemsOf(readRecords(reading, range, reports, records, after, limit), recordOf),
      },
    )
    return page ?? reply
  })
}

interface RecordRow {
  readonly policy_domain: string
  readonly day: string
  readonly key: string
  readonly shown_variant: string
  readonly record_index: number
  readonly org: string
  readonly org_name: string
  readonly report_id: string
  readonly begin: number
  readonly end: number
  readonly source_ip: string
  readonly source_text: string
  readonly count: number | null
  readonly messages: number
  readonly disposition: string
  readonly dkim: string
  readonly spf: string
  readonly dkim_aligned: boolean
  readonly spf_aligned: boolean
  readonly header_from: string
  readonly envelope_from: string
  readonly envelope_to: string
  readonly reason_type: readonly string[]
  readonly reason_comment: readonly string[]
  readonly dkim_domain: readonly string[]
  readonly dkim_selector: readonly string[]
  readonly dkim_result: readonly string[]
  readonly dkim_human_result: readonly string[]
  readonly spf_domain: readonly string[]
  readonly spf_scope: readonly string[]
  readonly spf_result: readonly string[]
}

interface Narrowed {
  readonly sql: string
  readonly parameters: Readonly<Record<string, unknown>>
}

function readRecords(
  reading: Reading,
  range: TimeRange,
  reports: Narrowed,
  records: Narrowed,
  after: Key | null,
  limit: number | null,
): AsyncGenerator<readonly RecordRow[]> {
  const { tables } = reading
  const chosen = `${inRange} AND ${reports.sql}`
  const winners = winningDmarcReports(tables, chosen, ['report_key', 'org_name', 'report_id', 'begin', 'end'])
  const [afterDay, domain, report, index] = after ?? ['', '', '', 0]
  const statement = `SELECT r.* EXCEPT (report_key, variant), lower(hex(r.report_key)) AS key,
      lower(hex(r.variant)) AS shown_variant, w.org_name AS org_name, w.report_id AS report_id, w.begin AS begin,
      w.end AS end
    FROM (SELECT * FROM ${winningDmarcRecords(tables, chosen, `${records.sql} AND {after}`)}) AS r
    INNER JOIN (${winners}) AS w ON w.report_key = r.report_key
    ORDER BY r.day DESC, r.policy_domain, r.report_key, r.record_index`
  return newestFirst<RecordRow>(
    reading,
    range,
    {
      statement,
      after:
        after === null
          ? null
          : {
              day: afterDay,
              sql: `(day < {after_day:Date} OR (day = {after_day:Date} AND (policy_domain, report_key, record_index)
          > ({after_domain:String}, toFixedString(unhex({after_report:String}), 32), {after_index:UInt32})))`,
              parameters: { after_day: afterDay, after_domain: domain, after_report: report, after_index: index },
            },
      days: `SELECT day FROM ${tables.dmarc_reports} WHERE ${chosen}`,
      parameters: { ...reports.parameters, ...records.parameters },
    },
    limit,
  )
}

function recordOf(row: RecordRow): Item {
  return {
    id: hashOf(row.key, row.shown_variant, String(row.record_index)),
    report_id: row.key,
    record_index: row.record_index,
    domain: row.policy_domain,
    day: row.day,
    begin: isoSeconds(row.begin),
    end: isoSeconds(row.end),
    org: row.org,
    org_name: said(row.org_name),
    submitter_report_id: row.report_id,
    source_ip: sourceAddress(row.source_ip, row.source_text),
    count: row.count,
    messages: row.messages,
    disposition: said(row.disposition),
    dkim: said(row.dkim),
    spf: said(row.spf),
    dkim_aligned: row.dkim_aligned,
    spf_aligned: row.spf_aligned,
    reasons: row.reason_type.map((type, i) => ({ type: said(type), comment: said(row.reason_comment[i] ?? '') })),
    header_from: said(row.header_from),
    envelope_from: said(row.envelope_from),
    envelope_to: said(row.envelope_to),
    dkim_results: row.dkim_domain.map((domain, i) => ({
      domain: said(domain),
      selector: said(row.dkim_selector[i] ?? ''),
      result: said(row.dkim_result[i] ?? ''),
      human_result: said(row.dkim_human_result[i] ?? ''),
    })),
    spf_results: row.spf_domain.map((domain, i) => ({
      domain: said(domain),
      scope: said(row.spf_scope[i] ?? ''),
      result: said(row.spf_result[i] ?? ''),
    })),
    sender: null,
    verdict: null,
    rule: null,
  }
}
