/** Writes what was decided about sources into a draft rule set. */
import Type from 'typebox'
import { ApiError } from '../errors.ts'
import { domainName } from '../filters.ts'
import type { Route } from '../route.ts'
import { ruleSetChanges } from '../rule-set-changes.ts'
import { checkedRules, rulesErrorAnswer } from '../rules-body.ts'
import { closed, day, domainParam, errorAnswer, hexId } from '../schemas.ts'

const decision = closed({
  source: Type.String({
    minLength: 1,
    maxLength: 255,
    description:
      'an address, a range, AS and a number, a domain that the machines are named below, or the id of a sender',
    examples: ['192.0.2.0/24'],
  }),
  as: Type.Enum(['own', 'sender', 'forwarder', 'exclude']),
  sender: Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 100,
      description: 'id of the sender or forwarder; a new id makes a new one',
    }),
  ),
  until: Type.Optional(day('last day of an exclusion')),
  reason: Type.String({ minLength: 1, maxLength: 500 }),
})

const schema = {
  tags: ['replay'],
  summary: 'Decide about sources',
  description:
    'Makes a draft rule set of the live one (or `base`) and the decisions, and publishes it; its comments stay. Answers ' +
    'do not change: start a generation under it, compare, promote.',
  params: domainParam,
  body: {
    ...closed({
      decisions: Type.Array(decision, { minItems: 1, maxItems: 1000 }),
      base: Type.Optional(hexId('rule set to begin with, such as a draft; default the live one')),
    }),
    examples: [{ decisions: [{ source: '192.0.2.7', as: 'own', reason: 'the shop' }] }],
  },
  response: {
    201: closed({ rule_set: hexId('id of the draft'), diff: ruleSetChanges }),
    '4xx': errorAnswer,
    422: rulesErrorAnswer,
    503: errorAnswer,
  },
}

export const postDomainTriage: Route = (server, { replays, generation }) => {
  server.post('/api/v1/domains/:domain/triage', { schema, config: { scope: 'admin' } }, async (request, reply) => {
    const { decisions, base = generation().ruleSet } = request.body
    const rules = base === null ? null : replays.control.ruleSet(base)
    if (rules === null) throw new ApiError('rule_set_unknown', { field: 'base' })
    const edited = replays.editRules(rules.yaml, domainName(request.params.domain), decisions)
    if (!edited.ok) {
      const field = `decisions/${edited.decision}`
      throw new ApiError('decision_invalid', { field, message: edited.message })
    }
    checkedRules(replays, edited.yaml)
    const { id } = await replays.publish(edited.yaml)
    return reply.code(201).send({ rule_set: id, diff: [...replays.ruleSetDiff(rules.id, id)] })
  })
}
