/** What a generation says otherwise than the live one. */
import type { Static } from 'typebox'
import Type from 'typebox'
import type { Generation } from '../../topics/generation.ts'
import { clientGone } from '../client-gone.ts'
import { filtersHash, readCursor, writeCursor } from '../cursor.ts'
import { DiffCache } from '../diff-cache.ts'
import { examplesOf } from '../diff-examples.ts'
import { ApiError } from '../errors.ts'
import { domainName } from '../filters.ts'
import { generationParam, readableGeneration } from '../generation-answer.ts'
import type { Replays } from '../replays.ts'
import type { Route, RouteContext } from '../route.ts'
import { said } from '../said.ts'
import { closed, count, DEFAULT_LIMIT, day, errorAnswer, listQuery, nullable, text } from '../schemas.ts'
import { answerSlowly } from '../slow-answer.ts'
import { ALL_DAYS } from '../time-range.ts'
import { compareTransitions, type Transition } from '../transitions.ts'

const transition = closed({
  domain: text('policy domain; null in a row that stands for many small transitions'),
  from_verdict: text('null: the record is not there'),
  to_verdict: text('null: the record is not there'),
  sender_from: text(),
  sender_to: text(),
  rule_from: text(),
  rule_to: text(),
  records: count(),
  messages: count(),
  examples: Type.Array(closed({ record_id: Type.String(), source_ip: Type.String(), day: day() })),
})

const answer = closed({
  from: Type.String({ description: 'generation compared with', examples: ['g1'] }),
  to: Type.String({ examples: ['g2'] }),
  from_rule_set: text(),
  to_rule_set: text(),
  records: count('records that count on either side'),
  messages: count(),
  changed_records: count('records whose sender, verdict or rule is another'),
  changed_messages: count(),
  transitions: Type.Array(transition),
  folded: nullable(
    closed({ transitions: count(), records: count(), messages: count() }, 'small transitions shown as one'),
  ),
  next_cursor: text('for the next page; null at the end'),
})
type Answer = Static<typeof answer>

const { limit, cursor } = listQuery
const querystring = closed({
  domain: Type.Optional(Type.String({ minLength: 1, maxLength: 255, description: 'only this policy domain' })),
  against: Type.Optional(
    Type.String({ pattern: '^g?[0-9]{1,9}$', description: 'generation to compare with; default the live one' }),
  ),
  limit,
  cursor,
})
type Query = Static<typeof querystring>

const schema = {
  tags: ['replay'],
  summary: 'What a generation changes',
  description:
    'Compares record by record; most messages first. Without `against` the live generation, or for the live one the ' +
    'one before. Large answers may begin with spaces, so that the connection is not cut meanwhile.',
  params: generationParam,
  querystring,
  response: { 200: answer, '4xx': errorAnswer, 503: errorAnswer },
}

/** What the page before was made of, and its last row. */
const key = Type.Tuple([
  Type.String({ maxLength: 32 }),
  Type.Number(),
  Type.Number(),
  Type.Array(nullable(Type.String())),
])

export const getGenerationDiff: Route = (server, context) => {
  const cache = new DiffCache()
  server.get('/api/v1/generations/:id/diff', { schema }, async (request, reply) => {
    const progress = context.rebuilding()
    if (progress !== null) throw new ApiError('rebuilding', { progress, retryAfter: 5 })
    const to = readableGeneration(context.replays, request.params.id, 'id').generation
    const from = comparedWith(context.replays, to, request.query.against)
    return answerSlowly(reply, pageOf(context, cache, { from, to }, request.query, clientGone(reply)))
  })
}

function comparedWith({ control }: Replays, to: Generation, against: string | undefined): Generation {
  const entry =
    against ?? [control.live(), control.former()].find((one) => one && one.generation !== to)?.generation.name
  if (entry === undefined) throw new ApiError('nothing_to_compare')
  const { generation } = readableGeneration({ control } as Replays, entry, 'against')
  if (generation.number === to.number) throw new ApiError('nothing_to_compare', { field: 'against' })
  return generation
}

interface Sides {
  readonly from: Generation
  readonly to: Generation
}

async function pageOf(
  { store }: RouteContext,
  cache: DiffCache,
  { from, to }: Sides,
  { domain: asked, limit: wanted = DEFAULT_LIMIT, cursor: given }: Query,
  signal: AbortSignal,
): Promise<Answer> {
  const domain = asked === undefined ? null : domainName(asked)
  const filters = filtersHash('diff', { from: from.name, domain: domain ?? undefined })
  const cursorOf = { generation: to.name, range: ALL_DAYS, filters }
  const after = given === undefined ? null : readCursor(given, cursorOf, key)
  const { diff, made } = await cache.get({ store, from, to, domain }, after?.[0] ?? null, signal)
  const start = after === null ? 0 : diff.transitions.findIndex((row) => compareTransitions(lastOf(after), row) < 0)
  const page = start < 0 ? [] : diff.transitions.slice(start, start + wanted)
  const last = start + wanted < diff.transitions.length ? page.at(-1) : undefined
  const examples = await examplesOf(store, [from, to], page, signal)
  const { transitions, ...sums } = diff
  return {
    from: from.name,
    to: to.name,
    from_rule_set: from.ruleSet,
    to_rule_set: to.ruleSet,
    ...sums,
    transitions: page.map((row, index) => shown(row, examples[index]!)),
    next_cursor: last === undefined ? null : writeCursor({ ...cursorOf, key: keyOf(last, made) }),
  }
}

function shown({ domain, from, to, records, messages }: Transition, examples: readonly object[]) {
  return {
    domain,
    from_verdict: from?.verdict ?? null,
    to_verdict: to?.verdict ?? null,
    sender_from: said(from?.sender ?? ''),
    sender_to: said(to?.sender ?? ''),
    rule_from: said(from?.rule ?? ''),
    rule_to: said(to?.rule ?? ''),
    records,
    messages,
    examples: [...examples] as Answer['transitions'][number]['examples'],
  }
}

const partsOf = ({ domain, from, to }: Transition) => [
  domain,
  ...[from, to].flatMap((side) => (side === null ? [null, null, null] : [side.sender, side.verdict, side.rule])),
]
const keyOf = (row: Transition, made: string): Static<typeof key> => [made, row.messages, row.records, partsOf(row)]

/** The row that a cursor names, as far as its place in the order goes. */
function lastOf([, messages, records, parts]: Static<typeof key>): Transition {
  const [domain = null, ...sides] = parts
  const judged = ([sender = null, verdict = null, rule = null]: readonly (string | null)[]) =>
    sender === null || verdict === null || rule === null ? null : { sender, verdict, rule }
  return { domain, from: judged(sides.slice(0, 3)), to: judged(sides.slice(3, 6)), records, messages, examples: [] }
}
