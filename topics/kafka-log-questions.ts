/** What is asked of Kafka without being a member of a group: watermarks, single events, positions, sizes. */
import type { KafkaClient } from './kafka-log-client.ts'
import { committedOffsets } from './kafka-log-group.ts'
import { errorType, KafkaRefused, refusalOf, type TopicOffsets } from './kafka-log-kafkajs.ts'
import { committedBatches, readBatch, splitBatches } from './kafka-log-records.ts'
import { fetchRequest, logDirsRequest } from './kafka-log-requests.ts'
import { Outage } from './kafka-log-waiting.ts'
import { type LogEvent, LogUnavailable, UnknownTopic, type Watermark } from './log.ts'

const EARLIEST = -2
const LATEST = -1
const READ_COMMITTED = 1
const NOT_A_REPLICA = -1
const OFFSET_OUT_OF_RANGE = 1
const NO_ERROR = 0
/** Another process may have made the topic on another broker a moment ago. */
const LOOKS = 3
const LOOK_AGAIN_MILLISECONDS = 200
/** Questions are given up sooner than appends: somebody waits for the answer. */
const GIVE_UP_MILLISECONDS = 10_000

export class KafkaQuestions {
  readonly #client: KafkaClient
  readonly #onProblem: (message: string) => void
  /** Timestamps of the oldest unread events, so that a lag that stands still is looked up once. */
  readonly #oldest = new Map<string, { readonly position: number; readonly timestamp: number | null }>()
  #isSizeUnknown = false

  constructor(client: KafkaClient, onProblem: (message: string) => void) {
    this.#client = client
    this.#onProblem = onProblem
  }

  /** Tries until the brokers answer, for ten seconds; then rejects with `LogUnavailable`. */
  async ask<T>(question: string, work: () => Promise<T>, milliseconds = GIVE_UP_MILLISECONDS): Promise<T> {
    const outage = new Outage(question, () => undefined)
    const end = performance.now() + milliseconds
    for (;;) {
      try {
        return await work()
      } catch (error) {
        const refusal = refusalOf(error)
        if (refusal !== undefined) throw refusal
        if (error instanceof UnknownTopic || error instanceof KafkaRefused) throw error
        const pause = outage.failed(error)
        if (performance.now() + pause > end)
          throw new LogUnavailable(`${question} failed, because Kafka does not answer: ${(error as Error).message}`, {
            cause: error,
          })
        await new Promise((resolve) => setTimeout(resolve, pause))
      }
    }
  }

  /** Partition count of a topic. Throws `UnknownTopic` when it is still not there at a second look. */
  async partitions(topic: string): Promise<number> {
    for (let look = 1; ; look++) {
      const found = await this.#client.topic(topic)
      if (found !== null) return found.leaders.length
      if (!this.#client.isMissing(topic)) throw new Error(`topic ${topic} has no leaders yet`)
      if (look === LOOKS) throw new UnknownTopic(topic)
      await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MILLISECONDS))
    }
  }

  async watermarks(topic: string): Promise<readonly Watermark[]> {
    return this.ask(`Asking how far topic ${topic} is`, async () => {
      const [lows, highs] = await Promise.all([this.#offsets(topic, EARLIEST), this.#offsets(topic, LATEST)])
      return lows.map((low, partition) => ({ partition, low, high: highs[partition]! }))
    })
  }

  async #offsets(topic: string, timestamp: number): Promise<number[]> {
    const count = await this.partitions(topic)
    const byLeader = Map.groupBy(
      Array.from({ length: count }, (_, partition) => partition),
      (partition) => this.#leader(topic, partition),
    )
    const offsets: number[] = new Array(count)
    try {
      await Promise.all(
        [...byLeader].map(async ([leader, partitions]) => {
          const wanted = partitions.map((partition) => ({ partition, timestamp }))
          const { responses } = await this.#client.call(leader, 'listOffsets', {
            replicaId: NOT_A_REPLICA,
            isolationLevel: READ_COMMITTED,
            topics: [{ topic, partitions: wanted }],
          })
          for (const { partition, offset } of responses.flatMap((response: TopicOffsets) => response.partitions))
            offsets[partition] = Number(offset)
        }),
      )
    } catch (error) {
      this.#client.forgetTopic(topic)
      throw error
    }
    return offsets
  }

  #leader(topic: string, partition: number): number {
    const leader = this.#client.leader(topic, partition)
    if (leader !== undefined) return leader
    this.#client.forgetTopic(topic)
    throw new Error(`topic ${topic}, partition ${partition} has no leader`)
  }

  async get(topic: string, partition: number, offset: number): Promise<LogEvent | null> {
    const [event] = await this.#firstFrom(topic, partition, offset)
    return event?.offset === offset ? event : null
  }

  /** The rest of the batch that the offset is in, or of the next; nothing when there is none. */
  async #firstFrom(topic: string, partition: number, offset: number): Promise<readonly LogEvent[]> {
    return this.ask(`Reading an event of topic ${topic}`, async () => {
      const count = await this.partitions(topic)
      if (partition < 0 || partition >= count || offset < 0) return []
      // With a limit of one byte a broker answers with exactly one batch, however large.
      const request = fetchRequest(topic, [{ partition, offset, maxBytes: 1 }], 0, 1)
      const [answer] = await this.#client.send(this.#leader(topic, partition), request)
      if (answer === undefined || answer.errorCode === OFFSET_OUT_OF_RANGE) return []
      if (answer.errorCode !== NO_ERROR) {
        this.#client.forgetTopic(topic)
        throw new Error(`error ${answer.errorCode}`)
      }
      const batches = committedBatches(splitBatches(answer.records), answer.aborted)
      return batches.flatMap((batch) => readBatch(batch, topic, partition, offset))
    })
  }

  /** Bytes that the leaders of the topic's partitions keep on disk. */
  async bytes(topic: string): Promise<number> {
    return this.ask(`Asking for the size of topic ${topic}`, async () => {
      const count = await this.partitions(topic)
      const partitions = Array.from({ length: count }, (_, partition) => partition)
      const byLeader = Map.groupBy(partitions, (partition) => this.#leader(topic, partition))
      const sizes = await Promise.all(
        [...byLeader].map(([leader, own]) => this.#client.send(leader, logDirsRequest(topic, own))),
      )
      const found = sizes.flat()
      if (found.length === 0 && !this.#isSizeUnknown) {
        this.#isSizeUnknown = true
        this.#onProblem(
          'Kafka does not tell our user how much its topics take on disk, so sizes are given as 0. Let an ACL permit Describe on the cluster.',
        )
      }
      return found.reduce((sum, { bytes }) => sum + bytes, 0)
    })
  }

  async committed(topic: string, group: string): Promise<ReadonlyMap<number, number>> {
    return this.ask(`Asking how far group ${group} is`, async () => {
      const count = await this.partitions(topic)
      const partitions = Array.from({ length: count }, (_, partition) => ({ partition }))
      const coordinator = await this.#client.coordinator(group)
      const request = { groupId: group, topics: [{ topic, partitions }] }
      return committedOffsets((await this.#client.callAt(coordinator, 'offsetFetch', request)).responses)
    })
  }

  async members(group: string): Promise<number> {
    return this.ask(`Asking who is in group ${group}`, async () => {
      const coordinator = await this.#client.coordinator(group)
      try {
        const { groups } = await this.#client.callAt(coordinator, 'describeGroups', { groupIds: [group] })
        return groups[0]?.members.length ?? 0
      } catch (error) {
        if (errorType(error) === 'GROUP_ID_NOT_FOUND') return 0
        throw error
      }
    })
  }

  async lag(topic: string, positions: ReadonlyMap<number, number>): Promise<{ events: number; oldest: number | null }> {
    const behind = (await this.watermarks(topic))
      .map(({ partition, low, high }) => ({ partition, high, position: Math.max(positions.get(partition) ?? 0, low) }))
      .filter(({ position, high }) => position < high)
    const timestamps = await Promise.all(
      behind.map(({ partition, position }) => this.#timestamp(topic, partition, position)),
    )
    const known = timestamps.filter((timestamp) => timestamp !== null)
    return {
      events: behind.reduce((sum, { position, high }) => sum + high - position, 0),
      oldest: known.length === 0 ? null : Math.min(...known),
    }
  }

  async #timestamp(topic: string, partition: number, position: number): Promise<number | null> {
    const key = JSON.stringify([topic, partition])
    const known = this.#oldest.get(key)
    if (known?.position === position && known.timestamp !== null) return known.timestamp
    const timestamp = (await this.#firstFrom(topic, partition, position))[0]?.timestamp ?? null
    this.#oldest.set(key, { position, timestamp })
    return timestamp
  }

  forget(topic: string): void {
    this.#client.forgetTopic(topic)
    for (const key of this.#oldest.keys()) if ((JSON.parse(key) as [string])[0] === topic) this.#oldest.delete(key)
  }
}
