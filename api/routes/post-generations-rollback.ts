/** Goes back to the generation that was live before. */
import { clientGone } from '../client-gone.ts'
import { generationAnswer } from '../generation-answer.ts'
import { promotionOptions, waitingMembers } from '../promotion.ts'
import type { Route } from '../route.ts'
import { errorAnswer } from '../schemas.ts'

const schema = {
  tags: ['replay'],
  summary: 'Roll back',
  description: 'Back to the generation that was live before, while it is kept. It waits like `promote`.',
  querystring: waitingMembers,
  body: { ...waitingMembers, examples: [{ timeout: 60 }] },
  response: { 200: generationAnswer, '4xx': errorAnswer, 503: errorAnswer },
}

export const postGenerationsRollback: Route = (server, { replays }) => {
  server.post(
    '/api/v1/generations/rollback',
    {
      schema,
      config: { scope: 'admin' },
      preValidation: async (request) => {
        request.body ??= {}
      },
    },
    async (request, reply) =>
      reply.send(await replays.rollback(promotionOptions(request.query, request.body, clientGone(reply)))),
  )
}
