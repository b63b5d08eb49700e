/** The description of the API. */
import Type from 'typebox'
import type { Route } from '../route.ts'

const schema = {
  tags: ['operation'],
  summary: 'This description (OpenAPI 3.1)',
  response: { 200: Type.Object({}, { additionalProperties: true }) },
}

export const getOpenapi: Route = (server) => {
  server.get('/openapi.json', { schema }, async () => server.swagger())
}
