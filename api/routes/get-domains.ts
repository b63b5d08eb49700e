/** All policy domains with their sums, biggest first. */
import Type, { type Static } from 'typebox'
import { winningDmarcRecords } from '../../projections/winners.ts'
import { allOf, domainName, oneOf, shownDomain } from '../filters.ts'
import { answerList, listRange } from '../lists.ts'
import { openReading, type Reading } from '../reading.ts'
import type { Route } from '../route.ts'
import { closed, count, domainSums, errorAnswer, listAnswer, listQuery, nullable, verdictSums } from '../schemas.ts'
import { readSums, reportFacts, type SumsRow, sumsOfFacts } from '../sums.ts'
import { inRange, type TimeRange } from '../time-range.ts'
import { noVerdictSums, readVerdictSums } from '../verdict-sums.ts'

const item = closed({
  domain: Type.String(),
  name: Type.String({ description: 'the domain as people read it' }),
  ...domainSums,
  host_only: Type.Boolean({ description: 'known only from TLS policies about a host that receives mail (an MX)' }),
  sources: nullable(count('distinct source addresses; with fields=sources, else null')),
  verdicts: nullable(verdictSums),
})
type Item = Static<typeof item>

const key = Type.Tuple([Type.Number(), Type.Number(), Type.String({ maxLength: 1024 })])
type Key = Static<typeof key>

const schema = {
  tags: ['domains'],
  summary: 'Domains, biggest first',
  description:
    'Domains that only TLS reports speak of are here too. `verdicts` comes with `fields=verdicts`, else it is null. Example: `/api/v1/domains?from=2026-11-01&limit=10`',
  querystring: closed({
    ...listQuery,
    fields: Type.Optional(
      Type.Array(Type.Enum(['sources', 'verdicts']), {
        maxItems: 4,
        description: 'what costs more to say: sources, verdicts; repeat for several',
      }),
    ),
    domain: Type.Optional(Type.Array(Type.String({ minLength: 1, maxLength: 1024 }), { maxItems: 100 })),
  }),
  response: { 200: listAnswer(item), '4xx': errorAnswer, 503: errorAnswer },
}

export const getDomains: Route = (server, context) => {
  server.get('/api/v1/domains', { schema }, async (request, reply) => {
    const reading = openReading(context, request.query, reply)
    const range = listRange(request.query, context.now())
    const wanted = {
      sources: request.query.fields?.includes('sources') ?? false,
      verdicts: request.query.fields?.includes('verdicts') ?? false,
    }
    const narrowed = allOf(oneOf('domain', 'policy_domain', request.query.domain, domainName))
    const page = await answerList(
      { request, reply, reading, range },
      {
        item,
        key,
        keyOf: (domain: Item): Key => [domain.messages, domain.tls_successful + domain.tls_failed, domain.domain],
        read: (after: Key | null, limit: number | null) => readDomains(reading, range, narrowed, after, limit, wanted),
      },
    )
    return page ?? reply
  })
}

interface DomainRow extends SumsRow {
  readonly policy_domain: string
  readonly host: number
}

async function* readDomains(
  reading: Reading,
  range: TimeRange,
  narrowed: { sql: string; parameters: Readonly<Record<string, unknown>> },
  after: Key | null,
  limit: number | null,
  wanted: { readonly sources: boolean; readonly verdicts: boolean },
): AsyncGenerator<Item[]> {
  const [messages, sessions, domain] = after ?? [0, 0, '']
  const later = 'HAVING (-size, -sessions, policy_domain) > (-{messages:Float64}, -{sessions:Float64}, {domain:String})'
  const rows = reading.rows<DomainRow>(
    `SELECT toString(f.policy_domain) AS policy_domain, ${sumsOfFacts}, min(f.host_only) AS host,
       toFloat64(messages) AS size, toFloat64(tls_successful + tls_failed) AS sessions
     FROM (${reportFacts(reading.tables, narrowed.sql)}) AS f
     GROUP BY f.policy_domain ${after === null ? '' : later}
     ORDER BY size DESC, sessions DESC, policy_domain ${limit === null ? '' : 'LIMIT {limit:UInt32}'}`,
    { ...range, ...narrowed.parameters, messages, sessions, domain, limit: limit ?? 0 },
    limit,
  )
  for await (const batch of rows) {
    const sources = wanted.sources ? await countSources(reading, range, batch) : null
    const verdicts = wanted.verdicts ? await sumVerdicts(reading, range, batch) : null
    yield batch.map((row) => ({
      domain: row.policy_domain,
      name: shownDomain(row.policy_domain),
      ...readSums(row),
      host_only: Boolean(row.host),
      sources: sources === null ? null : (sources.get(row.policy_domain) ?? 0),
      verdicts: verdicts === null ? null : (verdicts.get(row.policy_domain) ?? noVerdictSums()),
    }))
  }
}

function sumVerdicts(reading: Reading, range: TimeRange, domains: readonly { policy_domain: string }[]) {
  const chosen = `${inRange} AND policy_domain IN ({domains:Array(String)})`
  const parameters = { ...range, domains: domains.map((row) => row.policy_domain) }
  return readVerdictSums(reading, 'policy_domain', chosen, parameters)
}

/** The exact number of distinct addresses of each domain. */
async function countSources(
  reading: Reading,
  range: TimeRange,
  domains: readonly { policy_domain: string }[],
): Promise<Map<string, number>> {
  const chosen = `${inRange} AND policy_domain IN ({domains:Array(String)})`
  const rows = await reading.query<{ domain: string; sources: number }>(
    `SELECT toString(policy_domain) AS domain, uniqExact(source_ip, source_text) AS sources
     FROM ${winningDmarcRecords(reading.tables, chosen)}
     GROUP BY policy_domain`,
    { ...range, domains: domains.map((row) => row.policy_domain) },
  )
  return new Map(rows.map((row) => [row.domain, row.sources]))
}
