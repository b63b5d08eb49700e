/** A mail that travels as a claim check: its bytes may come late, or the blob store may be away. */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { openBlobFolder } from '../../edges/blob-folder.ts'
import { defaultLimits } from '../../processors/formats/limits.ts'
import { EventWriter } from '../../processors/mail-events.ts'
import { parseMail } from '../../processors/parse-mail.ts'
import { openParsePool } from '../../processors/parse-pool.ts'
import type { Processor } from '../../processors/processor.ts'
import { runProcessor } from '../../processors/run.ts'
import { eventTypes, topicSettings } from '../../topics/all.ts'
import { EventCodec } from '../../topics/avro.ts'
import { type Blobs, BlobsUnavailable } from '../../topics/blobs.ts'
import { ingestEvent } from '../../topics/deliver.ts'
import { firstGeneration } from '../../topics/generation.ts'
import { mailId } from '../../topics/ingest.ts'
import type { LogEvent } from '../../topics/log.ts'
import { mailIdOf } from '../../topics/mail-of-event.ts'
import { openSqliteLog } from '../../topics/sqlite-log.ts'
import { endAll, tempFolder, until } from '../fixtures.ts'

const generation = firstGeneration('')
const closers: (() => Promise<unknown>)[] = []
const FAST = 30

afterEach(async () => {
  for (let close = closers.pop(); close !== undefined; close = closers.pop()) await close()
  await endAll()
})

const large = Buffer.concat([
  Buffer.from('From: a@example.org\r\nTo: b@example.org\r\nSubject: a long one\r\n\r\n'),
  Buffer.alloc(400_000, 'words\r\n'),
])
const origin = { source: 'test', receivedAt: '2026-03-01T00:00:00Z', receivedFrom: 'import' }

/** parse-mail over a real log, real threads and blobs in a folder that `through` may stand before. */
async function openBench(through: (blobs: Blobs) => Pick<Blobs, 'fetch'>, blobWaitMilliseconds: number) {
  const folder = await tempFolder('large-mail')
  const spoolFolder = join(folder, 'spool')
  for (const each of [spoolFolder, join(folder, 'blobs')]) await mkdir(each)
  const log = await openSqliteLog({ path: join(folder, 'log.sqlite') })
  closers.push(() => log.close())
  const kept = { maxMailBytes: 50 << 20, retentionIngest: null, retentionPrivate: null }
  for (const topic of topicSettings(kept, generation)) await log.createTopic(topic)
  const codec = await EventCodec.open(log, eventTypes)
  const pool = openParsePool({ schemaIds: codec.ids(), spoolFolder, limits: defaultLimits, workers: 1 })
  closers.push(() => pool.close())
  const blobs = openBlobFolder(join(folder, 'blobs'))
  const writer = new EventWriter(codec.ids())
  const processor = parseMail({ pool, writer, spoolFolder, blobs: through(blobs), blobWaitMilliseconds })
  const { topics } = generation
  const stop = new AbortController()
  const problems: string[] = []
  const mailIds: string[] = []
  let loop = Promise.resolve()
  closers.push(async () => {
    stop.abort()
    await loop
  })
  const events = async (topic: 'private' | 'rejects') => {
    const found: string[] = []
    for (const { partition, low, high } of await log.watermarks(topics[topic])) {
      for (let offset = low; offset < high; offset++) {
        const event = await log.get(topics[topic], partition, offset)
        if (event !== null) found.push(JSON.stringify((await codec.read(event.value)).data))
      }
    }
    return found
  }
  return {
    blobs,
    stop,
    problems,
    events,
    async append() {
      const { event } = await ingestEvent(large, origin, blobs)
      await log.append(topics.ingest, [event])
    },
    async appendWithoutBytes() {
      const nowhere: Blobs = {
        ...blobs,
        put: async (bytes) => openBlobFolder(await tempFolder('elsewhere')).put(bytes),
      }
      const { event } = await ingestEvent(large, origin, nowhere)
      await log.append(topics.ingest, [event])
    },
    mailIds,
    run(change: (processor: Processor) => Processor = (same) => same) {
      const options = {
        log,
        processor: change(processor),
        physical: (topic: keyof typeof topics) => topics[topic],
        group: 'test',
      }
      const onProblem = (message: string, event: LogEvent | null) => {
        problems.push(message)
        if (event !== null) mailIds.push(mailIdOf(event))
      }
      loop = runProcessor({ ...options, signal: stop.signal, onProblem }, { handled: 0, bytes: 0 })
      return loop
    },
    committed: async () => (await log.lag(topics.ingest, await log.committed(topics.ingest, 'test'))).events === 0,
  }
}

test('a large mail is read from its blob', async () => {
  const bench = await openBench((blobs) => blobs, 0)
  await bench.append()
  bench.run()
  await until('the mail to be read', FAST, bench.committed)
  expect((await bench.events('private')).join()).toContain('a long one')
})

test('bytes that come after their event are waited for', async () => {
  const bench = await openBench((blobs) => blobs, 60_000)
  await bench.appendWithoutBytes()
  bench.run()
  await new Promise((resolve) => setTimeout(resolve, 300))
  expect(await bench.committed()).toBe(false)
  await bench.blobs.put(large)
  await until('the mail to be read', FAST, bench.committed)
  expect((await bench.events('private')).join()).toContain('a long one')
})

test('bytes that do not come in time are a reject that says so', async () => {
  const bench = await openBench((blobs) => blobs, 1000)
  await bench.appendWithoutBytes()
  bench.run()
  await until('the mail to be rejected', FAST, bench.committed)
  const rejects = await bench.events('rejects')
  expect(rejects).toHaveLength(1)
  expect(rejects[0]).toContain('"code":"blob_missing"')
  expect(rejects[0]).toContain('after 1 s')
})

test('while the blob store is away no time passes for the mail, and it is read when the store is back', async () => {
  let away = 3
  const bench = await openBench(
    (blobs) => ({
      async fetch(sha256, folder) {
        if (away-- > 0) throw new BlobsUnavailable('The blob store does not answer.')
        return blobs.fetch(sha256, folder)
      },
    }),
    1000,
  )
  await bench.append()
  bench.run()
  await until('the mail to be read', FAST, bench.committed)
  expect(await bench.events('rejects')).toEqual([])
  expect((await bench.events('private')).join()).toContain('a long one')
  expect(bench.problems).toEqual([])
})

test('to stop does not wait for a blob, rejects nothing and commits nothing', async () => {
  const bench = await openBench((blobs) => blobs, 600_000)
  await bench.appendWithoutBytes()
  const loop = bench.run()
  await new Promise((resolve) => setTimeout(resolve, 300))
  bench.stop.abort()
  await loop
  expect(await bench.committed()).toBe(false)
  expect(await bench.events('rejects')).toEqual([])
  expect(bench.problems).toEqual([])
})

test('what is told of a mail can be traced to it, although its event holds none of its bytes', async () => {
  const bench = await openBench((blobs) => blobs, 0)
  await bench.append()
  bench.run((processor) => ({ ...processor, handle: () => Promise.reject(new Error('a bug')) }))
  await until('the mail to be given up', FAST, bench.committed)
  expect(bench.problems).toEqual(['parse-mail failed on an event: a bug'])
  expect(bench.mailIds).toEqual([mailId(large)])
})
