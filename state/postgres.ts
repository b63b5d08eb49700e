/**
 * Connections to Postgres, for the state and the locks: what the URL says, time-outs, TLS, and waiting while the server
 * is away. PostgreSQL 14 or newer.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { unlessAborted } from './unless-aborted.ts'

export interface PostgresOptions {
  /**
   * `postgres://USER:PASSWORD@HOST:PORT/DATABASE`. `sslmode` is disable (also when it is missing), require, verify-ca or
   * verify-full, with `sslrootcert`, `sslcert` and `sslkey` as files; `search_path` names the schema, else `mailtrail`.
   */
  readonly url: string
  /** Told once when the server goes away, in one sentence. */
  readonly onProblem: (message: string) => void
  /** Aborts when the process is to stop: then nobody waits any more for a server that is away. */
  readonly signal?: AbortSignal
}

export type Row = Readonly<Record<string, unknown>>
export type Query = (text: string, values?: readonly unknown[]) => Promise<Row[]>

/** One connection of one's own. */
export interface Session {
  readonly query: Query
  /** Calls back when the connection has ended, whoever ended it; at once when it has already. */
  onEnd(listener: (reason: Error) => void): void
  /** Ends it, in order where the server still answers, and within a moment in any case. */
  end(): Promise<void>
}

export class PostgresError extends Error {}

const CONNECT_MILLISECONDS = 10_000
/** On the server; the client waits a little longer, for a server that cannot say so any more. */
const STATEMENT_MILLISECONDS = 30_000
const ANSWER_MILLISECONDS = 35_000
const CONNECTIONS = 4
const FIRST_PAUSE_MILLISECONDS = 50
const LAST_PAUSE_MILLISECONDS = 3000
const FAREWELL_MILLISECONDS = 2000
const OLDEST_VERSION = 14
const SSL_MODES = ['disable', 'require', 'verify-ca', 'verify-full']

interface Place {
  readonly config: pg.ClientConfig
  readonly schema: string
  /** Without user and password, for messages. */
  readonly name: string
}

function readUrl(url: string): Place {
  const form = 'it must be postgres://USER:PASSWORD@HOST:PORT/DATABASE'
  if (!URL.canParse(url)) throw new PostgresError(`DATABASE_URL is no address; ${form}.`)
  const address = new URL(url)
  const mode = address.searchParams.get('sslmode') ?? 'disable'
  if (!SSL_MODES.includes(mode))
    throw new PostgresError(
      `DATABASE_URL says sslmode=${mode}, which does not say whether the connection is safe; say one of ${SSL_MODES.join(', ')}.`,
    )
  // The meaning that libpq gives to the modes; without it pg takes require for verify-full and warns.
  if (address.searchParams.has('sslmode')) address.searchParams.set('uselibpqcompat', 'true')
  if (address.searchParams.get('sslrootcert') === 'system') address.searchParams.delete('sslrootcert')
  const searchPath =
    address.searchParams.get('search_path') ??
    /search_path\s*=\s*([^\s]+)/.exec(address.searchParams.get('options') ?? '')?.[1]
  address.searchParams.delete('search_path')
  const schema = searchPath?.split(',')[0]?.trim().replaceAll('"', '') || 'mailtrail'
  if (!/^[A-Za-z_][A-Za-z0-9_]{0,62}$/.test(schema))
    throw new PostgresError(
      `DATABASE_URL says search_path=${schema}; it must be a name of letters, digits and underscores.`,
    )
  const config: pg.ClientConfig = {
    ssl: false,
    connectionString: address.href,
    connectionTimeoutMillis: CONNECT_MILLISECONDS,
    keepAlive: true,
    keepAliveInitialDelayMillis: 5000,
    application_name: 'mailtrail',
  }
  try {
    const { host, port, database } = new pg.Client(config)
    return { config, schema, name: `${host}:${port}/${database}` }
  } catch (error) {
    throw new PostgresError(`DATABASE_URL cannot be used: ${(error as Error).message}; ${form}.`, { cause: error })
  }
}

const codeOf = (error: unknown) => (error instanceof Error && 'code' in error ? String(error.code) : '')

/** Whether the same may work a little later: https://www.postgresql.org/docs/current/errcodes-appendix.html */
export function isOutage(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  const code = codeOf(error)
  // Connection, resources (too many connections, disk full), being shut down or started, cancelled for its time.
  if (/^(08|53|57)...$/.test(code)) return true
  // A standby that is to become the primary; a lock that another migration holds.
  if (code === '25006' || code === '55P03' || isConflict(error)) return true
  if ('syscall' in error) return true
  if (error instanceof AggregateError) return error.errors.some(isOutage)
  // What pg throws without a code.
  return /^(Connection terminated|timeout e|Query read timeout|Client (has encountered|was closed))/.test(error.message)
}

/** Two transactions were in each other's way: 40001 serialization failure, 40P01 deadlock. */
const isConflict = (error: unknown) => /^40(001|P01)$/.test(codeOf(error))

/** A server, its schema, and patience. */
export class Postgres {
  readonly #place: Place
  readonly #pool: pg.Pool
  readonly #onProblem: (message: string) => void
  readonly #closing = new AbortController()
  readonly #stopping: AbortSignal
  /** Aborts when nothing is waited for any more, not even an answer. */
  readonly #closed = new AbortController()
  readonly #attempts = new Set<Promise<unknown>>()
  readonly #busy = new Set<pg.PoolClient>()
  #isAway = false

  constructor({ url, onProblem, signal }: PostgresOptions) {
    this.#place = readUrl(url)
    this.#onProblem = onProblem
    this.#stopping = signal === undefined ? this.#closing.signal : AbortSignal.any([signal, this.#closing.signal])
    this.#pool = new pg.Pool({
      ...this.#place.config,
      max: CONNECTIONS,
      statement_timeout: STATEMENT_MILLISECONDS,
      query_timeout: ANSWER_MILLISECONDS,
      idle_in_transaction_session_timeout: STATEMENT_MILLISECONDS,
    })
    // An idle connection that ends is taken out of the pool; who needs one next hears about the server.
    this.#pool.on('error', () => undefined)
    this.#pool.on('acquire', (client) => this.#busy.add(client))
    this.#pool.on('release', (_, client) => this.#busy.delete(client))
  }

  /** The name of our schema, as SQL. */
  get schema(): string {
    return pg.escapeIdentifier(this.#place.schema)
  }

  /** Without quotes. */
  get schemaName(): string {
    return this.#place.schema
  }

  /** Throws a sentence when the server is too old. */
  async checkVersion(): Promise<void> {
    const [row] = await this.query(`SELECT current_setting('server_version_num')::int / 10000 AS major`)
    if (Number(row!.major) < OLDEST_VERSION)
      throw new PostgresError(
        `The server ${this.#place.name} is PostgreSQL ${row!.major}; mailtrail needs ${OLDEST_VERSION} or newer.`,
      )
  }

  /** One statement. It may run twice when the connection ends on the way back, so it must be one that can be repeated. */
  async query(text: string, values: readonly unknown[] = []): Promise<Row[]> {
    return this.patiently(async () => (await this.#pool.query(text, [...values])).rows)
  }

  /** One transaction, which may be run again from its beginning. */
  async transaction<T>(work: (query: Query) => Promise<T>): Promise<T> {
    return this.patiently(async () => {
      const client = await this.#pool.connect()
      let failure: Error | undefined
      const onError = (error: Error) => {
        failure ??= error
      }
      client.on('error', onError)
      try {
        await client.query('BEGIN ISOLATION LEVEL READ COMMITTED')
        const result = await work(async (text, values = []) => (await client.query(text, [...values])).rows)
        await client.query('COMMIT')
        return result
      } catch (error) {
        failure ??= error as Error
        throw error
      } finally {
        client.off('error', onError)
        client.release(failure) // with an error the connection is ended, and the transaction with it
      }
    })
  }

  /** A connection outside the pool. `settings` are of the session, as `SET` takes them. Does not wait for the server. */
  async session(settings: Readonly<Record<string, string>>, answerMilliseconds: number): Promise<Session> {
    const client = new pg.Client({ ...this.#place.config, query_timeout: answerMilliseconds })
    let ended: Error | undefined
    const listeners: ((reason: Error) => void)[] = []
    const end = (reason: Error) => {
      if (ended !== undefined) return
      ended = reason
      for (const listener of listeners) listener(reason)
    }
    client.on('error', end)
    client.on('end', () => end(new Error('The connection to Postgres ended.')))
    const session: Session = {
      query: async (text, values = []) => (await client.query(text, [...values])).rows,
      onEnd: (listener) => (ended === undefined ? void listeners.push(listener) : listener(ended)),
      end: async () => void (await withinAMoment(client.end())),
    }
    await client.connect()
    try {
      for (const [name, value] of Object.entries(settings))
        await client.query('SELECT set_config($1, $2, false)', [name, value])
    } catch (error) {
      await session.end()
      throw error
    }
    return session
  }

  /**
   * Attempts until the server is there, with growing pauses. Rejects with what is no outage, when the one or the other
   * signal aborts while it waits, and when this is closed.
   */
  async patiently<T>(attempt: () => Promise<T>, more?: AbortSignal): Promise<T> {
    const impatient = more === undefined ? this.#stopping : AbortSignal.any([this.#stopping, more])
    for (let pause = FIRST_PAUSE_MILLISECONDS; ; pause = Math.min(2 * pause, LAST_PAUSE_MILLISECONDS)) {
      this.#closing.signal.throwIfAborted()
      more?.throwIfAborted()
      try {
        const result = await this.#attempt(attempt)
        this.#isAway = false
        return result
      } catch (error) {
        impatient.throwIfAborted()
        if (!isOutage(error)) throw this.#explained(error)
        if (!isConflict(error)) this.#tell(error)
      }
      // The wait rejects with an error of its own; the reason of the signal is what callers know.
      await sleep(pause, undefined, { signal: impatient }).catch(() => impatient.throwIfAborted())
    }
  }

  async #attempt<T>(attempt: () => Promise<T>): Promise<T> {
    const attempted = attempt()
    this.#attempts.add(attempted)
    try {
      return await unlessAborted(attempted, this.#closed.signal)
    } finally {
      this.#attempts.delete(attempted)
    }
  }

  #tell(error: unknown): void {
    if (this.#isAway) return
    this.#isAway = true
    const { message } = error as Error
    const reason = message === '' ? codeOf(error) : message
    this.#onProblem(`Postgres at ${this.#place.name} does not answer (${reason}); waiting until it does.`)
  }

  /** Refused for good: what to look at. */
  #explained(error: unknown): unknown {
    const { name } = this.#place
    const { message } = error as Error
    const code = codeOf(error)
    const say = (sentence: string) => new PostgresError(sentence, { cause: error })
    if (/^28...$/.test(code)) return say(`Postgres at ${name} refuses the user: ${message}. Check DATABASE_URL.`)
    if (code === '3D000') return say(`Postgres at ${name}: ${message}. Create it with: createdb ${name.split('/')[1]}`)
    if (code === '42501')
      return say(
        `Postgres at ${name}: ${message}. Create the schema ${this.schema} and make the user its owner, or grant CREATE.`,
      )
    if (/^(ERR_TLS|CERT_|DEPTH_|SELF_|UNABLE_TO_|ERR_SSL)/.test(code) || message.includes('SSL'))
      return say(
        `No safe connection to Postgres at ${name}: ${message}. Check sslmode and sslrootcert in DATABASE_URL.`,
      )
    return error
  }

  /** Lets what is under way come to its end, for a moment, and ends all connections. What waits rejects with `reason`. */
  async close(reason: Error): Promise<void> {
    if (this.#closing.signal.aborted) return
    this.#closing.abort(reason)
    await withinAMoment(Promise.allSettled(this.#attempts))
    this.#closed.abort(reason)
    const ending = this.#pool.end()
    for (const client of this.#busy) void client.end()
    await withinAMoment(ending)
  }
}

const withinAMoment = (promise: Promise<unknown>) =>
  Promise.race([promise, sleep(FAREWELL_MILLISECONDS, undefined, { ref: false })])
