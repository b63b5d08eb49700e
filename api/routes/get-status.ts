/** How the pipeline does, and how much is there. */
import Type from 'typebox'
import { openReading } from '../reading.ts'
import type { Route } from '../route.ts'
import { closed, count, errorAnswer, readQuery, stamp } from '../schemas.ts'
import { isIdle } from '../stages.ts'
import { TotalsCache } from '../totals.ts'

const schema = {
  tags: ['operation'],
  summary: 'Stages, lag and totals',
  description:
    '`idle` is true when, read from upstream to downstream in one pass, each stage had reached the head of its input ' +
    'and the store has the rows. Totals are of everything that is there, whatever the day.',
  querystring: closed(readQuery),
  response: {
    200: closed({
      ...stamp,
      version: Type.String(),
      parser_version: Type.String({ description: 'what reads mail now' }),
      parser_changed: Type.Boolean({
        description:
          'the live generation was begun by another reader: `mailtrail replay start --from ingest` renews it',
      }),
      idle: Type.Boolean(),
      stages: Type.Array(
        closed({
          stage: Type.String(),
          generation: Type.String(),
          topic: Type.String(),
          position: count('grows with every event handled'),
          lag: count('events that wait'),
          lag_seconds: count('age of the oldest that waits'),
          rate: count('events a second, lately'),
        }),
      ),
      totals: closed({
        mails: count('distinct by id'),
        reports: count('DMARC + TLS + failure'),
        records: count('of the reports that count'),
        rejects: count('mails with an unresolved reject'),
      }),
    }),
    '4xx': errorAnswer,
    503: errorAnswer,
  },
}

export const getStatus: Route = (server, context) => {
  const cache = new TotalsCache()
  server.get('/api/v1/status', { schema, config: { everywhere: true } }, async (request) => {
    const reading = openReading(context, request.query, null)
    const stages = await context.status().stages()
    const totals = await cache.read(reading, stages, context.now().getTime())
    return {
      ...reading.stamp,
      version: context.version,
      parser_version: context.parserVersion,
      parser_changed: context.parserChanged(),
      idle: isIdle(stages) && context.rebuilding() === null,
      stages: [...stages],
      totals,
    }
  })
}
