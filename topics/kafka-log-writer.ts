/**
 * Appends to Kafka: each partition is a lane with one batch under way, and what comes meanwhile goes together in the
 * next. Batches are acknowledged by all in-sync replicas and numbered (KIP-98), so that one which was cut off is sent
 * again as it was, and the broker keeps it once.
 */
import type { KafkaClient } from './kafka-log-client.ts'
import { refusalOf } from './kafka-log-kafkajs.ts'
import {
  BATCH_HEADER_BYTES,
  type EncodedEvent,
  encodeBatch,
  type ProducerState,
  RECORD_OVERHEAD,
} from './kafka-log-records.ts'
import { type ProduceAnswer, produceRequest } from './kafka-log-requests.ts'
import { Outage } from './kafka-log-waiting.ts'
import { type Appended, LogClosed, LogUnavailable, OversizedEvent, UnknownTopic } from './log.ts'
import { partitionOf } from './partition.ts'

export interface WritableTopic {
  readonly name: string
  readonly partitions: number
  /** Larger values are refused. */
  readonly maxValueBytes: number
  /** What the brokers take as one batch. */
  readonly maxBatchBytes: number
}

export interface WriterCounters {
  readonly events: number
  /** Requests that were answered. */
  readonly requests: number
  readonly retries: number
}

/** A batch takes more than this only when one event does. */
const BATCH_BYTES = 1024 * 1024
/** Events without a key turn to the next partition after so many bytes, so that a large import keeps all busy. */
const KEYLESS_BYTES = 256 * 1024
const REQUEST_BYTES = 8 * 1024 * 1024
/** Requests to one broker that are not answered yet. */
const REQUESTS_UNDER_WAY = 4
/** What waits for brokers; beyond it appends wait before they are taken. */
const MAX_PENDING_BYTES = 64 * 1024 * 1024
/** How long a broker waits for its replicas. */
const REPLICAS_MILLISECONDS = 10_000
/** A topic that is gone for so long was deleted, and did not just change hands. */
const GONE_MILLISECONDS = 5_000

const errors = {
  none: 0,
  unknownTopic: 3,
  messageTooLarge: 10,
  recordListTooLarge: 18,
  outOfOrderSequence: 45,
  duplicateSequence: 46,
  invalidProducerEpoch: 47,
  invalidProducerIdMapping: 49,
  unknownProducerId: 59,
} as const
/** Refused for what it holds; sending it again changes nothing. */
const REFUSED: Readonly<Record<number, string>> = {
  17: 'the name of the topic is not valid',
  21: 'acknowledgement by all replicas is not possible',
  29: 'our user may not write to it; let an ACL permit it',
  31: 'our user may not write idempotently; let an ACL permit it',
  32: 'the timestamp of an event lies too far from the broker’s clock (message.timestamp.after.max.ms)',
  35: 'the broker is older than Kafka 2.3',
  43: 'the topic keeps a message format older than that of Kafka 0.11',
  44: 'a policy of the broker forbids it',
  76: 'the broker does not take this compression',
  87: 'the broker finds a record invalid',
}
const LOST_SEQUENCE: ReadonlySet<number> = new Set([
  errors.outOfOrderSequence,
  errors.duplicateSequence,
  errors.invalidProducerEpoch,
  errors.invalidProducerIdMapping,
  errors.unknownProducerId,
])

/** One call of `append`. */
class Call {
  readonly results: Appended[]
  readonly done = Promise.withResolvers<void>()
  #left: number
  isOver = false

  constructor(count: number) {
    this.results = new Array(count)
    this.#left = count
  }

  settle(index: number, result: Appended): void {
    this.results[index] = result
    if (--this.#left === 0) this.#end(() => this.done.resolve())
  }

  fail(error: Error): void {
    this.#end(() => this.done.reject(error))
  }

  #end(settle: () => void): void {
    if (this.isOver) return
    this.isOver = true
    settle()
  }
}

/** A call that waits until what it holds may be held. */
interface Room {
  readonly bytes: number
  readonly admitted: PromiseWithResolvers<void>
  isGone: boolean
}

interface Pending {
  readonly event: EncodedEvent
  readonly bytes: number
  readonly call: Call
  /** Of the event in its call. */
  readonly index: number
}

interface Batch {
  readonly pending: readonly Pending[]
  readonly bytes: Buffer
}

interface Lane {
  readonly topic: string
  readonly partition: number
  queue: Pending[]
  /** Encoded: to be sent, or under way. */
  batch: Batch | undefined
  isUnderWay: boolean
  producer: ProducerState | undefined
  /** Since when the topic is not there. */
  goneSince: number | undefined
}

interface TopicLanes {
  topic: WritableTopic
  readonly lanes: readonly Lane[]
  /** Where events without a key go until a batch of them is sent, or enough are there for one. */
  keyless: number
  keylessBytes: number
}

function turnKeyless(lanes: TopicLanes): void {
  lanes.keyless = (lanes.keyless + 1) % lanes.lanes.length
  lanes.keylessBytes = 0
}

export interface WriterOptions {
  readonly client: KafkaClient
  /** Milliseconds after which an append is given up. */
  readonly timeout: number
  readonly onProblem: (message: string) => void
}

export class KafkaWriter {
  readonly #client: KafkaClient
  readonly #timeout: number
  readonly #outage: Outage
  readonly #topics = new Map<string, TopicLanes>()
  /** Lanes that have something to send. */
  readonly #busy = new Set<Lane>()
  readonly #underWay = new Map<number, number>()
  readonly #calls = new Set<Call>()
  readonly #waitingForRoom: Room[] = []
  #pendingBytes = 0
  #pumping = false
  #pausedUntil = 0
  #closed = false
  readonly #counters = { events: 0, requests: 0, retries: 0 }

  constructor({ client, timeout, onProblem }: WriterOptions) {
    this.#client = client
    this.#timeout = timeout
    this.#outage = new Outage('Appending to Kafka', onProblem)
  }

  counters(): WriterCounters {
    return { ...this.#counters }
  }

  /** Resolves when all events are on all in-sync replicas. Rejects with `LogUnavailable` when that takes too long. */
  async append(topic: WritableTopic, events: readonly EncodedEvent[]): Promise<readonly Appended[]> {
    let bytes = 0
    for (const { valueBytes, tail } of events) {
      if (valueBytes > topic.maxValueBytes) throw new OversizedEvent(topic.name, valueBytes, topic.maxValueBytes)
      const whole = tail.length + RECORD_OVERHEAD + BATCH_HEADER_BYTES
      if (whole > topic.maxBatchBytes) throw new OversizedEvent(topic.name, whole, topic.maxBatchBytes)
      bytes += tail.length + RECORD_OVERHEAD
    }
    const call = new Call(events.length)
    this.#calls.add(call)
    const timer = setTimeout(() => call.fail(unavailable(topic.name, this.#timeout)), this.#timeout)
    const room: Room = { bytes, admitted: Promise.withResolvers<void>(), isGone: false }
    try {
      this.#enter(room)
      await Promise.race([room.admitted.promise, call.done.promise])
      this.#enqueue(topic, events, call)
      await call.done.promise
      this.#counters.events += events.length
      return call.results
    } finally {
      room.isGone = true
      clearTimeout(timer)
      this.#calls.delete(call)
    }
  }

  /** Forgets what is known of a topic: it is deleted, or made anew. */
  forget(topic: string): void {
    const lanes = this.#topics.get(topic)?.lanes ?? []
    this.#topics.delete(topic)
    this.#client.forgetTopic(topic)
    for (const lane of lanes) {
      this.#failLane(lane, new UnknownTopic(topic))
      this.#busy.delete(lane)
    }
  }

  /** Waits for what is under way, at most for the time-out of an append. */
  async close(): Promise<void> {
    await Promise.allSettled([...this.#calls].map(({ done }) => done.promise))
    this.#closed = true
    for (const call of this.#calls) call.fail(new LogClosed())
  }

  #enter(room: Room): void {
    this.#waitingForRoom.push(room)
    this.#admit()
  }

  #admit(): void {
    for (let next = this.#waitingForRoom[0]; next !== undefined; next = this.#waitingForRoom[0]) {
      const fits = this.#pendingBytes === 0 || this.#pendingBytes + next.bytes <= MAX_PENDING_BYTES
      if (!next.isGone && !fits) return
      this.#waitingForRoom.shift()
      if (next.isGone) continue
      this.#pendingBytes += next.bytes
      next.admitted.resolve()
    }
  }

  #release(pending: readonly Pending[]): void {
    for (const { bytes } of pending) this.#pendingBytes -= bytes
    this.#admit()
  }

  #enqueue(topic: WritableTopic, events: readonly EncodedEvent[], call: Call): void {
    const lanes = this.#lanesOf(topic)
    if (lanes.keylessBytes >= KEYLESS_BYTES) turnKeyless(lanes)
    for (const [index, event] of events.entries()) {
      const { key, partition: given } = event
      const partition = given ?? (key === null ? lanes.keyless : partitionOf(key, topic.partitions))
      const lane = lanes.lanes[partition]!
      const bytes = event.tail.length + RECORD_OVERHEAD
      lane.queue.push({ event, bytes, call, index })
      if (key === null) lanes.keylessBytes += bytes
      this.#busy.add(lane)
    }
    this.#wake()
  }

  #lanesOf(topic: WritableTopic): TopicLanes {
    let lanes = this.#topics.get(topic.name)
    if (lanes === undefined || lanes.lanes.length !== topic.partitions) {
      const make = (_: unknown, partition: number): Lane => ({
        topic: topic.name,
        partition,
        queue: [],
        batch: undefined,
        isUnderWay: false,
        producer: undefined,
        goneSince: undefined,
      })
      lanes = { topic, lanes: Array.from({ length: topic.partitions }, make), keyless: 0, keylessBytes: 0 }
      this.#topics.set(topic.name, lanes)
    }
    lanes.topic = topic
    return lanes
  }

  /** Sends what can be sent, once all calls of this turn have come. */
  #wake(): void {
    if (this.#pumping || this.#closed) return
    this.#pumping = true
    const pause = this.#pausedUntil - performance.now()
    if (pause > 0) setTimeout(() => void this.#pump(), pause)
    else setImmediate(() => void this.#pump())
  }

  async #pump(): Promise<void> {
    try {
      await this.#makeReady()
      this.#pumping = false
      this.#sendAll()
    } catch (error) {
      this.#pumping = false
      const refusal = refusalOf(error)
      if (refusal !== undefined) for (const lane of this.#busy) this.#failLane(lane, refusal)
      this.#pausedUntil = performance.now() + this.#outage.failed(error)
      if (this.#busy.size > 0) this.#wake()
    }
  }

  /** Gives every lane that wants to send a leader and a producer's number. */
  async #makeReady(): Promise<void> {
    const waiting = [...this.#busy].filter(({ isUnderWay }) => !isUnderWay)
    const leaderless = waiting.filter(({ topic, partition }) => this.#client.leader(topic, partition) === undefined)
    if (leaderless.length > 0) {
      await this.#client.refresh([...new Set(leaderless.map(({ topic }) => topic))])
      this.#giveUpTopicsGone(leaderless)
    }
    const anonymous = waiting.filter(({ producer }) => producer === undefined)
    if (anonymous.length === 0) return
    const { producerId, producerEpoch } = await this.#client.callController('initProducerId', {
      transactionTimeout: 60_000,
    })
    for (const lane of anonymous) lane.producer = { id: BigInt(String(producerId)), epoch: producerEpoch, sequence: 0 }
  }

  #giveUpTopicsGone(leaderless: readonly Lane[]): void {
    const now = performance.now()
    let isOneMissing = false
    for (const lane of leaderless) {
      if (this.#client.leader(lane.topic, lane.partition) !== undefined) {
        lane.goneSince = undefined
        continue
      }
      lane.goneSince ??= now
      isOneMissing = true
      if (now - lane.goneSince > GONE_MILLISECONDS && this.#client.isMissing(lane.topic)) this.forget(lane.topic)
    }
    if (isOneMissing) {
      this.#pausedUntil = now + this.#outage.failed(new Error('a partition has no leader'))
      setTimeout(() => this.#wake(), this.#pausedUntil - now)
    }
  }

  #sendAll(): void {
    const byLeader = new Map<number, Lane[]>()
    for (const lane of this.#busy) {
      if (lane.isUnderWay || lane.producer === undefined) continue
      const leader = this.#client.leader(lane.topic, lane.partition)
      if (leader === undefined) continue
      const lanes = byLeader.get(leader)
      if (lanes === undefined) byLeader.set(leader, [lane])
      else lanes.push(lane)
    }
    for (const [leader, lanes] of byLeader) this.#sendTo(leader, lanes)
  }

  #sendTo(leader: number, lanes: readonly Lane[]): void {
    let next: Lane[] = []
    let bytes = 0
    for (const lane of lanes) {
      if ((this.#underWay.get(leader) ?? 0) >= REQUESTS_UNDER_WAY) return
      lane.batch ??= this.#nextBatch(lane)
      if (lane.batch === undefined) {
        this.#busy.delete(lane)
        continue
      }
      if (next.length > 0 && bytes + lane.batch.bytes.length > REQUEST_BYTES) {
        void this.#send(leader, next)
        next = []
        bytes = 0
        if ((this.#underWay.get(leader) ?? 0) >= REQUESTS_UNDER_WAY) return
      }
      next.push(lane)
      bytes += lane.batch.bytes.length
    }
    if (next.length > 0) void this.#send(leader, next)
  }

  /** Takes from the lane's queue what fits one batch. Calls that were given up are left out. */
  #nextBatch(lane: Lane): Batch | undefined {
    const lanes = this.#topics.get(lane.topic)
    const limit = Math.min(BATCH_BYTES, lanes?.topic.maxBatchBytes ?? BATCH_BYTES)
    const pending: Pending[] = []
    let bytes = BATCH_HEADER_BYTES
    let taken = 0
    for (const one of lane.queue) {
      if (one.call.isOver) this.#release([one])
      else if (pending.length > 0 && bytes + one.bytes > limit) break
      else {
        pending.push(one)
        bytes += one.bytes
      }
      taken++
    }
    lane.queue = lane.queue.slice(taken)
    if (pending.length === 0) return undefined
    if (lanes !== undefined && lanes.keyless === lane.partition) turnKeyless(lanes)
    return this.#encode(lane, pending)
  }

  #encode(lane: Lane, pending: readonly Pending[]): Batch {
    const events = pending.map(({ event }) => event)
    return { pending, bytes: encodeBatch(events, lane.producer!) }
  }

  async #send(leader: number, lanes: readonly Lane[]): Promise<void> {
    this.#underWay.set(leader, (this.#underWay.get(leader) ?? 0) + 1)
    for (const lane of lanes) lane.isUnderWay = true
    let failure: unknown
    try {
      const batches = lanes.map(({ topic, partition, batch }) => ({ topic, partition, bytes: batch!.bytes }))
      const answers = await this.#client.send(leader, produceRequest(batches, REPLICAS_MILLISECONDS))
      this.#counters.requests++
      failure = this.#settle(lanes, answers)
    } catch (error) {
      failure = error
    }
    for (const lane of lanes) {
      lane.isUnderWay = false
      const isForgotten = this.#topics.get(lane.topic)?.lanes[lane.partition] !== lane
      if (isForgotten && lane.batch !== undefined) this.#failBatch(lane, new UnknownTopic(lane.topic))
    }
    this.#underWay.set(leader, this.#underWay.get(leader)! - 1)
    if (failure === undefined) this.#outage.worked()
    else await this.#recover(failure, lanes)
    if (this.#busy.size > 0) this.#wake()
  }

  /** Answers what the lanes' batches met; the first failure that a retry can mend, or undefined. */
  #settle(lanes: readonly Lane[], answers: readonly ProduceAnswer[]): Error | undefined {
    let failure: Error | undefined
    for (const lane of lanes) {
      const answer = answers.find(({ topic, partition }) => topic === lane.topic && partition === lane.partition)
      const errorCode = answer?.errorCode ?? -1
      if (errorCode === errors.none) this.#succeed(lane, answer!.baseOffset)
      else failure ??= this.#meet(lane, errorCode)
    }
    return failure
  }

  #succeed(lane: Lane, baseOffset: number): void {
    const { pending } = lane.batch!
    const { id, epoch, sequence } = lane.producer!
    // Numbers are 31 bits and begin anew at 0.
    lane.producer = { id, epoch, sequence: (sequence + pending.length) % 2 ** 31 }
    lane.batch = undefined
    lane.goneSince = undefined
    for (const [i, { call, index }] of pending.entries())
      call.settle(index, { partition: lane.partition, offset: baseOffset + i, duplicate: false })
    this.#release(pending)
    if (lane.queue.length === 0) this.#busy.delete(lane)
  }

  #meet(lane: Lane, errorCode: number): Error | undefined {
    const { topic, partition } = lane
    const { pending } = lane.batch!
    if (REFUSED[errorCode] !== undefined) {
      this.#failBatch(lane, new Error(`Kafka refused events for topic ${topic}: ${REFUSED[errorCode]}.`))
      return undefined
    }
    if (errorCode === errors.messageTooLarge || errorCode === errors.recordListTooLarge) {
      const half = Math.ceil(pending.length / 2)
      if (pending.length === 1) {
        const { valueBytes } = pending[0]!.event
        this.#failBatch(lane, new OversizedEvent(topic, valueBytes, valueBytes - 1))
      } else {
        lane.queue = [...pending.slice(half), ...lane.queue]
        lane.batch = this.#encode(lane, pending.slice(0, half))
      }
      return undefined
    }
    if (LOST_SEQUENCE.has(errorCode)) {
      // The broker has forgotten us: as another producer, which may leave a second copy.
      lane.producer = undefined
      lane.queue = [...pending, ...lane.queue]
      lane.batch = undefined
    }
    this.#counters.retries++
    return new Error(`topic ${topic}, partition ${partition}: error ${errorCode}`)
  }

  #failBatch(lane: Lane, error: Error): void {
    const { pending } = lane.batch!
    lane.batch = undefined
    for (const { call } of pending) call.fail(error)
    this.#release(pending)
    if (lane.queue.length === 0) this.#busy.delete(lane)
  }

  /** Fails what the lane holds. A batch under way settles by its answer. */
  #failLane(lane: Lane, error: Error): void {
    const { queue } = lane
    lane.queue = []
    for (const { call } of queue) call.fail(error)
    this.#release(queue)
    if (lane.batch !== undefined && !lane.isUnderWay) this.#failBatch(lane, error)
  }

  /** Looks for the leaders again, after a pause. */
  async #recover(failure: unknown, lanes: readonly Lane[]): Promise<void> {
    const refusal = refusalOf(failure)
    if (refusal !== undefined) for (const lane of lanes) this.#failLane(lane, refusal)
    this.#counters.retries++
    this.#pausedUntil = performance.now() + this.#outage.failed(failure)
    for (const { topic } of lanes) this.#client.forgetTopic(topic)
  }
}

function unavailable(topic: string, milliseconds: number): LogUnavailable {
  return new LogUnavailable(
    `Kafka did not take events for topic ${topic} within ${Math.round(milliseconds / 1000)} s; nothing that it acknowledged is lost. Try again.`,
  )
}
