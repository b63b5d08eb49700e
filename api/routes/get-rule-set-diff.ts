/** In what one rule set differs from another. */
import Type from 'typebox'
import { ApiError } from '../errors.ts'
import type { Route } from '../route.ts'
import { ruleSetChanges } from '../rule-set-changes.ts'
import { closed, errorAnswer, hexId, idParam } from '../schemas.ts'

const schema = {
  tags: ['replay'],
  summary: 'What differs between two rule sets',
  description: 'Changes that lead from the rule set of the address to the one named by `to` (default: the live one).',
  params: idParam,
  querystring: closed({ to: Type.Optional(hexId('id of the other rule set')) }),
  response: {
    200: closed({ from: hexId(), to: hexId(), changes: ruleSetChanges }),
    '4xx': errorAnswer,
    503: errorAnswer,
  },
}

export const getRuleSetDiff: Route = (server, { replays, generation }) => {
  server.get('/api/v1/rule-sets/:id/diff', { schema }, async (request, reply) => {
    const from = request.params.id
    const to = request.query.to ?? generation().ruleSet
    if (replays.control.ruleSet(from) === null) throw new ApiError('rule_set_unknown', { field: 'id' })
    if (to === null || replays.control.ruleSet(to) === null) throw new ApiError('rule_set_unknown', { field: 'to' })
    return reply.send({ from, to, changes: [...replays.ruleSetDiff(from, to)] })
  })
}
