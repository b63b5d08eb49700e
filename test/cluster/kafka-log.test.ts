import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { Kafka as KafkaAdmin, logLevel } from 'kafkajs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type KafkaLog, type KafkaLogOptions, openKafkaLog } from '../../topics/kafka-log.ts'
import type { Batch, NewEvent } from '../../topics/log.ts'
import { partitionOf } from '../../topics/partition.ts'
import { appendThenKill } from '../topics/append-then-kill.ts'
import { followEvents, logContract, numbered, readEvents, text, textOf } from '../topics/log.contract.ts'
import { install, type Kafka, start, unavailable } from './services/kafka.ts'

const reason = unavailable()
if (reason !== null && process.env.CI === 'true') throw new Error(`Kafka cannot be started: ${reason}.`)

describe.skipIf(reason !== null)(`on a real broker${reason === null ? '' : ` (skipped: ${reason})`}`, () => {
  let kafka: Kafka
  const problems: string[] = []

  beforeAll(async () => {
    await install()
    kafka = await start()
  })
  afterAll(() => kafka?.stop())

  const open = (options: Partial<KafkaLogOptions> = {}): Promise<KafkaLog> =>
    openKafkaLog({
      brokers: kafka.brokers,
      ssl: false,
      sasl: null,
      clientId: 'mailtrail-test',
      replication: 0,
      fetchBytes: 1024 * 1024,
      onProblem: (message) => problems.push(message),
      ...options,
    })

  const admin = async <T>(work: (admin: ReturnType<KafkaAdmin['admin']>) => Promise<T>): Promise<T> => {
    const client = new KafkaAdmin({ brokers: [...kafka.brokers], logLevel: logLevel.NOTHING }).admin()
    await client.connect()
    try {
      return await work(client)
    } finally {
      await client.disconnect()
    }
  }

  const expire = (topic: string, offset: number) =>
    admin(async (client) => {
      await client.fetchTopicOffsets(topic) // without this kafkajs does not know the topic's leaders
      await client.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: String(offset) }] })
    })

  logContract('Kafka', async () => ({
    open,
    appendThenKill: (topic) =>
      appendThenKill(join(import.meta.dirname, 'kafka-append-until-killed.ts'), [kafka.brokers[0]!, topic, '0'], 50),
    expire: (_, topic, offset) => expire(topic, offset),
    exactOnce: false,
    refusesOtherPartitions: false,
    remove: async () => undefined,
  }))
})
