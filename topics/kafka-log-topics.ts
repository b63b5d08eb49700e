/** The topics of the log on Kafka: made as they are wanted; checked, and never altered, when they are there. */
import type { KafkaClient } from './kafka-log-client.ts'
import { errorType } from './kafka-log-kafkajs.ts'
import type { KafkaQuestions } from './kafka-log-questions.ts'
import type { WritableTopic } from './kafka-log-writer.ts'
import type { TopicSettings } from './log.ts'

export type KnownTopic = WritableTopic

export interface KafkaTopicsOptions {
  readonly client: KafkaClient
  readonly questions: KafkaQuestions
  /** Replicas of a new topic; 0: three, or one a broker when they are fewer. */
  readonly replication: number
  readonly onProblem: (message: string) => void
}

/** What key, headers and frame of an event may take beside its value. */
const ROOM_BYTES = 64 * 1024
const KEPT_FOR_EVER = '-1'
const TOPIC_RESOURCE = 2
/** The broker's own limits, where a topic does not tell. */
const DEFAULT_BATCH_BYTES = 1_048_588
const CREATE_MILLISECONDS = 10_000
const GONE_MILLISECONDS = 10_000
const LOOK_MILLISECONDS = 50
const MANY_REPLICAS = 3

type Configuration = ReadonlyMap<string, string>

export class KafkaTopics {
  readonly #options: KafkaTopicsOptions
  readonly #known = new Map<string, KnownTopic>()
  readonly #told = new Set<string>()

  constructor(options: KafkaTopicsOptions) {
    this.#options = options
  }

  /** Throws `UnknownTopic` when the cluster does not have it. */
  async get(name: string): Promise<KnownTopic> {
    const known = this.#known.get(name)
    if (known !== undefined) return known
    const { questions } = this.#options
    return questions.ask(`Looking up topic ${name}`, async () => {
      const partitions = await questions.partitions(name)
      const maxBatchBytes = batchBytes(await this.#configuration(name))
      const topic = { name, partitions, maxBatchBytes, maxValueBytes: maxBatchBytes }
      this.#known.set(name, topic)
      return topic
    })
  }

  async create(settings: TopicSettings): Promise<void> {
    const { name, partitions, maxValueBytes } = settings
    if (!Number.isInteger(partitions) || partitions < 1)
      throw new Error(`Topic ${name} cannot have ${partitions} partitions; it needs at least one.`)
    const { questions } = this.#options
    const existing = await questions.ask(`Making topic ${name}`, () => this.#createOrFind(settings))
    if (existing !== null) this.#check(settings, existing.partitions, existing.configuration)
    const { partitions: actual, maxBatchBytes } = await this.get(name)
    this.#known.set(name, { name, partitions: actual, maxBatchBytes, maxValueBytes })
  }

  /** Null when it was made; else what is there. */
  async #createOrFind(settings: TopicSettings): Promise<{ partitions: number; configuration: Configuration } | null> {
    const { client, questions } = this.#options
    const { name } = settings
    client.forgetTopic(name)
    if ((await client.topic(name)) === null && client.isMissing(name)) {
      if (await this.#tryCreate(settings)) {
        await this.#untilLed(name, settings.partitions)
        return null
      }
      client.forgetTopic(name)
    }
    return { partitions: await questions.partitions(name), configuration: await this.#configuration(name) }
  }

  /** False when somebody else was faster. */
  async #tryCreate(settings: TopicSettings): Promise<boolean> {
    const { client } = this.#options
    const brokers = await client.brokerIds()
    const replicationFactor = this.#options.replication || Math.min(MANY_REPLICAS, brokers.length)
    const entries = Object.entries(wantedConfiguration(settings))
    if (replicationFactor >= MANY_REPLICAS) entries.push(['min.insync.replicas', '2'])
    const topic = {
      topic: settings.name,
      numPartitions: settings.partitions,
      replicationFactor,
      configEntries: entries.map(([entry, value]) => ({ name: entry, value })),
    }
    try {
      await client.callController('createTopics', { topics: [topic], timeout: CREATE_MILLISECONDS })
      return true
    } catch (error) {
      const cause = creationError(error)
      if (errorType(cause) === 'TOPIC_ALREADY_EXISTS') return false
      throw cause
    }
  }

  /** A topic just made has no leaders for a moment. */
  async #untilLed(name: string, partitions: number): Promise<void> {
    const { client } = this.#options
    const end = performance.now() + CREATE_MILLISECONDS
    while (performance.now() < end) {
      client.forgetTopic(name)
      const leaders = (await client.topic(name))?.leaders ?? []
      if (leaders.length === partitions && leaders.every((leader) => leader !== null)) return
      await new Promise((resolve) => setTimeout(resolve, LOOK_MILLISECONDS))
    }
    throw new Error(`topic ${name} was made and has no leaders yet`)
  }

  async #configuration(name: string): Promise<Configuration> {
    const names = ['retention.ms', 'retention.bytes', 'cleanup.policy', 'max.message.bytes']
    const { resources } = await this.#options.client.callController('describeConfigs', {
      resources: [{ type: TOPIC_RESOURCE, name, configNames: names }],
    })
    const entries = resources.flatMap(({ configEntries }) => configEntries)
    return new Map(entries.map(({ configName, configValue }) => [configName, configValue ?? '']))
  }

  /** Tells each difference between what is wanted and what is there once. */
  #check(settings: TopicSettings, partitions: number, configuration: Configuration): void {
    const { name } = settings
    if (settings.partitions === 1 && partitions !== 1)
      throw new Error(
        `Topic ${name} has ${partitions} partitions and must have one, because its events are read in one order. Use another MAILTRAIL_TOPIC_PREFIX, or make the topic anew.`,
      )
    if (settings.partitions !== partitions)
      this.#tell(
        `Topic ${name} has ${partitions} partitions, not ${settings.partitions}; that works, and is left as it is. At most ${partitions} processes share its reading.`,
      )
    const wanted = wantedConfiguration(settings)
    for (const entry of ['retention.ms', 'retention.bytes', 'cleanup.policy'] as const) {
      const actual = configuration.get(entry)
      if (actual === undefined || actual === wanted[entry]) continue
      this.#tell(
        `Topic ${name} has ${entry}=${actual}, not ${wanted[entry]}; it is left as it is. To change it: kafka-configs.sh --alter --topic ${name} --add-config ${entry}=${wanted[entry]}`,
      )
    }
    const size = batchBytes(configuration)
    if (size < settings.maxValueBytes + ROOM_BYTES)
      this.#tell(
        `Topic ${name} takes ${size} bytes at most (max.message.bytes), so that larger events are refused, though ${settings.maxValueBytes} bytes are wanted; it is left as it is. To change it: kafka-configs.sh --alter --topic ${name} --add-config max.message.bytes=${settings.maxValueBytes + ROOM_BYTES}`,
      )
  }

  #tell(message: string): void {
    if (this.#told.has(message)) return
    this.#told.add(message)
    this.#options.onProblem(message)
  }

  /** Resolves when the cluster does not know it any more. */
  async delete(name: string): Promise<void> {
    const { client, questions } = this.#options
    this.#known.delete(name)
    questions.forget(name)
    await questions.ask(`Deleting topic ${name}`, async () => {
      try {
        await client.callController('deleteTopics', { topics: [name], timeout: GONE_MILLISECONDS })
      } catch (error) {
        if (errorType(error) !== 'UNKNOWN_TOPIC_OR_PARTITION') throw error
      }
      await this.#untilGone(name)
    })
  }

  async #untilGone(name: string): Promise<void> {
    const { client } = this.#options
    const end = performance.now() + GONE_MILLISECONDS
    while (performance.now() < end) {
      client.forgetTopic(name)
      if ((await client.topic(name)) === null && client.isMissing(name)) return
      await new Promise((resolve) => setTimeout(resolve, LOOK_MILLISECONDS))
    }
    throw new Error(`topic ${name} is still there`)
  }
}

/** Kafka counts bytes by partition, we by topic. */
function wantedConfiguration({ maxValueBytes, partitions, retention }: TopicSettings) {
  return {
    'retention.ms': retention?.milliseconds === undefined ? KEPT_FOR_EVER : String(retention.milliseconds),
    'retention.bytes': retention?.bytes === undefined ? KEPT_FOR_EVER : String(Math.ceil(retention.bytes / partitions)),
    'cleanup.policy': 'delete',
    'max.message.bytes': String(maxValueBytes + ROOM_BYTES),
  }
}

function batchBytes(configuration: Configuration): number {
  const text = configuration.get('max.message.bytes')
  return text === undefined ? DEFAULT_BATCH_BYTES : Number(text)
}

/** kafkajs wraps what went wrong with each topic into one error. */
function creationError(error: unknown): unknown {
  if (error instanceof Error && 'errors' in error && Array.isArray(error.errors)) return error.errors[0] ?? error
  return error
}
