/** How far a generation is, and what it covers. */
import { generationAnswer, generationParam } from '../generation-answer.ts'
import type { Route } from '../route.ts'
import { errorAnswer } from '../schemas.ts'

const schema = {
  tags: ['replay'],
  summary: 'A generation',
  description: 'How far it is, what it covers, and what its topics and tables are called.',
  params: generationParam,
  response: { 200: generationAnswer, '4xx': errorAnswer, 503: errorAnswer },
}

export const getGeneration: Route = (server, { replays }) => {
  server.get('/api/v1/generations/:id', { schema }, async (request, reply) =>
    reply.send(await replays.status(request.params.id)),
  )
}
