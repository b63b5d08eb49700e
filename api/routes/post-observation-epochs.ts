/** Begins a new observation epoch. */
import type { Route } from '../route.ts'
import { closed, count, errorAnswer } from '../schemas.ts'

const schema = {
  tags: ['replay'],
  summary: 'Observe addresses anew',
  description:
    'What was observed of an address stays as it is in its epoch. A generation that is started from `ingest` with the ' +
    'new epoch asks anew.',
  body: { ...closed({}), examples: [{}] },
  response: { 201: closed({ epoch: count('for POST /generations') }), '4xx': errorAnswer, 503: errorAnswer },
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
    async (_request, reply) => reply.code(201).send({ epoch: await replays.reobserve() }),
  )
}
