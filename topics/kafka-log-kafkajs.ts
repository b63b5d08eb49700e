/**
 * A connection to one of Kafka's brokers, and the one file that knows kafkajs. Of kafkajs come the connections, TLS, SASL and most of
 * the protocol; its consumer and producer are left out, because theirs is no way to drain before a rebalance, to refuse a
 * gap instead of jumping over it, or to resend what was cut off with the same sequence numbers. The version is exact in
 * package.json, and its inside has not changed since 2022.
 */
import { connect as connectPlain, isIP } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { ByteReader } from './kafka-log-bytes.ts'
import type { RawRequest } from './kafka-log-requests.ts'

export interface KafkaConnectionOptions {
  /** `HOST:PORT` of some brokers; the others are learnt from them. */
  readonly brokers: readonly string[]
  /** TLS; `ca` is PEM of who vouches for the brokers, default: Node's own list. */
  readonly ssl: { readonly ca?: string } | false
  readonly sasl: {
    readonly mechanism: 'plain' | 'scram-sha-256' | 'scram-sha-512'
    readonly username: string
    readonly password: string
  } | null
  readonly clientId: string
}

interface ProtocolRequest {
  readonly request: {
    readonly apiKey: number
    readonly apiVersion: number
    readonly apiName: string
    readonly encode: () => Promise<unknown>
  }
  readonly response: { decode(raw: Buffer): Promise<unknown>; parse(decoded: unknown): Promise<unknown> }
  readonly requestTimeout?: number
}
interface KafkajsConnection {
  readonly socket?: { destroy(): void }
  isConnected(): boolean
  connect(): Promise<unknown>
  disconnect(): Promise<unknown>
  send(request: ProtocolRequest): Promise<unknown>
  rejectRequests(error: Error): void
}
export interface TopicOffsets {
  readonly topic: string
  readonly partitions: readonly { readonly partition: number; readonly offset: string }[]
}
export interface GroupMember {
  readonly memberId: string
  readonly memberMetadata: Buffer
}

/** The verbs of kafkajs' Broker that are used, by name. */
export interface BrokerVerbs {
  findGroupCoordinator(request: { groupId: string; coordinatorType: number }): Promise<{
    readonly coordinator: { readonly host: string; readonly port: number }
  }>
  joinGroup(request: {
    groupId: string
    sessionTimeout: number
    rebalanceTimeout: number
    memberId: string
    groupProtocols: readonly { name: string; metadata: Buffer }[]
  }): Promise<{
    readonly generationId: number
    readonly leaderId: string
    readonly memberId: string
    readonly members: readonly GroupMember[]
  }>
  syncGroup(request: {
    groupId: string
    generationId: number
    memberId: string
    groupAssignment: readonly { memberId: string; memberAssignment: Buffer }[]
  }): Promise<{ readonly memberAssignment: Buffer }>
  heartbeat(request: { groupId: string; groupGenerationId: number; memberId: string }): Promise<unknown>
  leaveGroup(request: { groupId: string; memberId: string }): Promise<unknown>
  offsetCommit(request: {
    groupId: string
    groupGenerationId: number
    memberId: string
    topics: readonly TopicOffsets[]
  }): Promise<unknown>
  offsetFetch(request: {
    groupId: string
    topics: readonly { topic: string; partitions: readonly { partition: number }[] }[]
  }): Promise<{ readonly responses: readonly TopicOffsets[] }>
  listOffsets(request: {
    replicaId: number
    isolationLevel: number
    topics: readonly { topic: string; partitions: readonly { partition: number; timestamp: number }[] }[]
  }): Promise<{ readonly responses: readonly TopicOffsets[] }>
  describeGroups(request: { groupIds: readonly string[] }): Promise<{
    readonly groups: readonly { readonly state: string; readonly members: readonly unknown[] }[]
  }>
  initProducerId(request: { transactionTimeout: number }): Promise<{
    readonly producerId: unknown
    readonly producerEpoch: number
  }>
  createTopics(request: {
    timeout: number
    topics: readonly {
      topic: string
      numPartitions: number
      replicationFactor: number
      configEntries: readonly { name: string; value: string }[]
    }[]
  }): Promise<unknown>
  deleteTopics(request: { topics: readonly string[]; timeout: number }): Promise<unknown>
  deleteRecords(request: {
    topics: readonly { topic: string; partitions: readonly { partition: number; offset: string }[] }[]
  }): Promise<unknown>
  describeConfigs(request: {
    resources: readonly { type: number; name: string; configNames: readonly string[] }[]
  }): Promise<{
    readonly resources: readonly {
      readonly configEntries: readonly { readonly configName: string; readonly configValue: string | null }[]
    }[]
  }>
}

interface KafkajsBroker extends BrokerVerbs {
  readonly connectionPool: { readonly pool: readonly KafkajsConnection[] }
  connect(): Promise<void>
  lookupRequest(apiKey: number, definition: unknown): (values: object) => ProtocolRequest
}
export interface MetadataAnswer {
  readonly brokers: readonly { readonly nodeId: number; readonly host: string; readonly port: number }[]
  readonly controllerId: number
  readonly topicMetadata: readonly {
    readonly topicErrorCode: number
    readonly topic: string
    readonly isInternal: boolean
    readonly partitionMetadata: readonly { readonly partitionId: number; readonly leader: number }[]
  }[]
}

/** What is used of kafkajs' inside. */
export interface Kafkajs {
  readonly Broker: new (options: object) => KafkajsBroker
  readonly ConnectionPool: new (options: object) => object
  readonly Encoder: new () => { writeBuffer(bytes: Buffer): unknown }
  readonly metadataRequests: unknown
  readonly assigner: AssignerProtocol
  readonly logger: object
}
export interface AssignerProtocol {
  readonly MemberMetadata: {
    encode(metadata: { version: number; topics: readonly string[]; userData: Buffer }): Buffer
    decode(bytes: Buffer): { readonly topics: readonly string[]; readonly userData: Buffer | null }
  }
  readonly MemberAssignment: {
    encode(assignment: { version: number; assignment: Readonly<Record<string, readonly number[]>> }): Buffer
    decode(bytes: Buffer): { readonly assignment: Readonly<Record<string, readonly number[]>> } | null
  }
}

interface RequestQueue {
  readonly pending: readonly unknown[]
  readonly throttledUntil: number
}

let loading: Promise<Kafkajs> | undefined

/** Loaded when a log on Kafka is opened, and not before: the embedded log needs none of it. */
export function loadKafkajs(): Promise<Kafkajs> {
  loading ??= load()
  return loading
}

/* biome-ignore-start lint/suspicious/noTsIgnore: no types are there for the inside of kafkajs; the interfaces above say what is used. */
async function load(): Promise<Kafkajs> {
  const modules = await Promise.all([
    // @ts-ignore
    import('kafkajs/src/broker/index.js'),
    // @ts-ignore
    import('kafkajs/src/network/connectionPool.js'),
    // @ts-ignore
    import('kafkajs/src/protocol/encoder.js'),
    // @ts-ignore
    import('kafkajs/src/protocol/requests/metadata/index.js'),
    // @ts-ignore
    import('kafkajs/src/consumer/assignerProtocol.js'),
    // @ts-ignore
    import('kafkajs/src/loggers/index.js'),
    // @ts-ignore
    import('kafkajs/src/network/requestQueue/index.js'),
  ])
  const [Broker, ConnectionPool, Encoder, metadataRequests, assigner, loggers, Queue] = modules.map(
    (module: { default: unknown }) => module.default,
  )
  scheduleOnlyWhatWaits((Queue as { prototype: object }).prototype)
  const { createLogger, LEVELS } = loggers as {
    createLogger(options: object): object
    LEVELS: { readonly NOTHING: number }
  }
  const logger = createLogger({ level: LEVELS.NOTHING, logCreator: () => () => undefined })
  return { Broker, ConnectionPool, Encoder, metadataRequests, assigner, logger } as Kafkajs
}
/* biome-ignore-end lint/suspicious/noTsIgnore: see above */

/**
 * kafkajs plans to look at its queue again also when nothing waits, after a time that lies before 1970. Node 24 warns of
 * that (`TimeoutNegativeWarning`). A queue that is empty and not throttled needs no second look.
 */
function scheduleOnlyWhatWaits(prototype: object): void {
  const schedule = Reflect.get(prototype, 'scheduleCheckPendingRequests') as (this: RequestQueue) => void
  Reflect.set(prototype, 'scheduleCheckPendingRequests', function (this: RequestQueue) {
    if (this.pending.length > 0 || this.throttledUntil > Date.now()) schedule.call(this)
  })
}

const CONNECT_MILLISECONDS = 10_000
/** A request that is not answered in this time means a dead connection. */
const REQUEST_MILLISECONDS = 20_000
const METADATA_API = 3
/** kafkajs keeps two connections to a broker: long fetches wait on the second. */
const ORDINARY = 0
const FETCHES = 1

interface SocketOptions {
  readonly host: string
  readonly port: number
  readonly ssl: object | null
  readonly onConnect: () => void
}

/** Small requests must not wait for the answers to earlier ones (Nagle), which they do in kafkajs' own sockets. */
function openSocket({ host, port, ssl, onConnect }: SocketOptions) {
  // A server name may not be an address (RFC 6066 §3).
  const name = isIP(host) === 0 ? { servername: host } : {}
  const socket =
    ssl === null ? connectPlain({ host, port }, onConnect) : connectTls({ host, port, ...name, ...ssl }, onConnect)
  return socket.setNoDelay(true).setKeepAlive(true, 60_000)
}

/** One broker, at one address. After a fault it is thrown away with its connections, and another is made. */
export class KafkaNode {
  readonly address: string
  readonly #broker: KafkajsBroker
  readonly #kafkajs: Kafkajs
  readonly #opening: (Promise<unknown> | undefined)[] = []
  #introduced: Promise<void> | undefined
  #dropped = false

  constructor(kafkajs: Kafkajs, address: string, options: KafkaConnectionOptions) {
    this.address = address
    this.#kafkajs = kafkajs
    const at = address.lastIndexOf(':')
    const connectionPool = new kafkajs.ConnectionPool({
      host: address.slice(0, at),
      port: Number(address.slice(at + 1)),
      ssl: options.ssl === false ? null : options.ssl,
      sasl: options.sasl === null ? null : { ...options.sasl },
      clientId: options.clientId,
      socketFactory: openSocket,
      connectionTimeout: CONNECT_MILLISECONDS,
      requestTimeout: REQUEST_MILLISECONDS,
      enforceRequestTimeout: true,
      logger: kafkajs.logger,
    })
    this.#broker = new kafkajs.Broker({ connectionPool, logger: kafkajs.logger, allowAutoTopicCreation: false })
  }

  /** Connects, asks for the broker's versions, says who we are; then keeps the connection open. */
  async #connection(index: number): Promise<KafkajsConnection> {
    this.#introduced ??= this.#broker.connect()
    await this.#introduced
    const connection = this.#broker.connectionPool.pool[index]!
    if (!connection.isConnected()) {
      this.#opening[index] ??= connection.connect().finally(() => {
        this.#opening[index] = undefined
      })
      await this.#opening[index]
    }
    if (this.#dropped) throw new Error(`The connection to ${this.address} was dropped.`)
    return connection
  }

  async call<K extends keyof BrokerVerbs>(
    verb: K,
    request: Parameters<BrokerVerbs[K]>[0],
  ): Promise<Awaited<ReturnType<BrokerVerbs[K]>>> {
    await this.#connection(ORDINARY)
    const ask = this.#broker[verb] as (request: unknown) => Promise<unknown>
    // The verb's own answer: `BrokerVerbs` says what it is.
    return (await ask.call(this.#broker, request)) as Awaited<ReturnType<BrokerVerbs[K]>>
  }

  async send<T>({ apiKey, apiVersion, apiName, body, timeout, decode }: RawRequest<T>): Promise<T> {
    const connection = await this.#connection(apiName === 'Fetch' ? FETCHES : ORDINARY)
    const answer = await connection.send({
      request: { apiKey, apiVersion, apiName, encode: async () => new this.#kafkajs.Encoder().writeBuffer(body) },
      response: { decode: async (raw) => ({ value: decode(new ByteReader(raw)) }), parse: async (decoded) => decoded },
      ...(timeout === undefined ? {} : { requestTimeout: timeout }),
    })
    return (answer as { value: T }).value
  }

  /** Of these topics, or of all. kafkajs would throw when one partition has no leader just now. */
  async metadata(topics: readonly string[] | null): Promise<MetadataAnswer> {
    const connection = await this.#connection(ORDINARY)
    const make = this.#broker.lookupRequest(METADATA_API, this.#kafkajs.metadataRequests)
    const { request, response } = make({ topics: topics ?? [], allowAutoTopicCreation: false })
    const decode = (raw: Buffer) => response.decode(raw)
    return (await connection.send({ request, response: { decode, parse: async (data) => data } })) as MetadataAnswer
  }

  /** Ends what is under way with an error and closes both connections. */
  drop(): void {
    if (this.#dropped) return
    this.#dropped = true
    this.#introduced?.catch(() => undefined) // whoever waited for it has met its failure
    for (const connection of this.#broker.connectionPool.pool) {
      connection.rejectRequests(new ConnectionDropped(this.address))
      connection.disconnect().catch(() => undefined) // it is gone either way
      connection.socket?.destroy()
    }
  }
}

/** A request was under way when its connection was given up. */
export class ConnectionDropped extends Error {
  constructor(address: string) {
    super(`The connection to ${address} was given up.`)
  }
}

const CONNECTION_FAULTS: ReadonlySet<string> = new Set([
  'KafkaJSConnectionError',
  'KafkaJSConnectionClosedError',
  'KafkaJSRequestTimeoutError',
  'KafkaJSLockTimeout',
])

/** Whether the error is what a broker answered: then its connection is as good as before. */
export const isAnswer = (error: unknown) =>
  error instanceof Error && !CONNECTION_FAULTS.has(error.name) && errorType(error) !== undefined

/** What kind of protocol error it is (`NOT_COORDINATOR_FOR_GROUP`, …), also below kafkajs' wrappings. */
export function errorType(error: unknown): string | undefined {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if ('type' in cause && typeof cause.type === 'string') return cause.type
  }
  return undefined
}

/** The brokers turn us away for what we are: trying again changes nothing. */
export class KafkaRefused extends Error {}

/** A refusal that no retry mends, as a sentence for the operator; else undefined. */
export function refusalOf(error: unknown): KafkaRefused | undefined {
  if (error instanceof KafkaRefused) return error
  if (!(error instanceof Error)) return undefined
  const { message } = error
  const code = 'code' in error ? String(error.code) : ''
  const type = errorType(error) ?? ''
  if (error.name === 'KafkaJSSASLAuthenticationError' || type === 'SASL_AUTHENTICATION_FAILED')
    return new KafkaRefused(
      `Kafka refused the login (${message}). Check KAFKA_SASL_MECHANISM, KAFKA_USERNAME and KAFKA_PASSWORD.`,
      { cause: error },
    )
  if (/^(ERR_TLS|CERT_|DEPTH_|SELF_SIGNED|UNABLE_TO_)/.test(code))
    return new KafkaRefused(
      `The certificate of a Kafka broker is not trusted (${message}, ${code}). Set KAFKA_SSL_CA to a file with the certificates that vouch for the brokers.`,
      { cause: error },
    )
  if (/_AUTHORIZATION_FAILED$/.test(type))
    return new KafkaRefused(`Kafka does not permit this to our user (${type}): ${message} Let its ACLs permit it.`, {
      cause: error,
    })
  return undefined
}
