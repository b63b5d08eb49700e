/**
 * The store of the embedded mode: starts `chdb-server.ts` as a child process, restarts it when it dies, and talks to it
 * as to any ClickHouse server. The folder holds nothing that the log does not: when it cannot be opened it is
 * started anew, empty, and the projections fill it again.
 */
import type { ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdir, rename, rm } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { type ChdbStart, DEFAULT_MEMORY_BYTES, isLocked, isNotOurs, startChdb } from './chdb-child.ts'
import { openClickhouseStore } from './clickhouse-store.ts'
import { type InsertOptions, type QueryOptions, type Store, StoreUnavailable } from './store.ts'

export interface EmbeddedStoreOptions {
  /** Where chDB keeps its files; made when missing. */
  readonly folder: string
  /** Folder for inserts on their way in. */
  readonly tmp: string
  /** What the child may take, in bytes; default 600 MB. Statements beyond it fail, and inserts wait. */
  readonly memoryBytes?: number
  /** Called after the child has died and a new one serves. */
  readonly onRestart?: (pid: number) => void
  /** Called when the folder could not be opened and was started anew, with ClickHouse's reason. */
  readonly onDamaged?: (reason: string) => void
}

export interface EmbeddedStore extends Store {
  /** Process id of the child that serves now. */
  pid(): number
}

/** A read that meets a dead child waits so long for the next one; starting takes 0.5 s, on a busy machine ten times that. */
const WAIT_MILLISECONDS = 15_000
/** A predecessor that was cut off may hold the folder's lock until it notices. */
const LOCK_MILLISECONDS = 8_000
const LONGEST_PAUSE_MILLISECONDS = 5_000
/** Children that die before they serve, in a row, until the folder is held to be what kills them. */
const DEATHS_OF_A_DAMAGED_FOLDER = 3
const STOP_MILLISECONDS = 8_000

interface Server {
  readonly child: ChildProcess
  readonly store: Store
  readonly ended: Promise<void>
}

type Start = { readonly kind: 'serving'; readonly server: Server } | Exclude<ChdbStart, { kind: 'serving' }>

/** Starts one child and waits until it serves, refuses the folder or dies. */
async function startServer(options: EmbeddedStoreOptions): Promise<Start> {
  const secret = randomBytes(32).toString('base64url')
  const { folder, tmp, memoryBytes = DEFAULT_MEMORY_BYTES } = options
  const start = await startChdb({ folder, tmp, secret, memoryBytes })
  if (start.kind !== 'serving') return start
  const { child, ended, port } = start
  const store = openClickhouseStore({ url: `http://127.0.0.1:${port}`, username: 'default', password: secret })
  return { kind: 'serving', server: { child, store, ended } }
}

/** Starts children until one serves; a folder that cannot be opened is replaced by an empty one. */
async function startServing(options: EmbeddedStoreOptions, signal: AbortSignal): Promise<Server> {
  await mkdir(options.folder, { recursive: true })
  await mkdir(options.tmp, { recursive: true })
  const lockedUntil = Date.now() + LOCK_MILLISECONDS
  let deaths = 0
  let replaced = false
  for (;;) {
    signal.throwIfAborted()
    const start = await startServer(options)
    if (start.kind === 'serving') return start.server
    if (start.kind === 'refused' && isLocked(start.reason) && Date.now() < lockedUntil) {
      await sleep(100)
      continue
    }
    if (start.kind === 'died' && ++deaths < DEATHS_OF_A_DAMAGED_FOLDER) {
      await sleep(100 * deaths)
      continue
    }
    if (replaced || isLocked(start.reason) || isNotOurs(start.reason))
      throw new StoreUnavailable(
        `The store in ${options.folder} does not start: ${start.reason} Check the folder's rights and the free space, ` +
          'and that no other process uses it.',
      )
    await replaceFolder(options.folder)
    replaced = true
    deaths = 0
    options.onDamaged?.(start.reason)
  }
}

/** Renamed first, so that a crash midway leaves no half-deleted store that looks whole. */
async function replaceFolder(folder: string): Promise<void> {
  const aside = `${folder}.damaged`
  await rm(aside, { recursive: true, force: true })
  await rename(folder, aside)
  await mkdir(folder, { recursive: true })
  await rm(aside, { recursive: true, force: true })
}

class SupervisedStore implements EmbeddedStore {
  readonly #options: EmbeddedStoreOptions
  readonly #closing = new AbortController()
  #server: Server
  /** The server that serves or will serve next. */
  #serving: Promise<Server>

  constructor(options: EmbeddedStoreOptions, server: Server) {
    this.#options = options
    this.#server = server
    this.#serving = Promise.resolve(server)
    void this.#supervise()
  }

  pid(): number {
    return this.#server.child.pid!
  }

  async #supervise(): Promise<void> {
    for (;;) {
      await this.#server.ended
      await this.#server.store.close()
      if (this.#closing.signal.aborted) return
      this.#serving = this.#restart()
      try {
        this.#server = await this.#serving
      } catch {
        return // only when closing
      }
      this.#options.onRestart?.(this.pid())
    }
  }

  async #restart(): Promise<Server> {
    for (let pause = 50; ; pause = Math.min(pause * 2, LONGEST_PAUSE_MILLISECONDS)) {
      await sleep(pause, undefined, { signal: this.#closing.signal })
      try {
        return await startServing(this.#options, this.#closing.signal)
      } catch (error) {
        if (this.#closing.signal.aborted) throw error
        if (!(error instanceof StoreUnavailable)) throw error
      }
    }
  }

  async #serve(): Promise<Store> {
    if (this.#closing.signal.aborted) throw new StoreUnavailable('The store is closed.')
    // Node learns of a child's death a moment after its sockets do.
    const wait = sleep(WAIT_MILLISECONDS, null, { ref: false })
    const server = await Promise.race([this.#serving, wait])
    if (server === null) throw new StoreUnavailable('The store is being restarted; try again in a moment.')
    return server.store
  }

  /** A read is tried once more when the child died under it. */
  async #again<T>(read: (store: Store) => Promise<T>): Promise<T> {
    const { pid } = this.#server.child
    try {
      return await read(await this.#serve())
    } catch (error) {
      if (!(error instanceof StoreUnavailable) || !(await this.#hasDied(pid))) throw error
      return read(await this.#serve())
    }
  }

  async #hasDied(pid: number | undefined): Promise<boolean> {
    if (this.#closing.signal.aborted) return false
    await Promise.race([this.#server.ended, sleep(100)])
    return (
      this.#server.child.pid !== pid || this.#server.child.exitCode !== null || this.#server.child.signalCode !== null
    )
  }

  query<Row>(sql: string, options?: QueryOptions): Promise<Row[]> {
    return this.#again((store) => store.query<Row>(sql, options))
  }

  async *stream<Row>(sql: string, options?: QueryOptions): AsyncIterable<readonly Row[]> {
    yield* (await this.#serve()).stream<Row>(sql, options)
  }

  async command(sql: string, options?: QueryOptions): Promise<void> {
    return (await this.#serve()).command(sql, options)
  }

  async insert(table: string, block: Uint8Array, options?: InsertOptions): Promise<void> {
    return (await this.#serve()).insert(table, block, options)
  }

  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return
    this.#closing.abort()
    const server = await this.#serving.catch(() => this.#server)
    server.child.stdin?.end()
    server.child.kill('SIGTERM')
    const late = setTimeout(() => server.child.kill('SIGKILL'), STOP_MILLISECONDS)
    await server.ended
    clearTimeout(late)
    await server.store.close()
  }
}

/**
 * Opens the store in `folder`, ready to answer. Throws `StoreUnavailable` when it cannot be started: no rights, no
 * space, or another process has it.
 */
export async function openEmbeddedStore(options: EmbeddedStoreOptions): Promise<EmbeddedStore> {
  return new SupervisedStore(options, await startServing(options, new AbortController().signal))
}
