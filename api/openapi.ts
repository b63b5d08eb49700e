/** The description of the API and its page; both from the schemas of the routes. */
import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import { errorCodes } from './errors.ts'
import type { Server } from './route.ts'

/** Registers before the routes, so that it sees them. All assets of the page come from this server. */
export async function describeApi(server: Server, version: string): Promise<void> {
  await server.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'mailtrail',
        version,
        description: `Answers from DMARC and TLS report mail.\n\n${conventions}\n\n## Error codes\n\n${codeTable()}`,
        license: { name: 'Apache-2.0', url: 'https://www.apache.org/licenses/LICENSE-2.0' },
      },
      components: { securitySchemes: { key: { type: 'http', scheme: 'bearer' } } },
      security: [{ key: [] }, {}],
      tags: [
        { name: 'mail', description: 'Sending mail in, and what was received' },
        { name: 'domains', description: 'Sums by domain' },
        { name: 'dmarc', description: 'Aggregate reports (RFC 7489, RFC 9990)' },
        { name: 'tls', description: 'TLS reports (RFC 8460)' },
        { name: 'failures', description: 'Failure reports (RFC 6591, RFC 9991)' },
        { name: 'replay', description: 'Rule sets, generations, and what changing rules does to the past' },
        { name: 'operation', description: 'How the server does' },
      ],
    },
  })
  await server.register(swaggerUi, {
    routePrefix: '/docs',
    staticCSP: true,
    uiConfig: { docExpansion: 'list', deepLinking: true, validatorUrl: null },
  })
}

const conventions = `Times are UTC. \`from\` and \`to\` are days, both inclusive; without them the answer covers today and the
29 days before. Lists give \`limit\` items (at most 1000) and a \`next_cursor\`; with \`Accept: text/csv\` or
\`application/x-ndjson\` they stream everything. A filter may be repeated (any of) and \`!value\` excludes. Missing is
\`null\`. Errors are \`{"error":{"code","message","field"}}\`.`

function codeTable(): string {
  const lines = Object.entries(errorCodes).map(
    ([code, { status, message }]) => `| \`${code}\` | ${status} | ${message} |`,
  )
  return ['| Code | Status | Meaning |', '|---|---|---|', ...lines].join('\n')
}
