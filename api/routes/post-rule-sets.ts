/** Publishes a rule set, or only checks it. */
import Type from 'typebox'
import type { Route } from '../route.ts'
import { checkedRules, ruleProblem, rulesBody, rulesOf, rulesResponses, withRulesBody } from '../rules-body.ts'
import { closed, hexId, nullable, text } from '../schemas.ts'

const published = closed({
  id: hexId('hash of the canonical form: the same rules have the same id'),
  name: text(),
  created: Type.Boolean({ description: 'false: these rules were published before' }),
  problems: Type.Array(ruleProblem, { description: 'warnings' }),
})
const checked = closed({ id: nullable(hexId()), name: text(), problems: Type.Array(ruleProblem) })

const schema = {
  tags: ['replay'],
  summary: 'Publish a rule set',
  description:
    'The body is the rule file. Publishing changes no answer: start a generation under the rule set, compare, promote. ' +
    'With `check=true` nothing is stored, and errors are part of the answer.\n\nExample: `curl --data-binary ' +
    '@rules.yaml -H "Content-Type: text/yaml" http://127.0.0.1:7489/api/v1/rule-sets`',
  querystring: closed({ check: Type.Optional(Type.Boolean({ description: 'only say what is wrong' })) }),
  body: rulesBody,
  response: { 200: checked, 201: published, ...rulesResponses },
}

export const postRuleSets: Route = (server, { replays }) => {
  withRulesBody(server, (scope) => {
    scope.post('/api/v1/rule-sets', { schema, config: { scope: 'admin' } }, async (request, reply) => {
      const yaml = rulesOf(request.body)
      if ((request.query as { check?: boolean }).check === true) {
        const { id, name, problems } = replays.check(yaml)
        return reply.code(200).send({ id, name, problems: [...problems] })
      }
      const { name, problems } = checkedRules(replays, yaml)
      const { id, created } = await replays.publish(yaml)
      return reply.code(201).send({ id, name, created, problems: [...problems] })
    })
  })
}
