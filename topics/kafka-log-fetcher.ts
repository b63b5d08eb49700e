/**
 * Fetches partitions of one topic ahead of a reader, within a bound: each partition holds at most so many bytes of
 * batches (one batch always, however large), as they came. They are unpacked when the reader takes them.
 */
import type { KafkaClient } from './kafka-log-client.ts'
import { committedBatches, type RawBatch, readBatch, splitBatches } from './kafka-log-records.ts'
import { type FetchedPartition, fetchRequest } from './kafka-log-requests.ts'
import { type Outage, Pulse } from './kafka-log-waiting.ts'
import type { LogEvent } from './log.ts'

/** How long a broker holds a fetch when nothing is there. An event that comes is answered at once. */
const MAX_WAIT_MILLISECONDS = 500
/** While a partition is full its broker is not made to wait; the others are looked at this often. */
const LOOK_MILLISECONDS = 100

const errors = { none: 0, offsetOutOfRange: 1, corrupt: 2, unknownTopic: 3, notLeader: 6 } as const

export interface FetcherOptions {
  readonly client: KafkaClient
  readonly topic: string
  /** Bytes held of a partition. */
  readonly fetchBytes: number
  readonly outage: Outage
  /** Something came, or something went wrong. */
  readonly changed: Pulse
  /** What is wanted is below the log's start or behind its end; answers where to go on. A rejection ends the fetcher. */
  readonly onOutOfRange: (partition: number, position: number) => Promise<number>
}

interface Lane {
  readonly partition: number
  /** What is fetched next. */
  position: number
  batches: RawBatch[]
  bytes: number
  /** Of the first batch, unpacked, and which of them is next. */
  events: readonly LogEvent[] | undefined
  index: number
  /** Offset below which everything was taken. */
  taken: number
}

/** Events of some partitions, and by partition the offset behind them. */
export interface Taken {
  readonly events: readonly LogEvent[]
  readonly next: ReadonlyMap<number, number>
}

export class KafkaFetcher {
  readonly #options: FetcherOptions
  readonly #lanes = new Map<number, Lane>()
  readonly #loops = new Map<number, Promise<void>>()
  readonly #room = new Pulse()
  #turn = 0
  #seeking: Promise<void> | undefined
  #seekAgain = false
  #stopped = false
  /** Why it ended by itself. */
  failure: unknown

  constructor(options: FetcherOptions) {
    this.#options = options
  }

  /** Begins with these partitions at these offsets, beside those that are fetched already. */
  add(positions: ReadonlyMap<number, number>): void {
    for (const [partition, position] of positions) {
      const lane = { partition, position, batches: [], bytes: 0, events: undefined, index: 0, taken: position }
      this.#lanes.set(partition, lane)
    }
    this.#room.fire()
    this.#seekLeaders()
  }

  remove(partition: number): void {
    this.#lanes.delete(partition)
  }

  /** Where the fetching of a partition is. */
  position(partition: number): number | undefined {
    return this.#lanes.get(partition)?.position
  }

  get isEmpty(): boolean {
    return [...this.#lanes.values()].every(({ batches }) => batches.length === 0)
  }

  stop(): void {
    this.#stopped = true
    this.#lanes.clear()
    this.#room.fire()
  }

  /** At most so many events and, when they are more than one, so many value bytes; null when nothing is there. */
  take(maxEvents: number, maxBytes: number): Taken | null {
    const lanes = [...this.#lanes.values()]
    const events: LogEvent[] = []
    const next = new Map<number, number>()
    let bytes = 0
    this.#turn++
    for (let i = 0; i < lanes.length; i++) {
      const lane = lanes[(this.#turn + i) % lanes.length]!
      for (let event = this.#peek(lane); event !== undefined; event = this.#peek(lane)) {
        const isFull = events.length >= maxEvents || (events.length > 0 && bytes + event.value.length > maxBytes)
        if (isFull) return { events, next }
        events.push(event)
        bytes += event.value.length
        next.set(lane.partition, this.#advance(lane, event))
      }
    }
    return events.length === 0 ? null : { events, next }
  }

  /** The lane's next event. Batches without any are passed over. */
  #peek(lane: Lane): LogEvent | undefined {
    for (let batch = lane.batches[0]; batch !== undefined; batch = lane.batches[0]) {
      lane.events ??= this.#unpack(batch, lane)
      const event = lane.events[lane.index]
      if (event !== undefined) return event
      this.#dropFirst(lane)
    }
    return undefined
  }

  #unpack(batch: RawBatch, { partition, taken }: Lane): readonly LogEvent[] {
    const { topic } = this.#options
    try {
      return readBatch(batch, topic, partition, taken)
    } catch (error) {
      const { message } = error as Error
      throw new Error(
        `Topic ${topic}, partition ${partition} cannot be read at offset ${taken}: ${message} To pass over it, move the group to ${batch.nextOffset}.`,
        { cause: error },
      )
    }
  }

  /** Takes the event; answers the offset behind it, and behind what is passed over after it. */
  #advance(lane: Lane, { offset }: LogEvent): number {
    lane.taken = offset + 1
    if (++lane.index < lane.events!.length) return offset + 1
    const { nextOffset } = lane.batches[0]!
    this.#dropFirst(lane)
    return lane.batches.length === 0 ? Math.max(nextOffset, lane.position) : nextOffset
  }

  #dropFirst(lane: Lane): void {
    const batch = lane.batches.shift()!
    lane.bytes -= batch.bytes.length
    lane.taken = batch.nextOffset
    lane.events = undefined
    lane.index = 0
    this.#room.fire()
  }

  /** Runs a loop for each broker that leads one of the partitions. */
  #seekLeaders(): void {
    this.#seekAgain = true
    this.#seeking ??= this.#findLeaders().finally(() => {
      this.#seeking = undefined
      if (this.#seekAgain && !this.#stopped) this.#seekLeaders()
    })
  }

  async #findLeaders(): Promise<void> {
    const { client, topic, outage } = this.#options
    while (!this.#stopped) {
      this.#seekAgain = false
      const leaders = [...this.#lanes.keys()].map((partition) => client.leader(topic, partition))
      for (const leader of new Set(leaders)) {
        if (leader === undefined || this.#loops.has(leader)) continue
        this.#loops.set(leader, this.#fetchFrom(leader))
      }
      if (!leaders.includes(undefined)) return
      try {
        await client.refresh([topic])
        if (leaders.length > 0 && client.isMissing(topic)) throw new Error(`topic ${topic} is not there`)
        const isOneMissing = [...this.#lanes.keys()].some((partition) => client.leader(topic, partition) === undefined)
        if (isOneMissing) throw new Error(`a partition of topic ${topic} has no leader`)
      } catch (error) {
        if (!this.#stopped) await sleep(outage.failed(error))
      }
    }
  }

  async #fetchFrom(leader: number): Promise<void> {
    const { client, topic, outage } = this.#options
    try {
      while (!this.#stopped) {
        const own = [...this.#lanes.values()].filter(({ partition }) => client.leader(topic, partition) === leader)
        if (own.length === 0) return
        await this.#fetchOnce(leader, own)
      }
    } catch (error) {
      if (this.#stopped) return
      await sleep(outage.failed(error))
      client.forgetTopic(topic)
    } finally {
      this.#loops.delete(leader)
      if (!this.#stopped && this.#lanes.size > 0) this.#seekLeaders()
    }
  }

  async #fetchOnce(leader: number, own: readonly Lane[]): Promise<void> {
    const { client, topic, fetchBytes, outage, changed } = this.#options
    const half = Math.ceil(fetchBytes / 2)
    const hungry = own.filter(({ bytes }) => bytes <= half)
    if (hungry.length === 0) {
      await this.#room.wait(MAX_WAIT_MILLISECONDS)
      return
    }
    const isAll = hungry.length === own.length
    // A broker gives a batch larger than the limit only for the first partition that has one: each is first in turn.
    const turned = rotate(hungry, this.#turn++)
    const wanted = turned.map(({ partition, position }) => ({ partition, offset: position, maxBytes: half }))
    const maxWait = isAll ? MAX_WAIT_MILLISECONDS : 0
    const answers = await client.send(leader, fetchRequest(topic, wanted, maxWait, half * hungry.length))
    outage.worked()
    let came = 0
    try {
      for (const answer of answers) {
        const lane = turned.find(({ partition }) => partition === answer.partition)
        if (lane === undefined || this.#lanes.get(lane.partition) !== lane) continue
        if (answer.errorCode === errors.none) came += this.#keep(lane, answer)
        else await this.#meet(lane, answer)
      }
    } finally {
      // Also when another partition of the same answer has a fault: what is kept is asked for by nobody else.
      if (came > 0) changed.fire()
    }
    if (came === 0 && !isAll) await this.#room.wait(LOOK_MILLISECONDS)
  }

  /** Takes over what came; answers its bytes. */
  #keep(lane: Lane, { records, aborted }: FetchedPartition): number {
    if (records.length === 0) return 0
    // A copy: the slice would keep the whole answer, with all partitions, in memory.
    const split = splitBatches(Buffer.from(records))
    const last = split.at(-1)
    if (last === undefined) return 0
    const batches = committedBatches(split, aborted)
    if (lane.batches.length === 0) lane.taken = lane.position
    for (const batch of batches) {
      lane.batches.push(batch)
      lane.bytes += batch.bytes.length
    }
    lane.position = last.nextOffset
    return records.length
  }

  async #meet(lane: Lane, { errorCode, partition }: FetchedPartition): Promise<void> {
    const { topic, onOutOfRange, changed } = this.#options
    if (errorCode !== errors.offsetOutOfRange)
      throw new Error(`topic ${topic}, partition ${partition} cannot be fetched: error ${errorCode}`)
    try {
      lane.position = await onOutOfRange(partition, lane.position)
    } catch (error) {
      this.failure = error
      this.stop()
      changed.fire()
    }
  }
}

function rotate<T>(items: readonly T[], by: number): T[] {
  const start = by % items.length
  return [...items.slice(start), ...items.slice(0, start)]
}

const sleep = (milliseconds: number) => new Promise<void>((resolve) => setTimeout(resolve, milliseconds))
