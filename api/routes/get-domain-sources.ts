/** Who sent mail as a domain. */
import Type, { type Static } from 'typebox'
import type { Verdict } from '../../topics/verdicts.ts'
import { allOf, domainName, shownDomain } from '../filters.ts'
import { answerList, listRange } from '../lists.ts'
import { itemsOf } from '../newest-first.ts'
import { openReading } from '../reading.ts'
import {
  needFacts,
  recordConditions,
  recordFilters,
  reportConditions,
  reportFilters,
  verdictConditions,
} from '../record-filters.ts'
import { finalGroups, type Grouping, groupRecords, type RecordsOfDomain } from '../record-groups.ts'
import {
  messageSumsOf,
  type RecordSumsRow,
  recordSumColumns,
  verdictSumColumns,
  verdictSumsOf,
} from '../record-sums.ts'
import type { Route } from '../route.ts'
import { said } from '../said.ts'
import {
  closed,
  day,
  domainParam,
  errorAnswer,
  listAnswer,
  listQuery,
  messageSums,
  nullable,
  text,
  verdictSums,
} from '../schemas.ts'
import { addressKeys, addressOfGroup, groupByAddress } from '../source-addresses.ts'

const kinds = ['ip', 'sender', 'ptr', 'asn', 'country', 'org', 'header_from'] as const
type Kind = (typeof kinds)[number]

const item = closed({
  key: Type.String({ description: 'what it is grouped by; empty when it is not known' }),
  name: Type.String({ description: 'the key as people read it' }),
  ...messageSums,
  sender: text('by=ip: the sender with most messages; by=sender: the key; else null'),
  verdicts: nullable(verdictSums),
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
    'By source address (default), by the sender that the rules name, by forward-confirmed name (PTR), autonomous system ' +
    'or country of the address, by submitter of the reports, or by the domain of the From field. Takes the filters of ' +
    '`/dmarc/records`. Reports count from when all their records are judged. Example: ' +
    '`/api/v1/domains/example.com/sources?by=sender&verdict=unknown&verdict=misconfigured`',
  params: domainParam,
  querystring: closed({
    ...listQuery,
    by: Type.Optional(Type.Enum([...kinds])),
    org: reportFilters.org,
    ...recordFilters,
  }),
  response: { 200: listAnswer(item), '4xx': errorAnswer, 503: errorAnswer },
}

interface KindOfSource {
  readonly keys: readonly string[]
  /** The key of the answer, from a group. */
  readonly label: string
  readonly name: string
  /** The keys of the last item of the page before. */
  readonly after: string
  readonly needsFacts: boolean
}
const byColumn = (column: string, needsFacts: boolean): KindOfSource => ({
  keys: [column],
  label: 'toString(k0)',
  name: 'toString(k0)',
  after: '{after_source:String}',
  needsFacts,
})
const sourceKinds: Readonly<Record<Kind, KindOfSource>> = {
  ip: {
    keys: addressKeys,
    label: addressOfGroup,
    name: addressOfGroup,
    after:
      "toIPv6OrDefault({after_source:String}), cityHash64(if(isNull(toIPv6OrNull({after_source:String})), {after_source:String}, ''))",
    needsFacts: false,
  },
  sender: byColumn('sender', false),
  ptr: byColumn('ptr', true),
  asn: {
    keys: ['asn'],
    label: "if(k0 = 0, '', toString(k0))",
    name: 'toString(any(as_name))',
    after: 'toUInt32OrZero({after_source:String})',
    needsFacts: true,
  },
  country: byColumn('country', true),
  org: byColumn('org', true),
  header_from: byColumn('header_from', true),
}

interface SourceRow extends RecordSumsRow, Readonly<Record<Verdict, number>> {
  readonly source: string
  readonly name: string
  /** Messages by sender, where they are asked for. */
  readonly senders?: readonly string[]
  readonly sent?: readonly number[]
}

export const getDomainSources: Route = (server, context) => {
  server.get('/api/v1/domains/:domain/sources', { schema }, async (request, reply) => {
    const { query, params } = request
    const reading = openReading(context, query, reply)
    const range = listRange(query, context.now())
    const by = query.by ?? 'ip'
    const kind = sourceKinds[by]
    const hasRules = reading.generation.ruleSet !== null
    const asked: RecordsOfDomain = {
      domain: domainName(params.domain),
      range,
      needs: {
        facts: !hasRules || kind.needsFacts || query.org !== undefined || needFacts(query),
        verdicts: hasRules,
      },
    }
    const matches = allOf([
      ...reportConditions({ org: query.org }),
      ...recordConditions(query),
      ...verdictConditions(query),
    ])
    const grouping = (after: Key | null): Grouping => ({
      keys: kind.keys,
      columns: [
        `${kind.label} AS source`,
        `${kind.name} AS name`,
        ...recordSumColumns,
        ...verdictSumColumns,
        ...(by === 'ip'
          ? [
              'sumMap([toString(sender)], [toUInt64(messages)]) AS by_sender',
              'by_sender.1 AS senders',
              'by_sender.2 AS sent',
            ]
          : []),
      ],
      matches,
      order: `total DESC, ${kind.keys.map((_, index) => `k${index}`).join(', ')}`,
      ...(after === null ? {} : afterGroup(kind, after)),
    })
    const rows = (after: Key | null, limit: number | null): AsyncIterable<readonly SourceRow[]> => {
      if (limit === null) return finalGroups(reading, asked, grouping(after), null)
      const isQuick = by === 'ip' && !asked.needs.facts
      return (isQuick ? groupByAddress : groupRecords)<SourceRow>(reading, asked, grouping(after), limit)
    }
    const page = await answerList(
      { request, reply, reading, range },
      {
        item,
        key,
        keyOf: (source: Item): Key => [source.messages, source.key],
        read: (after: Key | null, limit: number | null) =>
          itemsOf(rows(after, limit), (row) => sourceOf(row, by, hasRules)),
      },
    )
    return page ?? reply
  })
}

function afterGroup({ keys, after }: KindOfSource, [messages, source]: Key) {
  const names = keys.map((_, index) => `k${index}`).join(', ')
  return {
    having: `(-toInt64(total), ${names}) > (-{after_messages:Int64}, ${after})`,
    parameters: { after_messages: messages, after_source: source },
  }
}

function sourceOf(row: SourceRow, by: Kind, hasRules: boolean): Item {
  const { source, name } = row
  return {
    key: source,
    name: by === 'header_from' || by === 'ptr' ? shownDomain(source) : name,
    ...messageSumsOf(row),
    sender: by === 'sender' ? said(source) : said(mostOf(row.senders ?? [], row.sent ?? [])),
    verdicts: hasRules ? verdictSumsOf(row) : null,
    first_day: row.first,
    last_day: row.last,
  }
}

/** The name with the largest number; of several the first by name. */
function mostOf(names: readonly string[], numbers: readonly number[]): string {
  let most = -1
  for (let index = 0; index < names.length; index++) {
    const isMore = most < 0 || numbers[index]! > numbers[most]!
    const isSame = most >= 0 && numbers[index] === numbers[most] && names[index]! < names[most]!
    if (isMore || isSame) most = index
  }
  return names[most] ?? ''
}
