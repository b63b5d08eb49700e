/** Sources of a domain that need a decision. */
import Type, { type Static } from 'typebox'
import { type Verdict, verdictNames } from '../../topics/verdicts.ts'
import { domainName } from '../filters.ts'
import { answerList, listRange } from '../lists.ts'
import { itemsOf } from '../newest-first.ts'
import { openReading, type Reading } from '../reading.ts'
import { type Grouping, groupRecords, type RecordsOfDomain } from '../record-groups.ts'
import type { Route } from '../route.ts'
import { said, sourceAddress } from '../said.ts'
import { closed, count, day, domainParam, errorAnswer, listAnswer, listQuery, nullable, text } from '../schemas.ts'
import { suggestionsFor, type UndecidedSource, whyListed } from '../triage-advice.ts'

const item = closed({
  id: Type.String({ description: 'of the source and its verdict' }),
  source: Type.String({ description: 'as a decision names it: id of a sender, address, or range' }),
  sender: text('id of the sender, when the rules name one'),
  source_ip: text('when it is one address'),
  range: text('when they are several addresses of one network with names below one domain'),
  addresses: count('how many addresses'),
  ptr: text('forward-confirmed name, or the domain that the names are below'),
  asn: nullable(Type.Number({ description: 'null when not known or not the same' })),
  as_name: text(),
  country: text(),
  verdict: Type.Enum([...verdictNames]),
  new: Type.Boolean({ description: 'not seen before `since`; false when there is nothing from before' }),
  messages: count(),
  first_day: day('since `since`'),
  last_day: day(),
  why: Type.String({ description: 'a sentence' }),
  suggestions: Type.Array(closed({ as: Type.Enum(['own', 'sender', 'forwarder', 'exclude']), reason: Type.String() }), {
    description: 'what `POST` to the same address takes; the likeliest first',
  }),
})
type Item = Static<typeof item>

const key = Type.Tuple([Type.Number(), Type.String({ pattern: '^\\d{1,20}$' })])
type Key = Static<typeof key>

const { from: _from, to: _to, ...pages } = listQuery

const schema = {
  tags: ['replay'],
  summary: 'Sources that need a decision',
  description:
    'What is unknown, misconfigured, spoofed or signed in vain, or was not seen before, from `since` until today; most ' +
    'messages first. Grouped by sender where the rules name one, else by address, or by network when several addresses ' +
    'have names below one domain. What the rules exclude is left out. Example: ' +
    '`/api/v1/domains/example.com/triage?since=2026-11-01`',
  params: domainParam,
  querystring: closed({
    ...pages,
    since: Type.Optional(
      Type.String({ description: 'first day, UTC; default 29 days before today', examples: ['2026-11-01'] }),
    ),
  }),
  response: { 200: listAnswer(item), '4xx': errorAnswer, 503: errorAnswer },
}

interface SourceRow {
  /** Sender, network, address that is none, domain of the name, verdict. */
  readonly k0: string
  readonly k2: string
  readonly k3: string
  readonly k4: Verdict
  readonly id: string
  readonly total: number
  readonly addresses: number
  readonly lowest: string
  readonly network: string
  readonly name: string
  readonly names: number
  readonly asn: number
  readonly as_name: string
  readonly country: string
  readonly is_new: number
  readonly first: string
  readonly last: string
}

export const getDomainTriage: Route = (server, context) => {
  server.get('/api/v1/domains/:domain/triage', { schema }, async (request, reply) => {
    const { since, ...query } = request.query
    const reading = openReading(context, query, reply)
    const range = listRange({ ...query, ...(since === undefined ? {} : { from: since }) }, context.now())
    const domain = domainName(request.params.domain)
    const asked: RecordsOfDomain = { domain, range, needs: { facts: true, verdicts: true } }
    const rows = async function* (after: Key | null, limit: number | null) {
      if (reading.generation.ruleSet === null) return
      const isKnown = await hasHistory(reading, domain, range.from)
      yield* groupRecords<SourceRow>(reading, asked, undecided(reading, isKnown, after), limit)
    }
    const page = await answerList(
      { request, reply, reading, range },
      {
        item,
        key,
        keyOf: (source: Item): Key => [source.messages, source.id],
        read: (after: Key | null, limit: number | null) =>
          itemsOf(rows(after, limit), (row) => sourceOf(row, domain, range.from)),
      },
    )
    return page ?? reply
  })
}

/** Whether anything is known from before; if not, everything would be new, and that says nothing. */
async function hasHistory(reading: Reading, domain: string, since: string): Promise<boolean> {
  const rows = await reading.query(
    `SELECT 1 AS found FROM ${reading.tables.report_verdicts}
     WHERE policy_domain = {domain:String} AND day < {from:Date} LIMIT 1`,
    { domain, from: since },
  )
  return rows.length > 0
}

const isIpv4 = "startsWith(toString(source_ip), '::ffff:')"
/** The /24 or /48 that the address is in. */
const networkOf = (column: string) => `IPv6CIDRToRange(${column}, if(${isIpv4}, 120, 48)).1`
const nobody = "toIPv6('::')"
const needsDecision = "verdict IN ('unknown', 'misconfigured', 'spoofed', 'signing_broken')"

function undecided(reading: Reading, isKnown: boolean, after: Key | null): Grouping {
  const before = `FROM ${reading.tables.record_verdicts} WHERE policy_domain = {domain:String} AND day < {from:Date}`
  const isNew = isKnown
    ? `if(sender != '', sender NOT IN (SELECT sender ${before}),
         (${networkOf('source_ip')}, source_text) NOT IN (SELECT ${networkOf('source_ip')}, source_text ${before}))`
    : '0'
  const same = (column: string, otherwise: string) => `if(uniq(${column}) = 1, any(${column}), ${otherwise})`
  return {
    keys: [
      'toString(sender)',
      `if(sender != '', ${nobody}, ${networkOf('source_ip')})`,
      "if(sender != '', '', source_text)",
      "if(sender != '', '', cutToFirstSignificantSubdomain(ptr))",
      'toString(verdict)',
    ],
    columns: [
      'sum(messages) AS total',
      'toString(cityHash64(k0, k1, k2, k3, k4)) AS id',
      'uniqExact(source_ip, source_text) AS addresses',
      'min(source_ip) AS lowest',
      "concat(replaceRegexpOne(toString(k1), '^::ffff:([0-9.]+)$', '\\\\1'), if(startsWith(toString(k1), '::ffff:'), '/24', '/48')) AS network",
      'toString(min(ptr)) AS name',
      'uniq(ptr) AS names',
      `${same('asn', '0')} AS asn`,
      `toString(${same('as_name', "''")}) AS as_name`,
      `toString(${same('country', "''")}) AS country`,
      `max(${isNew}) AS is_new`,
      'min(day) AS first',
      'max(day) AS last',
    ],
    matches: { sql: `excluded = '' AND (${needsDecision} OR ${isNew})`, parameters: {} },
    order: 'total DESC, id',
    ...(after === null
      ? {}
      : {
          having: '(-toInt64(total), id) > (-{after_messages:Int64}, {after_id:String})',
          parameters: { after_messages: after[0], after_id: after[1] },
        }),
  }
}

function sourceOf(row: SourceRow, domain: string, since: string): Item {
  const sender = said(row.k0)
  const isOne = row.addresses === 1
  const source_ip = sender === null && isOne ? sourceAddress(row.lowest, row.k2) : null
  const range = sender === null && !isOne ? row.network : null
  const ptr = row.names === 1 ? said(row.name) : said(row.k3)
  const source = sender ?? source_ip ?? row.network
  const { k4: verdict, total: messages } = row
  const undecidedSource: UndecidedSource = {
    ...{ domain, sender, source, ptr, verdict, messages, since },
    isNew: Boolean(row.is_new),
  }
  return {
    ...{ id: row.id, source, sender, source_ip, range, addresses: row.addresses, ptr },
    asn: row.asn === 0 ? null : row.asn,
    as_name: said(row.as_name),
    country: said(row.country),
    ...{ verdict, new: undecidedSource.isNew, messages, first_day: row.first, last_day: row.last },
    why: whyListed(undecidedSource),
    suggestions: suggestionsFor(undecidedSource),
  }
}
