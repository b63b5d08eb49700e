/**
 * The store's tables and views: made, compared with what this version wants, and thrown away when they cannot be
 * trusted. There are no migrations: everything here is computed from the log and can be computed again.
 */
import { createHash } from 'node:crypto'
import { firstGeneration, type Generation, tableNames } from '../topics/generation.ts'
import type { Log } from '../topics/log.ts'
import { projections } from './all.ts'
import {
  createGenerationStatements,
  createStoreStatements,
  createTableStatements,
  createViewStatement,
  dropTableStatements,
  dropViewStatement,
  META_TABLE,
  ownTables,
  POSITIONS_TABLE,
  REBUILDS_TABLE,
  type StoreLayout,
  type StoreVariant,
} from './ddl.ts'
import { type Feed, feedsOf, tablesOf } from './feeds.ts'
import { type QueryOptions, type Store, StoreDamaged } from './store.ts'
import { viewsOf } from './views.ts'

export type { StoreLayout }

const VERSION_KEY = 'schema_version'
const INCARNATION_KEY = 'incarnation'
const VIEWS_KEY = 'views'
const CHECK_SECONDS = 3600
/** Making and dropping tables waits for running statements, and for every server of a cluster. */
const DDL_SECONDS = 240

/** Changes whenever a table, a view or a column that a projection writes does; not with the generations there are. */
export function schemaVersion(cluster: StoreVariant['cluster'] = null): string {
  const hash = createHash('sha256')
  const layout = layoutOf(firstGeneration(''))
  for (const sql of createStoreStatements(layout, { cluster, tunesMerges: true })) hash.update(sql).update('\0')
  for (const { table, columnNames } of projections) hash.update(`${table}(${columnNames.join()})\0`)
  return hash.digest('hex')
}

const clusterOf = ({ cluster }: Store) => cluster ?? null
const versionOf = (store: Store) => schemaVersion(clusterOf(store))

/** What the statements for this store depend on. */
async function variantOf(store: Store): Promise<StoreVariant> {
  const known = await store.query("SELECT 1 FROM system.merge_tree_settings WHERE name = 'merge_selector_base'")
  return { cluster: clusterOf(store), tunesMerges: known.length > 0 }
}

async function runAll(store: Store, statements: readonly string[]): Promise<void> {
  for (const sql of statements) await store.command(sql, { timeout: DDL_SECONDS })
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
 * damaged, and what is ahead of the log. When several processes share the store, exactly one may be here at a time; the
 * next one finds what that one made and leaves it. Throws `StoreUnavailable` when the store is away.
 */
export async function prepareStore(
  store: Store,
  layout: StoreLayout,
  { log }: { readonly log: Log },
): Promise<Prepared> {
  let state: StoreState
  try {
    state = await stateOfStore(store, layout, log)
  } catch (error) {
    if (!(error instanceof StoreDamaged)) throw error
    state = { usable: false, reason: `it is damaged (${error.message})` }
  }
  if (state.usable) {
    // What a process began and did not finish: tables of a generation that was started, cancelled or retired.
    for (const generation of layout.kept) await createTables(store, generation)
    await dropTables(store, await unwantedTables(store, layout))
    const views = viewsOf(layout.live).map(({ name }) => name)
    const { size } = await tablesThere(store, views)
    const shown = size === views.length ? (await storedMeta(store))?.get(VIEWS_KEY) : undefined
    if (shown !== layout.live.name) await switchViews(store, layout.live)
    return { rebuilt: false, reason: null }
  }
  await createAll(store, layout, log)
  const { reason } = state
  return { rebuilt: true, reason: reason === null ? null : `The store is rebuilt from the log: ${reason}.` }
}

type StoreState = { readonly usable: true } | { readonly usable: false; readonly reason: string | null }

/** Whether the store can go on as it is. Throws `StoreDamaged` when what says so cannot be read. */
async function stateOfStore(store: Store, layout: StoreLayout, log: Log): Promise<StoreState> {
  const meta = await storedMeta(store)
  const found = meta?.get(VERSION_KEY)
  if (found === undefined || !meta?.has(INCARNATION_KEY)) {
    const begun = (await tablesThere(store, [POSITIONS_TABLE])).size > 0
    return { usable: false, reason: begun ? 'it does not say which version made it' : null }
  }
  if (found !== versionOf(store)) return { usable: false, reason: 'it was made by another version' }
  const reason =
    (await missingTables(store, layout)) ??
    (await brokenParts(store, layout)) ??
    (await positionsAheadOfLog(store, layout, log))
  return reason === null ? { usable: true } : { usable: false, reason }
}

export interface RecreateOptions {
  /** With it the store says how far the log has to be read until it is filled (see rebuilds.ts). */
  readonly log?: Log
  /**
   * The incarnation that the caller found lost, null when it found none: when the store is another one by now, it was
   * made anew by another process, and is left as it is. Not given: it is made anew whatever it is.
   */
  readonly lost?: string | null
}

/**
 * Drops all tables and views and makes them anew, empty: the loops then read the log from its beginning. Exactly one
 * process may be here at a time.
 */
export async function recreateStore(
  store: Store,
  layout: StoreLayout,
  { log, lost }: RecreateOptions = {},
): Promise<void> {
  if (lost !== undefined) {
    const meta = await storedMeta(store).catch((error: unknown) => {
      if (error instanceof StoreDamaged) return null
      throw error
    })
    const now = meta?.has(VERSION_KEY) ? meta.get(INCARNATION_KEY) : undefined
    if (now !== undefined && now !== lost) return
  }
  await createAll(store, layout, log)
}

/**
 * Names the store as it is since it was last emptied. Throws `StoreDamaged` when it is not made to its end, what the
 * store says when it is not there (UNKNOWN_TABLE), and an `Error` when another version of mailtrail has made it.
 */
export async function storedIncarnation(store: Store, options?: QueryOptions): Promise<string> {
  const meta = await readMeta(store, options)
  const version = meta.get(VERSION_KEY)
  const incarnation = meta.get(INCARNATION_KEY)
  if (version === undefined || incarnation === undefined) throw new StoreDamaged('It was not made to its end.')
  if (version !== versionOf(store))
    throw new Error(
      'The store was made anew by another version of mailtrail. Run the same version in all processes; this one ends.',
    )
  return incarnation
}

/** Makes the tables of a generation that are not there. */
export async function createTables(store: Store, generation: Generation): Promise<void> {
  const there = await tablesThere(store, Object.values(generation.tables))
  const missing = tableNames.filter((table) => !there.has(generation.tables[table]))
  if (missing.length === 0) return
  const variant = await variantOf(store)
  for (const table of missing) await runAll(store, createTableStatements(table, generation.tables[table], variant))
}

/** Drops tables by their physical names; one that is not there is no error. */
export async function dropTables(store: Store, physical: readonly string[]): Promise<void> {
  const variant = { cluster: clusterOf(store), tunesMerges: false }
  for (const table of physical) await runAll(store, dropTableStatements(table, variant))
}

/** Makes the views show this generation, one view after another. */
export async function switchViews(store: Store, live: Generation): Promise<void> {
  const variant = { cluster: clusterOf(store), tunesMerges: false }
  await runAll(
    store,
    viewsOf(live).map((view) => createViewStatement(view, variant)),
  )
  await writeMeta(store, VIEWS_KEY, `'${live.name}'`)
}

/** The last word under each key; null when nothing was ever said. */
async function storedMeta(store: Store): Promise<ReadonlyMap<string, string> | null> {
  return (await tablesThere(store, [META_TABLE])).size === 0 ? null : readMeta(store)
}

async function readMeta(store: Store, options?: QueryOptions): Promise<ReadonlyMap<string, string>> {
  const rows = await store.query<{ key: string; last: string }>(
    `SELECT key, argMax(value, written) AS last FROM ${META_TABLE} GROUP BY key`,
    options,
  )
  return new Map(rows.map(({ key, last }) => [key, last]))
}

/** The value is an expression of our own. */
async function writeMeta(store: Store, key: string, value: string): Promise<void> {
  await store.command(`INSERT INTO ${META_TABLE} SELECT '${key}', ${value}, now64(6)`)
}

/** The incarnation that the store is in now, as an expression. */
const CURRENT_INCARNATION = `(SELECT argMax(value, written) FROM ${META_TABLE} WHERE key = '${INCARNATION_KEY}')`

/** The version is written last, so that a store that was made halfway is made again. */
async function createAll(store: Store, layout: StoreLayout, log: Log | undefined): Promise<void> {
  const variant = await variantOf(store)
  const feeds = feedsOf(layout.kept)
  const heads = log === undefined ? [] : await headsOf(log, feeds)
  await runAll(store, [
    ...dropTableStatements(META_TABLE, variant),
    ...viewsOf(layout.live).map((view) => dropViewStatement(view, variant)),
    ...[...(await generationTables(store)), ...ownTables].flatMap((table) => dropTableStatements(table, variant)),
    ...ownTables.flatMap((table) => createTableStatements(table, table, variant)),
    ...layout.kept.flatMap((generation) => createGenerationStatements(generation, variant)),
  ])
  await switchViews(store, layout.live)
  await writeMeta(store, INCARNATION_KEY, 'toString(generateUUIDv4())')
  await writeTargets(store, heads)
  await writeMeta(store, VERSION_KEY, `'${versionOf(store)}'`)
  if (variant.cluster === null) return
  // Whoever asks another server next must not find it empty, and make it again.
  for (const table of [REBUILDS_TABLE, META_TABLE])
    await runAll(store, [`SYSTEM SYNC REPLICA ${table} ON CLUSTER ${variant.cluster.name}`])
}

interface Head {
  readonly feed: Feed
  readonly partition: number
  readonly high: number
}

async function headsOf(log: Log, feeds: readonly Feed[]): Promise<readonly Head[]> {
  const known = new Set(await log.topics())
  const heads: Head[] = []
  for (const feed of feeds) {
    if (!known.has(feed.physical)) continue
    for (const { partition, low, high } of await log.watermarks(feed.physical))
      if (high > low) heads.push({ feed, partition, high })
  }
  return heads
}

async function writeTargets(store: Store, heads: readonly Head[]): Promise<void> {
  if (heads.length === 0) return
  await store.command(
    `INSERT INTO ${REBUILDS_TABLE} SELECT ${CURRENT_INCARNATION}, topic, partition, tables, target, now64(3)
     FROM (SELECT 1) ARRAY JOIN {topics:Array(String)} AS topic, {partitions:Array(UInt16)} AS partition,
       {tables:Array(UInt8)} AS tables, {targets:Array(UInt64)} AS target`,
    {
      parameters: {
        topics: heads.map(({ feed }) => feed.physical),
        partitions: heads.map(({ partition }) => partition),
        tables: heads.map(({ feed }) => tablesOf(feed).length),
        targets: heads.map(({ high }) => high),
      },
    },
  )
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
  // Replicas fetch from each other what one of them has lost.
  if (clusterOf(store) !== null) return null
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

/** Per topic and partition the position that all tables have reached, and how many tables have one. */
const POSITIONS = `SELECT topic, partition, min(next) AS position, count() AS filled FROM (
    SELECT topic, partition, projected_table, max(next_offset) AS next FROM ${POSITIONS_TABLE}
    WHERE incarnation = ${CURRENT_INCARNATION} AND topic IN {topics:Array(String)}
    GROUP BY topic, partition, projected_table)
  GROUP BY topic, partition`

/**
 * Where the store has got to: one statement for all feeds. A partition that one of the topic's tables lacks is absent: it
 * is to be read again.
 */
export async function storedPositions(
  store: Store,
  feeds: readonly Feed[],
  options: QueryOptions = {},
): Promise<Positions> {
  const rows = await store.query<{ topic: string; partition: number; position: number; filled: number }>(POSITIONS, {
    ...options,
    parameters: { topics: feeds.map(({ physical }) => physical) },
  })
  const tablesOfTopic = new Map(feeds.map((feed) => [feed.physical, tablesOf(feed).length]))
  const positions = new Map<string, Map<number, number>>()
  for (const { topic, partition, position, filled } of rows) {
    if (filled < tablesOfTopic.get(topic)!) continue
    const ofTopic = positions.get(topic) ?? new Map<number, number>()
    positions.set(topic, ofTopic.set(partition, position))
  }
  return positions
}

/**
 * Offsets done of those that the log held when the store was emptied, whichever processes fill it; null when it is full.
 * A store that is being emptied at this moment has nothing of what it is to have.
 */
export async function rebuildProgress(
  store: Store,
  feeds: readonly Feed[],
): Promise<{ readonly done: number; readonly total: number } | null> {
  const sql = `SELECT sum(if(p.filled >= r.tables, least(p.position, r.target), 0)) AS done, sum(r.target) AS total,
      (SELECT count() FROM ${META_TABLE} WHERE key = '${VERSION_KEY}') AS whole
    FROM (SELECT topic, partition, max(tables) AS tables, max(target) AS target FROM ${REBUILDS_TABLE}
      WHERE incarnation = ${CURRENT_INCARNATION} AND topic IN {topics:Array(String)} GROUP BY topic, partition) AS r
    LEFT JOIN (${POSITIONS}) AS p USING (topic, partition)`
  try {
    const parameters = { topics: feeds.map(({ physical }) => physical) }
    const [row] = await store.query<{ done: number; total: number; whole: number }>(sql, { parameters })
    if (row === undefined || row.whole === 0) return { done: 0, total: 1 }
    return row.done >= row.total ? null : { done: row.done, total: row.total }
  } catch (error) {
    if (isTableMissing(error)) return { done: 0, total: 1 }
    throw error
  }
}

/** The store was emptied: a child process found its folder damaged and began anew, or someone drops or makes its tables. */
export function isTableMissing(error: unknown): boolean {
  return (
    error instanceof Error && 'type' in error && (error.type === 'UNKNOWN_TABLE' || error.type === 'UNKNOWN_DATABASE')
  )
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
 * or null. It takes seconds for millions
 * of rows: run it beside the work.
 */
export async function checkStore(store: Store, layout: StoreLayout): Promise<string | null> {
  // On a cluster the servers look after their parts: replicas fetch from each other what one of them has lost.
  const tables = clusterOf(store) === null ? [...tablesOfAll(layout), POSITIONS_TABLE] : []
  for (const table of tables) {
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
