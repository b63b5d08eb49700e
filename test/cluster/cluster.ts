/** Every server that mailtrail can run on, started for real: Kafka, a schema registry, Postgres, S3, a ClickHouse over HTTP. */
import { randomBytes } from 'node:crypto'
import { Kafka as KafkaClient, logLevel } from 'kafkajs'
import * as clickhouse from './services/clickhouse.ts'
import * as kafka from './services/kafka.ts'
import * as postgres from './services/postgres.ts'
import * as registry from './services/registry.ts'
import * as s3 from './services/s3.ts'

export interface Cluster {
  readonly kafka: kafka.Kafka
  readonly brokers: readonly string[]
  readonly store: clickhouse.ClickhouseServer
  readonly postgres: postgres.PostgresServer
  readonly registry: registry.RegistryServer
  readonly s3: s3.S3Server
  /** Settings of an installation of its own: names of its topics, groups, database and blobs. */
  fresh(): { readonly env: Readonly<Record<string, string>>; topic(name: string): string }
  topics(): Promise<string[]>
  createTopic(name: string, partitions: number): Promise<void>
  stop(): Promise<void>
}

const BUCKET = 'mailtrail-mails'

export async function startCluster(): Promise<Cluster> {
  const closers: (() => Promise<void>)[] = []
  const stop = async () => {
    for (const close of closers.reverse()) await close()
  }
  const opened = async <T extends { stop(): Promise<void> }>(
    service: { install(): Promise<void> },
    start: () => Promise<T>,
  ): Promise<T> => {
    await service.install()
    const started = await start()
    closers.push(() => started.stop())
    return started
  }
  try {
    const broker = await opened(kafka, () => kafka.start())
    const schemas = await opened(registry, () => registry.start())
    const database = await opened(postgres, () => postgres.start())
    const objects = await opened(s3, () => s3.start())
    const store = await opened(clickhouse, () => clickhouse.start())
    await objects.makeBucket(BUCKET)
    const { brokers } = broker
    const admin = async <T>(work: (client: ReturnType<KafkaClient['admin']>) => Promise<T>): Promise<T> => {
      const client = new KafkaClient({ brokers: [...brokers], logLevel: logLevel.NOTHING }).admin()
      await client.connect()
      try {
        return await work(client)
      } finally {
        await client.disconnect()
      }
    }
    const common = {
      KAFKA_BROKERS: brokers.join(','),
      SCHEMA_REGISTRY_URL: schemas.url,
      CLICKHOUSE_URL: store.url,
      CLICKHOUSE_USER: store.username,
      CLICKHOUSE_PASSWORD: store.password,
      DATABASE_URL: database.url,
      MAILTRAIL_BLOBS: `s3://${BUCKET}/mails`,
      MAILTRAIL_S3_ENDPOINT: objects.endpoint,
      MAILTRAIL_S3_REGION: objects.region,
      MAILTRAIL_S3_ACCESS_KEY_ID: objects.owner.accessKeyId,
      MAILTRAIL_S3_SECRET_ACCESS_KEY: objects.owner.secretAccessKey,
    }
    return {
      kafka: broker,
      brokers,
      store,
      postgres: database,
      registry: schemas,
      s3: objects,
      fresh() {
        const prefix = `t${randomBytes(4).toString('hex')}-`
        const env = { ...common, MAILTRAIL_TOPIC_PREFIX: prefix, CLICKHOUSE_DATABASE: store.newDatabase() }
        return { env, topic: (name) => `${prefix}${name}` }
      },
      topics: () => admin((client) => client.listTopics()),
      createTopic: (topic, numPartitions) =>
        admin(async (client) => void (await client.createTopics({ topics: [{ topic, numPartitions }] }))),
      stop,
    }
  } catch (error) {
    await stop()
    throw error
  }
}
