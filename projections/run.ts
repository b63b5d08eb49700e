/**
 * The loops that project: one for each topic, from events to rows in the store. Rows are gathered until there are
 * enough, or a moment has passed, or nothing more is to be read; then the rows of records go in, then the rows that
 * make them count, then the position. So whatever the store holds, its position holds no more. The log's committed
 * offset serves lag and retention only. An event that comes again gives the same rows.
 *
 * Several processes may project into one store, each some partitions. While a partition moves, two of them may for a
 * moment insert from it, and that is harmless. A process begins at the position that the store has, inserts without a
 * gap from there, and writes a position only after all rows before it: so each position says of itself that everything
 * below it is in, whoever else writes, and the largest one counts. Rows that both insert are the same rows under the same
 * keys. What could break this is a store that is emptied meanwhile: the rows below the start are gone then. So positions
 * carry the incarnation of the store that the process began with, those of another incarnation do not count, and a process
 * that finds another one begins anew.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { type DecodedEvent, type EventCodec, type EventType, UnknownSchema } from '../topics/avro.ts'
import { type Batch, isErased, type Log, type LogEvent, type ReadOptions } from '../topics/log.ts'
import { POSITIONS_TABLE } from './ddl.ts'
import { type Feed, type FeedList, projectionsOf } from './feeds.ts'
import { encodeBlock, lowCardinality, MAX_BLOCK_ROWS, uint16, uint32, uint64 } from './native.ts'
import type { GatheredRows, ProjectedEvent } from './projection.ts'
import { isTableMissing, type Positions, storedIncarnation, storedPositions } from './schema.ts'
import { ProjectionState } from './state.ts'
import { type Store, StoreDamaged, StoreUnavailable } from './store.ts'

export interface RunProjectionsOptions {
  readonly log: Log
  /** Reads the events; it is taught schemas of other versions as they come. */
  readonly codec: EventReader
  readonly store: Store
  /** What is projected; it may change while the loops run. */
  readonly feeds: FeedList
  /**
   * Makes the store anew and empty, with the tables of all feeds. `lost` is the incarnation that was found lost, null when
   * it found none: when several processes share the store, one that is another by now is to be left (see recreateStore).
   */
  readonly recreate: (lost: string | null) => Promise<void>
  readonly signal: AbortSignal
  /** See `ReadOptions`: without it a loop refuses to go on behind events that are gone. */
  readonly onGap?: ReadOptions['onGap']
  /** Put before the names of consumer groups. */
  readonly groupPrefix?: string
  /** Rows of one insert at most; default 60,000. */
  readonly flushRows?: number
  /** Rows wait no longer; default 1000. */
  readonly flushMilliseconds?: number
  /** How often the store is asked whether it was emptied; default 10,000. */
  readonly watchMilliseconds?: number
  /** True when the store was just made empty: progress is then told until it is filled up to the log's heads of now. */
  readonly rebuilt?: boolean
  /** Asked before each batch: resolves when nothing more urgent is to be done in this process. */
  readonly giveWay?: (signal: AbortSignal) => Promise<void>
  /** Mails that were erased: nothing is made of what `private` and `rejects` hold of them. */
  readonly unread?: { leavesUnread(): boolean; isUnread(mailId: string): boolean }
  readonly onProgress?: (feed: Feed, flushed: { readonly rows: number; readonly events: number }) => void
  /** Told of what an operator should know: the store is away, or is rebuilt. */
  readonly onProblem?: (message: string) => void
}

/** What the loops need of `EventCodec`. */
export interface EventReader {
  decode(value: Uint8Array): ProjectedEvent
  learn(schemaId: number): Promise<void>
}

const FLUSH_MILLISECONDS = 1000
/**
 * An insert costs the store 20 to 40 ms however small it is, and its parts must be merged. So many rows within
 * `FLUSH_MILLISECONDS` are an import or a rebuild: then rows wait for more, and nobody who posts a single mail notices.
 */
const BULK_ROWS = 1500
const BULK_FACTOR = 3
/** So long without another event is idle, and what is there goes in. */
const IDLE_MILLISECONDS = 15
/**
 * Between two inserts that are made because nothing more was there: mails one by one must not become parts one by one,
 * and a stream with gaps must not become an insert a gap. The pause grows by a millisecond with every event of the
 * insert before.
 */
const PAUSE_MILLISECONDS = 250
const LONGEST_IDLE_PAUSE_MILLISECONDS = 1500
/** A chunk holds at most so many records: no event goes beyond a block when this many rows are left. */
const ROWS_OF_ONE_EVENT = 500
/** Event bytes whose rows are held at most: what a hostile report makes of 60,000 rows must stay bounded. */
const FLUSH_BYTES = 24 * 1024 * 1024
/** How often a store is asked whether it still is what it was. */
const WATCH_MILLISECONDS = 10_000
/** Bytes decoded at one go: about 30 ms of the event loop. */
const BATCH_BYTES = 2 * 1024 * 1024
/** How long an insert may go on after the loops were told to end. */
const LAST_INSERT_MILLISECONDS = 10_000
/** How long the store's answer about positions serves for other partitions. */
const SHARED_MILLISECONDS = 1000
const FIRST_PAUSE_MILLISECONDS = 100
const LONGEST_PAUSE_MILLISECONDS = 5_000

/** Another process has emptied the store and fills it: what was read before counts no more. */
class StoreMadeAnew extends Error {}

/** The loops between two times that the store was made anew. */
interface Round extends RunProjectionsOptions {
  /** What the store was when they began. */
  readonly incarnation: string
}

/**
 * Runs all loops until the signal aborts. A store that is away is waited for, without end and in constant memory; one
 * that is damaged or was emptied is made anew and filled from the log. Rejects on anything else.
 */
export async function runProjections(
  options: RunProjectionsOptions,
  state: ProjectionState = new ProjectionState(),
): Promise<void> {
  let rebuilt = options.rebuilt ?? false
  while (!options.signal.aborted) {
    const round = new AbortController()
    const signal = AbortSignal.any([options.signal, round.signal])
    if (rebuilt) await state.beginRebuild(options.log, options.feeds.wanted())
    rebuilt = false
    let lost: string | null = null
    const onFailure = (error: unknown) => isLost(error) && state.aboutToRebuild()
    const requested = state.rebuildRequested(signal).then((reason) => {
      if (reason !== null) throw new StoreDamaged(reason)
    })
    const running = untilStoreAnswers({ ...options, signal }, () => storedIncarnation(options.store, { signal })).then(
      async (incarnation) => {
        lost = incarnation
        const inRound = { ...options, signal, incarnation }
        await untilOneFails([runFeeds(inRound, state), watchStore(inRound)], round, onFailure)
      },
    )
    try {
      await untilOneFails([running, requested], round, onFailure)
    } catch (error) {
      if (options.signal.aborted) return
      state.forgetAll()
      if (error instanceof StoreMadeAnew) {
        options.onProblem?.(error.message)
        continue
      }
      if (!isLost(error)) throw error
      options.onProblem?.(`The store is rebuilt from the log: ${(error as Error).message}`)
      try {
        await untilStoreAnswers(options, () => options.recreate(lost))
      } catch (failure) {
        if (options.signal.aborted) return
        throw failure
      }
      rebuilt = true
    }
  }
}

const isLost = (error: unknown) => error instanceof StoreDamaged || isTableMissing(error)

/** Rejects with the first failure, once the others have ended, too. */
async function untilOneFails(
  all: readonly Promise<void>[],
  round: AbortController,
  onFailure: (error: unknown) => void = () => {},
): Promise<void> {
  try {
    await Promise.all(all)
  } catch (error) {
    onFailure(error)
    round.abort()
    await Promise.allSettled(all)
    throw error
  }
}

/** Runs a loop for each feed that is wanted, and ends those that no longer are. Rejects when one of them does. */
async function runFeeds(options: Round, state: ProjectionState): Promise<void> {
  const { feeds, signal } = options
  const running = new Map<string, { readonly ending: AbortController; readonly done: Promise<void> }>()
  const failed = Promise.withResolvers<never>()
  failed.promise.catch(() => {}) // met below, or after the signal by nobody
  try {
    while (!signal.aborted) {
      const { version } = feeds
      const wanted = feeds.wanted()
      for (const [physical, { ending, done }] of running) {
        if (wanted.some((feed) => feed.physical === physical)) continue
        ending.abort()
        await done
        running.delete(physical)
        state.forget(physical)
      }
      for (const feed of wanted) {
        if (running.has(feed.physical)) continue
        const ending = new AbortController()
        const inLoop = { ...options, signal: AbortSignal.any([signal, ending.signal]) }
        const done = new TopicLoop(inLoop, feed, state).run()
        done.catch(failed.reject)
        running.set(feed.physical, { ending, done })
      }
      feeds.applied(wanted)
      await Promise.race([feeds.changed(version, signal), failed.promise])
    }
  } finally {
    for (const { ending } of running.values()) ending.abort()
    await Promise.allSettled([...running.values()].map(({ done }) => done))
    feeds.applied([])
  }
}

/** Loops that have nothing to insert would not notice that the store was emptied. Rejects when it was. */
async function watchStore(options: Round): Promise<void> {
  const { signal, store, incarnation } = options
  while (!signal.aborted) {
    await sleep(options.watchMilliseconds ?? WATCH_MILLISECONDS, undefined, { signal, ref: false }).catch(() => {})
    if (signal.aborted) return
    const now = await untilStoreAnswers(options, async () => {
      await store.query(`SELECT 1 FROM ${POSITIONS_TABLE} LIMIT 0`, { signal })
      return storedIncarnation(store, { signal })
    })
    if (now !== incarnation)
      throw new StoreMadeAnew('Another process has emptied the store; it is filled again from the log.')
  }
}

/** Does the work until the store answers, with growing pauses. Rejects when the signal aborts. */
export async function untilStoreAnswers<T>(
  options: Pick<RunProjectionsOptions, 'signal' | 'onProblem'>,
  work: () => Promise<T>,
): Promise<T> {
  for (let pause = FIRST_PAUSE_MILLISECONDS; ; pause = Math.min(pause * 2, LONGEST_PAUSE_MILLISECONDS)) {
    try {
      return await work()
    } catch (error) {
      if (!(error instanceof StoreUnavailable)) throw error
      if (pause === FIRST_PAUSE_MILLISECONDS) options.onProblem?.(`Projections wait for the store: ${error.message}`)
    }
    await sleep(pause, undefined, { signal: options.signal })
  }
}

/** Rows and positions that go in together. */
class Flush {
  readonly gathered: readonly GatheredRows[]
  readonly positions = new Map<number, number>()
  readonly batches = new Map<number, Batch>()
  events = 0
  bytes = 0
  /** When the first event came. */
  since = 0

  constructor(feed: Feed) {
    // Rows that close a report come last.
    this.gathered = projectionsOf(feed)
      .toSorted((a, b) => Number(a.closes) - Number(b.closes))
      .map((projection) => projection.gather())
  }

  rows(): number {
    let rows = 0
    for (const gathered of this.gathered) rows = Math.max(rows, gathered.rows())
    return rows
  }

  take(event: LogEvent, decoded: ProjectedEvent): void {
    if (this.events++ === 0) this.since = performance.now()
    for (const gathered of this.gathered) gathered.append(decoded)
    this.positions.set(event.partition, event.offset + 1)
    this.bytes += event.value.length
  }

  /** An event of which nothing is made: only the position tells of it. */
  passOver(event: LogEvent): void {
    if (this.events++ === 0) this.since = performance.now()
    this.positions.set(event.partition, event.offset + 1)
  }

  clear(): void {
    for (const gathered of this.gathered) gathered.clear()
    this.positions.clear()
    this.batches.clear()
    this.events = 0
    this.bytes = 0
  }
}

class TopicLoop {
  readonly #options: Round
  readonly #feed: Feed
  readonly #state: ProjectionState
  readonly #flushRows: number
  /** One is filled while the other goes in: no more rows than that are ever held. */
  #filling: Flush
  #spare: Flush
  #inserting: Promise<void> = Promise.resolve()
  #isInserting = false
  #lastFlush = 0
  #pause = PAUSE_MILLISECONDS
  #failure: unknown
  #stored: { readonly positions: Promise<Positions>; readonly askedFor: Set<number> } | undefined
  readonly #ending = new AbortController()
  /** A store that hangs must not hold up the end of the process; one that works may finish what it is at. */
  readonly #givingUp: AbortSignal

  constructor(options: Round, feed: Feed, state: ProjectionState) {
    this.#options = options
    this.#feed = feed
    this.#state = state
    this.#flushRows = Math.min(options.flushRows ?? MAX_BLOCK_ROWS, MAX_BLOCK_ROWS)
    this.#filling = new Flush(feed)
    this.#givingUp = laterThan(options.signal, LAST_INSERT_MILLISECONDS)
    this.#spare = new Flush(feed)
  }

  async run(): Promise<void> {
    const { log, signal, groupPrefix = '', onGap } = this.#options
    const { topic, physical, owner } = this.#feed
    const reader = log.read(physical, {
      ...(onGap === undefined ? {} : { onGap }),
      group: `${groupPrefix}project.${topic}.g${owner}`,
      signal: AbortSignal.any([signal, this.#ending.signal]),
      from: (partition) => this.#startOf(partition),
      maxBytes: BATCH_BYTES,
    })
    const batches = reader[Symbol.asyncIterator]()
    try {
      await this.#follow(batches)
      await this.#inserting
    } finally {
      // Ends the read that is already asked for, behind which `return` would wait.
      this.#ending.abort()
      await this.#inserting
      await batches.return?.()
    }
    if (this.#failure !== undefined && !signal.aborted) throw this.#failure
  }

  /** The store's own position wins over the group's; without one the partition is read from its beginning. */
  async #startOf(partition: number): Promise<number> {
    const { physical } = this.#feed
    const start = (await this.#storedFor(partition)).get(physical)?.get(partition) ?? 0
    this.#state.reached(physical, partition, start)
    return start
  }

  /**
   * Partitions that are asked for together share an answer. One that is asked for again comes back from another process,
   * which has gone on with it.
   */
  #storedFor(partition: number): Promise<Positions> {
    if (this.#stored === undefined || this.#stored.askedFor.has(partition)) {
      const { store, signal } = this.#options
      const positions = untilStoreAnswers(this.#options, () => storedPositions(store, [this.#feed], { signal }))
      const stored = { positions, askedFor: new Set<number>() }
      this.#stored = stored
      setTimeout(() => {
        if (this.#stored === stored) this.#stored = undefined
      }, SHARED_MILLISECONDS).unref()
    }
    this.#stored.askedFor.add(partition)
    return this.#stored.positions
  }

  async #follow(batches: AsyncIterator<Batch>): Promise<void> {
    let next = batches.next()
    // A rejection while we wait for a timer is met at the next turn.
    next.catch(() => {})
    while (this.#failure === undefined) {
      const got = await this.#nextOrDue(next)
      if (got === 'due') {
        await this.#flush()
        continue
      }
      if (got.done) return
      next = batches.next()
      next.catch(() => {})
      await this.#take(got.value)
    }
  }

  /** The next batch, or word that what is gathered has waited long enough or that nothing more comes. */
  async #nextOrDue(next: Promise<IteratorResult<Batch>>): Promise<IteratorResult<Batch> | 'due'> {
    if (this.#filling.events === 0) return next
    const now = performance.now()
    const idle = Math.max(IDLE_MILLISECONDS, this.#lastFlush + this.#pause - now)
    const due = Math.min(idle, this.#dueAt() - now)
    let timer: NodeJS.Timeout | undefined
    const wait = new Promise<'due'>((resolve) => {
      timer = setTimeout(resolve, Math.max(due, 0), 'due')
    })
    try {
      return await Promise.race([next, wait])
    } finally {
      clearTimeout(timer)
    }
  }

  /** When what is gathered must go in. */
  #dueAt(): number {
    const { flushMilliseconds = FLUSH_MILLISECONDS } = this.#options
    const isBulk = this.#filling.rows() >= BULK_ROWS
    return this.#filling.since + (isBulk ? BULK_FACTOR * flushMilliseconds : flushMilliseconds)
  }

  async #take(batch: Batch): Promise<void> {
    await this.#options.giveWay?.(this.#options.signal)
    for (const event of batch.events) {
      if (this.#filling.rows() + ROWS_OF_ONE_EVENT > this.#flushRows || this.#filling.bytes > FLUSH_BYTES)
        await this.#flush()
      if (this.#isErased(event)) this.#filling.passOver(event)
      else {
        const decoded = this.#decode(event)
        this.#filling.take(event, decoded instanceof Promise ? await decoded : decoded)
      }
      if (this.#options.signal.aborted || this.#failure !== undefined) return
    }
    for (const { partition } of batch.events) this.#filling.batches.set(partition, batch)
    if (this.#filling.events > 0 && performance.now() >= this.#dueAt() && !this.#isInserting) await this.#flush()
  }

  #isErased(event: LogEvent): boolean {
    if (isErased(event)) return true
    const { unread } = this.#options
    // The key of an event there is the id of its mail.
    const isOfMail = this.#feed.topic === 'private' || this.#feed.topic === 'rejects'
    return isOfMail && event.key !== null && unread?.leavesUnread() === true && unread.isUnread(event.key)
  }

  #decode(event: LogEvent): ProjectedEvent | Promise<ProjectedEvent> {
    try {
      return this.#options.codec.decode(event.value)
    } catch (error) {
      if (!(error instanceof UnknownSchema)) throw error
      return this.#options.codec.learn(error.schemaId).then(() => this.#options.codec.decode(event.value))
    }
  }

  /** Hands over what is gathered, once the flush before it is through. */
  async #flush(): Promise<void> {
    await this.#inserting
    if (this.#filling.events === 0 || this.#failure !== undefined) return
    const flush = this.#filling
    this.#filling = this.#spare
    this.#spare = flush
    this.#lastFlush = performance.now()
    this.#pause = Math.min(Math.max(flush.events, PAUSE_MILLISECONDS), LONGEST_IDLE_PAUSE_MILLISECONDS)
    this.#isInserting = true
    this.#inserting = this.#insert(flush)
      .catch((error: unknown) => {
        this.#failure = error
        this.#ending.abort()
      })
      .finally(() => {
        this.#isInserting = false
        flush.clear()
      })
  }

  async #insert(flush: Flush): Promise<void> {
    const { store } = this.#options
    const { physical, generation } = this.#feed
    const options = { signal: this.#givingUp }
    const rows = flush.rows()
    for (const gathered of flush.gathered) {
      if (gathered.rows() === 0) continue
      const block = gathered.encode()
      await untilStoreAnswers(this.#options, () => store.insert(generation.tables[gathered.table], block, options))
    }
    const positions = this.#positionRows(flush)
    await untilStoreAnswers(this.#options, () => store.insert(POSITIONS_TABLE, positions, options))
    for (const [partition, position] of flush.positions) this.#state.reached(physical, partition, position)
    this.#state.inserted(physical, rows, flush.events)
    this.#options.onProgress?.(this.#feed, { rows, events: flush.events })
    for (const batch of new Set(flush.batches.values())) await batch.commit()
  }

  #positionRows(flush: Flush): Buffer {
    const columns = {
      incarnation: lowCardinality(),
      generation: uint32(),
      projected_table: lowCardinality(),
      topic: lowCardinality(),
      partition: uint16(),
      next_offset: uint64(),
    }
    for (const { table } of flush.gathered) {
      for (const [partition, position] of flush.positions) {
        columns.incarnation.push(this.#options.incarnation)
        columns.generation.push(this.#feed.owner)
        columns.projected_table.push(table)
        columns.topic.push(this.#feed.physical)
        columns.partition.push(partition)
        columns.next_offset.push(position)
      }
    }
    return encodeBlock(columns)
  }
}

/** Aborts so long after the other. */
function laterThan(signal: AbortSignal, milliseconds: number): AbortSignal {
  const later = new AbortController()
  signal.addEventListener('abort', () => setTimeout(() => later.abort(signal.reason), milliseconds).unref(), {
    once: true,
  })
  return later.signal
}

/** A codec of any set of events reads them for the loops. */
export function eventReader<E extends EventType>(codec: EventCodec<E>): EventReader {
  return {
    decode: (value) => codec.decode(value) as DecodedEvent<E>,
    learn: (schemaId) => codec.learn(schemaId),
  }
}
