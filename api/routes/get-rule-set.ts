/** A rule set as it was published. */
import Type from 'typebox'
import { ApiError } from '../errors.ts'
import type { Route } from '../route.ts'
import { errorAnswer, idParam } from '../schemas.ts'

const schema = {
  tags: ['replay'],
  summary: 'A rule set',
  description: 'The rule file as it was published, comments and all.',
  params: idParam,
  response: {
    200: { description: 'the rule file', content: { 'application/yaml': { schema: Type.String() } } },
    '4xx': errorAnswer,
    503: errorAnswer,
  },
}

export const getRuleSet: Route = (server, { replays }) => {
  server.get('/api/v1/rule-sets/:id', { schema }, async (request, reply) => {
    const ruleSet = replays.control.ruleSet(request.params.id)
    if (ruleSet === null) throw new ApiError('rule_set_unknown', { field: 'id' })
    // Rules come from people: no browser may take them for a page.
    reply.header('content-security-policy', "default-src 'none'; sandbox")
    return reply.type('application/yaml; charset=utf-8').send(ruleSet.yaml)
  })
}
