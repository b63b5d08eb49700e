/** Promotes, pauses, resumes or cancels a generation. */
import Type from 'typebox'
import { clientGone } from '../client-gone.ts'
import { generationAnswer, generationParam } from '../generation-answer.ts'
import { promotionMembers, promotionOptions } from '../promotion.ts'
import type { Route } from '../route.ts'
import { closed, errorAnswer } from '../schemas.ts'

const commands = ['promote', 'pause', 'resume', 'cancel'] as const

const schema = {
  tags: ['replay'],
  summary: 'Promote, pause, resume or cancel a generation',
  description:
    '`promote` takes the heads of now and waits until the generation has passed them, else 409 `not_caught_up`; then ' +
    'answers come from it. `cancel` deletes what is its own. `timeout` and `accept_gap` are for `promote`.',
  params: closed({ ...generationParam.properties, command: Type.Enum([...commands]) }),
  querystring: promotionMembers,
  body: { ...promotionMembers, examples: [{ timeout: 60 }] },
  response: { 200: generationAnswer, '4xx': errorAnswer, 503: errorAnswer },
}

export const postGenerationCommand: Route = (server, { replays }) => {
  server.post(
    '/api/v1/generations/:id/:command',
    {
      schema,
      config: { scope: 'admin' },
      preValidation: async (request) => {
        request.body ??= {}
      },
    },
    async (request, reply) => {
      const { id, command } = request.params
      const run = {
        promote: () => replays.promote(id, promotionOptions(request.query, request.body, clientGone(reply))),
        pause: () => replays.pause(id),
        resume: () => replays.resume(id),
        cancel: () => replays.cancel(id),
      }[command]
      return reply.send(await run())
    },
  )
}
