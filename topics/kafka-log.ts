/**
 * The log on Apache Kafka 2.3 or newer, for many processes. Appends are acknowledged by all in-sync replicas; readers are
 * members of consumer groups. At-least-once: an append that was cut off or given up may be there twice, a batch that was
 * not committed comes again.
 */
import { KafkaClient } from './kafka-log-client.ts'
import { loadCodecs } from './kafka-log-codecs.ts'
import { KafkaFetcher } from './kafka-log-fetcher.ts'
import { type KafkaConnectionOptions, refusalOf } from './kafka-log-kafkajs.ts'
import { KafkaQuestions } from './kafka-log-questions.ts'
import { KafkaReader } from './kafka-log-reader.ts'
import { type EncodedEvent, encodeEvents } from './kafka-log-records.ts'
import { KafkaTopics, type KnownTopic } from './kafka-log-topics.ts'
import { Outage, Pulse } from './kafka-log-waiting.ts'
import { KafkaWriter, type WriterCounters } from './kafka-log-writer.ts'
import {
  type Appended,
  type Batch,
  type FollowOptions,
  type Log,
  LogClosed,
  type LogEvent,
  LogUnavailable,
  type NewEvent,
  type ReadOptions,
  type TopicSettings,
  type Watermark,
} from './log.ts'

export interface KafkaLogOptions extends KafkaConnectionOptions {
  /** Replicas of a topic that is made; 0: three, or one a broker when they are fewer. */
  readonly replication: number
  /** Bytes that one read holds of one partition (and one batch always, however large). */
  readonly fetchBytes: number
  /** Told of what an operator should know. */
  readonly onProblem: (message: string) => void
  /** Ends the waiting for the brokers at the start. */
  readonly signal?: AbortSignal
  /** Milliseconds after which an append rejects with `LogUnavailable`; default 30 s. */
  readonly appendTimeout?: number
  /** So long a reader may commit what it holds before its partitions go to others; default 10 s. */
  readonly drainTimeout?: number
  /** A member that is not heard of for so long has lost its partitions; default 10 s. */
  readonly sessionTimeout?: number
  /** A reader to whom nothing comes for so long although something is there begins anew; default 30 s. */
  readonly stallTimeout?: number
}

export interface KafkaLog extends Log {
  /** What was appended by this process, since the log was opened. */
  counters(): WriterCounters
}

const APPEND_MILLISECONDS = 30_000
const DRAIN_MILLISECONDS = 10_000
const SESSION_MILLISECONDS = 10_000
const STALL_MILLISECONDS = 30_000
/** So long the brokers may take to answer at the start. */
const START_MILLISECONDS = 60_000
/** Who follows from an offset that is not there yet is made to wait so long between looks. */
const BEYOND_END_MILLISECONDS = 500
const REMEMBERED_IDS = 100_000
const MAX_EVENTS = 1000
const MAX_BYTES = 8 * 1024 * 1024

/** Opens the log. Rejects when the brokers refuse us, or do not answer within a minute. */
export async function openKafkaLog(options: KafkaLogOptions): Promise<KafkaLog> {
  await loadCodecs()
  const [asking, writing] = await Promise.all([KafkaClient.make(options), KafkaClient.make(options)])
  const log = new KafkaLogClient(options, asking, writing)
  try {
    await log.greet()
  } catch (error) {
    await log.close()
    throw error
  }
  return log
}

class KafkaLogClient implements KafkaLog {
  readonly #options: KafkaLogOptions
  readonly #asking: KafkaClient
  readonly #writing: KafkaClient
  readonly #questions: KafkaQuestions
  readonly #topics: KafkaTopics
  readonly #writer: KafkaWriter
  readonly #readers = new Set<KafkaReader>()
  readonly #followers = new Set<() => void>()
  /** Where events with a `onceId` were appended by this process, oldest first. */
  readonly #remembered = new Map<string, Promise<Appended>>()
  /** Appends under way; a close waits for them. */
  readonly #appending = new Set<Promise<unknown>>()
  #closed: Promise<void> | undefined

  constructor(options: KafkaLogOptions, asking: KafkaClient, writing: KafkaClient) {
    const { onProblem, replication, appendTimeout: timeout = APPEND_MILLISECONDS } = options
    this.#options = options
    this.#asking = asking
    this.#writing = writing
    this.#questions = new KafkaQuestions(asking, onProblem)
    this.#topics = new KafkaTopics({ client: asking, questions: this.#questions, replication, onProblem })
    this.#writer = new KafkaWriter({ client: writing, timeout, onProblem })
  }

  /** Waits until a broker answers. */
  async greet(): Promise<void> {
    const { brokers, onProblem, signal } = this.#options
    const outage = new Outage(`Connecting to Kafka at ${brokers.join(', ')}`, onProblem)
    const end = performance.now() + START_MILLISECONDS
    for (;;) {
      signal?.throwIfAborted()
      try {
        await this.#asking.brokerIds()
        return
      } catch (error) {
        const refusal = refusalOf(error)
        if (refusal !== undefined) throw refusal
        const pause = outage.failed(error)
        const { message } = error as Error
        if (performance.now() + pause > end)
          throw new LogUnavailable(`No broker at ${brokers.join(', ')} answers (${message}). Check KAFKA_BROKERS.`)
        await new Promise((resolve) => setTimeout(resolve, pause))
      }
    }
  }

  #assertOpen(): void {
    if (this.#closed !== undefined) throw new LogClosed()
  }

  /** Work that a close in the middle of it turns into `LogClosed`. */
  async #open<T>(work: () => Promise<T>): Promise<T> {
    this.#assertOpen()
    try {
      return await work()
    } catch (error) {
      if (this.#closed !== undefined) throw new LogClosed()
      throw error
    }
  }

  createTopic(settings: TopicSettings): Promise<void> {
    return this.#open(() => this.#topics.create(settings))
  }

  topics(): Promise<readonly string[]> {
    return this.#open(() => this.#questions.ask('Asking for the topics', () => this.#asking.topicNames()))
  }

  deleteTopic(name: string): Promise<void> {
    return this.#open(async () => {
      await this.#topics.delete(name)
      this.#writer.forget(name)
      for (const key of this.#remembered.keys())
        if ((JSON.parse(key) as [string])[0] === name) this.#remembered.delete(key)
    })
  }

  append(topic: string, events: readonly NewEvent[]): Promise<readonly Appended[]> {
    // Copied now: what the caller does to its buffers afterwards changes nothing.
    const encoded = encodeEvents(events, Date.now())
    const appending = this.#open(async () => {
      const known = await this.#topics.get(topic)
      if (encoded.length === 0) return []
      const isPlain = encoded.every(({ onceId }) => onceId === undefined)
      return isPlain ? this.#writer.append(known, encoded) : this.#appendOnce(known, encoded)
    })
    const settled: Promise<unknown> = appending.then(
      () => this.#appending.delete(settled),
      () => this.#appending.delete(settled),
    )
    this.#appending.add(settled)
    return appending
  }

  /** What this process has appended before, or is appending just now, is not appended again. */
  async #appendOnce(topic: KnownTopic, events: readonly EncodedEvent[]): Promise<readonly Appended[]> {
    const key = ({ onceId }: EncodedEvent) => (onceId === undefined ? undefined : JSON.stringify([topic.name, onceId]))
    const appending = Promise.withResolvers<readonly Appended[]>()
    appending.promise.catch(() => undefined) // met by those who wait for one of its events
    const fresh: EncodedEvent[] = []
    const results = events.map((event): { readonly duplicate: boolean; readonly result: Promise<Appended> } => {
      const id = key(event)
      const before = id === undefined ? undefined : this.#remembered.get(id)
      if (before !== undefined) return { duplicate: true, result: before }
      const index = fresh.push(event) - 1
      const result = appending.promise.then((appended) => appended[index]!)
      if (id !== undefined) this.#remember(id, result)
      return { duplicate: false, result }
    })
    if (fresh.length > 0) this.#writer.append(topic, fresh).then(appending.resolve, appending.reject)
    const settled = await Promise.all(results.map(({ result }) => result))
    return settled.map((appended, i) => ({ ...appended, duplicate: results[i]!.duplicate }))
  }

  #remember(id: string, result: Promise<Appended>): void {
    this.#remembered.set(id, result)
    result.catch(() => {
      if (this.#remembered.get(id) === result) this.#remembered.delete(id)
    })
    const oldest = this.#remembered.size > REMEMBERED_IDS ? this.#remembered.keys().next().value : undefined
    if (oldest !== undefined) this.#remembered.delete(oldest)
  }

  async *read(topic: string, options: ReadOptions): AsyncGenerator<Batch, void, undefined> {
    await this.#open(() => this.#topics.get(topic))
    const { fetchBytes, onProblem } = this.#options
    const { drainTimeout = DRAIN_MILLISECONDS, sessionTimeout = SESSION_MILLISECONDS } = this.#options
    const reader = new KafkaReader(
      {
        makeClient: () => KafkaClient.make(this.#options),
        questions: this.#questions,
        topic,
        fetchBytes,
        sessionTimeout,
        drainTimeout,
        stallTimeout: this.#options.stallTimeout ?? STALL_MILLISECONDS,
        onProblem,
      },
      options,
    )
    this.#readers.add(reader)
    try {
      yield* reader.batches()
    } finally {
      void reader.finished().then(() => this.#readers.delete(reader))
    }
  }

  async *follow(topic: string, { signal, from }: FollowOptions): AsyncGenerator<readonly LogEvent[], void, undefined> {
    const { partitions } = await this.#open(() => this.#topics.get(topic))
    if (signal.aborted) return
    const changed = new Pulse()
    const client = await KafkaClient.make(this.#options)
    const fetcher = new KafkaFetcher({
      client,
      topic,
      fetchBytes: this.#options.fetchBytes,
      outage: new Outage(`Following topic ${topic}`, this.#options.onProblem),
      changed,
      onOutOfRange: (partition, position) => this.#backInRange(topic, partition, position),
    })
    const wake = () => changed.fire()
    signal.addEventListener('abort', wake, { once: true })
    this.#followers.add(wake)
    try {
      fetcher.add(new Map(Array.from({ length: partitions }, (_, partition) => [partition, from?.get(partition) ?? 0])))
      while (!signal.aborted) {
        this.#assertOpen()
        if (fetcher.failure !== undefined) throw fetcher.failure
        const taken = fetcher.take(MAX_EVENTS, MAX_BYTES)
        if (taken === null) await changed.wait()
        else yield taken.events
      }
    } finally {
      signal.removeEventListener('abort', wake)
      this.#followers.delete(wake)
      fetcher.stop()
      client.close()
    }
  }

  /** Where following goes on: at the log's start, or where it was, until so much is there. */
  async #backInRange(topic: string, partition: number, position: number): Promise<number> {
    try {
      const { low } = (await this.#questions.watermarks(topic))[partition] ?? { low: 0 }
      if (position < low) return low
      await new Promise((resolve) => setTimeout(resolve, BEYOND_END_MILLISECONDS))
    } catch (error) {
      if (!(error instanceof LogUnavailable)) throw error
    }
    return position
  }

  get(topic: string, partition: number, offset: number): Promise<LogEvent | null> {
    return this.#open(() => this.#questions.get(topic, partition, offset))
  }

  watermarks(topic: string): Promise<readonly Watermark[]> {
    return this.#open(() => this.#questions.watermarks(topic))
  }

  size(topic: string): Promise<{ readonly events: number; readonly bytes: number }> {
    return this.#open(async () => {
      const [watermarks, bytes] = await Promise.all([this.#questions.watermarks(topic), this.#questions.bytes(topic)])
      return { events: watermarks.reduce((sum, { low, high }) => sum + high - low, 0), bytes }
    })
  }

  committed(topic: string, group: string): Promise<ReadonlyMap<number, number>> {
    return this.#open(() => this.#questions.committed(topic, group))
  }

  members(group: string): Promise<number> {
    return this.#open(() => this.#questions.members(group))
  }

  readonly canErase = false
  async erase(): Promise<number> {
    throw new Error('Kafka cannot take single events off a topic; they are gone with its retention.')
  }
  async scrub(): Promise<void> {
    throw new Error('Kafka keeps its files itself; what retention removed is gone when the broker has deleted them.')
  }

  lag(topic: string, positions: ReadonlyMap<number, number>): Promise<{ events: number; oldest: number | null }> {
    return this.#open(() => this.#questions.lag(topic, positions))
  }

  counters(): WriterCounters {
    return this.#writer.counters()
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    for (const wake of this.#followers) wake()
    await Promise.all(this.#appending)
    await Promise.all([this.#writer.close(), ...[...this.#readers].map((reader) => reader.close())])
    this.#writing.close()
    this.#asking.close()
  }
}
