/**
 * Groups by source address. A large domain has hundreds of thousands of addresses: to keep a dozen sums for each costs
 * three times as much as to find those with most messages, so a page sums twice: once all addresses by messages, and
 * then in full those of the page.
 */

import { addressText } from '../projections/views.ts'
import type { Reading } from './reading.ts'
import {
  type Announced,
  finalGroups,
  type Grouping,
  plainGroups,
  provedGroups,
  type RecordsOfDomain,
  readAnnounced,
} from './record-groups.ts'

/** As numbers they group and sort in a third of the time of texts; only those of a page are written out as text. */
export const addressKeys = ['source_ip', 'cityHash64(source_text)']
/** The address of a group, or the text that was sent in its place. */
export const addressOfGroup = addressText('k0', 'any(source_text)')

interface AddressRow {
  readonly k0: string
  readonly hash: string
  readonly total: number
  readonly counted: number
}

/** A page of groups by `addressKeys`, as `groupRecords` gives it. */
export async function* groupByAddress<Row extends object>(
  reading: Reading,
  asked: RecordsOfDomain,
  grouping: Grouping,
  limit: number,
): AsyncGenerator<readonly Row[]> {
  const announced = await readAnnounced(reading, asked)
  const short: Grouping = {
    ...grouping,
    columns: ['toString(k1) AS hash', 'sum(messages) AS total', 'count() AS counted'],
  }
  const page = await provedGroups<AddressRow>(reading, asked, short, announced, limit)
  const rows = page === null ? null : await inFull<Row>(reading, asked, grouping, announced, page)
  if (rows !== null) yield rows
  else yield* finalGroups<Row>(reading, asked, grouping, limit)
}

/**
 * All columns of the groups of a page. Rows are only ever added, so as many as were counted are the same ones; null when
 * there are more.
 */
async function inFull<Row extends object>(
  reading: Reading,
  asked: RecordsOfDomain,
  grouping: Grouping,
  announced: Announced,
  page: readonly AddressRow[],
): Promise<Row[] | null> {
  if (page.length === 0) return []
  const inPage = `(source_ip, cityHash64(source_text)) IN (SELECT toIPv6(splitByChar(' ', one)[1]),
    toUInt64(splitByChar(' ', one)[2]) FROM (SELECT arrayJoin({page:Array(String)}) AS one))`
  const { having: _, ...whole } = grouping
  const rows = await plainGroups<Row & { counted: number }>(
    reading,
    asked,
    {
      ...whole,
      columns: [...grouping.columns, 'count() AS counted'],
      matches: { sql: `(${grouping.matches.sql}) AND ${inPage}`, parameters: grouping.matches.parameters },
      parameters: { ...grouping.parameters, page: page.map(({ k0, hash }) => `${k0} ${hash}`) },
    },
    announced,
  )
  const isSame = rows.length === page.length && rows.every(({ counted }, index) => counted === page[index]!.counted)
  return isSame ? rows : null
}
