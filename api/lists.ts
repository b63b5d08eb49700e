/** Every list: a page of JSON with a cursor, or the whole of it as CSV or NDJSON. */
import { Readable } from 'node:stream'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Static, TObject, TSchema } from 'typebox'
import { printableJson } from '../topics/printable.ts'
import { filtersHash, rangeOfCursor, readCursor, writeCursor } from './cursor.ts'
import type { Reading, Stamp } from './reading.ts'
import { DEFAULT_LIMIT } from './schemas.ts'
import { acceptedFormat, contentTypes, csvColumns, csvHeader, csvLine } from './streaming.ts'
import { type TimeRange, timeRange } from './time-range.ts'

export interface Listing<Item extends TObject, Key extends TSchema> {
  readonly item: Item
  /** What the list is ordered by. Checked when it comes back in a cursor. */
  readonly key: Key
  keyOf(item: Static<Item>): Static<Key>
  /** Items after the key (null = from the start), in order. With a limit, so many are enough; without, all. */
  read(after: Static<Key> | null, limit: number | null): AsyncIterable<readonly Static<Item>[]>
}

export interface ListQuery {
  readonly from?: string
  readonly to?: string
  readonly generation?: string
  readonly partial?: boolean
  readonly limit?: number
  readonly cursor?: string
}

/** The range asked for; without one, that of the cursor, and else the default. */
export function listRange(query: ListQuery, now: Date): TimeRange {
  if (query.cursor !== undefined && query.from === undefined && query.to === undefined) {
    const range = rangeOfCursor(query.cursor)
    return timeRange(range, now)
  }
  return timeRange(query, now)
}

export interface ListPage<Item> extends Stamp {
  items: Item[]
  next_cursor: string | null
}

export interface ListRequest {
  readonly request: FastifyRequest
  readonly reply: FastifyReply
  readonly reading: Reading
  readonly range: TimeRange
}

/** Answers with a page, or with a stream when `Accept` asks for CSV or NDJSON; null says that a stream was sent. */
export async function answerList<Item extends TObject, Key extends TSchema>(
  asked: ListRequest,
  listing: Listing<Item, Key>,
): Promise<ListPage<Static<Item>> | null> {
  asked.reply.header('vary', 'accept')
  const format = acceptedFormat(asked.request.headers.accept)
  if (format === 'json') return page(asked, listing)
  await stream(asked, listing, format)
  return null
}

/** What a cursor is bound to, and where the one given goes on. */
function position<Item extends TObject, Key extends TSchema>(
  { request, reading, range }: ListRequest,
  listing: Listing<Item, Key>,
) {
  const { limit, cursor, from, to, generation, partial, ...filters } = request.query as ListQuery
  const made = {
    generation: reading.generation.name,
    range,
    filters: filtersHash(request.routeOptions.url ?? '', { ...filters, params: request.params }),
  }
  return { made, limit, after: cursor === undefined ? null : readCursor(cursor, made, listing.key) }
}

async function page<Item extends TObject, Key extends TSchema>(
  asked: ListRequest,
  listing: Listing<Item, Key>,
): Promise<ListPage<Static<Item>>> {
  const { made, limit, after } = position(asked, listing)
  const wanted = limit ?? DEFAULT_LIMIT
  const found = await firstOf(listing.read(after, wanted + 1), wanted + 1)
  const items = found.slice(0, wanted)
  const last = found.length > wanted ? items.at(-1) : undefined
  const next_cursor = last === undefined ? null : writeCursor({ ...made, key: listing.keyOf(last) })
  return { items, next_cursor, ...asked.reading.stamp }
}

/**
 * Nothing is sent before the first rows are there, so a store that is down is still a 503; a store that fails later
 * cuts the connection, and the client sees that the answer is incomplete.
 */
async function stream<Item extends TObject, Key extends TSchema>(
  asked: ListRequest,
  listing: Listing<Item, Key>,
  format: 'csv' | 'ndjson',
): Promise<void> {
  const { reply, reading } = asked
  const { limit = null, after } = position(asked, listing)
  const batches = limited(listing.read(after, limit), limit)
  const lines = format === 'csv' ? csvText(batches, listing.item) : ndjsonText(batches)
  const body = Readable.from(await begun(lines))
  reply.header('mailtrail-generation', reading.stamp.generation)
  if (reading.stamp.rule_set !== null) reply.header('mailtrail-rule-set', reading.stamp.rule_set)
  // A reply is awaitable: this waits until the stream is out.
  await reply.type(contentTypes[format]).send(body)
}

async function firstOf<Item>(batches: AsyncIterable<readonly Item[]>, limit: number): Promise<Item[]> {
  const items: Item[] = []
  for await (const batch of limited(batches, limit)) items.push(...batch)
  return items
}

async function* limited<Item>(
  batches: AsyncIterable<readonly Item[]>,
  limit: number | null,
): AsyncGenerator<readonly Item[]> {
  let left = limit ?? Number.POSITIVE_INFINITY
  for await (const batch of batches) {
    yield batch.length <= left ? batch : batch.slice(0, left)
    left -= batch.length
    if (left <= 0) return
  }
}

async function* csvText<Item>(batches: AsyncIterable<readonly Item[]>, item: TObject): AsyncGenerator<string> {
  const columns = csvColumns(item)
  let head = csvHeader(columns)
  for await (const batch of batches) {
    yield head + batch.map((row) => csvLine(columns, row)).join('')
    head = ''
  }
  if (head !== '') yield head
}

async function* ndjsonText<Item>(batches: AsyncIterable<readonly Item[]>): AsyncGenerator<string> {
  for await (const batch of batches) {
    if (batch.length > 0) yield printableJson(batch.map((row) => `${JSON.stringify(row)}\n`).join(''))
  }
}

/** Waits for the first piece, so that a failure before it can still be answered with its status. */
async function begun(pieces: AsyncGenerator<string>): Promise<AsyncGenerator<string>> {
  const first = await pieces.next()
  return (async function* () {
    if (first.done !== true) yield first.value
    yield* pieces
  })()
}
