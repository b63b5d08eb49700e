/** Waits until mails that were sent can be queried. */
import Type from 'typebox'
import type { Route } from '../route.ts'
import { closed, errorAnswer } from '../schemas.ts'

const schema = {
  tags: ['mail'],
  summary: 'Wait until mails can be queried',
  description:
    'Give the highest `position` of each partition that POST /mail answered. `settled: false` comes after half a minute: ' +
    'ask again.',
  body: {
    ...closed({
      positions: Type.Array(
        closed({
          partition: Type.Integer({ minimum: 0, maximum: 65535 }),
          offset: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER - 1 }),
        }),
        { maxItems: 10_000 },
      ),
    }),
    examples: [{ positions: [{ partition: 3, offset: 1042 }] }],
  },
  response: {
    200: closed({ settled: Type.Boolean({ description: 'all of them can be queried' }) }),
    '4xx': errorAnswer,
    503: errorAnswer,
  },
}

/** Proxies cut answers that take longer than a minute. */
const WAIT_MILLISECONDS = 30_000

export const postMailSettle: Route = (server, context) => {
  server.post('/api/v1/mail/settle', { schema, config: { scope: 'ingest' } }, async (request, reply) => {
    const ends = new Map<number, number>()
    for (const { partition, offset } of request.body.positions) {
      ends.set(partition, Math.max(offset + 1, ends.get(partition) ?? 0))
    }
    const waited = new AbortController()
    const timer = setTimeout(() => waited.abort(), WAIT_MILLISECONDS)
    reply.raw.once('close', () => waited.abort())
    try {
      await context.settle(waited.signal, ends)
      return { settled: true }
    } catch (error) {
      if (waited.signal.aborted) return { settled: false }
      throw error
    } finally {
      clearTimeout(timer)
    }
  })
}
