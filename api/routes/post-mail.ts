/** Takes a mail and answers when it is durable. */
import Type from 'typebox'
import { blockedEvent } from '../../topics/deliver.ts'
import { blobReference, ingestHeader, mailId } from '../../topics/ingest.ts'
import type { Appended } from '../../topics/log.ts'
import { ApiError } from '../errors.ts'
import { checkMailHeaders } from '../mail-body.ts'
import type { Route, RouteContext } from '../route.ts'
import { closed, count, errorAnswer, hexId } from '../schemas.ts'

const accepted = closed({
  id: hexId('SHA-256 of the bytes: the same mail has the same id'),
  duplicate: Type.Boolean({ description: 'the mail was known, nothing was stored' }),
  position: closed({ partition: count(), offset: count() }, 'where the mail lies on the log'),
})

const bytes = { schema: Type.Unsafe<NodeJS.ReadableStream>({ type: 'string', format: 'binary' }) }

const schema = {
  tags: ['mail'],
  summary: 'Send a mail in',
  description:
    'The body is the mail (RFC 5322) as it is. Optional headers: X-Mailtrail-Source (free text, percent-encoded where it is not ASCII), Envelope-From, ' +
    'Envelope-To, Received-At (ISO 8601) and Received-From (what that time was taken from). The answer comes after ' +
    'the mail is durable.\n\nExample: `curl --data-binary @report.eml -H "Content-Type: message/rfc822" ' +
    'http://127.0.0.1:7489/api/v1/mail`',
  body: { content: { 'message/rfc822': bytes, 'application/octet-stream': bytes, 'text/plain': bytes } },
  response: {
    202: {
      ...accepted,
      examples: [{ id: 'c3'.repeat(32), duplicate: false, position: { partition: 3, offset: 1042 } }],
    },
    400: errorAnswer,
    413: errorAnswer,
    415: errorAnswer,
    429: errorAnswer,
    503: errorAnswer,
  },
}

/** In a scope of its own: here every content type is bytes, and none is JSON. */
export const postMail: Route = (server, context) => {
  server.register(async (scope) => {
    scope.removeAllContentTypeParsers()
    scope.addContentTypeParser('*', (_request, payload, done) => done(null, payload))
    scope.addHook('onRequest', (request, _reply, done) => {
      checkMailHeaders(request.headers, context.maxMailBytes)
      done()
    })
    // The schema describes the body; it comes as a stream, which is read and checked below.
    const validatorCompiler = () => () => true
    scope.post('/api/v1/mail', { schema, validatorCompiler, config: { scope: 'ingest' } }, async (request, reply) => {
      reply.raw.once('close', context.posting.begin())
      const payload = request.body as NodeJS.ReadableStream | undefined
      const bytes = payload === undefined ? Buffer.alloc(0) : await context.bodies.receive(payload, reply.raw)
      if (bytes.length === 0) throw new ApiError('mail_empty')
      context.flood.check(request.ip, free(request.headers['envelope-from']), bytes, performance.now())
      const { id, appended } = await store(context, bytes, eventHeaders(request.headers, context.now()))
      context.metrics.mailsAccepted.inc({ duplicate: String(appended.duplicate) })
      context.metrics.mailBytes.inc(bytes.length)
      const { duplicate, partition, offset } = appended
      return reply.code(202).send({ id, duplicate, position: { partition, offset } })
    })
  })
}

/** Large mails go to the blob store first, so that an event never points at bytes that are not there. */
async function store(
  context: RouteContext,
  bytes: Buffer,
  headers: Readonly<Record<string, string>>,
): Promise<{ id: string; appended: Appended }> {
  try {
    const topic = context.generation().topics.ingest
    const event = await eventOf(context, bytes, headers)
    const [appended] = await context.log.append(topic, [{ ...event, key: null }])
    return { id: event.onceId, appended: appended! }
  } catch (error) {
    context.metrics.appendFailures.inc({ code: error instanceof ApiError ? error.code : 'log' })
    throw error
  }
}

async function eventOf(context: RouteContext, bytes: Buffer, headers: Readonly<Record<string, string>>) {
  const { control } = context.replays
  if (control.leavesUnread()) {
    const id = mailId(bytes)
    if (control.isBlocked(id)) return blockedEvent(id, bytes.length)
    // Taken now, it would be erased with the delivery before.
    if (control.isBeingErased(id)) throw new ApiError('mail_being_erased', { retryAfter: 2 })
  }
  return bytes.length > context.inlineBytes ? claimCheck(context, bytes, headers) : inline(bytes, headers)
}

const inline = (value: Buffer, headers: Readonly<Record<string, string>>) => ({ value, headers, onceId: mailId(value) })

async function claimCheck({ blobs, logger }: RouteContext, bytes: Buffer, headers: Readonly<Record<string, string>>) {
  try {
    const { sha256, size } = await blobs.put(bytes)
    const value = Buffer.alloc(0)
    return { value, headers: { ...headers, [ingestHeader.blob]: blobReference(sha256, size) }, onceId: sha256 }
  } catch (error) {
    logger.error({ err: error, mail_id: mailId(bytes) }, 'the blob store did not take a mail')
    throw new ApiError('blobs_unavailable', { retryAfter: 30 })
  }
}

type RequestHeaders = Readonly<Record<string, string | string[] | undefined>>

/** What a client may say that `received-at` was taken from. */
const receivedFrom = ['http', 'received', 'mbox', 'maildir', 'import']
/** Characters kept of free text. */
const MAX_HEADER = 1024

/** Headers of the `ingest` event. Throws `header_invalid`. */
function eventHeaders(request: RequestHeaders, now: Date): Record<string, string> {
  const headers: Record<string, string> = {
    [ingestHeader.receivedAt]: now.toISOString(),
    [ingestHeader.receivedFrom]: 'http',
    [ingestHeader.source]: decoded(free(request['x-mailtrail-source']) ?? 'http'),
  }
  const from = free(request['envelope-from'])
  const to = free(request['envelope-to'])
  if (from !== undefined) headers[ingestHeader.envelopeFrom] = from
  if (to !== undefined) headers[ingestHeader.envelopeTo] = to
  const stated = free(request['received-at'])
  if (stated !== undefined) headers[ingestHeader.receivedAt] = statedInstant(stated, now)
  const origin = free(request['received-from'])
  if (origin !== undefined && !receivedFrom.includes(origin)) {
    throw new ApiError('header_invalid', { field: 'received-from', message: `Use one of ${receivedFrom.join(', ')}.` })
  }
  if (origin !== undefined) headers[ingestHeader.receivedFrom] = origin
  return headers
}

function statedInstant(stated: string, now: Date): string {
  const instant = /^\d{4}-\d\d-\d\d/.test(stated) ? Date.parse(stated) : Number.NaN
  if (Number.isNaN(instant) || instant < 0) {
    throw new ApiError('header_invalid', {
      field: 'received-at',
      message: 'Received-At is an ISO 8601 instant after 1970.',
    })
  }
  return new Date(Math.min(instant, now.getTime())).toISOString()
}

/** Node reads header bytes as Latin-1; clients that send more than ASCII send UTF-8. */
function free(value: string | string[] | undefined): string | undefined {
  const first = Array.isArray(value) ? value[0] : value
  return first === undefined || first === '' ? undefined : Buffer.from(first, 'latin1').toString().slice(0, MAX_HEADER)
}

/** Paths hold what headers cannot; text with a stray % stays as it is. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch (error) {
    if (error instanceof URIError) return text
    throw error
  }
}
