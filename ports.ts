/**
 * Which implementation of each port this process runs on. The settings decide, here and nowhere else: Kafka or the SQLite
 * log, a ClickHouse server or the embedded store, Postgres or the SQLite state, S3 or a folder. What is not used is not loaded: the clients of servers take longer to load than the rest to start.
 */
import { readFileSync } from 'node:fs'
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { CommandError, UsageError } from './cli/command.ts'
import { type Config, roleNames } from './config.ts'
import { openBlobFolder } from './edges/blob-folder.ts'
import { openS3Blobs, type S3Blobs } from './edges/s3-blobs.ts'
import { openEmbeddedStore } from './projections/embedded-store.ts'
import type { ServerStore } from './projections/server-store.ts'
import type { Store } from './projections/store.ts'
import { openLocalLocks } from './state/local-locks.ts'
import type { Locks } from './state/locks.ts'
import { openSqliteState } from './state/sqlite-state.ts'
import type { State } from './state/state.ts'
import type { SchemaRegistry } from './topics/avro.ts'
import type { Blobs } from './topics/blobs.ts'
import { acquireDataLock, DataFolderInUse, type DataLock } from './topics/data-lock.ts'
import type { Log } from './topics/log.ts'
import { openSqliteLog } from './topics/sqlite-log.ts'

/** Things that were opened, closed in reverse order. Each is closed even when another fails to. */
export class Closers {
  readonly #closers: (() => Promise<unknown>)[] = []

  push(close: () => Promise<unknown>): void {
    this.#closers.push(close)
  }

  async close(): Promise<void> {
    const failures: unknown[] = []
    for (let close = this.#closers.pop(); close !== undefined; close = this.#closers.pop()) {
      await close().catch((error: unknown) => failures.push(error))
    }
    if (failures.length > 0) throw failures[0]
  }
}

export interface Folders {
  readonly data: string
  readonly temporary: string
  readonly spool: string
  /** Where blobs lie when they lie in a folder. */
  readonly blobs: string
}

export interface Stores {
  /** Makes, fills and changes tables. */
  readonly tables: Store
  /** Answers questions. */
  readonly answers: Store
}

export interface Ports {
  readonly log: Log
  readonly registry: SchemaRegistry
  /** Removes what topics no longer keep; a broker does so by itself. */
  applyRetention(): Promise<void>
  /** The store may still be starting. */
  readonly stores: Promise<Stores>
  /** Opened by those who observe. */
  openState(): Promise<State>
  readonly locks: Locks
  readonly blobs: Blobs
  /** Whether other processes may work on the same log and store. */
  readonly isShared: boolean
  /** One clause on what is where. */
  readonly description: string
}

/** Takes words for the operator. */
interface Logger {
  warn(message: string): void
}

export interface PortOptions {
  readonly config: Config
  readonly closers: Closers
  readonly logger: Logger
  readonly folders: Folders
  /** Aborts when everything is to stop: what is waited for at the start is waited for no longer. */
  readonly signal: AbortSignal
  /** The log broke in a way that this process cannot mend. */
  readonly onBroken: (error: unknown) => void
  /** The embedded store found its folder damaged and began anew, empty. */
  readonly onStoreDamaged: () => void
}

/** What runs in this process only; with any of it, all roles run here. */
export function embeddedParts(config: Config): readonly string[] {
  const parts: string[] = []
  if (config.KAFKA_BROKERS.length === 0) parts.push('the log (set KAFKA_BROKERS)')
  if (config.CLICKHOUSE_URL === null) parts.push('the store (set CLICKHOUSE_URL)')
  if (config.DATABASE_URL === null) parts.push('the state (set DATABASE_URL)')
  return parts
}

/** Whether several processes can share the work: then none of them owns the data folder. */
export const canShare = (config: Config) => embeddedParts(config).length === 0

/** Throws `UsageError` when the settings contradict each other. */
export function checkSettings(config: Config): void {
  const isSplit = config.MAILTRAIL_ROLES.length < roleNames.length
  const embedded = embeddedParts(config)
  if (isSplit && embedded.length > 0)
    throw new UsageError(
      `With embedded parts all roles run in one process; leave --roles (MAILTRAIL_ROLES) out. Splitting them needs Kafka, ClickHouse and Postgres; embedded here: ${embedded.join(', ')}.`,
    )
  if (config.KAFKA_BROKERS.length > 0 && config.SCHEMA_REGISTRY_URL === null)
    throw new UsageError('KAFKA_BROKERS needs SCHEMA_REGISTRY_URL, too: events on Kafka carry the ids of its schemas.')
  const blobs = config.MAILTRAIL_BLOBS
  if (isSplit && blobs?.kind !== 's3' && !config.MAILTRAIL_BLOBS_SHARED)
    throw new UsageError(
      'Mails above 256 KB would lie where the other processes cannot see them. Set MAILTRAIL_BLOBS=s3://BUCKET/PREFIX, or file:PATH on a shared disk and MAILTRAIL_BLOBS_SHARED=true.',
    )
  if (blobs?.kind === 's3' && config.MAILTRAIL_S3_ENDPOINT === null)
    throw new UsageError('MAILTRAIL_BLOBS=s3://… needs MAILTRAIL_S3_ENDPOINT, and mostly MAILTRAIL_S3_ACCESS_KEY_ID.')
  if (config.KAFKA_SASL_MECHANISM !== null && (config.KAFKA_USERNAME === null || config.KAFKA_PASSWORD === null))
    throw new UsageError('KAFKA_SASL_MECHANISM needs KAFKA_USERNAME and KAFKA_PASSWORD.')
}

/**
 * The data folder is this process's alone while it holds an embedded part. Else nothing in it is, and each process takes a
 * folder of its own below the temporary one: the first that no running process holds.
 */
export async function takeFolders(config: Config, closers: Closers): Promise<{ folders: Folders; lock: DataLock }> {
  const data = config.MAILTRAIL_DATA
  const temporary = config.MAILTRAIL_TMP ?? join(data, 'tmp')
  const blobs = config.MAILTRAIL_BLOBS?.kind === 'folder' ? config.MAILTRAIL_BLOBS.path : join(data, 'blobs')
  await mkdir(data, { recursive: true })
  const { lock, own } = canShare(config)
    ? await takeProcessFolder(temporary)
    : { lock: await acquireDataLock(data, { pid: process.pid }), own: temporary }
  closers.push(() => lock.release())
  const folders = { data, temporary: own, spool: join(own, 'spool'), blobs }
  await rm(folders.spool, { recursive: true, force: true })
  await mkdir(folders.spool, { recursive: true })
  if (config.MAILTRAIL_BLOBS?.kind !== 's3') await mkdir(folders.blobs, { recursive: true })
  return { folders, lock }
}

const MOST_PROCESSES = 1000

async function takeProcessFolder(temporary: string): Promise<{ lock: DataLock; own: string }> {
  for (let number = 1; number <= MOST_PROCESSES; number++) {
    const own = join(temporary, `process-${number}`)
    try {
      return { lock: await acquireDataLock(own, { pid: process.pid }), own }
    } catch (error) {
      if (!(error instanceof DataFolderInUse)) throw error
    }
  }
  throw new CommandError(
    `${temporary} has folders of ${MOST_PROCESSES} running processes; name another by MAILTRAIL_TMP.`,
  )
}

/** Opens all ports. What was opened is closed by `closers`, also when a later one fails. */
export async function openPorts(options: PortOptions): Promise<Ports> {
  const { config, closers } = options
  const stores = openStores(options)
  stores.catch(() => undefined) // awaited by whoever needs it; until then a failure is not unhandled
  const log = await openLog(options)
  const { locks, openState, state } = await openStateAndLocks(options)
  const described = [log.description, describeStore(config), state]
  if (config.MAILTRAIL_BLOBS?.kind === 's3') described.push(`large mails in S3 at ${config.MAILTRAIL_S3_ENDPOINT}`)
  if (config.KAFKA_BROKERS.length > 0 && config.MAILTRAIL_BLOBS?.kind !== 's3' && !config.MAILTRAIL_BLOBS_SHARED)
    options.logger.warn(
      `Mails above 256 KB lie in ${options.folders.blobs}, which only this machine sees. Set MAILTRAIL_BLOBS=s3://BUCKET/PREFIX before more processes are started.`,
    )
  closers.push(() => locks.close())
  const isShared = canShare(config)
  return {
    ...log,
    stores,
    openState,
    locks,
    blobs: openBlobs(config, options.folders.blobs, (message) => options.logger.warn(message)),
    isShared,
    description: described.join(', '),
  }
}

async function openLog({ config, closers, folders, logger, signal, onBroken }: PortOptions) {
  if (config.KAFKA_BROKERS.length === 0) {
    const log = await openSqliteLog({ path: join(folders.data, 'log.sqlite') })
    closers.push(() => log.close())
    void log.broken.then(onBroken)
    const description = `log in SQLite ${process.versions.sqlite}`
    return { log, registry: log, applyRetention: () => log.applyRetention(), description }
  }
  const onProblem = (message: string) => logger.warn(message)
  const { log, registry } = await openKafka(config, { onProblem, signal })
  closers.push(() => log.close())
  const description = `log on Kafka at ${config.KAFKA_BROKERS.join(', ')}`
  return { log, registry, applyRetention: async () => undefined, description }
}

interface Opening {
  readonly onProblem: (message: string) => void
  /** Ends the waiting for servers that are away. */
  readonly signal: AbortSignal
}

/** Kafka and the registry that the settings name. */
export async function openKafka(config: Config, opening: Opening): Promise<{ log: Log; registry: SchemaRegistry }> {
  const { openSchemaRegistry } = await import('./topics/schema-registry.ts')
  const registry = openSchemaRegistry({
    url: config.SCHEMA_REGISTRY_URL!,
    user: config.SCHEMA_REGISTRY_USER,
    password: config.SCHEMA_REGISTRY_PASSWORD,
    mayRegister: config.MAILTRAIL_REGISTER_SCHEMAS,
    cacheFile: join(config.MAILTRAIL_DATA, 'schemas.json'),
    ...opening,
  })
  return { log: await openKafkaLog(config, opening), registry }
}

/** The brokers that the settings name. */
export async function openKafkaLog(config: Config, opening: Opening): Promise<Log> {
  const { KAFKA_SASL_MECHANISM: mechanism, KAFKA_SSL_CA: ca } = config
  const kafka = await import('./topics/kafka-log.ts')
  return kafka.openKafkaLog({
    brokers: config.KAFKA_BROKERS,
    ssl: config.KAFKA_SSL ? (ca === null ? {} : { ca: readFileSync(ca, 'utf8') }) : false,
    sasl: mechanism === null ? null : { mechanism, username: config.KAFKA_USERNAME!, password: config.KAFKA_PASSWORD! },
    clientId: 'mailtrail',
    replication: config.KAFKA_REPLICATION,
    fetchBytes: config.KAFKA_FETCH_BYTES,
    ...opening,
  })
}

/** The ClickHouse server that the settings name: as the user who writes and as the one who reads. */
export async function openClickhouse(config: Config, opening: Opening): Promise<ServerStore> {
  const { openServerStore } = await import('./projections/server-store.ts')
  return openServerStore({
    url: config.CLICKHOUSE_URL!,
    username: config.CLICKHOUSE_USER,
    password: config.CLICKHOUSE_PASSWORD,
    database: config.CLICKHOUSE_DATABASE,
    cluster: config.CLICKHOUSE_CLUSTER,
    readUsername: config.CLICKHOUSE_READ_USER,
    readPassword: config.CLICKHOUSE_READ_PASSWORD,
    ...opening,
  })
}

async function openStores(options: PortOptions): Promise<Stores> {
  const { config, closers, folders, logger, onStoreDamaged } = options
  if (config.CLICKHOUSE_URL !== null) {
    const stores = await openClickhouse(config, {
      signal: options.signal,
      onProblem: (message) => logger.warn(message),
    })
    closers.push(async () => {
      await stores.write.close()
      await stores.read.close()
    })
    return { tables: stores.write, answers: stores.read }
  }
  const opening = openEmbeddedStore({
    folder: join(folders.data, 'store'),
    tmp: folders.temporary,
    onRestart: (pid) => logger.warn(`The store had ended and was started again as process ${pid}.`),
    onDamaged: (reason) => {
      logger.warn(`The store cannot be opened and is rebuilt from the log: ${reason}`)
      onStoreDamaged()
    },
  })
  closers.push(async () => (await opening.catch(() => undefined))?.close())
  const store = await opening
  return { tables: store, answers: store }
}

const describeStore = ({ CLICKHOUSE_URL: url, CLICKHOUSE_DATABASE: database }: Config) =>
  url === null ? 'store in chDB' : `store in ClickHouse at ${url}, database ${database}`

async function openStateAndLocks({ config, folders, logger, signal }: PortOptions) {
  const onProblem = (message: string) => logger.warn(message)
  const url = config.DATABASE_URL
  if (url === null) {
    const openState = () =>
      openSqliteState({
        path: join(folders.data, 'state.sqlite'),
        onRebuild: (reason) => logger.warn(`The state file is made anew from the log: ${reason}`),
      })
    return { locks: openLocalLocks(), openState, state: 'state in SQLite' }
  }
  const scope = config.MAILTRAIL_TOPIC_PREFIX
  const { openPostgresLocks } = await import('./state/postgres-locks.ts')
  const { openPostgresState } = await import('./state/postgres-state.ts')
  const locks = openPostgresLocks({ url, scope, onProblem })
  const openState = () => openPostgresState({ url, scope, onProblem, signal })
  return { locks, openState, state: `state in Postgres at ${new URL(url).host}` }
}

/** The blob store that the settings name; `folder` when it is one. */
export function openBlobs(config: Config, folder: string, onProblem: (message: string) => void): Blobs {
  if (config.MAILTRAIL_BLOBS?.kind !== 's3') return openBlobFolder(folder)
  const blobs = openS3(config, onProblem)
  // A bucket that is missing or closed to us is told at the start, not at the first large mail.
  blobs.check().catch((error: Error) => onProblem(error.message))
  return blobs
}

/** The bucket that MAILTRAIL_BLOBS names. */
export function openS3(config: Config, onProblem: (message: string) => void): S3Blobs {
  const place = config.MAILTRAIL_BLOBS
  if (place?.kind !== 's3') throw new Error('MAILTRAIL_BLOBS names no bucket.')
  return openS3Blobs({
    endpoint: config.MAILTRAIL_S3_ENDPOINT!,
    region: config.MAILTRAIL_S3_REGION,
    bucket: place.bucket,
    prefix: place.prefix,
    pathStyle: config.MAILTRAIL_S3_PATH_STYLE,
    accessKeyId: config.MAILTRAIL_S3_ACCESS_KEY_ID ?? '',
    secretAccessKey: config.MAILTRAIL_S3_SECRET_ACCESS_KEY ?? '',
    onProblem,
  })
}
