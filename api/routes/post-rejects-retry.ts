/** Delivers mails that were rejected to `ingest` once more: after a fix, or when an accident was the reason. */
import Type from 'typebox'
import { shownMail, unresolvedRejects } from '../../projections/winners.ts'
import { ingestHeader } from '../../topics/ingest.ts'
import type { LogEvent } from '../../topics/log.ts'
import { ApiError } from '../errors.ts'
import { allOf, type Condition, oneOf } from '../filters.ts'
import { mailBytes, mailEvent } from '../raw-mail.ts'
import { openReading, type Reading } from '../reading.ts'
import type { Route, RouteContext } from '../route.ts'
import { closed, count, errorAnswer, hexId, readQuery } from '../schemas.ts'
import { timeRange } from '../time-range.ts'

const { partial } = readQuery
const body = closed({
  code: Type.Optional(Type.String({ minLength: 1, maxLength: 255, description: 'rejects with this code' })),
  from: Type.Optional(Type.String({ maxLength: 32, description: 'received on this day or later' })),
  to: Type.Optional(Type.String({ maxLength: 32, description: 'received on this day or before' })),
  ids: Type.Optional(Type.Array(hexId(), { maxItems: 10_000, description: 'ids of mails' })),
  dry_run: Type.Optional(Type.Boolean({ description: 'say how many, and do nothing' })),
})

const schema = {
  tags: ['mail'],
  summary: 'Read rejected mails again',
  description:
    'By code, time or ids; what is given combines, and one of them must be given. A mail that can be read then is no ' +
    'reject any more.',
  querystring: closed({ partial }),
  body: { ...body, examples: [{ code: 'gave_up', dry_run: true }] },
  response: {
    200: closed({
      matched: count('mails with a reject that still stands'),
      retried: count('mails delivered again; less when the bytes are no longer kept'),
      dry_run: Type.Boolean(),
    }),
    '4xx': errorAnswer,
    503: errorAnswer,
  },
}

/** Mails looked up and delivered at once: bounded memory, and the client may leave in between. */
const AT_ONCE = 100
const FIRST_DAY = '1970-01-01'
const LAST_DAY = '2149-06-06'

export const postRejectsRetry: Route = (server, context) => {
  server.post('/api/v1/rejects/retry', { schema, config: { scope: 'admin' } }, async (request, reply) => {
    const reading = openReading(context, request.query, reply)
    const { code, from, to, ids, dry_run = false } = request.body
    if (code === undefined && from === undefined && to === undefined && ids === undefined) {
      throw new ApiError('retry_selector_missing')
    }
    const range = timeRange({ from: from ?? FIRST_DAY, to: to ?? LAST_DAY }, context.now())
    const rejected = allOf([
      ...oneOf('code', 'code', code === undefined ? undefined : [code]),
      { sql: 'toDate(received_at) BETWEEN {from:Date} AND {to:Date}', parameters: { ...range } },
      ...(ids === undefined ? [] : [oneOfIds(ids)]),
    ])
    const mails = await reading.query<{ id: string }>(
      `SELECT DISTINCT lower(hex(mail_id)) AS id FROM (${unresolvedRejects(reading.tables, rejected.sql)}) ORDER BY id`,
      rejected.parameters,
    )
    const retried = dry_run
      ? 0
      : await retryAll(
          context,
          reading,
          mails.map(({ id }) => id),
        )
    return { matched: mails.length, retried, dry_run }
  })
}

function oneOfIds(ids: readonly string[]): Condition {
  return {
    sql: 'mail_id IN (SELECT toFixedString(unhex(arrayJoin({ids:Array(String)})), 32))',
    parameters: { ids },
  }
}

async function retryAll(context: RouteContext, reading: Reading, ids: readonly string[]): Promise<number> {
  let retried = 0
  for (let at = 0; at < ids.length; at += AT_ONCE) {
    const readable = ids.slice(at, at + AT_ONCE).filter((id) => !context.replays.control.isUnread(id))
    retried += await retrySome(context, reading, readable)
  }
  return retried
}

interface Place {
  readonly received: string
  readonly ingest_partition: number
  readonly ingest_offset: number
}

/** One at a time to the log: raw mails are large. */
async function retrySome(context: RouteContext, reading: Reading, ids: readonly string[]): Promise<number> {
  const { sql, parameters } = oneOfIds(ids)
  const places = await reading.query<Place>(
    `SELECT received_at AS received, ingest_partition, ingest_offset FROM (${shownMail(reading.tables, sql)})`,
    parameters,
  )
  const topic = reading.generation.topics.ingest
  let retried = 0
  for (const place of places) {
    const event = await mailEvent(context.log, topic, place)
    if (event === null || (await mailBytes(event, context.blobs)) === null) continue
    await context.log.append(topic, [deliveredAgain(event, place.received, context.now())])
    retried++
  }
  return retried
}

/** The same mail under its first `received-at`. Without a `onceId`: it is meant to be there twice. */
function deliveredAgain(event: LogEvent, receivedAt: string, now: Date) {
  return {
    key: null,
    value: event.value,
    headers: {
      ...event.headers,
      [ingestHeader.receivedAt]: receivedAt,
      [ingestHeader.retry]: now.toISOString(),
    },
  }
}
