/** Small mails never wait for large ones: each kind has its threads, and what is read ahead of a large one is out. */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterEach, expect, test } from 'vitest'
import { openBlobFolder } from '../../edges/blob-folder.ts'
import { defaultLimits } from '../../processors/formats/limits.ts'
import { EventWriter } from '../../processors/mail-events.ts'
import { parseMail } from '../../processors/parse-mail.ts'
import { isLargeMail, openParsePool } from '../../processors/parse-pool.ts'
import { runProcessor } from '../../processors/run.ts'
import { eventTypes, topicSettings } from '../../topics/all.ts'
import { EventCodec } from '../../topics/avro.ts'
import { ingestEvent } from '../../topics/deliver.ts'
import { firstGeneration } from '../../topics/generation.ts'
import { openSqliteLog } from '../../topics/sqlite-log.ts'
import { endAll, tempFolder, until } from '../fixtures.ts'
import { aggregateXml, chance, mailIdOf, mailOf } from '../report-mail.ts'

const LIMIT = 180_000
const generation = firstGeneration('')
const closers: (() => Promise<unknown>)[] = []

afterEach(async () => {
  for (let close = closers.pop(); close !== undefined; close = closers.pop()) await close()
  await endAll()
})

/** A mail with one aggregate report of so many records, which gzip does not make much smaller. */
function reportMail(id: string, records: number): Buffer {
  const random = chance(records + id.length)
  const byte = () => Math.floor(random() * 256)
  const begin = 1_790_000_000
  const xml = aggregateXml({
    id,
    domain: 'example.com',
    begin,
    records: Array.from({ length: records }, () => ({
      source_ip: `${1 + Math.floor(random() * 200)}.${byte()}.${byte()}.${byte()}`,
      count: 1 + Math.floor(random() * 1e8),
      dkim: true,
      spf: false,
    })),
  })
  return mailOf(`Report Domain: example.com Report-ID: ${id}`, begin, {
    type: 'application/gzip',
    name: `${id}.xml.gz`,
    content: gzipSync(xml),
  })
}

/**
 * Runs parse-mail over the mails, in their order, with two threads. Answers in which order mails were read, and after
 * how many milliseconds each.
 */
async function readAll(mails: readonly Uint8Array[]): Promise<ReadonlyMap<string, number>> {
  const folder = await tempFolder('large-lane')
  const spoolFolder = join(folder, 'spool')
  for (const each of [spoolFolder, join(folder, 'blobs')]) await mkdir(each)
  const log = await openSqliteLog({ path: join(folder, 'log.sqlite') })
  closers.push(() => log.close())
  const kept = { maxMailBytes: 50 << 20, retentionIngest: null, retentionPrivate: null }
  for (const topic of topicSettings(kept, generation)) await log.createTopic(topic)
  const codec = await EventCodec.open(log, eventTypes)
  const pool = openParsePool({ schemaIds: codec.ids(), spoolFolder, limits: defaultLimits, workers: 2 })
  closers.push(() => pool.close())
  const blobs = openBlobFolder(join(folder, 'blobs'))
  const processor = parseMail({ pool, writer: new EventWriter(codec.ids()), spoolFolder, blobs })
  const origin = { source: 'test', receivedAt: '2026-03-01T00:00:00Z', receivedFrom: 'import' }
  for (const mail of mails) {
    const { event } = await ingestEvent(mail, origin, blobs)
    await log.append(generation.topics.ingest, [event])
  }
  const stop = new AbortController()
  const { signal } = stop
  const begun = performance.now()
  const read = new Map<string, number>()
  const following = (async () => {
    for await (const events of log.follow(generation.topics.private, { signal })) {
      for (const { value } of events) {
        const { mail_id } = (await codec.read(value)).data as { mail_id: string }
        if (!read.has(mail_id)) read.set(mail_id, performance.now() - begun)
      }
    }
  })()
  const physical = (topic: keyof typeof generation.topics) => generation.topics[topic]
  const loop = runProcessor({ log, processor, physical, group: 'test', signal }, { handled: 0, bytes: 0 })
  const ids = new Set(mails.map(mailIdOf))
  await Promise.race([until('all mails to be read', 150, () => read.size === ids.size), loop])
  const positions = () => log.committed(generation.topics.ingest, 'test')
  const committed = async () => (await log.lag(generation.topics.ingest, await positions())).events === 0
  await until('all of it to be committed', 30, committed)
  stop.abort()
  await Promise.all([loop, following])
  return read
}

function percentile99(read: ReadonlyMap<string, number>, mails: readonly Uint8Array[]): number {
  const times = mails.map((mail) => read.get(mailIdOf(mail))!).sort((a, b) => a - b)
  return times[Math.floor(times.length * 0.99)]!
}

test(
  'small mails that come after large ones are read while these are being read',
  async () => {
    const giants = Array.from({ length: 4 }, (_, n) => reportMail(`giant-${n}`, 130_000))
    for (const giant of giants) expect(isLargeMail(giant.length)).toBe(true)
    // More than the batches that are open at one time hold.
    const small = Array.from({ length: 1600 }, (_, n) => reportMail(`small-${n}`, 2))
    const alone = percentile99(await readAll(small), small)
    const read = await readAll([...giants, ...small])
    expect(read.size).toBe(1604)
    const order = [...read.keys()]
    const second = giants.map((mail) => order.indexOf(mailIdOf(mail))).sort((a, b) => a - b)[1]!
    const before = small.filter((mail) => order.indexOf(mailIdOf(mail)) < second).length
    expect(before).toBeGreaterThan(0.99 * small.length)
    // The cores are shared with the large ones; waiting for one of them would take longer than this.
    expect(percentile99(read, small)).toBeLessThan(2 * alone + 1500)
  },
  LIMIT,
)
