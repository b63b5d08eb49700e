/** The rows of aggregate reports that count, newest first. */
import Type, { type Static } from 'typebox'
import { hashOf } from '../../topics/cause.ts'
import { allRecords, newestRecords, type RecordKey, type RecordRow } from '../dmarc-record-rows.ts'
import { allOf } from '../filters.ts'
import { answerList, listRange } from '../lists.ts'
import { itemsOf } from '../newest-first.ts'
import { openReading } from '../reading.ts'
import {
  recordConditions,
  recordFilters,
  reportConditions,
  reportFilters,
  verdictConditions,
} from '../record-filters.ts'
import type { Route } from '../route.ts'
import { isoSeconds, said, sourceAddress } from '../said.ts'
import { closed, count, day, errorAnswer, hexId, instant, listAnswer, listQuery, nullable, text } from '../schemas.ts'

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
  observed: Type.Boolean({ description: 'DNS answered when it was asked about the address' }),
  ptr: text('first forward-confirmed name of the source'),
  ptr_names: Type.Array(Type.String(), { description: 'all names of the source, confirmed or not' }),
  asn: nullable(Type.Number({ description: 'autonomous system of the source' })),
  as_name: text(),
  country: text('ISO 3166-1 alpha-2'),
  sender: text('the service behind the source, as the rules name it; null when they name none'),
  verdict: text('null while the record is not judged'),
  rule: text('the rule that decided'),
})
type Item = Static<typeof item>

const key = Type.Tuple([
  Type.String({ pattern: '^\\d{4}-\\d\\d-\\d\\d$' }),
  Type.String({ maxLength: 1024 }),
  Type.String({ pattern: '^[0-9a-f]{64}$' }),
  Type.Integer({ minimum: 0, maximum: 0xffffffff }),
])

const schema = {
  tags: ['dmarc'],
  summary: 'Records of aggregate reports',
  description:
    'Filters combine; a repeated one means any of its values, `!value` excludes. Example: ' +
    '`/api/v1/dmarc/records?domain=example.com&dkim=fail&spf=fail&org=!google.com`. Pages are newest first; a stream of ' +
    'everything comes by domain, then day.',
  querystring: closed({ ...listQuery, ...reportFilters, ...recordFilters }),
  response: { 200: listAnswer(item), '4xx': errorAnswer, 503: errorAnswer },
}

export const getDmarcRecords: Route = (server, context) => {
  server.get('/api/v1/dmarc/records', { schema }, async (request, reply) => {
    const reading = openReading(context, request.query, reply)
    const range = listRange(request.query, context.now())
    const asked = {
      range,
      reports: allOf(reportConditions(request.query)),
      records: allOf(recordConditions(request.query)),
      verdicts: allOf(verdictConditions(request.query)),
    }
    const page = await answerList(
      { request, reply, reading, range },
      {
        item,
        key,
        keyOf: (record: Item): RecordKey => [record.day, record.domain, record.report_id, record.record_index],
        read: (after: RecordKey | null, limit: number | null) => {
          const everything = after === null && limit === null
          const rows = everything ? allRecords(reading, asked) : newestRecords(reading, asked, after, limit)
          return itemsOf(rows, recordOf)
        },
      },
    )
    return page ?? reply
  })
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
    observed: row.observed,
    ptr: said(row.ptr),
    ptr_names: [...row.ptr_names],
    asn: row.asn === 0 ? null : row.asn,
    as_name: said(row.as_name),
    country: said(row.country),
    sender: said(row.sender),
    verdict: said(row.verdict),
    rule: said(row.rule),
  }
}
