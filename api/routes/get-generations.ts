/** All generations that ever were, newest first. */
import Type from 'typebox'
import { generationAnswer } from '../generation-answer.ts'
import { answerList } from '../lists.ts'
import { openReading } from '../reading.ts'
import type { GenerationStatus } from '../replays.ts'
import type { Route } from '../route.ts'
import { closed, errorAnswer, listAnswer, listQuery } from '../schemas.ts'
import { ALL_DAYS } from '../time-range.ts'

const { limit, cursor } = listQuery
const key = Type.Integer({ minimum: 1 })

const schema = {
  tags: ['replay'],
  summary: 'Generations',
  description: 'Newest first, with how far each is.',
  querystring: closed({ limit, cursor }),
  response: { 200: listAnswer(generationAnswer), '4xx': errorAnswer, 503: errorAnswer },
}

export const getGenerations: Route = (server, context) => {
  server.get('/api/v1/generations', { schema }, async (request, reply) => {
    const reading = openReading(context, { partial: true }, reply)
    const numberOf = ({ id }: { readonly id: string }) => Number(id.slice(1))
    const page = await answerList(
      { request, reply, reading, range: ALL_DAYS },
      {
        item: generationAnswer,
        key,
        keyOf: numberOf,
        async *read(after: number | null) {
          const all = await context.replays.list()
          yield all.filter((generation) => after === null || numberOf(generation) < after).map(plain)
        },
      },
    )
    return page ?? reply
  })
}

const plain = (status: GenerationStatus) => ({ ...status, names: { ...status.names } })
