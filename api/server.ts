/** The HTTP server: a function of its dependencies. */
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import Fastify, { LogController } from 'fastify'
import { printableJson } from '../topics/printable.ts'
import { authorize } from './auth.ts'
import { answerError, malformedRequest } from './error-answers.ts'
import { ApiError } from './errors.ts'
import { FloodGate, noLimits } from './flood-limits.ts'
import { evictIdleConnections } from './idle-connections.ts'
import { MailBodies } from './mail-body.ts'
import { createMetrics, measureRequests } from './metrics.ts'
import { describeApi } from './openapi.ts'
import type { ApiDependencies, RouteContext, Server } from './route.ts'
import { routes } from './routes/all.ts'

export type { ApiDependencies } from './route.ts'

/** Longest path parameter: a domain of 253 characters and its encoding. */
const MAX_PARAMETER = 800
/** A request that has not arrived after this time is cut: 50 MB at 170 KB/s, or a client that only pretends. */
const REQUEST_MILLISECONDS = 300_000
const HEADERS_MILLISECONDS = 20_000
/** JSON bodies are small here; mails have a limit of their own. */
const MAX_JSON_BYTES = 1024 * 1024

/** Does not listen yet: `await server.listen({ host, port })`, and `close()` lets running requests end. */
export function createServer(dependencies: ApiDependencies): Server {
  const { logger, keys, version, roles } = dependencies
  const server = Fastify({
    loggerInstance: logger,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: MAX_JSON_BYTES,
    requestTimeout: REQUEST_MILLISECONDS,
    http: { headersTimeout: HEADERS_MILLISECONDS, connectionsCheckingInterval: 5_000 },
    forceCloseConnections: 'idle',
    routerOptions: { maxParamLength: MAX_PARAMETER },
    frameworkErrors: malformedRequest,
    // A parameter that is not known is an error: a filter that is passed over gives a wrong answer.
    ajv: { customOptions: { removeAdditional: false } },
  }).withTypeProvider<TypeBoxTypeProvider>()
  const bodies = new MailBodies(dependencies.maxMailBytes)
  const metrics = createMetrics(dependencies, bodies)
  const flood = new FloodGate(dependencies.floodLimits ?? noLimits, (limit) => metrics.mailsLimited.inc({ limit }))
  const context: RouteContext = { ...dependencies, metrics, bodies, flood }

  server.setSerializerCompiler(() => JSON.stringify)
  server.setReplySerializer((answer) => printableJson(JSON.stringify(answer)))
  server.setErrorHandler(answerError)
  server.setNotFoundHandler((request, reply) => answerError(new ApiError('not_found'), request, reply))
  server.addHook('onRequest', (request, reply, done) => {
    const scope = request.routeOptions.config.scope ?? 'read'
    if (scope !== 'open') authorize(keys, request.headers.authorization, scope)
    const { url = '', config } = request.routeOptions
    const role = scope === 'ingest' ? 'ingest' : 'api'
    if (url.startsWith('/api/') && config.everywhere !== true && !roles.has(role))
      throw new ApiError('role_missing', {
        message: `This process does other work (${[...roles].join(', ')}); ask one with the role ${role}.`,
      })
    reply.header('x-content-type-options', 'nosniff')
    done()
  })
  measureRequests(server, metrics)
  evictIdleConnections(server.server)
  server.register(async (scope) => {
    await describeApi(scope as Server, version)
    for (const route of routes) route(scope as Server, context)
  })
  return server
}
