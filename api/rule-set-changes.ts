/** In what one rule set differs from another. */
import Type from 'typebox'
import { closed } from './schemas.ts'

export const ruleSetChange = closed({
  part: Type.Enum(['name', 'list', 'sender', 'domain', 'verdict_rule']),
  id: Type.String({ description: 'id of the sender or verdict rule, name of the list or domain' }),
  change: Type.Enum(['added', 'removed', 'changed']),
  description: Type.String(),
})

export const ruleSetChanges = Type.Array(ruleSetChange)
