/**
 * The log in one SQLite file, for one process. This is the main thread's side: it checks, copies the events of a call
 * into one buffer and asks the worker thread that owns the file (`sqlite-log-worker.ts`).
 */
import { createHash } from 'node:crypto'
import { extname, resolve } from 'node:path'
import { Worker } from 'node:worker_threads'
import type { AvroRecord, SchemaRegistry } from './avro.ts'
import {
  type Appended,
  type Batch,
  type FollowOptions,
  type Log,
  LogBroken,
  LogClosed,
  type LogEvent,
  LogFull,
  type NewEvent,
  OffsetGone,
  type Position,
  type ReadOptions,
  type TopicSettings,
  UnknownTopic,
  type Watermark,
} from './log.ts'
import { columnsOf, eventsOf } from './sqlite-log-events.ts'
import type {
  Failure,
  LogCounters,
  Operation,
  Operations,
  ScanRequest,
  SeekReply,
  TopicInfo,
  WorkerMessage,
  WorkerSettings,
} from './sqlite-log-messages.ts'

const MAX_EVENTS = 1000
const MAX_BYTES = 8 * 1024 * 1024
/** Events that one transaction erases; each may mean a block to be written anew. */
const ERASED_AT_ONCE = 200

export interface SqliteLogOptions {
  readonly path: string
  /** Milliseconds since 1970 UTC; for timestamps and retention. Default: the clock. */
  readonly now?: () => number
  /** Size that the file may reach; beyond it appends are refused with `LogFull`. Default: what the disk takes. */
  readonly maxBytes?: number
}

export interface SqliteLog extends Log, SchemaRegistry {
  /** Resolves when the disk failed or the worker thread died; every verb rejects with the same error from then on. */
  readonly broken: Promise<LogBroken>
  /** Removes what the topics no longer keep, oldest first, in slices between which appends go on. Call it regularly. */
  applyRetention(): Promise<void>
  /** How often the log wrote, since it was opened. */
  counters(): Promise<LogCounters>
}

/** Opens the log in the file at `path`, makes it when it is not there. Throws when another process has it open. */
export function openSqliteLog(options: SqliteLogOptions): Promise<SqliteLog> {
  return SqliteLogClient.open(options)
}

/**
 * Files that are open here. Looking at a file's version opens and closes it, and on Unix that drops the locks which the
 * process holds on it: so never a second time.
 */
const openPaths = new Set<string>()

async function startWorker(
  path: string,
  maxBytes: number | null,
): Promise<{ readonly worker: Worker; readonly topics: readonly TopicInfo[] }> {
  const file = new URL(`./sqlite-log-worker${extname(import.meta.url)}`, import.meta.url)
  const workerData: WorkerSettings = { path, maxBytes }
  const worker = new Worker(file, { workerData, execArgv: [] })
  const first = await new Promise<WorkerMessage>((take, reject) => {
    worker.once('message', take)
    worker.once('error', reject)
  })
  if ('opened' in first) return { worker, topics: first.opened }
  await worker.terminate()
  throw errorOf('refused' in first ? first.refused : { code: 'error', message: 'The log did not open.' })
}

interface Waiting {
  readonly resolve: (reply: never) => void
  readonly reject: (error: Error) => void
}

/** Wakes the readers of one topic. `version` grows with every append, so that none between look and wait is missed. */
interface Arrivals {
  version: number
  readonly wake: Set<() => void>
}

class SqliteLogClient implements SqliteLog {
  readonly broken: Promise<LogBroken>
  readonly canErase = true
  readonly #worker: Worker
  readonly #now: () => number
  readonly #topics = new Map<string, TopicInfo>()
  readonly #arrivals = new Map<number, Arrivals>()
  readonly #waiting = new Map<number, Waiting>()
  readonly #readers = new Set<string>()
  readonly #rounds = new Map<number, number>()
  #tellBroken!: (error: LogBroken) => void
  #lastId = 0
  #ended: Error | undefined
  #closed: Promise<void> | undefined

  private constructor(worker: Worker, topics: readonly TopicInfo[], now: () => number) {
    this.#worker = worker
    this.#now = now
    this.broken = new Promise((resolve) => {
      this.#tellBroken = resolve
    })
    for (const topic of topics) this.#learnTopic(topic)
    worker.on('message', (message: WorkerMessage) => {
      if ('answers' in message) this.#settle(message.answers)
    })
    worker.on('error', (error) => this.#break(`The thread that owns the log failed: ${error.message}`))
    worker.on('exit', () => this.#break('The thread that owns the log ended.'))
  }

  static async open({ path, now, maxBytes }: SqliteLogOptions): Promise<SqliteLog> {
    const absolute = resolve(path)
    if (openPaths.has(absolute)) throw new Error(`The log ${path} is open in this process already; close it first.`)
    openPaths.add(absolute)
    try {
      const { worker, topics } = await startWorker(path, maxBytes ?? null)
      worker.on('exit', () => openPaths.delete(absolute))
      return new SqliteLogClient(worker, topics, now ?? Date.now)
    } catch (error) {
      openPaths.delete(absolute)
      throw error
    }
  }

  #settle(answers: Extract<WorkerMessage, { answers: unknown }>['answers']): void {
    for (const answer of answers) {
      if ('failure' in answer && answer.failure.code === 'broken') {
        this.#break(answer.failure.message)
        return
      }
      const waiting = this.#waiting.get(answer.id)
      this.#waiting.delete(answer.id)
      if ('failure' in answer) waiting?.reject(errorOf(answer.failure))
      else waiting?.resolve(answer.reply as never)
    }
  }

  /** Ends everything with `LogBroken`. After `close` it only stops what is left. */
  #break(message: string): void {
    if (this.#ended !== undefined) return
    const error = new LogBroken(message)
    this.#end(error)
    this.#tellBroken(error)
    void this.#worker.terminate()
  }

  #end(error: Error): void {
    this.#ended = error
    for (const { reject } of this.#waiting.values()) reject(error)
    this.#waiting.clear()
    for (const { wake } of this.#arrivals.values()) for (const notify of wake) notify()
  }

  #ask<K extends Operation>(
    kind: K,
    request: Operations[K]['request'],
    transfer: ArrayBuffer[] = [],
  ): Promise<Operations[K]['reply']> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended)
    const id = ++this.#lastId
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject })
      this.#worker.postMessage({ id, kind, request }, transfer)
    })
  }

  #assertOpen(): void {
    if (this.#ended !== undefined) throw this.#ended
    if (this.#closed !== undefined) throw new LogClosed()
  }

  #topic(name: string): TopicInfo {
    this.#assertOpen()
    const topic = this.#topics.get(name)
    if (topic === undefined) throw new UnknownTopic(name)
    return topic
  }

  #learnTopic(topic: TopicInfo): void {
    this.#topics.set(topic.name, topic)
    if (!this.#arrivals.has(topic.id)) this.#arrivals.set(topic.id, { version: 0, wake: new Set() })
  }

  async createTopic({ name, partitions, maxValueBytes, retention }: TopicSettings): Promise<void> {
    this.#assertOpen()
    if (!Number.isInteger(partitions) || partitions < 1)
      throw new Error(`Topic ${name} cannot have ${partitions} partitions; it needs at least one.`)
    const retentionMilliseconds = retention?.milliseconds ?? null
    const retentionBytes = retention?.bytes ?? null
    const settings = { name, partitions, maxValueBytes, retentionMilliseconds, retentionBytes }
    this.#learnTopic(await this.#ask('createTopic', settings))
  }

  async topics(): Promise<readonly string[]> {
    this.#assertOpen()
    return [...this.#topics.keys()]
  }

  async deleteTopic(name: string): Promise<void> {
    this.#assertOpen()
    const topic = this.#topics.get(name)
    if (topic === undefined) return
    const reader = [...this.#readers].find((key) => (JSON.parse(key) as string[])[0] === name)
    if (reader !== undefined) throw new Error(`Topic ${name} is being read (${reader}) and cannot be deleted.`)
    this.#topics.delete(name)
    this.#arrivals.delete(topic.id)
    this.#rounds.delete(topic.id)
    await this.#ask('deleteTopic', { topic: topic.id })
  }

  async append(name: string, events: readonly NewEvent[]): Promise<readonly Appended[]> {
    const topic = this.#topic(name)
    if (events.length === 0) return []
    const request = columnsOf(topic, events, this.#now(), () => this.#nextRound(topic))
    const { offsets, duplicateOf } = await this.#ask('append', request, [request.values])
    const arrivals = this.#arrivals.get(topic.id)!
    arrivals.version++
    for (const notify of arrivals.wake) notify()
    return offsets.map((offset, i) => {
      const first = duplicateOf?.[i] ?? -1
      return first === -1
        ? { partition: request.partitions[i]!, offset, duplicate: false }
        : { partition: first, offset, duplicate: true }
    })
  }

  /** Events without a key go to one partition a call, in turn. */
  #nextRound(topic: TopicInfo): number {
    const round = this.#rounds.get(topic.id) ?? 0
    this.#rounds.set(topic.id, (round + 1) % topic.partitions)
    return round
  }

  async *read(name: string, options: ReadOptions): AsyncGenerator<Batch, void, undefined> {
    const topic = this.#topic(name)
    const { group, signal, from, maxEvents = MAX_EVENTS, maxBytes = MAX_BYTES } = options
    const reader = JSON.stringify([name, group])
    if (this.#readers.has(reader))
      throw new Error(`Group ${group} reads topic ${name} already in this process; a group has one reader here.`)
    this.#readers.add(reader)
    try {
      const wanted: (number | undefined)[] = []
      for (let partition = 0; partition < topic.partitions && !signal.aborted; partition++)
        wanted.push(await untilAborted(signal, Promise.resolve(from?.(partition))))
      if (!signal.aborted) await this.#reportGaps(topic, options, wanted)
      const start = () => this.#ask('seek', { topic: topic.id, group, from: wanted })
      for await (const events of this.#scan(topic, start, signal, maxEvents, maxBytes))
        yield { events, commit: () => this.#commit(topic, group, events) }
    } finally {
      this.#readers.delete(reader)
    }
  }

  /** Asks about the events that retention removed before the group had read them. */
  async #reportGaps(topic: TopicInfo, options: ReadOptions, wanted: readonly (number | undefined)[]): Promise<void> {
    const { group, onGap } = options
    const committed = new Map(await this.#ask('committed', { topic: topic.id, group }))
    for (const { partition, low } of await this.#ask('watermarks', { topic: topic.id })) {
      const position = wanted[partition] ?? committed.get(partition) ?? 0
      if (position === 0 || position >= low) continue
      const gap = { topic: topic.name, group, partition, position, low }
      if (onGap === undefined) throw new OffsetGone(gap)
      await onGap(gap)
    }
  }

  async #commit(topic: TopicInfo, group: string, events: readonly LogEvent[]): Promise<void> {
    this.#assertOpen()
    const positions = new Map<number, number>()
    for (const { partition, offset } of events) positions.set(partition, offset + 1)
    await this.#ask('commit', { topic: topic.id, group, positions: [...positions] })
  }

  async *follow(name: string, { signal, from }: FollowOptions): AsyncGenerator<readonly LogEvent[], void, undefined> {
    const topic = this.#topic(name)
    const wanted = Array.from({ length: topic.partitions }, (_, partition) => from?.get(partition))
    const start = () => this.#ask('seek', { topic: topic.id, group: null, from: wanted })
    yield* this.#scan(topic, start, signal, MAX_EVENTS, MAX_BYTES)
  }

  /** Batches from the first wanted offset on, for ever. While the consumer works on one, the next is fetched. */
  async *#scan(
    topic: TopicInfo,
    start: () => Promise<SeekReply>,
    signal: AbortSignal,
    maxEvents: number,
    maxBytes: number,
  ): AsyncGenerator<readonly LogEvent[], void, undefined> {
    if (signal.aborted) return
    const arrivals = this.#arrivals.get(topic.id)!
    const sought = await untilAborted(signal, start())
    if (sought === undefined) return
    const highest = Math.max(...sought.starts)
    const fetch = async (scanFrom: number) => {
      const { version } = arrivals
      const starts = highest > scanFrom ? sought.starts : null
      const request: ScanRequest = { topic: topic.id, scanFrom, starts, maxEvents, maxBytes }
      return { version, reply: await this.#ask('scan', request) }
    }
    let fetching = fetch(sought.scanFrom)
    for (;;) {
      const fetched = await untilAborted(signal, fetching)
      if (fetched === undefined) return
      this.#assertOpen()
      const { version, reply } = fetched
      if (reply.offsets.length === 0 && reply.atHead) await this.#arrival(arrivals, version, signal)
      if (signal.aborted) return
      fetching = fetch(reply.scanFrom)
      // A failure is met when the consumer asks for the next batch; until then nobody listens to it.
      fetching.catch(() => undefined)
      if (reply.offsets.length > 0) yield eventsOf(topic.name, reply)
      if (signal.aborted) return
      this.#assertOpen()
    }
  }

  /** Resolves when something was appended after `version`, when the signal aborts, or when the log ends. */
  #arrival(arrivals: Arrivals, version: number, signal: AbortSignal): Promise<void> {
    if (arrivals.version !== version || signal.aborted || this.#ended !== undefined) return Promise.resolve()
    return new Promise((resolve) => {
      const notify = () => {
        arrivals.wake.delete(notify)
        signal.removeEventListener('abort', notify)
        resolve()
      }
      arrivals.wake.add(notify)
      signal.addEventListener('abort', notify, { once: true })
    })
  }

  async get(name: string, partition: number, offset: number): Promise<LogEvent | null> {
    const topic = this.#topic(name)
    const request: ScanRequest = { topic: topic.id, scanFrom: offset, starts: null, maxEvents: 1, maxBytes: 0 }
    const reply = await this.#ask('scan', request)
    const event = eventsOf(name, reply)[0]
    return event?.offset === offset && event.partition === partition ? event : null
  }

  async watermarks(name: string): Promise<readonly Watermark[]> {
    return this.#ask('watermarks', { topic: this.#topic(name).id })
  }

  async size(name: string): Promise<{ readonly events: number; readonly bytes: number }> {
    return this.#ask('size', { topic: this.#topic(name).id })
  }

  async committed(name: string, group: string): Promise<ReadonlyMap<number, number>> {
    return new Map(await this.#ask('committed', { topic: this.#topic(name).id, group }))
  }

  async members(group: string): Promise<number> {
    this.#assertOpen()
    return [...this.#readers].filter((key) => (JSON.parse(key) as string[])[1] === group).length
  }

  async lag(name: string, positions: ReadonlyMap<number, number>): Promise<{ events: number; oldest: number | null }> {
    return this.#ask('lag', { topic: this.#topic(name).id, positions: new Map(positions) })
  }

  async erase(
    name: string,
    positions: readonly Position[],
    { keepOnceIds = false }: { readonly keepOnceIds?: boolean } = {},
  ): Promise<number> {
    const topic = this.#topic(name)
    const offsets = positions.map(({ offset }) => offset).sort((a, b) => a - b)
    let erased = 0
    for (let at = 0; at < offsets.length; at += ERASED_AT_ONCE) {
      const slice = offsets.slice(at, at + ERASED_AT_ONCE)
      const { found } = await this.#ask('erase', { topic: topic.id, offsets: slice, keepOnceIds })
      erased += found
    }
    return erased
  }

  async scrub(): Promise<void> {
    this.#assertOpen()
    for (let more = true; more; ) more = (await this.#ask('scrub', null)).more
  }

  async applyRetention(): Promise<void> {
    this.#assertOpen()
    const now = this.#now()
    for (const { id, retentionMilliseconds, retentionBytes } of this.#topics.values()) {
      if (retentionMilliseconds === null && retentionBytes === null) continue
      for (let more = true; more; ) more = (await this.#ask('retain', { topic: id, now })).more
    }
  }

  async register(subject: string, schema: AvroRecord): Promise<number> {
    this.#assertOpen()
    const text = canonicalJson(schema)
    const fingerprint = createHash('sha256').update(text).digest('hex')
    return this.#ask('register', { subject, fingerprint, schema: text })
  }

  async schema(id: number): Promise<AvroRecord> {
    this.#assertOpen()
    const text = await this.#ask('schema', { id })
    if (text === null) throw new Error(`The log holds no schema with id ${id}; it was written by another log.`)
    return JSON.parse(text) as AvroRecord
  }

  async counters(): Promise<LogCounters> {
    this.#assertOpen()
    return this.#ask('counters', null)
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    if (this.#ended !== undefined) return
    // Asked last, so it is answered when everything asked before has been.
    const closing = this.#ask('close', null)
    try {
      await closing
    } finally {
      if (this.#ended === undefined) this.#end(new LogClosed())
      await this.#worker.terminate()
    }
  }
}

function errorOf({ code, message }: Failure): Error {
  if (code === 'full') return new LogFull(message)
  if (code === 'broken') return new LogBroken(message)
  return new Error(message)
}

/** JSON with the names of every object in order, so that equal schemas give equal text. */
function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) =>
    part !== null && typeof part === 'object' && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  )
}

/** What the promise resolves to, or undefined as soon as the signal aborts. Its rejection counts until then. */
function untilAborted<T>(signal: AbortSignal, promise: Promise<T>): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    const stop = () => resolve(undefined)
    if (signal.aborted) stop()
    signal.addEventListener('abort', stop, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop))
  })
}
