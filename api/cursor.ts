/** Cursors: opaque to clients, checked like any other input when they come back. */
import { createHash } from 'node:crypto'
import type { Static, TSchema } from 'typebox'
import { Value } from 'typebox/value'
import { ApiError } from './errors.ts'
import type { TimeRange } from './time-range.ts'

/** What a cursor holds: the range and generation it was made under, a hash of the filters, and the last key shown. */
interface Contents {
  readonly generation: string
  readonly range: TimeRange
  readonly filters: string
  readonly key: unknown
}

/** A hash over what was asked, whatever its order; two requests with the same filters have the same. */
export function filtersHash(route: string, filters: Readonly<Record<string, unknown>>): string {
  const given = Object.entries(filters)
    .filter(([, value]) => value !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1))
  return createHash('sha256')
    .update(JSON.stringify([route, given]))
    .digest('base64url')
    .slice(0, 16)
}

export function writeCursor(contents: Contents): string {
  const { generation, range, filters, key } = contents
  return Buffer.from(JSON.stringify([generation, range.from, range.to, filters, key])).toString('base64url')
}

const DAY = /^\d{4}-\d\d-\d\d$/

function parse(cursor: string): Contents {
  let parts: unknown
  try {
    parts = JSON.parse(Buffer.from(cursor, 'base64url').toString())
  } catch {
    throw new ApiError('cursor_invalid', { field: 'cursor' })
  }
  if (!Array.isArray(parts) || parts.length !== 5) throw new ApiError('cursor_invalid', { field: 'cursor' })
  const [generation, from, to, filters, key] = parts as unknown[]
  const isDay = (value: unknown): value is string => typeof value === 'string' && DAY.test(value)
  if (typeof generation !== 'string' || !isDay(from) || !isDay(to) || typeof filters !== 'string') {
    throw new ApiError('cursor_invalid', { field: 'cursor' })
  }
  return { generation, range: { from, to }, filters, key }
}

/** The range that a cursor was made under, so that a default range does not move at midnight between two pages. */
export function rangeOfCursor(cursor: string): TimeRange {
  return parse(cursor).range
}

/** The generation that a cursor was made in. */
export function generationOfCursor(cursor: string): string {
  return parse(cursor).generation
}

/** The key after which to go on. Throws `cursor_expired` and `cursor_invalid`. */
export function readCursor<Key extends TSchema>(
  cursor: string,
  made: { generation: string; range: TimeRange; filters: string },
  keySchema: Key,
): Static<Key> {
  const contents = parse(cursor)
  if (contents.generation !== made.generation) throw new ApiError('cursor_expired', { field: 'cursor' })
  const sameRange = contents.range.from === made.range.from && contents.range.to === made.range.to
  if (!sameRange || contents.filters !== made.filters) throw new ApiError('cursor_invalid', { field: 'cursor' })
  if (!Value.Check(keySchema, contents.key)) throw new ApiError('cursor_invalid', { field: 'cursor' })
  return contents.key
}
