/** The store over ClickHouse's HTTP interface: a server, or our own child process. The only importer of the client. */
import { Readable } from 'node:stream'
import { finished } from 'node:stream/promises'
import { ClickHouseError, type ClickHouseSettings, createClient } from '@clickhouse/client'
import { type QueryOptions, type Store, StoreDamaged, StoreUnavailable } from './store.ts'

export interface ClickhouseOptions {
  readonly url: string
  readonly username: string
  readonly password: string
  readonly database?: string
}

const DEFAULT_TIMEOUT_SECONDS = 30
/** An answer may pause for so long between two pieces; the statement's own limit is `QueryOptions.timeout`. */
const SOCKET_TIMEOUT_MILLISECONDS = 600_000
/** How much later than the engine we give up waiting for it. */
const GRACE_MILLISECONDS = 5_000

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
  'CANNOT_SCHEDULE_TASK',
  'KEEPER_EXCEPTION',
  'MEMORY_LIMIT_EXCEEDED',
  'NETWORK_ERROR',
  'NOT_ENOUGH_SPACE',
  'NO_FREE_CONNECTION',
  'NO_ZOOKEEPER',
  'SOCKET_TIMEOUT',
  'TABLE_IS_READ_ONLY',
  'TOO_MANY_PARTS',
  'TOO_MANY_SIMULTANEOUS_QUERIES',
  'UNKNOWN_STATUS_OF_INSERT',
])

/** An insert reads no stored data: errors of these names are about the block on its way. */
const NOTHING_DAMAGES_AN_INSERT: ReadonlySet<string> = new Set()

class ClickhouseStore implements Store {
  readonly #client: ReturnType<typeof createClient>

  constructor(options: ClickhouseOptions) {
    this.#client = createClient({
      ...options,
      request_timeout: SOCKET_TIMEOUT_MILLISECONDS,
      max_open_connections: 32,
      keep_alive: { idle_socket_ttl: 2_000 },
      log: { level: 127 },
      clickhouse_settings: SETTINGS,
    })
  }

  async query<Row>(sql: string, options: QueryOptions = {}): Promise<Row[]> {
    return this.#guard(async () => {
      const answer = await this.#client.query({ query: sql, format: 'JSONEachRow', ...this.#call(options) })
      return answer.json<Row>()
    }, options)
  }

  async *stream<Row>(sql: string, options: QueryOptions = {}): AsyncIterable<readonly Row[]> {
    const answer = await this.#guard(
      () => this.#client.query({ query: sql, format: 'JSONEachRow', ...this.#call(options) }),
      options,
    )
    const rows = answer.stream<Row>()
    try {
      for await (const piece of rows) yield piece.map((row) => row.json() as Row)
    } catch (error) {
      throw storeError(error, options)
    } finally {
      answer.close()
    }
  }

  async command(sql: string, options: QueryOptions = {}): Promise<void> {
    await this.#guard(() => this.#client.command({ query: sql, ...this.#call(options) }), options)
  }

  async insert(table: string, block: Uint8Array): Promise<void> {
    const options = { timeout: 300 }
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
      NOTHING_DAMAGES_AN_INSERT,
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

  async #guard<T>(work: () => Promise<T>, options: QueryOptions, damaged: ReadonlySet<string> = DAMAGED): Promise<T> {
    try {
      return await work()
    } catch (error) {
      throw storeError(error, options, damaged)
    }
  }
}

const SETTINGS: ClickHouseSettings = {
  output_format_json_quote_64bit_integers: 0,
  output_format_json_quote_denormals: 0,
  // A block of a ReplacingMergeTree is otherwise merged before it is written: 5 times the cost (measured).
  optimize_on_insert: 0,
  cancel_http_readonly_queries_on_client_close: 1,
  date_time_output_format: 'iso',
  session_timezone: 'UTC',
}

/** What a failed call means to the caller: the store is away, damaged, or refuses this statement. */
function storeError(error: unknown, options: QueryOptions, damaged: ReadonlySet<string> = DAMAGED): unknown {
  if (options.signal?.aborted) return options.signal.reason
  if (error instanceof ClickHouseError) {
    const message = `${error.type ?? 'ERROR'} (${error.code}): ${error.message}`
    if (damaged.has(error.type ?? '')) return new StoreDamaged(message, { cause: error })
    if (PASSING.has(error.type ?? '')) return new StoreUnavailable(message, { cause: error })
    return error
  }
  // Whatever the client throws besides is about the connection: refused, reset, cut off, timed out, no ClickHouse.
  return new StoreUnavailable(`The store cannot be reached: ${error instanceof Error ? error.message : error}`, {
    cause: error,
  })
}

/** A store over HTTP. Nothing is connected before the first call. */
export function openClickhouseStore(options: ClickhouseOptions): Store {
  return new ClickhouseStore(options)
}
