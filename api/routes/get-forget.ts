/** How far an erasure is. */
import Type from 'typebox'
import { erasureAnswer } from '../erasure-answer.ts'
import { ApiError } from '../errors.ts'
import type { Route } from '../route.ts'
import { closed, errorAnswer } from '../schemas.ts'

const schema = {
  tags: ['mail'],
  summary: 'An erasure',
  description: 'Whether mails that were to be erased are.',
  params: closed({
    erasure: Type.Integer({ minimum: 1, maximum: 1_000_000_000, description: 'number of the erasure', examples: [1] }),
  }),
  response: { 200: erasureAnswer, '4xx': errorAnswer, 503: errorAnswer },
}

export const getForget: Route = (server, { forgetting }) => {
  server.get('/api/v1/forget/:erasure', { schema, config: { scope: 'admin' } }, async (request, reply) => {
    const status = forgetting?.status(request.params.erasure) ?? null
    if (status === null) throw new ApiError('erasure_unknown', { field: 'erasure' })
    return reply.send(status)
  })
}
