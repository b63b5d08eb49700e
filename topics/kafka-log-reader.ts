/**
 * Reads a topic as a member of a group. Partitions are leases: given by the group, and over when the group gives them to
 * another. A batch of a lease that is over commits nothing. Before a rebalance no new batch is handed out, and the reader
 * has a while to commit what it holds. A partition that stays is read on as if nothing had happened.
 */
import type { KafkaClient } from './kafka-log-client.ts'
import { KafkaFetcher } from './kafka-log-fetcher.ts'
import { isMembershipLost, isRebalance, KafkaGroup } from './kafka-log-group.ts'
import { refusalOf } from './kafka-log-kafkajs.ts'
import type { KafkaQuestions } from './kafka-log-questions.ts'
import { Outage, Pulse, within } from './kafka-log-waiting.ts'
import { type Batch, LogClosed, OffsetGone, type ReadOptions, UnknownTopic } from './log.ts'

export interface ReaderSettings {
  readonly makeClient: () => Promise<KafkaClient>
  readonly questions: KafkaQuestions
  readonly topic: string
  readonly fetchBytes: number
  readonly sessionTimeout: number
  readonly drainTimeout: number
  /** When so long nothing came although something is there, the reader begins anew. */
  readonly stallTimeout: number
  readonly onProblem: (message: string) => void
}

interface Lease {
  readonly partition: number
  isOver: boolean
  /** Where reading began under this lease. */
  start: number
  /** Offset behind what was handed out. */
  handed: number
  /** What the reader wants committed, and what is. */
  wanted: number
  committed: number
}

interface Part {
  readonly lease: Lease
  readonly next: number
}

interface Connection {
  readonly client: KafkaClient
  readonly group: KafkaGroup
  readonly fetcher: KafkaFetcher
}

/** Why a membership has to be renewed. */
type Over = 'rebalance' | 'lost' | 'stalled' | 'ended'

/** What the consumer has to be told, by its cause; everything else is tried again. */
class Refusal extends Error {
  constructor(cause: unknown) {
    super('The reading cannot go on.', { cause })
  }
}

const HEARTBEAT_MILLISECONDS = 500
/** Members that are slower than the drain plus this lose what they have. */
const REBALANCE_SLACK_MILLISECONDS = 20_000
/** An abort waits no longer for the group to be left. */
const LEAVE_MILLISECONDS = 800
const GIVE_UP_MILLISECONDS = 3_000
const COMMIT_PAUSE_MILLISECONDS = 50

const MAX_EVENTS = 1000
const MAX_BYTES = 8 * 1024 * 1024

export class KafkaReader {
  readonly #settings: ReaderSettings
  readonly #options: ReadOptions
  readonly #outage: Outage
  /** Something for the consumer: events, a failure, the end. */
  readonly #changed = new Pulse()
  /** Something for those who wait until what was handed out is committed. */
  readonly #settled = new Pulse()
  readonly #end = Promise.withResolvers<void>()
  #isEnded = false
  #isClosed = false
  #failure: unknown
  readonly #leases = new Map<number, Lease>()
  /** Generation of the group in which the leases were given. */
  #generation = -1
  #connection: Connection | undefined
  #phase: 'joining' | 'reading' | 'draining' = 'joining'
  #committing: Promise<void> | undefined
  #running: Promise<void> = Promise.resolve()
  #ending: Promise<void> | undefined
  #waitingSince: number | undefined
  #lookedAt = 0

  constructor(settings: ReaderSettings, options: ReadOptions) {
    this.#settings = settings
    this.#options = options
    this.#outage = new Outage(`Reading topic ${settings.topic} as ${options.group}`, settings.onProblem)
  }

  /** The log is closed: the iterator rejects with `LogClosed`. */
  async close(): Promise<void> {
    this.#isClosed = true
    this.#changed.fire()
    await this.#finish()
  }

  /** Resolves when the group is left and the connections are closed. */
  finished(): Promise<void> {
    return this.#finish()
  }

  async *batches(): AsyncGenerator<Batch, void, undefined> {
    const { signal, maxEvents = MAX_EVENTS, maxBytes = MAX_BYTES } = this.#options
    if (signal.aborted) return
    const stop = () => this.#changed.fire()
    signal.addEventListener('abort', stop, { once: true })
    this.#running = this.#run()
    try {
      for (;;) {
        if (signal.aborted) return
        if (this.#isClosed) throw new LogClosed()
        const failure = this.#failure ?? this.#connection?.fetcher.failure
        if (failure !== undefined) throw failure
        const batch = this.#phase === 'reading' ? this.#take(maxEvents, maxBytes) : null
        if (batch === null) {
          this.#waitingSince ??= performance.now()
          await this.#changed.wait()
          continue
        }
        this.#waitingSince = undefined
        yield batch
      }
    } finally {
      signal.removeEventListener('abort', stop)
      await within(this.#finish(), LEAVE_MILLISECONDS)
    }
  }

  #take(maxEvents: number, maxBytes: number): Batch | null {
    const taken = this.#connection?.fetcher.take(maxEvents, maxBytes) ?? null
    if (taken === null) return null
    const parts: Part[] = []
    for (const [partition, next] of taken.next) {
      const lease = this.#leases.get(partition)
      if (lease === undefined) continue
      lease.handed = next
      parts.push({ lease, next })
    }
    return { events: taken.events, commit: () => this.#commit(parts) }
  }

  /** Leaves the group once what is under way is through, and closes the connections; soon, whatever the brokers do. */
  #finish(): Promise<void> {
    this.#ending ??= this.#leave()
    return this.#ending
  }

  async #leave(): Promise<void> {
    if (this.#committing !== undefined) await within(this.#committing, GIVE_UP_MILLISECONDS)
    this.#isEnded = true
    this.#end.resolve()
    this.#settled.fire()
    this.#connection?.fetcher.stop()
    await within(this.#running, GIVE_UP_MILLISECONDS)
    if (this.#connection !== undefined) await disconnect(this.#connection)
  }

  /** Sleeps, but not beyond the end. */
  async #sleep(milliseconds: number): Promise<void> {
    await within(this.#end.promise, milliseconds)
  }

  /** Is a member until the end, whatever happens. */
  async #run(): Promise<void> {
    while (!this.#isEnded) {
      try {
        this.#connection ??= await this.#connect()
        const fresh = await this.#join(this.#connection)
        const over = await this.#serve(this.#connection, fresh)
        if (over === 'rebalance') await this.#drain(this.#connection)
        if (over === 'lost') this.#loseAll()
        if (over === 'stalled') await this.#beginAnew()
      } catch (error) {
        if (this.#isEnded) return
        this.#failure = this.#fatal(error)
        if (this.#failure !== undefined) {
          this.#changed.fire()
          return
        }
        if (isMembershipLost(error)) this.#loseAll()
        else if (!isRebalance(error)) await this.#sleep(this.#outage.failed(error))
      }
    }
  }

  #fatal(error: unknown): unknown {
    if (error instanceof Refusal) return error.cause
    return refusalOf(error)
  }

  async #connect(): Promise<Connection> {
    const { makeClient, topic, fetchBytes, sessionTimeout, drainTimeout } = this.#settings
    const client = await makeClient()
    const rebalanceTimeout = drainTimeout + REBALANCE_SLACK_MILLISECONDS
    const group = new KafkaGroup({ client, group: this.#options.group, topic, sessionTimeout, rebalanceTimeout })
    const fetcher = new KafkaFetcher({
      client,
      topic,
      fetchBytes,
      outage: this.#outage,
      changed: this.#changed,
      onOutOfRange: (partition, position) =>
        this.#meetOutOfRange(partition, position).catch((error: unknown) => {
          throw this.#fatal(error) ?? error
        }),
    })
    return { client, group, fetcher }
  }

  /** Answers the partitions that were not this reader's before. */
  async #join({ group, fetcher }: Connection): Promise<readonly number[]> {
    this.#phase = 'joining'
    const { topic } = this.#settings
    const claimed = [...this.#leases.keys()]
    const given = await group.join({ topic, generation: this.#generation, partitions: claimed })
    this.#outage.worked()
    // A generation that passed without us may have given them to somebody else meanwhile.
    const isNext = group.generation === this.#generation + 1
    for (const partition of claimed) if (!isNext || !given.includes(partition)) this.#lose(partition, fetcher)
    this.#generation = group.generation
    this.#phase = 'reading'
    this.#changed.fire()
    return given.filter((partition) => !this.#leases.has(partition))
  }

  #lose(partition: number, fetcher: KafkaFetcher): void {
    fetcher.remove(partition)
    const lease = this.#leases.get(partition)
    if (lease !== undefined) lease.isOver = true
    this.#leases.delete(partition)
    this.#settled.fire()
  }

  #loseAll(): void {
    if (this.#connection === undefined) return
    this.#connection.group.forget()
    for (const partition of [...this.#leases.keys()]) this.#lose(partition, this.#connection.fetcher)
    this.#generation = -1
  }

  /** Keeps the membership alive until something ends it; meanwhile the fresh partitions begin. */
  async #serve(connection: Connection, fresh: readonly number[]): Promise<Over> {
    const generation = this.#generation
    const over = this.#heartbeats(connection)
    const begun = this.#begin(connection, fresh, () => generation === this.#generation && this.#phase === 'reading')
    // What comes first is met below; the others end with this membership.
    for (const other of [over, begun]) other.catch(() => undefined)
    const stalled = this.#watch(() => generation === this.#generation && this.#connection === connection)
    const first = await Promise.race([begun, over, stalled])
    return first ?? Promise.race([over, stalled])
  }

  /** Resolves when the reader waits in vain; also while a request to the coordinator hangs. */
  async #watch(isValid: () => boolean): Promise<Over> {
    while (!this.#isEnded && isValid()) {
      await this.#sleep(HEARTBEAT_MILLISECONDS)
      if (isValid() && (await this.#isStalled())) return 'stalled'
    }
    return new Promise(() => undefined) // another membership, which is watched anew
  }

  async #heartbeats({ group }: Connection): Promise<Over> {
    while (!this.#isEnded) {
      await this.#sleep(HEARTBEAT_MILLISECONDS)
      if (this.#isEnded) break
      if (group.generation !== this.#generation) return 'lost'
      try {
        await group.heartbeat()
        this.#outage.worked()
      } catch (error) {
        if (isRebalance(error)) return 'rebalance'
        if (isMembershipLost(error)) return 'lost'
        const refusal = refusalOf(error)
        if (refusal !== undefined) throw refusal
        await this.#sleep(this.#outage.failed(error))
      }
    }
    return 'ended'
  }

  /** Finds out where the partitions begin, and has them fetched. */
  async #begin({ group, fetcher }: Connection, partitions: readonly number[], isValid: () => boolean): Promise<void> {
    if (partitions.length === 0) return
    const { topic, questions } = this.#settings
    const committed = await this.#surely(isValid, () => group.committed(partitions))
    const watermarks = await this.#surely(isValid, () => questions.watermarks(topic))
    if (committed === undefined || watermarks === undefined) return
    const starts = new Map<number, number>()
    for (const partition of partitions.toSorted((a, b) => a - b)) {
      const { low } = watermarks[partition] ?? { low: 0 }
      const position = (await this.#wantedBy(partition)) ?? committed.get(partition) ?? low
      starts.set(partition, await this.#pastGap(partition, position, low))
    }
    if (!isValid()) return
    for (const [partition, start] of starts) {
      const floor = committed.get(partition) ?? -1
      this.#leases.set(partition, { partition, isOver: false, start, handed: start, wanted: floor, committed: floor })
    }
    // All at once: the first fetch would wait for events of the first partition alone.
    fetcher.add(starts)
  }

  /** Tries until it works or is no longer wanted. */
  async #surely<T>(isValid: () => boolean, work: () => Promise<T>): Promise<T | undefined> {
    while (!this.#isEnded && isValid()) {
      try {
        return await work()
      } catch (error) {
        if (error instanceof UnknownTopic) throw new Refusal(error)
        if (isMembershipLost(error) || refusalOf(error) !== undefined) throw error
        await this.#sleep(this.#outage.failed(error))
      }
    }
    return undefined
  }

  async #wantedBy(partition: number): Promise<number | undefined> {
    try {
      return await this.#options.from?.(partition)
    } catch (error) {
      throw new Refusal(error)
    }
  }

  /** Where to go on: past what retention removed, when that is permitted. */
  async #pastGap(partition: number, position: number, low: number): Promise<number> {
    if (position >= low) return position
    if (position === 0) return low
    const { group, onGap } = this.#options
    const gap = { topic: this.#settings.topic, group, partition, position, low }
    if (onGap === undefined) throw new Refusal(new OffsetGone(gap))
    try {
      await onGap(gap)
    } catch (error) {
      throw new Refusal(error)
    }
    return low
  }

  async #meetOutOfRange(partition: number, position: number): Promise<number> {
    const { topic, questions, onProblem } = this.#settings
    const isValid = () => this.#leases.has(partition)
    const watermarks = await this.#surely(isValid, () => questions.watermarks(topic))
    if (watermarks === undefined) return position
    const { low, high } = watermarks[partition] ?? { low: 0, high: 0 }
    if (position < low) return this.#pastGap(partition, position, low)
    if (position <= high) return position
    onProblem(
      `Group ${this.#options.group} has read topic ${topic}, partition ${partition}, up to ${position}, but it ends at ${high}: the topic was made anew or has lost its end. It is read from ${low} on again; what comes twice counts once.`,
    )
    const lease = this.#leases.get(partition)
    if (lease !== undefined) Object.assign(lease, { start: low, handed: low, wanted: -1, committed: -1 })
    return low
  }

  /** Waits until what was handed out is committed, at most for the drain's time. Then others may have the partitions. */
  async #drain({ group }: Connection): Promise<void> {
    this.#phase = 'draining'
    const end = performance.now() + this.#settings.drainTimeout
    const isOpen = (lease: Lease) =>
      Math.max(lease.wanted, lease.start) < lease.handed || lease.wanted > lease.committed
    for (let left = end - performance.now(); left > 0; left = end - performance.now()) {
      if (this.#isEnded || ![...this.#leases.values()].some(isOpen)) return
      await this.#settled.wait(Math.min(left, HEARTBEAT_MILLISECONDS))
      try {
        await group.heartbeat()
      } catch (error) {
        if (!isRebalance(error)) throw error
      }
    }
  }

  /** Whether the consumer has waited for long although there is something to read. */
  async #isStalled(): Promise<boolean> {
    const { stallTimeout, questions, topic } = this.#settings
    const now = performance.now()
    const since = Math.max(this.#waitingSince ?? now, this.#lookedAt)
    if (now - since < stallTimeout || this.#leases.size === 0) return false
    this.#lookedAt = now
    try {
      const watermarks = await questions.watermarks(topic)
      const isWaiting = this.#waitingSince !== undefined && this.#connection?.fetcher.isEmpty === true
      return (
        isWaiting &&
        [...this.#leases.keys()].some(
          (partition) => (this.#connection!.fetcher.position(partition) ?? 0) < watermarks[partition]!.high,
        )
      )
    } catch (error) {
      this.#outage.failed(error)
      return false
    }
  }

  async #beginAnew(): Promise<void> {
    const { topic, stallTimeout, onProblem } = this.#settings
    const connection = this.#connection!
    onProblem(
      `Nothing came of topic ${topic} for ${Math.round(stallTimeout / 1000)} s to group ${this.#options.group}, although there is more; it disconnects and begins anew.`,
    )
    connection.fetcher.stop()
    for (const partition of [...this.#leases.keys()]) this.#lose(partition, connection.fetcher)
    this.#generation = -1
    this.#connection = undefined
    await disconnect(connection)
  }

  /** Resolves when it is committed, or when the leases are over and somebody else reads on from an earlier place. */
  async #commit(parts: readonly Part[]): Promise<void> {
    for (const { lease, next } of parts) lease.wanted = Math.max(lease.wanted, next)
    for (;;) {
      if (this.#isClosed) throw new LogClosed()
      if (this.#isEnded || parts.every(({ lease, next }) => lease.isOver || lease.committed >= next)) return
      this.#committing ??= this.#commitAll().finally(() => {
        this.#committing = undefined
        this.#settled.fire()
      })
      await this.#committing
    }
  }

  /** One attempt to commit what all batches want. */
  async #commitAll(): Promise<void> {
    const connection = this.#connection
    if (this.#phase === 'joining' || connection === undefined) return this.#sleep(COMMIT_PAUSE_MILLISECONDS)
    const { generation } = connection.group
    const due = [...this.#leases.values()].filter(({ wanted, committed }) => wanted > committed)
    const offsets = new Map(due.map(({ partition, wanted }) => [partition, wanted]))
    if (offsets.size === 0) return
    try {
      await connection.group.commit(offsets)
      for (const lease of due) lease.committed = offsets.get(lease.partition)!
    } catch (error) {
      if (this.#connection !== connection || connection.group.generation !== generation) return
      if (isMembershipLost(error)) this.#loseAll()
      else if (isRebalance(error)) await this.#sleep(COMMIT_PAUSE_MILLISECONDS)
      else await this.#sleep(this.#outage.failed(error))
    }
  }
}

async function disconnect({ client, group, fetcher }: Connection): Promise<void> {
  fetcher.stop()
  await within(group.leave(), GIVE_UP_MILLISECONDS)
  client.close()
}
