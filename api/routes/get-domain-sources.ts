/** Who sent mail as a domain. */
import Type, { type Static } from 'typebox'
import { winningDmarcRecords } from '../../projections/winners.ts'
import { allOf, type Condition, domainName, shownDomain } from '../filters.ts'
import { answerList, listRange } from '../lists.ts'
import { itemsOf } from '../newest-first.ts'
import { openReading } from '../reading.ts'
import { recordConditions, recordFilters, reportConditions, reportFilters } from '../record-filters.ts'
import type { Route } from '../route.ts'
import { closed, day, domainParam, errorAnswer, listAnswer, listQuery, messageSums } from '../schemas.ts'
import { inRange } from '../time-range.ts'

const kinds = ['ip', 'org', 'header_from'] as const
type Kind = (typeof kinds)[number]

const item = closed({
  key: Type.String({ description: 'the address, submitter or domain; empty when the reports did not say' }),
  name: Type.String({ description: 'the key as people read it' }),
  ...messageSums,
  sender: Type.Null({ description: 'the service behind it; null while there are no rules' }),
  verdicts: Type.Null({ description: 'messages by verdict; null while there are no rules' }),
  first_day: day(),
  last_day: day(),
})
type Item = Static<typeof item>

const key = Type.Tuple([Type.Number(), Type.String({ maxLength: 4096 })])
type Key = Static<typeof key>

const schema = {
  tags: ['domains'],
  summary: 'Sources of a domain, most messages first',
  description:
    'By source address (default), by submitter of the reports, or by the domain of the From field. Takes the filters of ' +
    '`/dmarc/records`. Example: `/api/v1/domains/example.com/sources?by=ip&dkim=fail&spf=fail`',
  params: domainParam,
  querystring: closed({
    ...listQuery,
    by: Type.Optional(Type.Enum([...kinds])),
    org: reportFilters.org,
    ...recordFilters,
  }),
  response: { 200: listAnswer(item), '4xx': errorAnswer, 503: errorAnswer },
}

/** What the records are grouped by: text, and the same text for the same source. */
const sourceKey: Record<Kind, string> = {
  ip: "if(source_text != '', source_text, replaceRegexpOne(toString(source_ip), '^::ffff:([0-9.]+)$', '\\\\1'))",
  org: 'toString(org)',
  header_from: 'toString(header_from)',
}
/**
 * What is grouped and ordered by, apart from the sum. A large domain has hundreds of thousands of addresses: as numbers
 * they group and sort in a third of the time of texts, and only those of a page are written out as text.
 */
const groupedBy: Record<Kind, string> = {
  ip: 'source_ip, cityHash64(source_text)',
  org: 'org',
  header_from: 'header_from',
}
/** The same of the last item of the page before. */
const afterSource: Record<Kind, string> = {
  ip: "toIPv6OrDefault({after_source:String}), cityHash64(if(isNull(toIPv6OrNull({after_source:String})), {after_source:String}, ''))",
  org: '{after_source:String}',
  header_from: '{after_source:String}',
}
const sourceKeyOfGroup: Record<Kind, string> = {
  ...sourceKey,
  ip: sourceKey.ip.replaceAll('source_text', 'any(source_text)'),
}

interface SourceRow
  extends Record<Exclude<keyof typeof messageSums, 'messages' | 'passed' | 'failed' | 'none'>, number> {
  readonly source: string
  readonly total: number
  readonly first: string
  readonly last: string
}

export const getDomainSources: Route = (server, context) => {
  server.get('/api/v1/domains/:domain/sources', { schema }, async (request, reply) => {
    const reading = openReading(context, request.query, reply)
    const range = listRange(request.query, context.now())
    const by = request.query.by ?? 'ip'
    const domain: Condition = {
      sql: 'policy_domain = {domain:String}',
      parameters: { domain: domainName(request.params.domain) },
    }
    const reports = allOf([domain, ...reportConditions({ org: request.query.org })])
    const records = allOf(recordConditions(request.query))
    const rows = (after: Key | null, limit: number | null) =>
      reading.rows<SourceRow>(
        `SELECT ${sourceKeyOfGroup[by]} AS source, ${sums}, min(day) AS first, max(day) AS last
         FROM ${winningDmarcRecords(reading.tables, `${inRange} AND ${reports.sql}`, records.sql)}
         GROUP BY ${groupedBy[by]}
         ${after === null ? '' : `HAVING (-toInt64(total), ${groupedBy[by]}) > (-{after_messages:Int64}, ${afterSource[by]})`}
         ORDER BY total DESC, ${groupedBy[by]} ${limit === null ? '' : 'LIMIT {limit:UInt32}'}`,
        {
          ...range,
          ...reports.parameters,
          ...records.parameters,
          after_messages: after?.[0] ?? 0,
          after_source: after?.[1] ?? '',
          limit: limit ?? 0,
        },
        limit,
      )
    const page = await answerList(
      { request, reply, reading, range },
      {
        item,
        key,
        keyOf: (source: Item): Key => [source.messages, source.key],
        read: (after: Key | null, limit: number | null) => itemsOf(rows(after, limit), (row) => sourceOf(row, by)),
      },
    )
    return page ?? reply
  })
}

/** Sums from the records themselves; those of `messageSums` that they do not name follow from them. */
const sums = [
  'sum(messages) AS total',
  'sumIf(messages, dkim_aligned AND spf_aligned) AS full_pass',
  'sumIf(messages, dkim_aligned AND NOT spf_aligned) AS dkim_only',
  'sumIf(messages, spf_aligned AND NOT dkim_aligned) AS spf_only',
  "sumIf(messages, disposition = 'quarantine') AS quarantine",
  "sumIf(messages, disposition = 'reject') AS reject",
].join(', ')

function sourceOf(row: SourceRow, by: Kind): Item {
  return {
    key: row.source,
    name: by === 'header_from' ? shownDomain(row.source) : row.source,
    messages: row.total,
    passed: row.full_pass + row.dkim_only + row.spf_only,
    full_pass: row.full_pass,
    dkim_only: row.dkim_only,
    spf_only: row.spf_only,
    failed: row.total - row.full_pass - row.dkim_only - row.spf_only,
    none: row.total - row.quarantine - row.reject,
    quarantine: row.quarantine,
    reject: row.reject,
    sender: null,
    verdicts: null,
    first_day: row.first,
    last_day: row.last,
  }
}
