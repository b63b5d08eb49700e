/** Turns whatever is thrown into the one form of error answer. */
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { StoreDamaged, StoreUnavailable } from '../projections/store.ts'
import { BlobsUnavailable } from '../topics/blobs.ts'
import { LogBroken, LogClosed, LogFull, LogUnavailable, OversizedEvent } from '../topics/log.ts'
import { ApiError } from './errors.ts'
import { ReplayRefused } from './replays.ts'

export function answerError(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const answer = asApiError(error)
  if (answer.code === 'internal') request.log.error({ err: error, url: request.url }, 'a request failed')
  if (answer.retryAfter !== undefined) reply.header('retry-after', String(answer.retryAfter))
  if (answer.status === 401) reply.header('www-authenticate', 'Bearer realm="mailtrail"')
  return reply.code(answer.status).type('application/json; charset=utf-8').send(answer.body())
}

/** For faults before routing, such as an address that cannot be decoded. */
export function malformedRequest(_error: FastifyError, request: FastifyRequest, reply: FastifyReply): void {
  answerError(new ApiError('request_malformed'), request, reply)
}

function asApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error
  if (error instanceof ReplayRefused) return new ApiError(error.code, { message: error.message })
  if (error instanceof LogUnavailable) return new ApiError('log_unavailable', { retryAfter: 5 })
  if (error instanceof BlobsUnavailable) return new ApiError('blobs_unavailable', { retryAfter: 30 })
  if (error instanceof LogFull) return new ApiError('log_full', { retryAfter: 30 })
  if (error instanceof LogBroken || error instanceof LogClosed)
    return new ApiError('log_unavailable', { retryAfter: 10 })
  if (error instanceof OversizedEvent) return new ApiError('mail_too_large')
  if (error instanceof StoreUnavailable || error instanceof StoreDamaged) {
    return new ApiError('store_unavailable', { retryAfter: 5 })
  }
  // The client has gone, or somebody stopped the statement in the store: nobody waits, or asking again will do.
  if (isCancelled(error)) return new ApiError('store_unavailable', { retryAfter: 1 })
  if (isBeingRebuilt(error)) return new ApiError('store_unavailable', { retryAfter: 1 })
  if (isTimeout(error)) return new ApiError('store_timeout', { retryAfter: 30 })
  return fastifyFault(error as FastifyError)
}

/** ClickHouse: 394 QUERY_WAS_CANCELLED. */
function isCancelled(error: unknown): boolean {
  return error instanceof Error && (error.name === 'AbortError' || (error as { code?: unknown }).code === '394')
}

/** ClickHouse: 60 UNKNOWN_TABLE, 218 TABLE_IS_DROPPED. The tables are made anew at this moment. */
function isBeingRebuilt(error: unknown): boolean {
  const code = (error as { code?: unknown } | null)?.code
  return error instanceof Error && (code === '60' || code === '218')
}

/** ClickHouse: 159 TIMEOUT_EXCEEDED. */
function isTimeout(error: unknown): boolean {
  const code = (error as { code?: unknown } | null)?.code
  return error instanceof Error && (code === '159' || error.name === 'TimeoutError')
}

function fastifyFault(error: FastifyError): ApiError {
  if (error.validation !== undefined) return validationFault(error)
  switch (error.code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return new ApiError('body_too_large')
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return new ApiError('body_type_unsupported', { field: 'content-type' })
    case 'FST_ERR_CTP_EMPTY_JSON_BODY':
    case 'FST_ERR_CTP_INVALID_JSON_BODY':
      return new ApiError('body_invalid')
  }
  const status = error.statusCode ?? 500
  return status >= 400 && status < 500 ? new ApiError('request_malformed') : new ApiError('internal')
}

function validationFault(error: FastifyError): ApiError {
  const fault = error.validation?.[0]
  const inside = fault?.instancePath.split('/')[1]
  const extra = fault?.keyword === 'additionalProperties' ? fault.params.additionalProperty : undefined
  if (typeof extra === 'string') return new ApiError('parameter_unknown', { field: extra })
  const missing = fault?.keyword === 'required' ? String(fault.params.missingProperty) : undefined
  const field = missing ?? inside ?? error.validationContext ?? 'request'
  if (error.validationContext === 'body') {
    return new ApiError('body_invalid', { field, message: `The member ${field} ${fault?.message ?? 'is not right'}.` })
  }
  return new ApiError('parameter_invalid', { field, message: `${field} ${sentence(fault)}.` })
}

function sentence(fault: { keyword: string; params: Record<string, unknown>; message?: string } | undefined): string {
  if (fault?.keyword === 'enum') return `must be one of ${(fault.params.allowedValues as string[]).join(', ')}`
  return fault?.message ?? 'has a value that it cannot have'
}
