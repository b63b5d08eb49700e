/** Starts a generation under a rule set, or says what that would mean. */
import Type from 'typebox'
import { ApiError } from '../errors.ts'
import { covers, generationAnswer, generationStart } from '../generation-answer.ts'
import type { ReplayPlan } from '../replays.ts'
import type { Route } from '../route.ts'
import { closed, count, errorAnswer, hexId } from '../schemas.ts'

const plan = closed({
  rule_set: hexId(),
  from: Type.String(),
  events: count('events to be read'),
  bytes: count('bytes that they take on the log'),
  records: count('records that get a verdict'),
  topics: Type.Array(Type.String(), { description: 'topics that would be made' }),
  tables: Type.Array(Type.String(), { description: 'tables that would be made' }),
  disk_bytes: count('bytes that they will take on the disk, about'),
  seconds: count('how long it will take, about'),
  covers,
})

const schema = {
  tags: ['replay'],
  summary: 'Start a generation',
  description:
    'From `enriched` when only the rules changed; from `ingest` when the reader or the enrichment did. Live answers do ' +
    'not change until it is promoted. With `plan=true` nothing is written, and the rule set need not be published.',
  querystring: closed({ plan: Type.Optional(Type.Boolean({ description: 'only say what it would mean' })) }),
  body: { ...generationStart, examples: [{ rule_set: 'c3'.repeat(32), from: 'enriched' }] },
  response: { 200: plan, 202: generationAnswer, '4xx': errorAnswer, 503: errorAnswer },
}

export const postGenerations: Route = (server, { replays }) => {
  server.post('/api/v1/generations', { schema, config: { scope: 'admin' } }, async (request, reply) => {
    const { rule_set, from = 'enriched', epoch } = request.body
    if (request.query.plan === true) return reply.code(200).send(plainPlan(await replays.plan(rule_set, from)))
    if (replays.control.ruleSet(rule_set) === null) throw new ApiError('rule_set_unknown', { field: 'rule_set' })
    return reply.code(202).send(await replays.start(rule_set, from, epoch))
  })
}

const plainPlan = ({ topics, tables, ...rest }: ReplayPlan) => ({ ...rest, topics: [...topics], tables: [...tables] })
