/** Says whether mail can be taken and questions answered. */
import Type from 'typebox'
import { ApiError } from '../errors.ts'
import type { Route } from '../route.ts'
import { closed, errorAnswer } from '../schemas.ts'

const schema = {
  tags: ['operation'],
  summary: 'Log and store answer',
  description: '503 `rebuilding` with the progress while the store is being rebuilt.',
  security: [],
  querystring: closed({ partial: Type.Optional(Type.Boolean()) }),
  response: { 200: closed({ ready: Type.Boolean() }), '4xx': errorAnswer, 503: errorAnswer },
}

/** Seconds; a probe that waits longer is as good as a no. */
const PROBE_SECONDS = 5

export const getHealthReady: Route = (server, context) => {
  server.get('/health/ready', { schema, config: { scope: 'open' } }, async (request) => {
    const progress = context.rebuilding()
    if (progress !== null && request.query.partial !== true) {
      throw new ApiError('rebuilding', { progress, retryAfter: 5 })
    }
    try {
      await context.log.watermarks(context.generation().topics.ingest)
      await context.store.query('SELECT 1', { timeout: PROBE_SECONDS })
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      context.logger.warn({ err: error }, 'not ready')
      throw new ApiError('not_ready', { message: `Not ready: ${reason}`, retryAfter: 5 })
    }
    return { ready: true }
  })
}
