/** Says that the process answers. */
import Type from 'typebox'
import type { Route } from '../route.ts'
import { closed } from '../schemas.ts'

const schema = {
  tags: ['operation'],
  summary: 'The process is alive',
  security: [],
  response: { 200: closed({ live: Type.Boolean() }) },
}

export const getHealthLive: Route = (server) => {
  server.get('/health/live', { schema, config: { scope: 'open' } }, async () => ({ live: true }))
}
