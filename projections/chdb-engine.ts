/**
 * chDB as the child process uses it: a pool of sessions over one folder, each running one statement at a time. The only
 * importer of chdb. Only in the main thread: in a worker thread the process dies when the worker ends.
 *
 * Bound parameters are safe in parallel only when the statement is started synchronously on a session of its own
 * (`queryStreamBind`); chDB's `queryBindAsync` keeps parameters per process, so nothing else may start meanwhile.
 */
import { drainPending, Session } from 'chdb'
import type { BoundValue } from './parameters.ts'

interface Chunks extends AsyncIterable<{ raw(): Uint8Array }> {
  cancel(): void
}

/** What chdb 3.4's session can do; its type declarations leave out the bound calls. */
interface ChdbSession {
  queryAsync(sql: string, options: { format: string }): Promise<{ bytes(): Uint8Array }>
  queryBindAsync(sql: string, values: object, options: { format: string }): Promise<{ bytes(): Uint8Array }>
  queryStreamBind(sql: string, values: object, options: { format: string }): Chunks
  close(): void
}

export interface Statement {
  readonly sql: string
  /** Where names without a database are looked up. */
  readonly database: string
  readonly values: Readonly<Record<string, BoundValue>>
  readonly settings: ReadonlyMap<string, string>
  readonly format: string
  /** Stops the statement in the engine. */
  readonly signal: AbortSignal
}

interface Lane {
  readonly name: string
  readonly session: ChdbSession
  /** Each session has a current database of its own; null when it is to be named again. */
  database: string | null
  /** Settings that differ from the engine's defaults now. */
  readonly applied: Map<string, string>
}

class Lanes {
  readonly #free: Lane[] = []
  readonly #waiting: ((lane: Lane) => void)[] = []

  constructor(lanes: readonly Lane[]) {
    this.#free.push(...lanes)
  }

  async take(): Promise<Lane> {
    return this.#free.pop() ?? new Promise((resolve) => this.#waiting.push(resolve))
  }

  give(lane: Lane): void {
    const next = this.#waiting.shift()
    if (next === undefined) this.#free.push(lane)
    else next(lane)
  }
}

/** The setting that names a lane's running statement in system.processes. */
const LANE_NAME = 'log_comment'
/** Two inserts keep two cores busy; more only take memory. */
const WRITERS = 2
const READERS = 8
/** Threads that the child's libuv pool needs: one for each statement that may run, some for files. */
export const POOL_THREADS = WRITERS + READERS + 6

export const DEFAULT_DATABASE = 'default'

/** One merge at a time: two take both cores from the mail that is being read. */
const ENGINE_DEFAULTS = [
  '--optimize_on_insert=0',
  '--output_format_json_quote_64bit_integers=0',
  '--output_format_json_escape_forward_slashes=0',
  '--session_timezone=UTC',
  '--background_pool_size=1',
  '--mark_cache_size=67108864',
  '--index_mark_cache_size=16777216',
  '--query_condition_cache_size=16777216',
]

export class ChdbEngine {
  readonly #sessions: ChdbSession[] = []
  readonly #lanes: Lane[] = []
  readonly #readers: Lanes
  readonly #writers: Lanes
  readonly #control: ChdbSession
  /** Settled when no statement with process-wide parameters runs. */
  #exclusive: Promise<void> = Promise.resolve()

  /** Opens or makes the folder. Throws ClickHouse's error when it cannot: locked, damaged, not writable. */
  constructor(folder: string, memoryBytes: number) {
    const connectionArgs = [...ENGINE_DEFAULTS, `--max_server_memory_usage=${memoryBytes}`]
    const open = () => {
      const session = new Session(folder, { connectionArgs }) as unknown as ChdbSession
      this.#sessions.push(session)
      return session
    }
    this.#control = open()
    const lanes = (count: number, kind: string): Lanes => {
      const made = Array.from({ length: count }, (_, n) => ({
        name: `${kind}${n}`,
        session: open(),
        database: DEFAULT_DATABASE,
        applied: new Map<string, string>(),
      }))
      this.#lanes.push(...made)
      return new Lanes(made)
    }
    this.#readers = lanes(READERS, 'reader')
    this.#writers = lanes(WRITERS, 'writer')
  }

  /** A session does not notice by itself that its database was dropped. */
  databaseDropped(): void {
    for (const lane of this.#lanes) lane.database = null
  }

  /** Bytes of the answer as the engine makes them. Ends early, with ClickHouse's error, when the signal aborts. */
  async *read(statement: Statement): AsyncGenerator<Uint8Array> {
    const lane = await this.#readers.take()
    try {
      await this.#apply(lane, statement)
      await this.#exclusive
      statement.signal.throwIfAborted()
      const chunks = lane.session.queryStreamBind(statement.sql, statement.values, { format: statement.format })
      const stop = this.#killOnAbort(lane, statement.signal)
      let whole = false
      try {
        for await (const chunk of chunks) yield chunk.raw()
        whole = true
      } finally {
        chunks.cancel()
        await stop()
        // A stream that failed holds its tables until the session's next statement, and a DROP would wait for them.
        if (!whole) await lane.session.queryAsync('SELECT 1', { format: 'Null' })
      }
    } finally {
      this.#readers.give(lane)
    }
  }

  /** Runs what is not a SELECT; the answer is usually empty. */
  async run(statement: Statement): Promise<Uint8Array> {
    const lane = await this.#writers.take()
    try {
      // Who gave up while others were served must not be served after all: the statement comes again.
      statement.signal.throwIfAborted()
      await this.#apply(lane, statement)
      const stop = this.#killOnAbort(lane, statement.signal)
      try {
        const format = { format: statement.format }
        if (Object.keys(statement.values).length === 0)
          return (await lane.session.queryAsync(statement.sql, format)).bytes()
        const run = this.#exclusive.then(() => lane.session.queryBindAsync(statement.sql, statement.values, format))
        this.#exclusive = run.then(
          () => undefined,
          () => undefined,
        )
        return (await run).bytes()
      } finally {
        await stop()
      }
    } finally {
      this.#writers.give(lane)
    }
  }

  /** Gives the session the statement's database, exactly its settings, and its name, by which it can be stopped. */
  async #apply(lane: Lane, { database, settings }: Statement): Promise<void> {
    if (lane.database !== database) {
      await lane.session.queryAsync(`USE ${quoteName(database)}`, { format: 'Null' })
      lane.database = database
    }
    const set = (assignment: string) => lane.session.queryAsync(`SET ${assignment}`, { format: 'Null' })
    for (const name of lane.applied.keys()) {
      if (name === LANE_NAME || settings.has(name)) continue
      await set(`${name} = DEFAULT`)
      lane.applied.delete(name)
    }
    for (const [name, value] of [...settings, [LANE_NAME, lane.name] as const]) {
      if (lane.applied.get(name) === value) continue
      await set(`${name} = '${value.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`)
      lane.applied.set(name, value)
    }
  }

  /**
   * Stops the lane's statement when the signal aborts. What is returned ends the watch, and must be awaited before the
   * lane is given on: a KILL that is late would hit the lane's next statement.
   */
  #killOnAbort(lane: Lane, signal: AbortSignal): () => Promise<void> {
    let killing: Promise<unknown> = Promise.resolve()
    const kill = () => {
      const running = `SELECT query_id FROM system.processes WHERE Settings['${LANE_NAME}'] = '${lane.name}'`
      // Whether it still ran is not known and does not matter: the statement itself reports how it ended.
      killing = this.#control
        .queryAsync(`KILL QUERY WHERE query_id IN (${running}) ASYNC`, { format: 'Null' })
        .catch(() => {})
    }
    if (signal.aborted) kill()
    signal.addEventListener('abort', kill, { once: true })
    return async () => {
      signal.removeEventListener('abort', kill)
      await killing
    }
  }

  /** Waits for running statements and closes the folder. */
  async close(): Promise<void> {
    for (const session of this.#sessions) session.close()
    await drainPending()
  }
}

const quoteName = (name: string) => `\`${name.replaceAll('\\', '\\\\').replaceAll('`', '\\`')}\``
