/** How many of some mails are rejected: what `import --wait` tells. */

import Type from 'typebox'
import { openReading } from '../reading.ts'
import { countRejected } from '../rejected-mails.ts'
import type { Route } from '../route.ts'
import { closed, count, errorAnswer, hexId, readQuery } from '../schemas.ts'

const schema = {
  tags: ['mail'],
  summary: 'How many of these mails are rejected',
  querystring: closed({ partial: readQuery.partial }),
  body: {
    ...closed({ ids: Type.Array(hexId(), { maxItems: 10_000, description: 'ids of mails' }) }),
    examples: [{ ids: ['c3'.repeat(32)] }],
  },
  response: {
    200: closed({ rejected: count('mails with a reject that still stands') }),
    '4xx': errorAnswer,
    503: errorAnswer,
  },
}

export const postRejectsCount: Route = (server, context) => {
  server.post('/api/v1/rejects/count', { schema, config: { scope: 'ingest' } }, async (request) => {
    const { generation } = openReading(context, request.query, null)
    return { rejected: await countRejected(context.store, generation, request.body.ids) }
  })
}
