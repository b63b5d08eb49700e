/** Rule sets that were published, newest first. */
import type { Static } from 'typebox'
import Type from 'typebox'
import { answerList } from '../lists.ts'
import { openReading } from '../reading.ts'
import type { Route } from '../route.ts'
import { closed, errorAnswer, hexId, instant, listAnswer, listQuery } from '../schemas.ts'
import { ALL_DAYS } from '../time-range.ts'

const item = closed({
  id: hexId('hash of the canonical form'),
  name: Type.String(),
  published_at: instant(),
  generations: Type.Array(Type.String({ examples: ['g2'] }), { description: 'generations that were started under it' }),
})
type Item = Static<typeof item>

const { limit, cursor } = listQuery
const key = Type.String({ pattern: '^[0-9a-f]{1,64}$' })

const schema = {
  tags: ['replay'],
  summary: 'Rule sets',
  description: 'Newest first. Rule sets are kept for ever.',
  querystring: closed({ limit, cursor }),
  response: { 200: listAnswer(item), '4xx': errorAnswer, 503: errorAnswer },
}

export const getRuleSets: Route = (server, context) => {
  server.get('/api/v1/rule-sets', { schema }, async (request, reply) => {
    const reading = openReading(context, { partial: true }, reply)
    const { control } = context.replays
    const page = await answerList(
      { request, reply, reading, range: ALL_DAYS },
      {
        item,
        key,
        keyOf: ({ id }: Item) => id,
        async *read(after: string | null) {
          const all = control.ruleSets().toReversed()
          const rest = after === null ? all : all.slice(all.findIndex(({ id }) => id === after) + 1)
          yield rest.map(({ id, name, publishedAt }) => ({
            id,
            name,
            published_at: new Date(publishedAt).toISOString(),
            generations: control
              .generations()
              .filter(({ generation }) => generation.ruleSet === id)
              .map(({ generation }) => generation.name),
          }))
        },
      },
    )
    return page ?? reply
  })
}
