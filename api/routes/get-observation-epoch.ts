/** How far the observing of an epoch is. */
import Type from 'typebox'
import { epochAnswer } from '../epoch-answer.ts'
import { ApiError } from '../errors.ts'
import type { Route } from '../route.ts'
import { closed, errorAnswer } from '../schemas.ts'

const schema = {
  tags: ['replay'],
  summary: 'An observation epoch',
  description: 'Whether a generation may name it, and while it is being observed how far that is.',
  params: closed({
    epoch: Type.Integer({ minimum: 1, maximum: 1_000_000, description: 'number of the epoch', examples: [2] }),
  }),
  response: { 200: epochAnswer, '4xx': errorAnswer, 503: errorAnswer },
}

export const getObservationEpoch: Route = (server, { replays }) => {
  server.get('/api/v1/observation-epochs/:epoch', { schema }, async (request, reply) => {
    const epoch = replays.observationEpoch(request.params.epoch)
    if (epoch === null) throw new ApiError('no_such_epoch', { field: 'epoch' })
    return reply.send(epoch)
  })
}
