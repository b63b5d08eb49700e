/**
 * The store's tables and views: made, compared with what this version wants, and thrown away when they cannot be
 * trusted. There are no migrations: everything here is computed from the log and can be computed again.
 */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { firstGeneration, type Generation, type TableName, tableNames } from '../topics/generation.ts'
import type { Log } from '../topics/log.ts'
import { projections } from './all.ts'
import { type Feed, feedsOf, tablesOf } from './feeds.ts'
import { type Store, StoreDamaged } from './store.ts'
import { viewsOf } from './views.ts'

export const POSITIONS_TABLE = 'positions'
const META_TABLE = 'store_meta'
const VERSION_KEY = 'schema_version'
const VIEWS_KEY = 'views'
const CHECK_SECONDS = 3600

/**
 * `fsync_*`: a power cut must not keep a position and lose the rows before it. Rows are small and many, so marks are
 * wide and parts stay compact (few files, few fsyncs) until they are large. `merge_selector_base`: an import makes some
 * twenty parts a table; merging many at once, instead of few again and again, took a fifth off the CPU of an import.
 */
const TABLE_SETTINGS = [
  'fsync_after_insert = 1',
  'fsync_part_directory = 1',
  'min_bytes_for_wide_part = 134217728',
  'parts_to_delay_insert = 1000',
  'parts_to_throw_insert = 3000',
  'merge_selector_base = 20',
].join(', ')

function tableStatement(table: TableName | typeof POSITIONS_TABLE, physical: string): string {
  const sql = readFileSync(new URL(`./${table}.sql`, import.meta.url), 'utf8')
  return sql.replaceAll('{table}', physical).replaceAll('{settings}', TABLE_SETTINGS)
}

/** The statements that make a generation's tables, by physical name. */
function tablesToMake({ tables }: Generation): readonly (readonly [physical: string, create: string])[] {
  return tableNames.map((table) => [tables[table], tableStatement(table, tables[table])])
}

/** Changes whenever a table, a view or a column that a projection writes does; not with the generations there are. */
export function schemaVersion(): string {
  const first = firstGeneration('')
  const hash = createHash('sha256').update(tableStatement('positions', POSITIONS_TABLE))
  for (const [, create] of tablesToMake(first)) hash.update(create).update('\0')
  for (const { sql } of viewsOf(first)) hash.update(sql).update('\0')
  for (const { table, columnNames } of projections) hash.update(`${table}(${columnNames.join()})\0`)
  return hash.digest('hex')
}

/** The generations whose tables the store holds, and the one that the views show. */
export interface StoreLayout {
  readonly live: Generation
  /** The live one among them. */
  readonly kept: readonly Generation[]
}

/** A store of one generation. */
export const layoutOf = (live: Generation): StoreLayout => ({ live, kept: [live] })

export interface Prepared {
  /** The tables are empty and will be filled from the log. */
  readonly rebuilt: boolean
  /** Why, as the end of a sentence for the operator; null on the first start of all and when nothing was done. */
  readonly reason: string | null
}

/**
 * Makes the store ready for the loops: creates what is missing and throws away what this version cannot use, what is
 * damaged, and what is ahead of the log. Throws `StoreUnavailable` when the store is away.
 */
export async function prepareStore(
  store: Store,
  layout: StoreLayout,
  { log }: { readonly log: Log },
): Promise<Prepared> {
  const version = schemaVersion()
  let state: StoreState
  try {
    state = await stateOfStore(store, layout, log, version)
  } catch (error) {
    if (!(error instanceof StoreDamaged)) throw error
    state = { usable: false, reason: `it is damaged (${error.message})` }
  }
  if (state.usable) {
    // What a process began and did not finish: tables of a generation that was started, cancelled or retired.
    for (const generation of layout.kept) await createTables(store, generation)
    await dropTables(store, await unwantedTables(store, layout))
    const views = viewsOf(layout.live).map(({ name }) => name)
    const shown = (await tablesThere(store, views)).size === views.length ? await storedMeta(store, VIEWS_KEY) : null
    if (shown !== layout.live.name) await switchViews(store, layout.live)
    return { rebuilt: false, reason: null }
  }
  await createAll(store, layout, version)
  const { reason } = state
  return { rebuilt: true, reason: reason === null ? null : `The store is rebuilt from the log: ${reason}.` }
}

type StoreState = { readonly usable: true } | { readonly usable: false; readonly reason: string | null }

/** Whether the store can go on as it is. Throws `StoreDamaged` when what says so cannot be read. */
async function stateOfStore(store: Store, layout: StoreLayout, log: Log, version: string): Promise<StoreState> {
  const found = await storedMeta(store, VERSION_KEY)
  if (found === null) {
    const begun = await tableExists(store, POSITIONS_TABLE)
    return { usable: false, reason: begun ? 'it does not say which version made it' : null }
  }
  if (found !== version) return { usable: false, reason: 'it was made by another version' }
  const reason =
    (await missingTables(store, layout)) ??
    (await brokenParts(store, layout)) ??
    (await positionsAheadOfLog(store, layout, log))
  return reason === null ? { usable: true } : { usable: false, reason }
}

/** Drops all tables and views and makes them anew, empty: the loops then read the log from its beginning. */
export async function recreateStore(store: Store, layout: StoreLayout): Promise<void> {
  await createAll(store, layout, schemaVersion())
}

/** Makes the tables of a generation that are not there. */
export async function createTables(store: Store, generation: Generation): Promise<void> {
  const there = await tablesThere(store, Object.values(generation.tables))
  for (const [physical, create] of tablesToMake(generation)) if (!there.has(physical)) await store.command(create)
}

/** Drops tables by their physical names; one that is not there is no error. */
export async function dropTables(store: Store, physical: readonly string[]): Promise<void> {
  for (const table of physical) await store.command(`DROP TABLE IF EXISTS ${table} SYNC`)
}

/** Makes the views show this generation, one view after another. */
export async function switchViews(store: Store, live: Generation): Promise<void> {
  for (const { name, sql } of viewsOf(live)) await store.command(`CREATE OR REPLACE VIEW ${name} AS ${sql}`)
  await writeMeta(store, VIEWS_KEY, live.name)
}

/** The last word under the key, or null. */
async function storedMeta(store: Store, key: string): Promise<string | null> {
  if (!(await tableExists(store, META_TABLE))) return null
  const rows = await store.query<{ value: string }>(
    `SELECT value FROM ${META_TABLE} WHERE key = {key:String} ORDER BY written DESC LIMIT 1`,
    { parameters: { key } },
  )
  return rows[0]?.value ?? null
}

/** Key and value are our own words and digests. */
async function writeMeta(store: Store, key: string, value: string): Promise<void> {
  await store.command(`INSERT INTO ${META_TABLE} SELECT '${key}', '${value}', now64(6)`)
}

async function tableExists(store: Store, table: string): Promise<boolean> {
  const rows = await store.query(
    'SELECT 1 AS found FROM system.tables WHERE database = currentDatabase() AND name = {table:String}',
    { parameters: { table } },
  )
  return rows.length > 0
}

/** The version is written last, so that a store that was made halfway is made again. */
async function createAll(store: Store, layout: StoreLayout, version: string): Promise<void> {
  await store.command(`DROP TABLE IF EXISTS ${META_TABLE} SYNC`)
  for (const { name } of viewsOf(layout.live)) await store.command(`DROP VIEW IF EXISTS ${name} SYNC`)
  await dropTables(store, [...(await generationTables(store)), POSITIONS_TABLE])
  await store.command(tableStatement('positions', POSITIONS_TABLE))
  for (const generation of layout.kept) await createTables(store, generation)
  await store.command(
    `CREATE TABLE ${META_TABLE} (key String, value String, written DateTime64(6)) ENGINE = MergeTree ORDER BY key
     SETTINGS fsync_after_insert = 1, fsync_part_directory = 1`,
  )
  await switchViews(store, layout.live)
  await writeMeta(store, VERSION_KEY, version)
}

/** Every table of every generation that the store has, physical names. */
async function generationTables(store: Store): Promise<string[]> {
  const rows = await store.query<{ name: string }>(
    `SELECT name FROM system.tables WHERE database = currentDatabase() AND match(name, {pattern:String})`,
    { parameters: { pattern: `^(${tableNames.join('|')})__g[0-9]+$` } },
  )
  return rows.map(({ name }) => name)
}

const tablesOfAll = ({ kept }: StoreLayout) => [...new Set(kept.flatMap(({ tables }) => Object.values(tables)))]

/** Tables of generations that are no longer kept, physical names. */
export async function unwantedTables(store: Store, layout: StoreLayout): Promise<string[]> {
  const wanted = new Set(tablesOfAll(layout))
  return (await generationTables(store)).filter((name) => !wanted.has(name))
}

async function tablesThere(store: Store, wanted: readonly string[]): Promise<ReadonlySet<string>> {
  const rows = await store.query<{ name: string }>(
    'SELECT name FROM system.tables WHERE database = currentDatabase() AND name IN {wanted:Array(String)}',
    { parameters: { wanted } },
  )
  return new Set(rows.map(({ name }) => name))
}

/** A table that was filled and is gone. One that was not filled yet is simply made. */
async function missingTables(store: Store, layout: StoreLayout): Promise<string | null> {
  const there = await tablesThere(store, [POSITIONS_TABLE, ...tablesOfAll(layout)])
  if (!there.has(POSITIONS_TABLE)) return `it lacks ${POSITIONS_TABLE}`
  const begun = await store.query<{ topic: string }>(`SELECT DISTINCT topic FROM ${POSITIONS_TABLE}`)
  const filled = feedsOf(layout.kept).filter(({ physical }) => begun.some(({ topic }) => topic === physical))
  const missing = filled.flatMap(tablesOf).filter((name) => !there.has(name))
  return missing.length === 0 ? null : `it lacks ${missing.join(', ')}`
}

/** ClickHouse sets parts aside that it cannot load, and goes on without their rows. */
async function brokenParts(store: Store, layout: StoreLayout): Promise<string | null> {
  const rows = await store.query<{ table: string; name: string; reason: string }>(
    `SELECT table, name, reason FROM system.detached_parts WHERE database = currentDatabase()
     AND table IN {tables:Array(String)} AND (startsWith(reason, 'broken') OR reason IN ('unexpected', 'noquorum'))`,
    { parameters: { tables: [...tablesOfAll(layout), POSITIONS_TABLE] } },
  )
  const first = rows[0]
  return first === undefined ? null : `part ${first.name} of ${first.table} is ${first.reason}`
}

/** Positions by topic and partition: the offset up to which all tables of the topic hold every event. */
export type Positions = ReadonlyMap<string, ReadonlyMap<number, number>>

/** Where the store has got to. A partition that one of the topic's tables lacks is absent: it is to be read again. */
export async function storedPositions(store: Store, feeds: readonly Feed[]): Promise<Positions> {
  const rows = await store.query<{ topic: string; partition: number; position: number; tables: number }>(
    `SELECT topic, partition, min(next) AS position, count() AS tables FROM (
       SELECT topic, partition, projected_table, max(next_offset) AS next FROM ${POSITIONS_TABLE}
       WHERE topic IN {topics:Array(String)} GROUP BY topic, partition, projected_table)
     GROUP BY topic, partition`,
    { parameters: { topics: feeds.map(({ physical }) => physical) } },
  )
  const tablesOfTopic = new Map(feeds.map((feed) => [feed.physical, tablesOf(feed).length]))
  const positions = new Map<string, Map<number, number>>()
  for (const { topic, partition, position, tables } of rows) {
    if (tables < tablesOfTopic.get(topic)!) continue
    const ofTopic = positions.get(topic) ?? new Map<number, number>()
    positions.set(topic, ofTopic.set(partition, position))
  }
  return positions
}

/** A log that was restored from a backup, or begun anew, holds less than the store was filled from. */
async function positionsAheadOfLog(store: Store, layout: StoreLayout, log: Log): Promise<string | null> {
  const known = await log.topics()
  for (const [topic, positions] of await storedPositions(store, feedsOf(layout.kept))) {
    if (!known.includes(topic)) return `the log has no topic ${topic}`
    const watermarks = await log.watermarks(topic)
    for (const [partition, position] of positions) {
      const head = watermarks.find((watermark) => watermark.partition === partition)?.high ?? 0
      if (position > head)
        return `it has read ${topic}, partition ${partition}, up to ${position}, and the log ends at ${head}`
    }
  }
  return null
}

/**
 * Reads every table to the last byte, compares checksums, and counts what reports say they hold. Returns what is wrong,
 * or null. It takes seconds for
 * millions of rows: run it beside the work.
 */
export async function checkStore(store: Store, layout: StoreLayout): Promise<string | null> {
  for (const table of [...tablesOfAll(layout), POSITIONS_TABLE]) {
    const damage = await checkTable(store, table)
    if (damage !== null) return `table ${table} is damaged (${damage})`
  }
  for (const generation of layout.kept) {
    const lacking = await findLackingRows(store, generation)
    if (lacking !== null) return lacking
  }
  return null
}

/** Tables whose rows are announced by the row that closes their report: how many, in which column of which table. */
const announced = [
  { rows: 'dmarc_records', by: 'dmarc_reports', column: 'records', what: 'records' },
  { rows: 'tls_policies', by: 'tls_reports', column: 'policies', what: 'policies' },
  { rows: 'tls_failures', by: 'tls_reports', column: 'details', what: 'failure details' },
] as const

/** A part that is gone leaves no broken checksum behind: only the reports know what should be there. */
async function findLackingRows(store: Store, { tables }: Generation): Promise<string | null> {
  for (const { rows, by, column, what } of announced) {
    const count = async (sql: string) =>
      (await store.query<{ rows: number }>(sql, { timeout: CHECK_SECONDS }))[0]?.rows ?? 0
    // The reports first: rows go in before their report does, so that a later look at the rows finds no less.
    const expected = await count(
      `SELECT sum(${column}) AS rows FROM (SELECT DISTINCT report_key, variant, ${column} FROM ${tables[by]})`,
    )
    const found = await count(
      `SELECT count() AS rows FROM ${tables[rows]} FINAL WHERE (report_key, variant) IN (SELECT report_key, variant FROM ${tables[by]})`,
    )
    if (found < expected) return `table ${tables[rows]} lacks ${what} (${found} of ${expected} are there)`
  }
  return null
}

async function checkTable(store: Store, table: string): Promise<string | null> {
  try {
    const parts = await store.query<{ part_path: string; is_passed: number | boolean; message: string }>(
      `CHECK TABLE ${table} SETTINGS check_query_single_value_result = 0`,
      { timeout: CHECK_SECONDS },
    )
    const failed = parts.find(({ is_passed }) => !is_passed)
    return failed === undefined ? null : `${failed.part_path}: ${failed.message}`
  } catch (error) {
    if (error instanceof StoreDamaged) return error.message
    throw error
  }
}
