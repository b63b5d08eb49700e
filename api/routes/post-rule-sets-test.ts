/** Verdicts of a sample of a domain's records under the live rules and under others, side by side. */
import Type from 'typebox'
import { clientGone } from '../client-gone.ts'
import { domainName } from '../filters.ts'
import type { Route } from '../route.ts'
import { checkedRules, ruleProblem, rulesBody, rulesOf, rulesResponses, withRulesBody } from '../rules-body.ts'
import { closed, count, day, hexId, MAX_LIMIT, nullable, readQuery, text } from '../schemas.ts'
import { timeRange } from '../time-range.ts'

const judgement = closed({ sender: text(), verdict: Type.String(), rule: Type.String() })

const answer = closed({
  id: hexId('id of the rules that were tried'),
  problems: Type.Array(ruleProblem, { description: 'warnings' }),
  records: count('records of the sample'),
  messages: count(),
  items: Type.Array(
    closed({
      record_id: Type.String(),
      day: day(),
      source_ip: Type.String(),
      ptr: text(),
      messages: count(),
      live: nullable(judgement),
      new: judgement,
    }),
    { description: 'records that get another sender, verdict or rule, most messages first; then others' },
  ),
  transitions: Type.Array(
    closed({ from_verdict: text(), to_verdict: Type.String(), records: count(), messages: count() }),
    { description: 'sums over the sample, changed or not' },
  ),
})

const schema = {
  tags: ['replay'],
  summary: 'Try rules on a sample',
  description: 'The body is a rule file, which need not be published. Nothing is stored.',
  querystring: closed({
    domain: Type.String({ minLength: 1, maxLength: 255, description: 'policy domain' }),
    from: readQuery.from,
    to: readQuery.to,
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: MAX_LIMIT, description: 'items; default 20' })),
  }),
  body: rulesBody,
  response: { 200: answer, ...rulesResponses },
}

const DEFAULT_ITEMS = 20

interface Asked {
  readonly domain: string
  readonly from?: string
  readonly to?: string
  readonly limit?: number
}

export const postRuleSetsTest: Route = (server, { replays, now }) => {
  withRulesBody(server, (scope) => {
    scope.post('/api/v1/rule-sets/test', { schema }, async (request, reply) => {
      const yaml = rulesOf(request.body)
      const { problems } = checkedRules(replays, yaml)
      const { domain, limit = DEFAULT_ITEMS, ...asked } = request.query as Asked
      const range = timeRange(asked, now())
      const options = { domain: domainName(domain), ...range, limit, signal: clientGone(reply) }
      const { items, transitions, ...sample } = await replays.testRules(yaml, options)
      return reply.send({ ...sample, problems: [...problems], items: [...items], transitions: [...transitions] })
    })
  })
}
