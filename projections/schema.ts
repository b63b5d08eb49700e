/**
 * The store's tables and views: made, compared with what this version wants, and thrown away when they cannot be
 * trusted. There are no migrations: everything here is computed from the log and can be computed again.
 */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { type Generation, type TableName, tableNames } from '../topics/generation.ts'
import type { Log } from '../topics/log.ts'
import { projections } from './all.ts'
import type { ProjectedTopic } from './projection.ts'
import { type Store, StoreDamaged } from './store.ts'
import { viewsOf } from './views.ts'

export const POSITIONS_TABLE = 'positions'
const META_TABLE = 'store_meta'
const CHECK_SECONDS = 3600

/**
 * `fsync_*`: a power cut must not keep a position and lose the rows before it. Rows are small and many, so marks are
 * wide and parts stay compact (few files, few fsyncs) until they are large.
 */
const TABLE_SETTINGS = [
  'fsync_after_insert = 1',
  'fsync_part_directory = 1',
  'min_bytes_for_wide_part = 134217728',
  'parts_to_delay_insert = 1000',
  'parts_to_throw_insert = 3000',
].join(', ')

function tableStatement(table: TableName | typeof POSITIONS_TABLE, physical: string): string {
  const sql = readFileSync(new URL(`./${table}.sql`, import.meta.url), 'utf8')
  return sql.replaceAll('{table}', physical).replaceAll('{settings}', TABLE_SETTINGS)
}

interface Statement {
  readonly drop: string
  readonly create: string
}

/** Everything a generation needs, in the order of creation. */
function statementsOf(generation: Generation): readonly Statement[] {
  return [
    ...tableNames.map((table) => ({
      drop: `DROP TABLE IF EXISTS ${generation.tables[table]} SYNC`,
      create: tableStatement(table, generation.tables[table]),
    })),
    { drop: `DROP TABLE IF EXISTS ${POSITIONS_TABLE} SYNC`, create: tableStatement('positions', POSITIONS_TABLE) },
    ...viewsOf(generation).map(({ name, sql }) => ({
      drop: `DROP VIEW IF EXISTS ${name} SYNC`,
      create: `CREATE VIEW ${name} AS ${sql}`,
    })),
  ]
}

/** Changes whenever a table, a view or a column that a projection writes does. */
export function schemaVersion(generation: Generation): string {
  const hash = createHash('sha256')
  for (const { create } of statementsOf(generation)) hash.update(create).update('\0')
  for (const { table, columnNames } of projections) hash.update(`${table}(${columnNames.join()})\0`)
  return hash.digest('hex')
}

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
  generation: Generation,
  { log }: { readonly log: Log },
): Promise<Prepared> {
  const version = schemaVersion(generation)
  let state: StoreState
  try {
    state = await stateOfStore(store, generation, log, version)
  } catch (error) {
    if (!(error instanceof StoreDamaged)) throw error
    state = { usable: false, reason: `it is damaged (${error.message})` }
  }
  if (state.usable) return { rebuilt: false, reason: null }
  await createAll(store, generation, version)
  const { reason } = state
  return { rebuilt: true, reason: reason === null ? null : `The store is rebuilt from the log: ${reason}.` }
}

type StoreState = { readonly usable: true } | { readonly usable: false; readonly reason: string | null }

/** Whether the store can go on as it is. Throws `StoreDamaged` when what says so cannot be read. */
async function stateOfStore(store: Store, generation: Generation, log: Log, version: string): Promise<StoreState> {
  const found = await storedVersion(store)
  if (found === null) {
    const begun = await tableExists(store, POSITIONS_TABLE)
    return { usable: false, reason: begun ? 'it does not say which version made it' : null }
  }
  if (found !== version) return { usable: false, reason: 'it was made by another version' }
  const reason =
    (await missingTables(store, generation)) ??
    (await brokenParts(store, generation)) ??
    (await positionsAheadOfLog(store, generation, log))
  return reason === null ? { usable: true } : { usable: false, reason }
}

/** Drops all tables and views and makes them anew, empty: the loops then read the log from its beginning. */
export async function recreateStore(store: Store, generation: Generation): Promise<void> {
  await createAll(store, generation, schemaVersion(generation))
}

async function storedVersion(store: Store): Promise<string | null> {
  if (!(await tableExists(store, META_TABLE))) return null
  const rows = await store.query<{ value: string }>(`SELECT value FROM ${META_TABLE} WHERE key = 'schema_version'`)
  return rows[0]?.value ?? null
}

async function tableExists(store: Store, table: string): Promise<boolean> {
  const rows = await store.query(
    'SELECT 1 AS found FROM system.tables WHERE database = currentDatabase() AND name = {table:String}',
    { parameters: { table } },
  )
  return rows.length > 0
}

/** The version is written last, so that a store that was made halfway is made again. */
async function createAll(store: Store, generation: Generation, version: string): Promise<void> {
  await store.command(`DROP TABLE IF EXISTS ${META_TABLE} SYNC`)
  const statements = statementsOf(generation)
  for (const { drop } of statements.toReversed()) await store.command(drop)
  for (const { create } of statements) await store.command(create)
  await store.command(
    `CREATE TABLE ${META_TABLE} (key String, value String) ENGINE = MergeTree ORDER BY key
     SETTINGS fsync_after_insert = 1, fsync_part_directory = 1`,
  )
  // `version` is our own hexadecimal digest.
  await store.command(`INSERT INTO ${META_TABLE} SELECT 'schema_version', '${version}'`)
}

async function missingTables(store: Store, generation: Generation): Promise<string | null> {
  const wanted = [...Object.values(generation.tables), POSITIONS_TABLE, ...viewsOf(generation).map(({ name }) => name)]
  const rows = await store.query<{ name: string }>(
    'SELECT name FROM system.tables WHERE database = currentDatabase() AND name IN {wanted:Array(String)}',
    { parameters: { wanted } },
  )
  const there = new Set(rows.map(({ name }) => name))
  const missing = wanted.filter((name) => !there.has(name))
  return missing.length === 0 ? null : `it lacks ${missing.join(', ')}`
}

/** ClickHouse sets parts aside that it cannot load, and goes on without their rows. */
async function brokenParts(store: Store, generation: Generation): Promise<string | null> {
  const rows = await store.query<{ table: string; name: string; reason: string }>(
    `SELECT table, name, reason FROM system.detached_parts WHERE database = currentDatabase()
     AND table IN {tables:Array(String)} AND (startsWith(reason, 'broken') OR reason IN ('unexpected', 'noquorum'))`,
    { parameters: { tables: [...Object.values(generation.tables), POSITIONS_TABLE] } },
  )
  const first = rows[0]
  return first === undefined ? null : `part ${first.name} of ${first.table} is ${first.reason}`
}

/** Positions by topic and partition: the offset up to which all tables of the topic hold every event. */
export type Positions = ReadonlyMap<string, ReadonlyMap<number, number>>

/** Where the store has got to. A partition that one of the topic's tables lacks is absent: it is to be read again. */
export async function storedPositions(store: Store, generation: Generation): Promise<Positions> {
  const rows = await store.query<{ topic: string; partition: number; position: number; tables: number }>(
    `SELECT topic, partition, min(next) AS position, count() AS tables FROM (
       SELECT topic, partition, projected_table, max(next_offset) AS next FROM ${POSITIONS_TABLE}
       WHERE generation = {generation:UInt32} GROUP BY topic, partition, projected_table)
     GROUP BY topic, partition`,
    { parameters: { generation: generation.number } },
  )
  const positions = new Map<string, Map<number, number>>()
  for (const { topic, partition, position, tables } of rows) {
    if (tables < tablesOf(generation, topic)) continue
    const ofTopic = positions.get(topic) ?? new Map<number, number>()
    positions.set(topic, ofTopic.set(partition, position))
  }
  return positions
}

function tablesOf(generation: Generation, physicalTopic: string): number {
  return projections.filter(({ topic }) => generation.topics[topic] === physicalTopic).length
}

/** A log that was restored from a backup, or begun anew, holds less than the store was filled from. */
async function positionsAheadOfLog(store: Store, generation: Generation, log: Log): Promise<string | null> {
  const known = await log.topics()
  for (const [topic, positions] of await storedPositions(store, generation)) {
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
export async function checkStore(store: Store, generation: Generation): Promise<string | null> {
  for (const table of [...Object.values(generation.tables), POSITIONS_TABLE]) {
    const damage = await checkTable(store, table)
    if (damage !== null) return `table ${table} is damaged (${damage})`
  }
  return findLackingRows(store, generation)
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

export const projectedTopics: readonly ProjectedTopic[] = ['reports', 'private', 'rejects']
