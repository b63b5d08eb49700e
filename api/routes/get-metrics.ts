/** What Prometheus scrapes. */
import Type from 'typebox'
import type { Route } from '../route.ts'

const schema = {
  tags: ['operation'],
  summary: 'Metrics for Prometheus',
  produces: ['text/plain'],
  response: { 200: Type.String({ description: 'Prometheus text format' }) },
}

export const getMetrics: Route = (server, context) => {
  server.get('/metrics', { schema }, async (_request, reply) => {
    return reply.type(context.metrics.contentType).send(await context.metrics.text())
  })
}
