/** What Prometheus scrapes. */
import Type from 'typebox'
import { openReading } from '../reading.ts'
import type { Route, RouteContext } from '../route.ts'
import { countConflicts } from '../totals.ts'

const schema = {
  tags: ['operation'],
  summary: 'Metrics for Prometheus',
  produces: ['text/plain'],
  response: { 200: Type.String({ description: 'Prometheus text format' }) },
}

/** Milliseconds between two looks at what the store must count. */
const LOOK_EVERY = 60_000

export const getMetrics: Route = (server, context) => {
  let lookedAt = Number.NEGATIVE_INFINITY
  server.get('/metrics', { schema }, async (_request, reply) => {
    if (performance.now() - lookedAt > LOOK_EVERY) {
      lookedAt = performance.now()
      await lookAtConflicts(context)
    }
    return reply.type(context.metrics.contentType).send(await context.metrics.text())
  })
}

async function lookAtConflicts(context: RouteContext): Promise<void> {
  try {
    context.metrics.conflicts.set(await countConflicts(openReading(context, { partial: true }, null)))
  } catch (error) {
    // The other metrics say that the store is down; the scrape must not fail because of it.
    context.logger.warn({ err: error }, 'conflicts could not be counted')
  }
}
