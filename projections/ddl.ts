/**
 * The statements that make and drop what the store holds, for one server or for a cluster of them: a function of the
 * layout and the variant, and nothing else.
 *
 * On a cluster every table of rows is a replicated one on each shard (`…__local`) under a distributed one that has the
 * plain name. Rows of one report, and of one mail, lie on one shard: so `FINAL` and the choice of a winner, which compare
 * rows of one report or mail only, are right on each shard alone, and `IN (SELECT …)` may look at the shard's own rows
 * (`distributed_product_mode = 'local'`, see clickhouse-store.ts). What is small and asked by every process (positions, what
 * the store says of itself, rebuilds) is replicated whole to every server.
 */
import { readFileSync } from 'node:fs'
import { type Generation, type TableName, tableNames } from '../topics/generation.ts'
import { type View, viewsOf } from './views.ts'

/** A cluster as `remote_servers` of its configuration names it, and the database that our tables are in. */
export interface Cluster {
  readonly name: string
  readonly database: string
}

export interface StoreVariant {
  /** Null: one server, or the embedded store. */
  readonly cluster: Cluster | null
  /** Whether the engine has `merge_selector_base` (ClickHouse before 25 has not). */
  readonly tunesMerges: boolean
}

/** The generations whose tables the store holds, and the one that the views show. */
export interface StoreLayout {
  readonly live: Generation
  /** The live one among them. */
  readonly kept: readonly Generation[]
}

export const POSITIONS_TABLE = 'positions'
export const META_TABLE = 'store_meta'
export const REBUILDS_TABLE = 'rebuilds'
/** Tables that are there once, whatever generations there are. Whoever says that the store is whole is dropped first. */
export const ownTables = [META_TABLE, POSITIONS_TABLE, REBUILDS_TABLE] as const
type OwnTable = (typeof ownTables)[number]

/** All rows that are compared with each other have the same value here: those of a report, or of a mail. */
const shardedBy: Readonly<Record<TableName, string>> = {
  dmarc_records: 'report_key',
  dmarc_reports: 'report_key',
  tls_policies: 'report_key',
  tls_failures: 'report_key',
  tls_reports: 'report_key',
  record_verdicts: 'report_key',
  report_verdicts: 'report_key',
  failure_reports: 'failure_id',
  mail: 'mail_id',
  rejects: 'mail_id',
}

/**
 * `fsync_*`: a power cut must not keep a position and lose the rows before it. Rows are small and many, so marks are
 * wide and parts stay compact (few files, few fsyncs) until they are large. `merge_selector_base`: an import makes some
 * twenty parts a table; merging many at once, instead of few again and again, took a fifth off the CPU of an import.
 */
const SAFE_SETTINGS = ['fsync_after_insert = 1', 'fsync_part_directory = 1']
const ROW_SETTINGS = [
  ...SAFE_SETTINGS,
  'min_bytes_for_wide_part = 134217728',
  'parts_to_delay_insert = 1000',
  'parts_to_throw_insert = 3000',
]
const MERGE_SETTING = 'merge_selector_base = 20'
/** Rows that come again are meant to be written again: keys make them one. */
const REPLICATED_SETTING = 'replicated_deduplication_window = 0'

const META = `-- What the store says of itself; the last word under a key counts.
CREATE TABLE IF NOT EXISTS {table} (key String, value String, written DateTime64(6))
ENGINE = {engine}
ORDER BY key
SETTINGS {settings}
`
const REBUILDS = `-- The heads of the log when the store was emptied: it is being filled until the positions are there.
CREATE TABLE IF NOT EXISTS {table} (
  incarnation LowCardinality(String),
  topic LowCardinality(String),
  partition UInt16,
  tables UInt8,                             -- how many are filled from the topic
  target UInt64,
  begun_at DateTime64(3, 'UTC')
) ENGINE = {engine}
ORDER BY (incarnation, topic, partition)
SETTINGS {settings}
`

function templateOf(table: TableName | OwnTable): string {
  if (table === META_TABLE) return META
  if (table === REBUILDS_TABLE) return REBUILDS
  return readFileSync(new URL(`./${table}.sql`, import.meta.url), 'utf8')
}

const isOwn = (table: TableName | OwnTable): table is OwnTable => ownTables.some((own) => own === table)

/** Arguments in the words of the engine; the macros in braces are the servers' own. */
function engineOf(table: TableName | OwnTable, { cluster }: StoreVariant): string {
  const keepsAll = table === META_TABLE
  const family = keepsAll ? 'MergeTree' : 'ReplacingMergeTree'
  const version = table === POSITIONS_TABLE ? ['next_offset'] : []
  if (cluster === null) return version.length === 0 ? family : `${family}(${version.join(', ')})`
  const place = isOwn(table)
    ? ["'/clickhouse/tables/everywhere/{database}/{table}'", "'{shard}-{replica}'"]
    : ["'/clickhouse/tables/{shard}/{database}/{table}'", "'{replica}'"]
  return `Replicated${family}(${[...place, ...version].join(', ')})`
}

function settingsOf(table: TableName | OwnTable, { cluster, tunesMerges }: StoreVariant): string {
  const settings = table === META_TABLE ? SAFE_SETTINGS : ROW_SETTINGS
  const isTuned = tunesMerges && table !== META_TABLE
  return [...settings, ...(isTuned ? [MERGE_SETTING] : []), ...(cluster === null ? [] : [REPLICATED_SETTING])].join(
    ', ',
  )
}

const onCluster = ({ cluster }: StoreVariant) => (cluster === null ? '' : ` ON CLUSTER ${cluster.name}`)
const localOf = (physical: string) => `${physical}__local`

/** What a statement that changes the rows of a table of a generation names. */
export function storedTable(physical: string, cluster: Cluster | null): string {
  return cluster === null ? physical : `${localOf(physical)} ON CLUSTER ${cluster.name}`
}

/** Makes one table; nothing happens when it is there. */
export function createTableStatements(
  table: TableName | OwnTable,
  physical: string,
  variant: StoreVariant,
): readonly string[] {
  const { cluster } = variant
  const isSharded = cluster !== null && !isOwn(table)
  const filled: Readonly<Record<string, string>> = {
    '{table}': `${isSharded ? localOf(physical) : physical}${onCluster(variant)}`,
    '{engine}': engineOf(table, variant),
    '{settings}': settingsOf(table, variant),
  }
  const stored = templateOf(table).replace(/\{(?:table|engine|settings)\}/g, (placeholder) => filled[placeholder]!)
  if (!isSharded) return [stored]
  const distributed = `CREATE TABLE IF NOT EXISTS ${physical}${onCluster(variant)} AS ${localOf(physical)}
ENGINE = Distributed('${cluster.name}', '${cluster.database}', '${localOf(physical)}', cityHash64(${shardedBy[table]}))
`
  return [stored, distributed]
}

/** Drops one table with all that is below it; one that is not there is no error. */
export function dropTableStatements(physical: string, variant: StoreVariant): readonly string[] {
  const isOne = variant.cluster === null || isOwn(physical as TableName | OwnTable)
  const names = isOne ? [physical] : [physical, localOf(physical)]
  return names.map((name) => `DROP TABLE IF EXISTS ${name}${onCluster(variant)} SYNC`)
}

export function createViewStatement({ name, sql }: View, variant: StoreVariant): string {
  return `CREATE OR REPLACE VIEW ${name}${onCluster(variant)} AS ${sql}`
}

export function dropViewStatement({ name }: View, variant: StoreVariant): string {
  return `DROP VIEW IF EXISTS ${name}${onCluster(variant)} SYNC`
}

export function createDatabaseStatement(database: string, cluster: string | null): string {
  return `CREATE DATABASE IF NOT EXISTS ${database}${cluster === null ? '' : ` ON CLUSTER ${cluster}`}`
}

/** Makes the tables of a generation. */
export function createGenerationStatements({ tables }: Generation, variant: StoreVariant): readonly string[] {
  return tableNames.flatMap((table) => createTableStatements(table, tables[table], variant))
}

/** Everything that an empty database needs, in order. */
export function createStoreStatements(layout: StoreLayout, variant: StoreVariant): readonly string[] {
  return [
    ...ownTables.flatMap((table) => createTableStatements(table, table, variant)),
    ...layout.kept.flatMap((generation) => createGenerationStatements(generation, variant)),
    ...viewsOf(layout.live).map((view) => createViewStatement(view, variant)),
  ]
}
