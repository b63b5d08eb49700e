/** Begins to observe all known addresses anew. */
import { epochAnswer } from '../epoch-answer.ts'
import type { Route } from '../route.ts'
import { closed, errorAnswer } from '../schemas.ts'

const schema = {
  tags: ['replay'],
  summary: 'Observe addresses anew',
  description:
    'Asks DNS and the address data anew about every address that was ever observed, under the next observation epoch. ' +
    'What was observed before stays as it is in its epoch. The epoch begins when all is observed; a generation that is ' +
    'then started from `ingest` with its number reads the new answers, and asks nobody.',
  body: { ...closed({}), examples: [{}] },
  response: { 202: epochAnswer, '4xx': errorAnswer, 503: errorAnswer },
}

export const postObservationEpochs: Route = (server, { replays }) => {
  server.post(
    '/api/v1/observation-epochs',
    {
      schema,
      config: { scope: 'admin' },
      preValidation: async (request) => {
        request.body ??= {}
      },
    },
    async (_request, reply) => reply.code(202).send(await replays.reobserve()),
  )
}
