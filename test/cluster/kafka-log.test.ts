import { execFile } from 'node:child_process'
import { randomBytes, randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { ConfigResourceTypes, Kafka as KafkaAdmin, logLevel } from 'kafkajs'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type KafkaLog, type KafkaLogOptions, openKafkaLog } from '../../topics/kafka-log.ts'
import {
  type Batch,
  type LogEvent,
  type NewEvent,
  OffsetGone,
  OversizedEvent,
  type TopicSettings,
} from '../../topics/log.ts'
import { partitionOf } from '../../topics/partition.ts'
import { appendThenKill } from '../topics/append-then-kill.ts'
import { logContract, numbered, readEvents, text, textOf } from '../topics/log.contract.ts'
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

  describe('beyond the contract', () => {
    const logs: KafkaLog[] = []
    let log: KafkaLog
    let topic: string

    const opened = async (options: Partial<KafkaLogOptions> = {}) => {
      const one = await open(options)
      logs.push(one)
      return one
    }
    const makeTopic = async (settings: Partial<TopicSettings> = {}) => {
      const name = `topic-${randomUUID()}`
      await log.createTopic({ name, partitions: 4, maxValueBytes: 1024 * 1024, ...settings })
      return name
    }
    const configurationOf = (name: string) =>
      admin(async (client) => {
        const { resources } = await client.describeConfigs({
          resources: [{ type: ConfigResourceTypes.TOPIC, name }],
          includeSynonyms: false,
        })
        return new Map(resources[0]!.configEntries.map(({ configName, configValue }) => [configName, configValue]))
      })

    beforeEach(async () => {
      problems.length = 0
      log = await opened()
      topic = await makeTopic()
    })
    afterEach(async () => {
      await Promise.all(logs.splice(0).map((one) => one.close()))
    })

    test('a key is in the same partition as in the embedded log', async () => {
      const keys = ['a', 'google.com!example.org!1', 'ключ', '', 'x'.repeat(1000)]
      const positions = await log.append(
        topic,
        keys.map((key) => ({ key, value: text(key) })),
      )
      expect(positions.map(({ partition }) => partition)).toEqual(keys.map((key) => partitionOf(key, 4)))
    })

    test('what this process has appended under an onceId it does not append again', async () => {
      const once = (onceId: string): NewEvent => ({ key: null, value: text(onceId), onceId })
      const [first, again, other] = await log.append(topic, [once('a'), once('a'), once('b')])
      expect([first!.duplicate, again, other!.duplicate]).toEqual([false, { ...first, duplicate: true }, false])
      const both = await Promise.all([log.append(topic, [once('c')]), log.append(topic, [once('c'), once('a')])])
      expect(both.flat().map(({ duplicate }) => duplicate)).toEqual([false, true, true])
      expect((await log.size(topic)).events).toBe(3)
    })

    test('a topic is made as it is wanted', async () => {
      const kept = await makeTopic({ maxValueBytes: 2_000_000, retention: { milliseconds: 5000, bytes: 1000 } })
      const configuration = await configurationOf(kept)
      expect(configuration.get('retention.ms')).toBe('5000')
      expect(configuration.get('retention.bytes')).toBe('250')
      expect(configuration.get('cleanup.policy')).toBe('delete')
      expect(Number(configuration.get('max.message.bytes'))).toBeGreaterThan(2_000_000)
      expect((await configurationOf(topic)).get('retention.ms')).toBe('-1')
    })

    test('what differs in a topic that is there is told once each, and left as it is', async () => {
      const name = `topic-${randomUUID()}`
      const configEntries = [
        { name: 'retention.ms', value: '60000' },
        { name: 'cleanup.policy', value: 'compact' },
        { name: 'max.message.bytes', value: '5000' },
      ]
      await admin((client) => client.createTopics({ topics: [{ topic: name, numPartitions: 2, configEntries }] }))
      const before = await configurationOf(name)
      for (let i = 0; i < 2; i++) await log.createTopic({ name, partitions: 4, maxValueBytes: 10_000 })
      expect(problems.length).toBe(4)
      for (const told of ['2 partitions, not 4', 'retention.ms=60000, not -1', 'cleanup.policy=compact', '5000 bytes'])
        expect(problems.filter((problem) => problem.includes(told)).length).toBe(1)
      expect(await configurationOf(name)).toEqual(before)
      expect((await log.watermarks(name)).length).toBe(2)
      await expect(log.append(name, [{ key: 'a', value: Buffer.alloc(6000) }])).rejects.toThrow(OversizedEvent)
    })

    test('a topic that must have one partition is refused when it has more', async () => {
      await expect(log.createTopic({ name: topic, partitions: 1, maxValueBytes: 1000 })).rejects.toThrow(
        /has 4 partitions and must have one/,
      )
    })

    test('a call larger than what the broker takes at once goes in parts, in order', async () => {
      const small = await makeTopic({ maxValueBytes: 1000 })
      const values = Array.from({ length: 3000 }, (_, i) => `${i} `.repeat(200).slice(0, 900))
      const positions = await log.append(
        small,
        values.map((value) => ({ key: 'a', value: text(value) })),
      )
      expect(positions.map(({ offset }) => offset)).toEqual(values.map((_, i) => i))
      expect((await readEvents(log, small, 3000, { group: 'g' })).map(textOf)).toEqual(values)
    })

    test('appends that come together share requests', async () => {
      await log.append(topic, numbered(0, 1))
      const { requests } = log.counters()
      await Promise.all(Array.from({ length: 500 }, (_, i) => log.append(topic, numbered(i, i + 1))))
      expect(log.counters().events).toBe(501)
      expect(log.counters().requests - requests).toBeLessThan(50)
    })

    test('an event is read soon after it was appended', async () => {
      const stop = new AbortController()
      const delays: number[] = []
      const began = new Map<string, number>()
      const reading = (async () => {
        for await (const batch of log.read(topic, { group: 'soon', signal: stop.signal })) {
          for (const event of batch.events) delays.push(performance.now() - began.get(textOf(event))!)
          await batch.commit()
          if (delays.length === 30) stop.abort()
        }
      })()
      for (let i = 0; i < 30; i++) {
        await sleep(i === 0 ? 1000 : 50)
        began.set(String(i), performance.now())
        await log.append(topic, numbered(i, i + 1))
      }
      await reading
      expect(delays.toSorted((a, b) => a - b)[15]).toBeLessThan(200)
    })

    test('a batch that takes longer than the session is still the reader’s', async () => {
      const patient = await opened({ sessionTimeout: 6000 })
      await log.append(topic, numbered(0, 10, 'a'))
      const stop = new AbortController()
      for await (const batch of patient.read(topic, { group: 'slow', signal: stop.signal, maxEvents: 10 })) {
        await sleep(9000)
        expect(await log.members('slow')).toBe(1)
        await batch.commit()
        stop.abort()
      }
      const committed = await log.committed(topic, 'slow')
      expect([...committed.values()].reduce((sum, next) => sum + next)).toBe(10)
    })

    /** A reader that keeps its batches until it is told what to do. */
    const hold = (reader: KafkaLog, group: string, stop: AbortController) => {
      const held: Batch[] = []
      const events: LogEvent[] = []
      const reading = (async () => {
        for await (const batch of reader.read(topic, { group, signal: stop.signal, maxEvents: 5 })) {
          held.push(batch)
          events.push(...batch.events)
        }
      })()
      return { held, events, reading }
    }
    const until = async (isTrue: () => boolean, milliseconds = 15_000) => {
      const end = performance.now() + milliseconds
      while (!isTrue() && performance.now() < end) await sleep(20)
      expect(isTrue()).toBe(true)
    }
    const spread = (start: number, end: number) =>
      Array.from({ length: end - start }, (_, i) => ({ key: `key ${start + i}`, value: text(String(start + i)) }))

    test('a partition changes hands when what was read of it is committed', async () => {
      await log.append(topic, spread(0, 40))
      const stop = new AbortController()
      const first = hold(log, 'turns', stop)
      await until(() => first.events.length === 40)
      const second = hold(await opened(), 'turns', stop)
      await sleep(3000)
      for (const batch of first.held.splice(0)) await batch.commit()
      await log.append(topic, spread(40, 80))
      await until(() => first.events.length + second.events.length >= 80)
      await sleep(500)
      const values = [...first.events, ...second.events].map((event) => Number(textOf(event)))
      expect(values.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 80 }, (_, i) => i))
      expect(new Set(second.events.map(({ partition }) => partition)).size).toBe(2)
      stop.abort()
      await Promise.all([first.reading, second.reading])
    })

    test('who does not commit in time loses the partition, and its late commit moves nothing back', async () => {
      const late = await opened({ drainTimeout: 1000 })
      await log.append(topic, spread(0, 40))
      const stop = new AbortController()
      const first = hold(late, 'late', stop)
      await until(() => first.events.length === 40)
      const second = hold(await opened(), 'late', stop)
      await until(() => second.events.length > 0)
      const taken = new Set(second.events.map(({ partition }) => partition))
      await until(() => {
        const again = first.events.filter(({ partition }) => taken.has(partition))
        return second.events.length === again.length
      })
      for (const batch of second.held) await batch.commit()
      const before = await log.committed(topic, 'late')
      expect([...before.keys()].toSorted()).toEqual([...taken].toSorted())
      for (const batch of first.held) await batch.commit()
      const after = await log.committed(topic, 'late')
      for (const partition of taken) expect(after.get(partition)).toBe(before.get(partition))
      // What stayed with the first reader it commits, and has not read again.
      expect(after.size).toBe(4)
      expect(first.events.length).toBe(40)
      stop.abort()
      await Promise.all([first.reading, second.reading])
    })

    test('from is asked again when a partition comes back, and awaited', async () => {
      await log.append(topic, spread(0, 40))
      const stop = new AbortController()
      const asked: number[] = []
      let reads = 0
      const reading = (async () => {
        const from = async (partition: number) => {
          await sleep(50)
          asked.push(partition)
          return undefined
        }
        for await (const batch of log.read(topic, { group: 'from', signal: stop.signal, from })) {
          reads += batch.events.length
          await batch.commit()
        }
      })()
      await until(() => reads === 40)
      expect(asked).toEqual([0, 1, 2, 3])
      const visit = new AbortController()
      const visitor = hold(await opened(), 'from', visit)
      await until(() => asked.length === 4)
      await sleep(2000)
      visit.abort()
      await visitor.reading
      await until(() => asked.length === 6)
      expect(reads).toBe(40)
      stop.abort()
      await reading
    })

    test('retention that overtakes a reader is a gap', async () => {
      const one = await makeTopic({ partitions: 1 })
      const narrow = await opened({ fetchBytes: 64 * 1024 })
      for (let i = 0; i < 100; i++)
        await log.append(
          one,
          Array.from({ length: 20 }, (_, j) => ({ key: null, value: randomBytes(2000 + j) })),
        )
      const overtaken = (async () => {
        let count = 0
        for await (const batch of narrow.read(one, { group: 'g', signal: AbortSignal.timeout(20_000) })) {
          if (count === 0) await expire(one, 1900)
          count += batch.events.length
          await batch.commit()
        }
      })()
      await expect(overtaken).rejects.toThrow(OffsetGone)
    })

    test('a topic made anew is read from its beginning, and that is told', async () => {
      const one = await makeTopic({ partitions: 1 })
      await log.append(one, numbered(0, 10))
      const from = () => 8
      await log.deleteTopic(one)
      await log.createTopic({ name: one, partitions: 1, maxValueBytes: 1000 })
      await log.append(one, numbered(0, 3))
      expect((await readEvents(log, one, 3, { group: 'g', from })).map(textOf)).toEqual(['0', '1', '2'])
      expect(problems.join()).toContain('made anew')
    })

    test('a topic that was just made is followed from its first event on, every time', async () => {
      // A broker that has heard of the topic but not yet of all its partitions answers for some of them with an error.
      for (let round = 0; round < 60; round++) {
        const writer = await open()
        const made = await makeTopic()
        await writer.append(made, numbered(0, 50))
        await writer.close()
        const reader = await open()
        const signal = AbortSignal.timeout(5000)
        let count = 0
        for await (const events of reader.follow(made, { signal })) {
          count += events.length
          if (count === 50) break
        }
        await reader.close()
        expect([round, count]).toEqual([round, 50])
      }
    })

    test('a large event is found quickly among others', async () => {
      const large = randomBytes(30 * 1024 * 1024)
      const big = await makeTopic({ maxValueBytes: 50 * 1024 * 1024 })
      await log.append(big, numbered(0, 100, 'a'))
      const [position] = await log.append(big, [{ key: 'a', value: large }])
      await log.append(big, numbered(0, 100, 'a'))
      const event = await log.get(big, position!.partition, position!.offset)
      expect(large.equals(event!.value)).toBe(true)
      expect(await log.get(big, position!.partition, position!.offset + 101)).toBeNull()
      expect(await log.get(big, 99, 0)).toBeNull()
      expect((await readEvents(log, big, 201, { group: 'g' })).length).toBe(201)
    })

    test('kafkajs brings no warning, and hides none', async () => {
      const script = `
        const { openKafkaLog } = await import(${JSON.stringify(join(import.meta.dirname, '../../topics/kafka-log.ts'))})
        const log = await openKafkaLog({ brokers: [${JSON.stringify(kafka.brokers[0])}], ssl: false, sasl: null,
          clientId: 'warned', replication: 1, fetchBytes: 100000, onProblem: console.log })
        await log.append(${JSON.stringify(topic)}, [{ key: 'a', value: Buffer.from('a') }])
        await new Promise((resolve) => setTimeout(resolve, 500))
        await log.close()
        process.stdout.write('quiet until here')
        process.emitWarning('this one is ours')
        setTimeout(() => {}, -5)`
      const { stdout, stderr } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script])
      expect(stdout).toBe('quiet until here')
      expect(stderr).toContain('this one is ours')
      expect(stderr).toContain('TimeoutNegativeWarning: -5 is a negative number')
      expect(stderr.match(/Warning:/g)?.length).toBe(2)
    })
  })
})
