/** Mail may be put on `ingest` by any producer, with any codec, key and headers. */
import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CompressionTypes, Kafka as KafkaClient, logLevel, Partitioners } from 'kafkajs'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type KafkaLog, openKafkaLog } from '../../topics/kafka-log.ts'
import type { LogEvent } from '../../topics/log.ts'
import { followEvents, readEvents, textOf } from '../topics/log.contract.ts'
import { hasCommand, install, type Kafka, start, unavailable } from './services/kafka.ts'

const isCi = process.env.CI === 'true'
const reason = unavailable()
if (reason !== null && isCi) throw new Error(`Kafka cannot be started: ${reason}.`)

/** Lines that compress well, and some that do not. */
const lines = Array.from(
  { length: 300 },
  (_, i) => `mail ${i} ${i % 3 === 0 ? randomUUID() : 'again and again '.repeat(20)}`,
)

describe.skipIf(reason !== null)(`foreign producers${reason === null ? '' : ` (skipped: ${reason})`}`, () => {
  let kafka: Kafka
  let log: KafkaLog
  let topic: string

  beforeAll(async () => {
    await install()
    kafka = await start()
  })
  afterAll(() => kafka?.stop())
  beforeEach(async () => {
    log = await openKafkaLog({
      brokers: kafka.brokers,
      ssl: false,
      sasl: null,
      clientId: 'mailtrail-test',
      replication: 0,
      fetchBytes: 1024 * 1024,
      onProblem: () => undefined,
    })
    topic = `ingest-${randomUUID()}`
    await log.createTopic({ name: topic, partitions: 2, maxValueBytes: 50 * 1024 * 1024 })
  })
  afterEach(() => log.close())

  const expectLines = async () => {
    const values = (await readEvents(log, topic, lines.length, { group: 'g' })).map(textOf)
    expect(values.toSorted()).toEqual(lines.toSorted())
  }

  test.each(['none', 'gzip', 'snappy', 'lz4', 'zstd'])('Kafka’s own producer with %s', async (codec) => {
    const args = ['--bootstrap-server', kafka.brokers[0]!, '--topic', topic, '--compression-codec', codec]
    await kafka.tool('org.apache.kafka.tools.ConsoleProducer', args, `${lines.join('\n')}\n`)
    await expectLines()
    const followed = await followEvents(log, topic, lines.length)
    expect(followed.length).toBe(lines.length)
    const some = followed[123]!
    expect(await log.get(topic, some.partition, some.offset)).toEqual(some)
  })

  describe('kafkajs', () => {
    const send = async (
      messages: Parameters<ReturnType<KafkaClient['producer']>['send']>[0]['messages'],
      compression = CompressionTypes.None,
    ): Promise<LogEvent[]> => {
      const client = new KafkaClient({ brokers: [...kafka.brokers], logLevel: logLevel.NOTHING })
      const producer = client.producer({ createPartitioner: Partitioners.DefaultPartitioner })
      await producer.connect()
      await producer.send({ topic, messages, compression })
      await producer.disconnect()
      return readEvents(log, topic, messages.length, { group: 'g' })
    }

    test('headers of bytes, of several values and of none', async () => {
      const headers = {
        bytes: Buffer.from([0xff, 0xfe, 0x41]),
        several: ['first', 'last'],
        text: 'ü',
        __proto__x: 'kept',
        ['__proto__']: 'a name like any other',
      }
      const [event] = await send([{ key: null, value: 'x', headers }])
      expect(event!.headers).toMatchObject({ bytes: '\ufffd\ufffdA', several: 'last', text: 'ü' })
      expect(Object.getPrototypeOf(event!.headers)).toBe(Object.prototype)
    })

    test('a value that is null is an empty one', async () => {
      const [event] = await send([{ key: 'erased', value: null }])
      expect(event).toMatchObject({ key: 'erased', headers: {} })
      expect(event!.value.length).toBe(0)
    })

    test('a key of any bytes', async () => {
      const events = await send([
        { key: Buffer.from([0, 0xff]), value: 'a' },
        { key: '', value: 'b' },
      ])
      const keys = new Map(events.map((event) => [textOf(event), event.key]))
      expect(keys).toEqual(
        new Map([
          ['a', '\u0000\ufffd'],
          ['b', ''],
        ]),
      )
    })

    test('timestamps out of order, also before 1970', async () => {
      const timestamps = [1_700_000_000_000, 999, 1_600_000_000_000]
      const events = await send(
        timestamps.map((timestamp) => ({ key: 'a', value: String(timestamp), timestamp: String(timestamp) })),
      )
      expect(events.map((event) => [textOf(event), event.timestamp])).toEqual(
        timestamps.map((timestamp) => [String(timestamp), timestamp]),
      )
    })

    test('a transaction is read when it is committed, and not when it is aborted', async () => {
      const client = new KafkaClient({ brokers: [...kafka.brokers], logLevel: logLevel.NOTHING })
      const producer = client.producer({
        createPartitioner: Partitioners.DefaultPartitioner,
        transactionalId: randomUUID(),
        idempotent: true,
        maxInFlightRequests: 1,
      })
      await producer.connect()
      for (const [value, isKept] of [
        ['one', true],
        ['two', false],
        ['three', true],
      ] as const) {
        const transaction = await producer.transaction()
        await transaction.send({ topic, messages: [{ key: 'a', value }] })
        if (isKept) await transaction.commit()
        else await transaction.abort()
      }
      await producer.disconnect()
      const events = await readEvents(log, topic, 2, { group: 'g', commit: true })
      expect(events.map(textOf)).toEqual(['one', 'three'])
      expect((await followEvents(log, topic, 2)).map(textOf)).toEqual(['one', 'three'])
    })
  })

  describe('kcat', () => {
    const hasKcat = hasCommand('kcat', '-V')
    if (!hasKcat && isCi) throw new Error('kcat is not installed: apt-get install kcat')
    let folder: string

    beforeEach(async () => {
      folder = await mkdtemp(join(tmpdir(), 'mailtrail-kcat-'))
    })
    afterEach(() => rm(folder, { recursive: true }))

    const kcat = (args: readonly string[], input = '') =>
      new Promise<void>((resolve, reject) => {
        const command = ['-q', '-P', '-b', kafka.brokers[0]!, '-t', topic, ...args]
        const child = spawn('kcat', command, { stdio: ['pipe', 'inherit', 'inherit'] })
        child.once('error', reject)
        child.once('close', (code) => (code === 0 ? resolve() : reject(new Error(`kcat ended with ${code}`))))
        child.stdin.end(input)
      })

    test.skipIf(!hasKcat)('a mail as a file, without key and headers', async () => {
      const mail = Buffer.from('From: a@example.org\r\nSubject: \xff\r\n\r\nbody\r\n', 'latin1')
      const file = join(folder, 'mail.eml')
      await writeFile(file, mail)
      await kcat([file])
      const [event] = await readEvents(log, topic, 1, { group: 'g' })
      expect(event).toMatchObject({ key: null, headers: {} })
      expect(mail.equals(event!.value)).toBe(true)
    })

    test.skipIf(!hasKcat)('with key and headers', async () => {
      await kcat(['-k', 'key', '-H', 'source=imap', '-H', 'received-at=2026-01-01T00:00:00Z'], 'mail')
      const [event] = await readEvents(log, topic, 1, { group: 'g' })
      expect(event).toMatchObject({ key: 'key', headers: { source: 'imap', 'received-at': '2026-01-01T00:00:00Z' } })
    })

    test.skipIf(!hasKcat).each(['none', 'gzip', 'snappy', 'lz4', 'zstd'])('with %s', async (codec) => {
      await kcat(['-z', codec], lines.join('\n'))
      await expectLines()
    })
  })
})
