/** The store over ClickHouse's HTTP interface: a server, or our own child process. The only importer of the client. */
import { Readable } from 'node:stream'
import { finished } from 'node:stream/promises'
import { ClickHouseError, type ClickHouseSettings, createClient } from '@clickhouse/client'
import { type Cluster, createDatabaseStatement } from './ddl.ts'
import {
  type InsertOptions,
  type QueryOptions,
  type Store,
  StoreDamaged,
  StoreRefused,
  StoreUnavailable,
} from './store.ts'

export interface ClickhouseOptions {
  readonly url: string
  readonly username: string
  readonly password: string
  /** Made when it is not there; default: the user's own, which is there. */
  readonly database?: string
  /** Tables are made on all its servers. */
  readonly cluster?: string | null
  /** The user may only read: nothing is made, and settings are sent that such a user may set. */
  readonly readOnly?: boolean
  /** Seconds after which an insert gives up; default 300. */
  readonly insertSeconds?: number
  /** Whether inserts are packed; default: unless the server is on this machine. */
  readonly compress?: boolean
  /** Names of the settings that user and password come from, for what is said when they are refused. */
  readonly credentials?: string
}

const DEFAULT_TIMEOUT_SECONDS = 30
const DEFAULT_INSERT_SECONDS = 300
/** An answer may pause for so long between two pieces; the statement's own limit is `QueryOptions.timeout`. */
const SOCKET_TIMEOUT_MILLISECONDS = 600_000
/** How much later than the engine we give up waiting for it. */
const GRACE_MILLISECONDS = 5_000
/** Longest piece of an answer that is no ClickHouse's, such as a proxy's page, that is repeated in a message. */
const MAX_FOREIGN_TEXT = 200

/** Names of ClickHouse errors (src/Common/ErrorCodes.cpp) that say that stored data cannot be read. */
const DAMAGED = new Set([
  'ATTEMPT_TO_READ_AFTER_EOF',
  'BAD_SIZE_OF_FILE_IN_DATA_PART',
  'CANNOT_DECOMPRESS',
  'CANNOT_READ_ALL_DATA',
  'CHECKSUM_DOESNT_MATCH',
  'CORRUPTED_DATA',
  'EXPECTED_END_OF_FILE',
  'FILE_DOESNT_EXIST',
  'INCORRECT_FILE_NAME',
  'INCORRECT_MARK',
  'NO_FILE_IN_DATA_PART',
  'SIZES_OF_COLUMNS_DOESNT_MATCH',
  'SIZES_OF_COLUMNS_IN_TUPLE_DOESNT_MATCH',
  'SIZES_OF_MARKS_FILES_ARE_INCONSISTENT',
  'TOO_LARGE_SIZE_COMPRESSED',
  'TOO_MANY_UNEXPECTED_DATA_PARTS',
  'UNEXPECTED_FILE_IN_DATA_PART',
  'UNKNOWN_CODEC',
])
/** Faults that pass. A statement that takes too long is not among them: it would take as long again. */
const PASSING = new Set([
  'ABORTED',
  'ALL_CONNECTION_TRIES_FAILED',
  'ALL_REPLICAS_ARE_STALE',
  'ALL_REPLICAS_LOST',
  'CANNOT_SCHEDULE_TASK',
  'KEEPER_EXCEPTION',
  'MEMORY_LIMIT_EXCEEDED',
  'NETWORK_ERROR',
  'NOT_ENOUGH_SPACE',
  'NO_FREE_CONNECTION',
  'NO_ZOOKEEPER',
  'REPLICA_IS_NOT_IN_QUORUM',
  'RESOURCE_NOT_FOUND',
  'SERVER_OVERLOADED',
  'SOCKET_TIMEOUT',
  'TABLE_IS_BEING_RESTARTED',
  'TABLE_IS_READ_ONLY',
  'TOO_FEW_LIVE_REPLICAS',
  'TOO_MANY_PARTS',
  'TOO_MANY_SIMULTANEOUS_QUERIES',
  'UNKNOWN_STATUS_OF_INSERT',
  'UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE',
])
/**
 * An insert is never too large, so one that took too long met a server that stood still or was stopped by its operator:
 * the next may go through.
 */
const PASSING_FOR_INSERTS = new Set(['TIMEOUT_EXCEEDED', 'QUERY_WAS_CANCELLED'])
/** Who we are, and what we may do: a person has to change it. By what is to be done. */
const REFUSALS: Readonly<Record<string, 'credentials' | 'rights' | 'limits'>> = {
  AUTHENTICATION_FAILED: 'credentials',
  IP_ADDRESS_NOT_ALLOWED: 'credentials',
  REQUIRED_PASSWORD: 'credentials',
  UNKNOWN_USER: 'credentials',
  WRONG_PASSWORD: 'credentials',
  ACCESS_DENIED: 'rights',
  READONLY: 'limits',
  SETTING_CONSTRAINT_VIOLATION: 'limits',
}

type Calls = 'reads' | 'inserts'

class ClickhouseStore implements Store {
  readonly cluster?: Cluster
  readonly #options: ClickhouseOptions
  readonly #client: ReturnType<typeof createClient>
  /** Settled when the database is known to be there. */
  #database: Promise<void> | undefined

  constructor(options: ClickhouseOptions) {
    this.#options = options
    const { cluster, database, url, compress = !isLoopback(url) } = options
    if (cluster && database !== undefined) this.cluster = { name: cluster, database }
    const settings = this.cluster === undefined ? SETTINGS : { ...SETTINGS, ...CLUSTER_SETTINGS }
    this.#client = this.#connect(database, {
      clickhouse_settings: settings,
      // Measured for 50,000 records: zstd takes 5 ms and leaves 2 %, gzip 13 ms at its fastest and leaves 6 %. On
      // loopback nothing is gained by either.
      compression: { request: compress ? { codec: 'zstd' } : false },
    })
  }

  #connect(database: string | undefined, more: Parameters<typeof createClient>[0]) {
    const { url, username, password } = this.#options
    return createClient({
      url,
      username,
      password,
      ...(database === undefined ? {} : { database }),
      request_timeout: SOCKET_TIMEOUT_MILLISECONDS,
      max_open_connections: 32,
      keep_alive: { idle_socket_ttl: 2_000 },
      log: { level: 127 },
      ...more,
    })
  }

  async query<Row>(sql: string, options: QueryOptions = {}): Promise<Row[]> {
    return this.#guard(async () => {
      const answer = await this.#ask(sql, options)
      return answer.json<Row>()
    }, options)
  }

  async *stream<Row>(sql: string, options: QueryOptions = {}): AsyncIterable<readonly Row[]> {
    const answer = await this.#guard(() => this.#ask(sql, options), options)
    const rows = answer.stream<Row>()
    try {
      for await (const piece of rows) yield piece.map((row) => row.json() as Row)
    } catch (error) {
      throw this.#failure(error, options, 'reads')
    } finally {
      answer.close()
    }
  }

  #ask(sql: string, options: QueryOptions) {
    // ClickHouse stops a statement whose client has gone only when it is sure that it changes nothing.
    const isReading = READS_ONLY.test(sql) && this.#options.readOnly !== true
    const settings: ClickHouseSettings = isReading ? { readonly: '2' } : {}
    return this.#client.query({ query: sql, format: 'JSONEachRow', ...this.#call(options, settings) })
  }

  async command(sql: string, options: QueryOptions = {}): Promise<void> {
    await this.#guard(() => this.#client.command({ query: sql, ...this.#call(options) }), options)
  }

  async insert(table: string, block: Uint8Array, { signal }: InsertOptions = {}): Promise<void> {
    const timeout = this.#options.insertSeconds ?? DEFAULT_INSERT_SECONDS
    const options = signal === undefined ? { timeout } : { timeout, signal }
    await this.#guard(
      async () => {
        const { stream } = await this.#client.exec({
          query: `INSERT INTO ${table} FORMAT Native`,
          values: Readable.from([block], { objectMode: false }),
          ...this.#call(options, { wait_end_of_query: 1 }),
        })
        await finished(stream.resume())
      },
      options,
      'inserts',
    )
  }

  close(): Promise<void> {
    return this.#client.close()
  }

  #call(options: QueryOptions, settings: ClickHouseSettings = {}) {
    const timeout = options.timeout ?? DEFAULT_TIMEOUT_SECONDS
    const limit = AbortSignal.timeout(timeout * 1000 + GRACE_MILLISECONDS)
    return {
      abort_signal: options.signal === undefined ? limit : AbortSignal.any([options.signal, limit]),
      clickhouse_settings: { ...settings, max_execution_time: timeout },
      ...(options.parameters === undefined ? {} : { query_params: { ...options.parameters } }),
    }
  }

  async #guard<T>(work: () => Promise<T>, options: QueryOptions, calls: Calls = 'reads'): Promise<T> {
    try {
      await this.#hasDatabase()
      return await work()
    } catch (error) {
      throw this.#failure(error, options, calls)
    }
  }

  /** The server refuses every statement while the database is not there, so it is made before the first one. */
  #hasDatabase(): Promise<void> {
    const { database, readOnly = false } = this.#options
    if (database === undefined || readOnly) return Promise.resolve()
    if (this.#database === undefined) {
      this.#database = this.#makeDatabase(database)
      this.#database.catch(() => {
        this.#database = undefined
      })
    }
    return this.#database
  }

  async #makeDatabase(database: string): Promise<void> {
    try {
      await this.#client.query({ query: 'SELECT 1', ...this.#call({}) })
      return
    } catch (error) {
      if (!(error instanceof ClickHouseError) || error.type !== 'UNKNOWN_DATABASE') throw error
    }
    const outside = this.#connect(undefined, {})
    try {
      const query = createDatabaseStatement(database, this.#options.cluster ?? null)
      await outside.command({ query, ...this.#call({}) })
    } catch (error) {
      if (!(error instanceof ClickHouseError) || !['ACCESS_DENIED', 'READONLY'].includes(error.type ?? '')) throw error
      throw new StoreRefused(
        `There is no database ${database} on ${this.#host()}, and user ${this.#options.username} may not make it. ` +
          `Make it (CREATE DATABASE ${database}), or name another in CLICKHOUSE_DATABASE.`,
        { cause: error },
      )
    } finally {
      await outside.close()
    }
  }

  #host(): string {
    return new URL(this.#options.url).host
  }

  /** What a failed call means to the caller: the store is away, damaged, refuses us, or refuses this statement. */
  #failure(error: unknown, options: QueryOptions, calls: Calls): unknown {
    if (options.signal?.aborted) return options.signal.reason
    if (error instanceof StoreRefused) return error
    if (!(error instanceof ClickHouseError)) {
      // Whatever the client throws besides is about the connection: refused, reset, cut off, timed out, no ClickHouse.
      const text = error instanceof Error ? error.message : String(error)
      return new StoreUnavailable(`The store cannot be reached: ${onOneLine(text)}`, { cause: error })
    }
    const type = error.type ?? ''
    const message = `${type || 'ERROR'} (${error.code}): ${error.message}`
    const refusal = REFUSALS[type]
    if (refusal !== undefined) return new StoreRefused(this.#refused(refusal, message), { cause: error })
    if (type === 'UNKNOWN_DATABASE') {
      this.#database = undefined
      // Who may make it does so; who only reads waits.
      return this.#options.readOnly ? new StoreUnavailable(message, { cause: error }) : error
    }
    // Servers of a cluster mend what one of them has lost; an insert reads no stored data.
    const canBeDamage = calls === 'reads' && this.cluster === undefined
    if (DAMAGED.has(type) && canBeDamage) return new StoreDamaged(message, { cause: error })
    const passes = PASSING.has(type) || (calls === 'inserts' && PASSING_FOR_INSERTS.has(type))
    return passes || (DAMAGED.has(type) && this.cluster !== undefined)
      ? new StoreUnavailable(message, { cause: error })
      : error
  }

  #refused(what: 'credentials' | 'rights' | 'limits', message: string): string {
    const { username, credentials = 'CLICKHOUSE_USER and CLICKHOUSE_PASSWORD' } = this.#options
    const advice = {
      credentials: `Check ${credentials}.`,
      rights: `Grant user ${username} what docs/clickhouse.md lists.`,
      limits: `The settings profile of user ${username} is too narrow: readonly = 2, and limits as in docs/clickhouse.md.`,
    }
    return `ClickHouse at ${this.#host()} refuses user ${username}: ${onOneLine(message)} ${advice[what]}`
  }
}

const READS_ONLY = /^\s*(?:\(\s*)*(?:SELECT|WITH)\b/i

const SETTINGS: ClickHouseSettings = {
  output_format_json_quote_64bit_integers: 0,
  output_format_json_quote_denormals: 0,
  // A block of a ReplacingMergeTree is otherwise merged before it is written: 5 times the cost (measured).
  optimize_on_insert: 0,
  cancel_http_readonly_queries_on_client_close: 1,
  date_time_output_format: 'iso',
  session_timezone: 'UTC',
}

/** See ddl.ts. An insert is done when a majority of the replicas have it: the position that follows must not outlive it. */
const CLUSTER_SETTINGS: ClickHouseSettings = {
  distributed_product_mode: 'local',
  distributed_foreground_insert: 1,
  insert_quorum: 'auto',
}

function isLoopback(url: string): boolean {
  const { hostname } = new URL(url)
  return hostname === 'localhost' || hostname === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(hostname)
}

function onOneLine(text: string): string {
  const line = text.replace(/\s+/g, ' ').trim()
  return line.length > MAX_FOREIGN_TEXT ? `${line.slice(0, MAX_FOREIGN_TEXT)} …` : line
}

/** A store over HTTP. Nothing is connected before the first call. */
export function openClickhouseStore(options: ClickhouseOptions): Store {
  return new ClickhouseStore(options)
}
