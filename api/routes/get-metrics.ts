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
    const { registry } = context.metrics
    return reply.type(registry.contentType).send(await registry.metrics())
  })
}
