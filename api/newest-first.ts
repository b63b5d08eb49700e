/**
 * Lists by day, newest first: read in pieces of whole days, so that neither a page nor a stream makes the store sort
 * more than it must.
 */
import type { Parameters } from '../projections/store.ts'
import type { Reading } from './reading.ts'
import type { TimeRange } from './time-range.ts'

export interface DayList {
  /** Gives the rows of the days from `{from:Date}` to `{to:Date}`, sorted by day (newest first) and then by key. */
  readonly statement: string
  /** Condition, behind WHERE, for rows after the key; used only when there is one. It may name `day`. */
  readonly after: { readonly sql: string; readonly parameters: Parameters; readonly day: string } | null
  /** What gives a column `day` and has a row for each day on which the list may have rows; may hold more. */
  readonly days: string
  readonly parameters: Parameters
}

/**
 * Rows in order. A page looks at one day, then at two, four …, until it is full; a stream, which has no limit, goes day
 * by day. `statement` must contain `{after}` where a WHERE condition may stand.
 */
export async function* newestFirst<Row>(
  reading: Reading,
  range: TimeRange,
  list: DayList,
  limit: number | null,
): AsyncGenerator<readonly Row[]> {
  const { after, parameters } = list
  const newest = after === null ? range.to : after.day
  const rows = await reading.query<{ day: string }>(
    `SELECT DISTINCT day FROM (${list.days}) WHERE day BETWEEN {from:Date} AND {to:Date} ORDER BY day DESC`,
    { ...parameters, from: range.from, to: newest },
  )
  const days = rows.map(({ day }) => day)
  const sql = list.statement.replace('{after}', after === null ? '1' : after.sql)
  const end = limit === null ? '' : ' LIMIT {limit:UInt32}'
  let at = 0
  for (let width = 1; at < days.length; width = limit === null ? 1 : width * 2) {
    const piece = days.slice(at, at + width)
    at += width
    const values = { ...parameters, ...after?.parameters, limit: limit ?? 0, from: piece.at(-1)!, to: piece[0]! }
    yield* reading.rows<Row>(`${sql}${end}`, values, limit)
  }
}

/** Like `newestFirst`, one row turned into one item. */
export async function* itemsOf<Row, Item>(
  rows: AsyncIterable<readonly Row[]>,
  make: (row: Row) => Item,
): AsyncGenerator<Item[]> {
  for await (const batch of rows) yield batch.map(make)
}
