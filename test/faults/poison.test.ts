/** A mail, a processor or a worker that fails: the rest flows, and nothing is lost. */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterEach, describe, expect, test } from 'vitest'
import { defaultLimits } from '../../processors/formats/limits.ts'
import { EventWriter } from '../../processors/mail-events.ts'
import { parseMail } from '../../processors/parse-mail.ts'
import { openParsePool, type ParsePoolOptions } from '../../processors/parse-pool.ts'
import type { Processor } from '../../processors/processor.ts'
import { type LoopState, ProcessorStopped, runProcessor } from '../../processors/run.ts'
import { eventTypes, topicSettings } from '../../topics/all.ts'
import { EventCodec, type EventData, type EventType } from '../../topics/avro.ts'
import { firstGeneration } from '../../topics/generation.ts'
import { MailRead } from '../../topics/private.ts'
import { MailRejected } from '../../topics/rejects.ts'
import { openSqliteLog, type SqliteLog } from '../../topics/sqlite-log.ts'
import { endAll, tempFolder, until } from '../fixtures.ts'
import { aggregateXml, mailIdOf, mailOf, makeMails } from '../report-mail.ts'

const LIMIT = 120_000
const MARK = 'this mail is poison'

const generation = firstGeneration('')
const physical = (topic: keyof typeof generation.topics) => generation.topics[topic]
const closers: (() => Promise<unknown>)[] = []

afterEach(async () => {
  for (let close = closers.pop(); close !== undefined; close = closers.pop()) await close()
  await endAll()
})

interface Bench {
  readonly log: SqliteLog
  readonly processor: Processor
  append(mails: readonly Uint8Array[]): Promise<void>
  /** Reads with the processor until all that was appended is committed, or it stops. */
  run(processor?: Processor): Promise<readonly string[]>
  committed(): Promise<number>
  /** All events of a topic. */
  events(topic: 'reports' | 'private' | 'rejects'): Promise<readonly Decoded[]>
}

/** parse-mail over a real log and real workers. */
async function openBench(options: Partial<ParsePoolOptions> = {}): Promise<Bench> {
  const folder = await tempFolder('poison')
  const spoolFolder = join(folder, 'spool')
  await mkdir(spoolFolder)
  const log = await openSqliteLog({ path: join(folder, 'log.sqlite') })
  closers.push(() => log.close())
  const kept = { maxMailBytes: 50 << 20, retentionIngest: null, retentionPrivate: null }
  for (const topic of topicSettings(kept, generation)) await log.createTopic(topic)
  const codec = await EventCodec.open(log, eventTypes)
  const pool = openParsePool({ schemaIds: codec.ids(), spoolFolder, limits: defaultLimits, workers: 2, ...options })
  closers.push(() => pool.close())
  const processor = parseMail({ pool, writer: new EventWriter(codec.ids()), spoolFolder, blobs: null })
  const group = 'test'
  const committed = async () => {
    const positions = await log.committed(generation.topics.ingest, group)
    return (await log.lag(generation.topics.ingest, positions)).events
  }
  return {
    log,
    processor,
    append: async (mails) => {
      const events = mails.map((value) => ({ key: null, value }))
      await log.append(generation.topics.ingest, events)
    },
    async run(running = processor) {
      const stop = new AbortController()
      const problems: string[] = []
      const state: LoopState = { handled: 0, bytes: 0 }
      const onProblem = (message: string) => void problems.push(message)
      const loop = runProcessor({ log, processor: running, physical, group, signal: stop.signal, onProblem }, state)
      const done = until('all mails to be read', 100, async () => (await committed()) === 0)
      done.catch(() => undefined)
      try {
        await Promise.race([loop, done])
      } finally {
        stop.abort()
        await loop
      }
      return problems
    },
    committed,
    async events(topic) {
      const found: Decoded[] = []
      const heads = await log.watermarks(generation.topics[topic])
      for (const { partition, low, high } of heads) {
        for (let offset = low; offset < high; offset++) {
          const event = await log.get(generation.topics[topic], partition, offset)
          if (event !== null) found.push(await codec.read(event.value))
        }
      }
      return found
    },
  }
}

/** The same processor, but it throws for every mail in which the mark stands. */
function poisonedBy(mark: string, processor: Processor): Processor {
  return {
    ...processor,
    async handle(event) {
      if (Buffer.from(event.value).includes(mark)) throw new Error(`the reader met "${mark}".`)
      return processor.handle(event)
    },
  }
}

interface Decoded {
  readonly type: string
  readonly data: unknown
}

/** What the events of a type say. */
function dataOf<E extends EventType>(events: readonly Decoded[], { name }: E): readonly EventData<E>[] {
  return events.filter(({ type }) => type === name).map(({ data }) => data as EventData<E>)
}

describe('a processor that fails', () => {
  test(
    'on one mail in a thousand rejects that mail, and the rest flows',
    async () => {
      const { mails } = makeMails(9, 1000)
      const poison = mailOf(MARK, 1_790_000_000, { type: 'text/plain', content: MARK })
      const all = [
        ...mails.slice(0, 500).map(({ bytes }) => bytes),
        poison,
        ...mails.slice(500).map(({ bytes }) => bytes),
      ]
      const bench = await openBench()
      await bench.append(all)
      const problems = await bench.run(poisonedBy(MARK, bench.processor))
      expect(problems).toHaveLength(1)
      const read = dataOf(await bench.events('private'), MailRead)
      expect(read).toHaveLength(all.length)
      const failed = dataOf(await bench.events('rejects'), MailRejected).filter(({ code }) => code === 'reader_failed')
      expect(failed).toMatchObject([{ mail_id: mailIdOf(poison), stage: 'parse-mail', part: '' }])
      expect(failed[0]!.detail).toContain(MARK)
    },
    LIMIT,
  )

  test('on everything stops at a hundred in a row, rejects nothing, and the next start reads every mail', async () => {
    const mails = Array.from({ length: 300 }, (_, n) =>
      mailOf(`mail ${n}`, 1_790_000_000, { type: 'text/plain', content: 'hello' }),
    )
    const bench = await openBench()
    await bench.append(mails)
    const stopped = await bench.run(poisonedBy('hello', bench.processor)).catch((error: unknown) => error)
    expect(stopped).toBeInstanceOf(ProcessorStopped)
    expect(String(stopped)).toContain('nothing is lost')
    expect(await bench.events('rejects')).toEqual([])
    expect(await bench.committed()).toBe(mails.length)
    await bench.run()
    const ids = dataOf(await bench.events('private'), MailRead).map(({ mail_id }) => mail_id)
    expect(ids.sort()).toEqual(mails.map(mailIdOf).sort())
    expect(await bench.events('rejects')).toEqual([])
  })
})

describe('a worker that is lost', () => {
  /** A small mail that keeps a worker busy for seconds: many reports, each nearly 10 MB of the same record. */
  function slowMail(): Buffer {
    const record = { source_ip: '192.0.2.1', count: 1, dkim: true, spf: false }
    const parts = Array.from({ length: 30 }, (_, n) => {
      const records = new Array<typeof record>(18_000).fill(record)
      const xml = aggregateXml({
        id: `slow-${n}`,
        domain: 'slow.example',
        begin: 1_790_000_000,
        records,
        prefix: 'dmarc',
      })
      const content = gzipSync(gzipSync(xml, { level: 9 }))
        .toString('base64')
        .replace(/.{76}/g, '$&\r\n')
      const type = 'application/gzip; name="r.xml.gz"'
      return `--cut\r\nContent-Type: ${type}\r\nContent-Transfer-Encoding: base64\r\n\r\n${content}\r\n`
    })
    const type = 'multipart/mixed; boundary="cut"'
    return mailOf('Report domain: slow.example', 1_790_090_000, { type, content: `${parts.join('')}--cut--` })
  }

  test(
    'by time takes the mail that it read, and no other of the same task',
    async () => {
      const slow = slowMail()
      expect(slow.length).toBeLessThan(512 * 1024)
      const light = makeMails(10, 40).mails.map(({ bytes }) => bytes)
      const bench = await openBench({ workers: 1, milliseconds: 300, millisecondsPerMegabyte: 1 })
      await bench.append([...light.slice(0, 10), slow, ...light.slice(10)])
      expect(await bench.run()).toEqual([])
      const rejects = dataOf(await bench.events('rejects'), MailRejected)
      const gaveUp = rejects.filter(({ code }) => code === 'gave_up')
      expect(gaveUp).toMatchObject([{ mail_id: mailIdOf(slow), deterministic: false, part: '' }])
      const read = dataOf(await bench.events('private'), MailRead)
      expect(read.map(({ mail_id }) => mail_id).sort()).toEqual([...light, slow].map(mailIdOf).sort())
      expect(read.filter(({ kind, mail_id }) => kind === 'rejected' && mail_id === mailIdOf(slow))).toHaveLength(1)
    },
    LIMIT,
  )

  test(
    'by memory takes the mail that it read, and no other of the same task',
    async () => {
      // Many small values: parsed JSON takes many times the space of its text.
      const details = Array.from({ length: 150_000 }, () => '{"result-type":"x","failed-session-count":1}')
      const json =
        '{"organization-name":"Heavy","date-range":{"start-datetime":"2026-10-01T00:00:00Z","end-datetime":"2026-10-01T23:59:59Z"},' +
        '"contact-info":"a@b.example","report-id":"heavy","policies":[{"policy":{"policy-type":"sts","policy-domain":"heavy.example"},' +
        `"summary":{"total-successful-session-count":1,"total-failure-session-count":1},"failure-details":[${details.join()}]}]}`
      const heavy = mailOf('Report Domain: heavy.example', 1_790_090_000, {
        type: 'application/tlsrpt+gzip',
        name: 'r.json.gz',
        content: gzipSync(json),
      })
      expect(heavy.length).toBeLessThan(512 * 1024)
      const light = makeMails(12, 40).mails.map(({ bytes }) => bytes)
      const bench = await openBench({ workers: 1, heapMegabytes: 24 })
      await bench.append([...light.slice(0, 10), heavy, ...light.slice(10)])
      expect(await bench.run()).toEqual([])
      const gaveUp = dataOf(await bench.events('rejects'), MailRejected).filter(({ code }) => code === 'gave_up')
      expect(gaveUp).toMatchObject([{ mail_id: mailIdOf(heavy), deterministic: false }])
      const read = dataOf(await bench.events('private'), MailRead)
      expect(read.map(({ mail_id }) => mail_id).sort()).toEqual([...light, heavy].map(mailIdOf).sort())
    },
    LIMIT,
  )
})
