/** How fast the embedded log appends and reads: `node bench/log.ts`. Writes `bench/out/log.json`. */
import { randomBytes } from 'node:crypto'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import type { NewEvent } from '../topics/log.ts'
import { openSqliteLog, type SqliteLog } from '../topics/sqlite-log.ts'

const RUNS = 3
const TOPIC = { name: 'bench', partitions: 12, maxValueBytes: 1024 * 1024 }
const BATCHES = 40
const BATCH_EVENTS = 1000
const SINGLES = 10_000
const CALLERS = 32

/** About 5 KB as a report mail is: some header lines and base64 of what is compressed already. */
function mail(n: number): Buffer {
  const field = `Received: from mail${n % 7}.example.net by mx.example.org with ESMTPS id ${n}; Mon, 1 Jan 2026 00:00:00 +0000\r\n`
  return Buffer.from(`${field.repeat(8)}\r\n${randomBytes(3000).toString('base64')}`)
}

const mails = Array.from({ length: BATCH_EVENTS }, (_, n) => mail(n))
const events: NewEvent[] = mails.map((value, n) => ({ key: `mail-${n}`, value }))

async function withLog(measure: (log: SqliteLog) => Promise<number>): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), 'mailtrail-bench-'))
  const log = await openSqliteLog({ path: join(folder, 'log.db') })
  try {
    await log.createTopic(TOPIC)
    return await measure(log)
  } finally {
    await log.close()
    await rm(folder, { recursive: true })
  }
}

const seconds = (since: number) => (performance.now() - since) / 1000

async function appendBatches(log: SqliteLog): Promise<number> {
  const start = performance.now()
  let earlier = Promise.resolve<unknown>(undefined)
  for (let batch = 0; batch < BATCHES; batch++) {
    const next = log.append(TOPIC.name, events)
    await earlier
    earlier = next
  }
  await earlier
  return (BATCHES * BATCH_EVENTS) / seconds(start)
}

async function appendSingles(log: SqliteLog): Promise<number> {
  const start = performance.now()
  let left = SINGLES
  const caller = async () => {
    while (left-- > 0) await log.append(TOPIC.name, [{ key: null, value: mails[left % mails.length]! }])
  }
  await Promise.all(Array.from({ length: CALLERS }, caller))
  return SINGLES / seconds(start)
}

async function readAll(log: SqliteLog): Promise<number> {
  for (let batch = 0; batch < BATCHES; batch++) await log.append(TOPIC.name, events)
  const start = performance.now()
  const stop = new AbortController()
  let count = 0
  for await (const batch of log.read(TOPIC.name, { group: 'bench', signal: stop.signal })) {
    count += batch.events.length
    await batch.commit()
    if (count === BATCHES * BATCH_EVENTS) stop.abort()
  }
  return count / seconds(start)
}

const cases = {
  [`append, calls of ${BATCH_EVENTS} × 5 KB, two under way`]: appendBatches,
  [`append, one event a call, ${CALLERS} callers`]: appendSingles,
  'read and commit, batches of 1000 × 5 KB': readAll,
}

const results = []
for (const [name, measure] of Object.entries(cases)) {
  const rates: number[] = []
  for (let run = 0; run < RUNS; run++) rates.push(Math.round(await withLog(measure)))
  const [min, median, max] = rates.toSorted((a, b) => a - b)
  results.push({ case: name, unit: 'events/s', min, median, max })
}
console.table(results)
const out = join(import.meta.dirname, 'out')
await mkdir(out, { recursive: true })
const environment = {
  node: process.version,
  sqlite: process.versions.sqlite,
  cores: cpus().length,
  peak_rss_mb: Math.round(process.resourceUsage().maxRSS / 1024),
}
await writeFile(join(out, 'log.json'), `${JSON.stringify({ ...environment, results }, null, 2)}\n`)
