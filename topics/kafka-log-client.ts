/** Kafka's brokers as one: who leads which partition, who keeps which group, and how each is reached. */
import {
  type AssignerProtocol,
  type BrokerVerbs,
  ConnectionDropped,
  isAnswer,
  type KafkaConnectionOptions,
  type Kafkajs,
  KafkaNode,
  loadKafkajs,
  type MetadataAnswer,
  refusalOf,
} from './kafka-log-kafkajs.ts'
import type { RawRequest } from './kafka-log-requests.ts'

export interface Partitions {
  /** Broker that leads each partition, by number; null when there is none just now. */
  readonly leaders: readonly (number | null)[]
}

const NO_ERROR = 0
const UNKNOWN_TOPIC = 3

/** Connections of one purpose: requests of one connection are answered one after the other. */
export class KafkaClient {
  readonly #options: KafkaConnectionOptions
  readonly #kafkajs: Kafkajs
  readonly #nodes = new Map<string, KafkaNode>()
  readonly #topics = new Map<string, Partitions>()
  /** Asked for, and not there. */
  readonly #missing = new Set<string>()
  #addresses = new Map<number, string>()
  #controller = -1
  #seed = 0
  #refreshing: Promise<void> | undefined
  #closed = false

  private constructor(kafkajs: Kafkajs, options: KafkaConnectionOptions) {
    this.#kafkajs = kafkajs
    this.#options = options
  }

  /** Connects at the first request. */
  static async make(options: KafkaConnectionOptions): Promise<KafkaClient> {
    return new KafkaClient(await loadKafkajs(), options)
  }

  get assigner(): AssignerProtocol {
    return this.#kafkajs.assigner
  }

  #node(address: string): KafkaNode {
    if (this.#closed) throw new ConnectionDropped(address)
    let node = this.#nodes.get(address)
    if (node === undefined) {
      node = new KafkaNode(this.#kafkajs, address, this.#options)
      this.#nodes.set(address, node)
    }
    return node
  }

  async #on<T>(address: string, work: (node: KafkaNode) => Promise<T>): Promise<T> {
    const node = this.#node(address)
    try {
      return await work(node)
    } catch (error) {
      if (!isAnswer(error)) {
        node.drop()
        if (this.#nodes.get(address) === node) this.#nodes.delete(address)
      }
      throw error
    }
  }

  /** Looks at the cluster again; several at once are one. */
  refresh(topics: readonly string[] = []): Promise<void> {
    if (topics.every((topic) => this.#topics.has(topic)) && this.#refreshing !== undefined) return this.#refreshing
    this.#refreshing = this.#refresh([...new Set([...this.#topics.keys(), ...topics])]).finally(() => {
      this.#refreshing = undefined
    })
    return this.#refreshing
  }

  async #refresh(topics: readonly string[]): Promise<void> {
    const answer = await this.#ask(topics.length === 0 ? null : topics)
    for (const { topicErrorCode, topic, partitionMetadata } of answer.topicMetadata) {
      this.#missing.delete(topic)
      if (topicErrorCode === UNKNOWN_TOPIC) {
        this.#topics.delete(topic)
        this.#missing.add(topic)
      } else if (topicErrorCode === NO_ERROR && topics.includes(topic)) {
        const leaders: (number | null)[] = new Array(partitionMetadata.length).fill(null)
        for (const { partitionId, leader } of partitionMetadata) leaders[partitionId] = leader < 0 ? null : leader
        this.#topics.set(topic, { leaders })
      }
    }
  }

  /** Asks brokers that are known, then those of the settings, until one answers. */
  async #ask(topics: readonly string[] | null): Promise<MetadataAnswer> {
    const { brokers } = this.#options
    const seeds = brokers.map((_, i) => brokers[(this.#seed + i) % brokers.length]!)
    this.#seed++
    let failure: unknown
    for (const address of new Set([...this.#nodes.keys(), ...this.#addresses.values(), ...seeds])) {
      try {
        const answer = await this.#on(address, (node) => node.metadata(topics))
        if (answer.brokers.length === 0) continue
        this.#addresses = new Map(answer.brokers.map(({ nodeId, host, port }) => [nodeId, `${host}:${port}`]))
        this.#controller = answer.controllerId
        return answer
      } catch (error) {
        if (this.#closed || refusalOf(error) !== undefined) throw error
        failure = error
      }
    }
    throw failure ?? new Error('No broker is part of a cluster yet.')
  }

  /** Null when the cluster does not have it. */
  async topic(name: string): Promise<Partitions | null> {
    if (!this.#topics.has(name)) await this.refresh([name])
    return this.#topics.get(name) ?? null
  }

  /** Whether the cluster did not have it when it was looked at last. */
  isMissing(name: string): boolean {
    return this.#missing.has(name)
  }

  forgetTopic(name: string): void {
    this.#topics.delete(name)
  }

  /** As it was known last; undefined when it is not. */
  leader(topic: string, partition: number): number | undefined {
    return this.#topics.get(topic)?.leaders[partition] ?? undefined
  }

  async topicNames(): Promise<string[]> {
    const { topicMetadata } = await this.#ask(null)
    return topicMetadata.filter(({ isInternal }) => !isInternal).map(({ topic }) => topic)
  }

  async brokerIds(): Promise<number[]> {
    await this.#ask(null)
    return [...this.#addresses.keys()]
  }

  #address(nodeId: number): string {
    const address = this.#addresses.get(nodeId)
    if (address === undefined) throw new Error(`Broker ${nodeId} is not part of the cluster now.`)
    return address
  }

  send<T>(nodeId: number, request: RawRequest<T>): Promise<T> {
    return this.#on(this.#address(nodeId), (node) => node.send(request))
  }

  call<K extends keyof BrokerVerbs>(nodeId: number, verb: K, request: Parameters<BrokerVerbs[K]>[0]) {
    return this.#on(this.#address(nodeId), (node) => node.call(verb, request))
  }

  /** Asks the controller; a KRaft broker passes the question on, so that any will do. */
  async callController<K extends keyof BrokerVerbs>(verb: K, request: Parameters<BrokerVerbs[K]>[0]) {
    if (!this.#addresses.has(this.#controller)) await this.#ask(null)
    return this.call(this.#controller, verb, request)
  }

  async callAt<K extends keyof BrokerVerbs>(address: string, verb: K, request: Parameters<BrokerVerbs[K]>[0]) {
    return this.#on(address, (node) => node.call(verb, request))
  }

  /** Address of the broker that keeps a group. */
  async coordinator(groupId: string): Promise<string> {
    if (this.#addresses.size === 0) await this.#ask(null)
    let failure: unknown
    for (const address of new Set([...this.#nodes.keys(), ...this.#addresses.values()])) {
      try {
        const request = { groupId, coordinatorType: 0 }
        const { coordinator } = await this.#on(address, (node) => node.call('findGroupCoordinator', request))
        return `${coordinator.host}:${coordinator.port}`
      } catch (error) {
        if (this.#closed || refusalOf(error) !== undefined) throw error
        failure = error
      }
    }
    throw failure
  }

  /** Ends what is under way with an error. */
  close(): void {
    this.#closed = true
    for (const node of this.#nodes.values()) node.drop()
    this.#nodes.clear()
  }
}
