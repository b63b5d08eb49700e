/** An observation epoch as the API shows it. */
import Type from 'typebox'
import { closed, count } from './schemas.ts'

export const epochAnswer = closed({
  epoch: count('for POST /generations'),
  state: Type.Union([Type.Literal('observing'), Type.Literal('begun'), Type.Literal('failed')], {
    description: 'begun: a generation may name it; failed: POST again, and it goes on where it was',
  }),
  done: count('events of observations gone through'),
  total: count('events of observations there were when it began'),
  reason: Type.Union([Type.String(), Type.Null()], { description: 'why it failed' }),
})
