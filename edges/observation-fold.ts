/**
 * Follows the topic `observations` into the state, partition by partition and event by event, so that the state always
 * says what was first. Answers of our own are appended here too, and known to stand only once the fold has come by.
 */
import type { Log, LogEvent, NewEvent } from '../topics/log.ts'
import {
  type AddressesObserved,
  AddressesObserved as AddressesType,
  type AddressObservation,
  type KeyObserved,
  KeyObserved as KeyType,
} from '../topics/observations.ts'
import type { DatedKey, DatedObservation, ObservationState } from './observation-state.ts'

/** The part of `EventCodec` that reads, asking the registry for schemas of other versions. */
export interface ObservationReader {
  read(value: Uint8Array): Promise<{ readonly type: string; readonly data: unknown }>
}

export interface ObservationFoldOptions {
  readonly log: Log
  readonly topic: string
  readonly codec: ObservationReader
  readonly state: ObservationState
}

/** An event that we appended: its rows need not be read out of its bytes again. */
interface Own {
  readonly epoch: number
  readonly rows: readonly DatedObservation[]
  readonly settle: (standing: readonly AddressObservation[]) => void
}

/** What is in one event: addresses, or a key. */
interface Content {
  readonly epoch: number
  readonly rows: readonly DatedObservation[]
  readonly keys?: readonly DatedKey[]
}

interface Batch {
  readonly epoch: number
  readonly rows: DatedObservation[]
  readonly keys: DatedKey[]
  readonly own: [number, Own][]
}

interface Waiter {
  readonly positions: ReadonlyMap<number, number>
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

export class ObservationFold {
  readonly #options: ObservationFoldOptions
  readonly #stop = new AbortController()
  readonly #positions = new Map<number, number>()
  readonly #own = new Map<string, Own>()
  readonly #waiters = new Set<Waiter>()
  #running: Promise<void> | undefined
  #failure: unknown
  #folded = 0

  constructor(options: ObservationFoldOptions) {
    this.#options = options
  }

  /** Begins where the state ends. Resolves when the heads of now are reached. */
  async start(onProgress?: (done: number, total: number) => void): Promise<void> {
    const { log, topic, state } = this.#options
    for (const [partition, next] of await state.observationPositions()) this.#positions.set(partition, next)
    const heads = await log.watermarks(topic)
    if (heads.some(({ partition, high }) => (this.#positions.get(partition) ?? 0) > high)) {
      // The state has seen more than the topic holds: it belongs to another log.
      await state.forgetObservations()
      this.#positions.clear()
    }
    const { events: total } = await log.lag(topic, this.#positions)
    const report = () => onProgress?.(Math.min(this.#folded, total), total)
    this.#running = this.#follow(report).catch((error: unknown) => this.#fail(error))
    await this.reachHead(this.#stop.signal)
    report()
  }

  /** Resolves when everything is folded that is on the topic now. */
  async reachHead(signal: AbortSignal): Promise<void> {
    const heads = await this.#options.log.watermarks(this.#options.topic)
    const filled = heads.filter(({ low, high }) => high > low)
    await this.#reach(new Map(filled.map(({ partition, high }) => [partition, high])), signal)
  }

  async #follow(report: () => void): Promise<void> {
    const { log, topic } = this.#options
    for await (const events of log.follow(topic, { signal: this.#stop.signal, from: new Map(this.#positions) })) {
      await this.#take(events)
      this.#folded += events.length
      report()
      this.#wake()
    }
  }

  async #take(events: readonly LogEvent[]): Promise<void> {
    const { state } = this.#options
    const batches: Batch[] = []
    const positions = new Map<number, number>()
    for (const event of events) {
      const key = `${event.partition} ${event.offset}`
      const own = this.#own.get(key)
      this.#own.delete(key)
      const { epoch, rows, keys = [] }: Content = own ?? (await this.#read(event))
      positions.set(event.partition, event.offset + 1)
      let batch = batches.at(-1)
      if (batch?.epoch !== epoch) {
        batch = { epoch, rows: [], keys: [], own: [] }
        batches.push(batch)
      }
      if (own !== undefined) batch.own.push([batch.rows.length, own])
      for (const row of rows) batch.rows.push(row)
      for (const key of keys) batch.keys.push(key)
    }
    for (const [i, { epoch, rows, keys, own }] of batches.entries()) {
      if (keys.length > 0) await state.keepKeys(epoch, keys)
      // Positions with the last rows: what a crash leaves half kept is then folded again, and the first still stands.
      const isLast = i === batches.length - 1
      const standing = await state.keepObservations(epoch, rows, isLast ? positions : new Map())
      for (const [from, { rows: ours, settle }] of own) settle(standing.slice(from, from + ours.length))
    }
    for (const [partition, next] of positions) this.#positions.set(partition, next)
  }

  async #read({ value, partition, offset }: LogEvent): Promise<Content> {
    const { type, data } = await this.#options.codec.read(value)
    if (type === KeyType.name) {
      const { epoch, day, name, outcome, records } = data as KeyObserved // the type was just compared
      return { epoch, rows: [], keys: [{ day, key: { name, outcome, records } }] }
    }
    if (type !== AddressesType.name)
      throw new Error(
        `Event ${offset} in partition ${partition} of observations is a ${type}; nothing writes that here.`,
      )
    const { epoch, day, addresses } = data as AddressesObserved // the type was just compared
    return { epoch, rows: addresses.map((observation) => ({ day, observation })) }
  }

  /**
   * Appends answers. Resolves to the answer that stands for each row, our own or one that came before it, in the order
   * of the rows. `order` says which rows are in each event.
   */
  async append(
    epoch: number,
    events: readonly NewEvent[],
    order: readonly (readonly number[])[],
    rows: readonly DatedObservation[],
    signal: AbortSignal,
  ): Promise<AddressObservation[]> {
    const result = new Array<AddressObservation | undefined>(rows.length)
    const appended = await this.#options.log.append(this.#options.topic, events)
    const ends = new Map<number, number>()
    const passed: number[] = []
    for (const [i, { partition, offset }] of appended.entries()) {
      const places = order[i]!
      ends.set(partition, Math.max(ends.get(partition) ?? 0, offset + 1))
      if (offset < (this.#positions.get(partition) ?? 0)) passed.push(...places)
      const settle = (standing: readonly AddressObservation[]) => {
        for (const [at, place] of places.entries()) result[place] = standing[at]!
      }
      this.#own.set(`${partition} ${offset}`, { epoch, rows: places.map((place) => rows[place]!), settle })
    }
    await this.#reach(ends, signal)
    for (const [i, { partition, offset }] of appended.entries()) {
      // What the fold read out of the bytes, because it came by before we knew the offset, the state knows.
      if (this.#own.delete(`${partition} ${offset}`)) passed.push(...order[i]!)
    }
    return this.#fillPassed(epoch, rows, result, passed)
  }

  async #fillPassed(
    epoch: number,
    rows: readonly DatedObservation[],
    result: (AddressObservation | undefined)[],
    passed: readonly number[],
  ): Promise<AddressObservation[]> {
    const open = passed.filter((place) => result[place] === undefined)
    if (open.length > 0) {
      const wanted = open.map((place) => ({ day: rows[place]!.day, address: rows[place]!.observation.address }))
      const found = await this.#options.state.findObservations(epoch, wanted)
      for (const [i, place] of open.entries()) result[place] = found[i]
    }
    if (result.includes(undefined)) throw new Error('An answer was folded and is not in the state; that is a fault.')
    return result as AddressObservation[] // none is undefined, as was just looked
  }

  /** Appends events about keys. Resolves when they are folded: the state then says what stands. */
  async appendKeys(events: readonly NewEvent[], signal: AbortSignal): Promise<void> {
    const ends = new Map<number, number>()
    for (const { partition, offset } of await this.#options.log.append(this.#options.topic, events))
      ends.set(partition, Math.max(ends.get(partition) ?? 0, offset + 1))
    await this.#reach(ends, signal)
  }

  #hasReached(positions: ReadonlyMap<number, number>): boolean {
    for (const [partition, next] of positions) if ((this.#positions.get(partition) ?? 0) < next) return false
    return true
  }

  #reach(positions: ReadonlyMap<number, number>, signal: AbortSignal): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure)
    if (this.#hasReached(positions)) return Promise.resolve()
    return new Promise((resolve, reject) => {
      const end = (finish: () => void) => {
        this.#waiters.delete(waiter)
        signal.removeEventListener('abort', abort)
        finish()
      }
      const waiter = { positions, resolve: () => end(resolve), reject: (error: unknown) => end(() => reject(error)) }
      const abort = () => waiter.reject(signal.reason)
      this.#waiters.add(waiter)
      signal.addEventListener('abort', abort, { once: true })
      if (signal.aborted) abort()
    })
  }

  #wake(): void {
    for (const waiter of [...this.#waiters]) if (this.#hasReached(waiter.positions)) waiter.resolve()
  }

  /** Without the fold nothing can be known any more: everyone who waits hears why. */
  #fail(error: unknown): void {
    this.#failure = error
    for (const { reject } of [...this.#waiters]) reject(error)
  }

  async close(): Promise<void> {
    this.#stop.abort(new Error('The observer is closed.'))
    await this.#running
    this.#fail(this.#failure ?? new Error('The observer is closed.'))
  }
}
