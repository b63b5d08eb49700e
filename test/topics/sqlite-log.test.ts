import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, open, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { AvroRecord } from '../../topics/avro.ts'
import { LogBroken, LogFull, type NewEvent } from '../../topics/log.ts'
import { partitionOf } from '../../topics/partition.ts'
import { openSqliteLog, type SqliteLog, type SqliteLogOptions } from '../../topics/sqlite-log.ts'
import { assertSafeSqlite } from '../../topics/sqlite-log-file.ts'
import { appendThenKill as killAfter } from './append-then-kill.ts'
import { followEvents, logContract, missing, numbered, readEvents, text, textOf } from './log.contract.ts'

const appendThenKill = (path: string, topic: string, first: number, lines: number) =>
  killAfter(join(import.meta.dirname, 'append-until-killed.ts'), [path, topic, String(first)], lines)

const makeFolder = () => mkdtemp(join(tmpdir(), 'mailtrail-log-'))

logContract('SQLite', async () => {
  const folder = await makeFolder()
  const path = join(folder, 'log.db')
  return {
    open: () => openSqliteLog({ path }),
    appendThenKill: (topic) => appendThenKill(path, topic, 0, 50),
    expire: (log) => (log as SqliteLog).applyRetention(),
    exactOnce: true,
    refusesOtherPartitions: true,
    remove: () => rm(folder, { recursive: true }),
  }
})

describe('the log in a SQLite file', () => {
  const topic = 'ingest'
  let folder: string
  let path: string
  let log: SqliteLog

  const reopen = async (options: Omit<SqliteLogOptions, 'path'> = {}) => {
    await log.close()
    log = await openSqliteLog({ path, ...options })
  }

  beforeEach(async () => {
    folder = await makeFolder()
    path = join(folder, 'log.db')
    log = await openSqliteLog({ path })
    await log.createTopic({ name: topic, partitions: 4, maxValueBytes: 1024 * 1024 })
  })
  afterEach(async () => {
    await log.close()
    await rm(folder, { recursive: true })
  })

  test('survives kill -9 again and again: what was acknowledged is there once, and no call in part', async () => {
    const acknowledged: string[] = []
    for (let round = 0; round < 5; round++) {
      await log.close()
      acknowledged.push(...(await appendThenKill(path, topic, round * 1_000_000, 20 + 300 * round)))
      log = await openSqliteLog({ path })
      const [{ integrity_check }] = await checkIntegrity(log, path, async () => {
        log = await openSqliteLog({ path })
      })
      expect(integrity_check).toBe('ok')
    }
    const { events: total } = await log.lag(topic, new Map())
    const events = await followEvents(log, topic, total)
    const kept = events.map((event) => textOf(event).trimEnd())
    expect(new Set(kept).size).toBe(kept.length)
    for (const call of Map.groupBy(events, ({ headers }) => headers.call).values())
      expect(call.length).toBe(Number(call[0]!.headers.size))
    expect(missing(acknowledged, kept)).toEqual([])
  }, 60_000)

  test('appends that arrive together share transactions', async () => {
    const before = await log.counters()
    await Promise.all(Array.from({ length: 200 }, (_, i) => log.append(topic, numbered(i, i + 1))))
    const after = await log.counters()
    expect(after.calls - before.calls).toBe(200)
    expect(after.events - before.events).toBe(200)
    expect(after.transactions - before.transactions).toBeLessThan(100)
  })

  test('a disk that is full refuses the call with nothing kept, reads go on, and room lets it go on', async () => {
    const full = 'full'
    await reopen({ maxBytes: 4 * 1024 * 1024 })
    await log.createTopic({ name: full, partitions: 2, maxValueBytes: 1024 * 1024, retention: { bytes: 1024 * 1024 } })
    const call = (n: number) => randomCall(n, 20, 10_000)
    let calls = 0
    const fill = async () => {
      for (;;) {
        await log.append(full, call(calls))
        calls++
      }
    }
    await expect(fill()).rejects.toThrow(LogFull)
    expect(calls).toBeGreaterThan(5)
    expect((await log.lag(full, new Map())).events).toBe(calls * 20)
    expect((await readEvents(log, full, calls * 20, { group: 'g', commit: true })).length).toBe(calls * 20)

    await log.applyRetention()
    expect((await log.lag(full, new Map())).events).toBeLessThan(calls * 10)
    await log.append(full, call(calls))
    expect((await readEvents(log, full, 20, { group: 'g', commit: true })).length).toBe(20)
    await reopen()
    expect((await log.append(full, call(calls + 1))).length).toBe(20)
  })

  test('a call too large for the disk does not take a small one along', async () => {
    await reopen({ maxBytes: 1024 * 1024 })
    const calls = [log.append(topic, randomCall(0, 200, 10_000)), log.append(topic, numbered(0, 3))]
    const [large, small] = await Promise.allSettled(calls)
    expect(large).toMatchObject({ status: 'rejected', reason: expect.any(LogFull) })
    expect(small).toMatchObject({ status: 'fulfilled' })
    expect((await log.lag(topic, new Map())).events).toBe(3)
  })

  test('a log of a newer version is refused and not one byte of it changes', async () => {
    await log.append(topic, numbered(0, 100))
    await log.close()
    await setVersion(path, 99)
    const before = await hashFiles(folder)
    await expect(openSqliteLog({ path })).rejects.toThrow(/version 99, written by a newer mailtrail/)
    expect(await hashFiles(folder)).toEqual(before)
    await setVersion(path, 1)
    log = await openSqliteLog({ path })
    expect((await log.lag(topic, new Map())).events).toBe(100)
  })

  test('a newer version that only the write-ahead log knows is refused too', async () => {
    await log.close()
    await leaveVersionInWriteAheadLog(path, 99)
    const before = await hashFiles(folder)
    expect(Object.keys(before)).toContain('log.db-wal')
    await expect(openSqliteLog({ path })).rejects.toThrow(/version 99/)
    expect(await hashFiles(folder)).toEqual(before)
  })

  test('a SQLite database of something else is refused', async () => {
    const other = join(folder, 'other.db')
    const db = new DatabaseSync(other)
    db.exec('CREATE TABLE cats (name TEXT)')
    db.close()
    await expect(openSqliteLog({ path: other })).rejects.toThrow(/not a log of mailtrail/)
  })

  test('a file that is open already is refused with a sentence', async () => {
    await expect(openSqliteLog({ path })).rejects.toThrow(/open in this process already/)
    await log.append(topic, numbered(0, 1))
  })

  test('a damaged file breaks the log: everyone is told, and nothing hangs', async () => {
    await log.append(topic, randomCall(0, 200, 10_000))
    await log.close()
    const file = await open(path, 'r+')
    const { size } = await file.stat()
    const pages = 16_384 * 10
    await file.write(Buffer.alloc(pages, 0xff), 0, pages, Math.floor(size / 2))
    await file.close()
    log = await openSqliteLog({ path })
    await expect(readEvents(log, topic, 200, { group: 'g' })).rejects.toThrow(LogBroken)
    expect(await log.broken).toBeInstanceOf(LogBroken)
    await expect(log.append(topic, numbered(0, 1))).rejects.toThrow(LogBroken)
    await expect(log.watermarks(topic)).rejects.toThrow(LogBroken)
  })

  test.skipIf(process.platform === 'win32')(
    'a disk that fails while appending breaks the log, and what was acknowledged is there',
    async () => {
      await log.close()
      const acknowledged = await appendUntilWriteFails(path, topic)
      expect(acknowledged).toBeGreaterThan(3)
      log = await openSqliteLog({ path })
      expect((await log.lag(topic, new Map())).events).toBe(acknowledged)
    },
  )

  test('a group has one reader at a time', async () => {
    await log.append(topic, numbered(0, 5))
    const stop = new AbortController()
    for await (const _batch of log.read(topic, { group: 'g', signal: stop.signal })) {
      await expect(readEvents(log, topic, 1, { group: 'g' })).rejects.toThrow(/reads topic ingest already/)
      expect((await readEvents(log, topic, 5, { group: 'other' })).length).toBe(5)
      stop.abort()
    }
    expect((await readEvents(log, topic, 5, { group: 'g' })).length).toBe(5)
  })

  test('a partition far behind the others is read from its own position only', async () => {
    const keys = Array.from({ length: 20 }, (_, i) => String(i))
    for (let i = 0; i < 30; i++)
      await log.append(
        topic,
        keys.map((key) => ({ key, value: text(`${i}`) })),
      )
    const { high } = (await log.watermarks(topic))[2]!
    const from = (partition: number) => (partition === 1 ? 0 : partition === 2 ? high - 1 : 1_000_000)
    const own = keys.filter((key) => partitionOf(key, 4) === 1).length * 30
    const events = await readEvents(log, topic, own + 1, { group: 'g', from, maxEvents: 7 })
    expect(events.filter(({ partition }) => partition === 1).length).toBe(own)
    expect(events.filter(({ partition }) => partition === 2).map(({ offset }) => offset)).toEqual([high - 1])
    expect(events.length).toBe(own + 1)
  })

  test('retention by bytes keeps the newest, in many slices, and forgets what was removed', async () => {
    const small = { name: 'small', partitions: 2, maxValueBytes: 100_000, retention: { bytes: 500_000 } }
    await log.createTopic(small)
    for (let n = 0; n < 10; n++) await log.append('small', randomCall(n, 500, 1000, true))
    await log.applyRetention()
    const { events } = await log.lag('small', new Map())
    expect(events).toBeGreaterThan(400)
    expect(events).toBeLessThan(700)
    const kept = await followEvents(log, 'small', events)
    expect(kept.at(-1)!.key).toBe('9-499')
    const [again] = await log.append('small', [{ key: null, value: text('x'), onceId: '0-0' }])
    const [still] = await log.append('small', [{ key: null, value: text('x'), onceId: '9-499' }])
    expect([again!.duplicate, still!.duplicate]).toEqual([false, true])
  })

  test('appends go on while retention removes', async () => {
    const settings = { name: 'short', partitions: 2, maxValueBytes: 100_000 }
    await log.createTopic(settings)
    const old = Date.now() - 10_000
    for (let n = 0; n < 5; n++)
      await log.append(
        'short',
        randomCall(n, 1000, 500).map((event) => ({ ...event, timestamp: old })),
      )
    await log.createTopic({ ...settings, retention: { milliseconds: 5000 } })
    let removing = true
    const retention = log.applyRetention().finally(() => {
      removing = false
    })
    let appended = 0
    while (removing) appended += (await log.append('short', numbered(0, 1))).length
    await retention
    expect(appended).toBeGreaterThan(1)
    expect((await log.lag('short', new Map())).events).toBe(appended)
  })

  test('repeated events share blocks and take little room', async () => {
    const value = text('<record><source_ip>192.0.2.1</source_ip><count>1</count></record>'.repeat(10))
    await log.append(
      topic,
      Array.from({ length: 5000 }, (_, i) => ({ key: String(i), value })),
    )
    await log.close()
    const file = await open(path)
    const { size } = await file.stat()
    await file.close()
    expect(size).toBeLessThan(5000 * 100)
  })

  test('the schema registry answers the same id for the same schema, also after a restart', async () => {
    const schema: AvroRecord = { type: 'record', name: 'Seen', fields: [{ name: 'at', type: 'long' }] }
    const reordered: AvroRecord = { fields: [{ type: 'long', name: 'at' }], name: 'Seen', type: 'record' }
    const other: AvroRecord = { ...schema, fields: [...schema.fields, { name: 'by', type: 'string' }] }
    const id = await log.register('reports-Seen', schema)
    expect(await log.register('reports-Seen', reordered)).toBe(id)
    expect(await log.register('private-Seen', schema)).toBe(id)
    const second = await log.register('reports-Seen', other)
    expect(second).not.toBe(id)
    await reopen()
    expect(await log.register('reports-Seen', schema)).toBe(id)
    expect(await log.schema(id)).toEqual(schema)
    expect(await log.schema(second)).toEqual(other)
    await expect(log.schema(12345)).rejects.toThrow(/no schema with id 12345/)
  })
})

test.each([
  ['3.50.4', false],
  ['3.51.2', false],
  ['3.51.3', true],
  ['3.53.0', true],
  ['4.0.0', true],
])('SQLite %s is safe: %s', (version, safe) => {
  const attempt = () => assertSafeSqlite(version)
  if (safe) attempt()
  else expect(attempt).toThrow(/Install a newer Node/)
})

// Expected values of Kafka's own test of its partitioner (UtilsTest.testMurmur2).
test.each([
  ['21', -973932308],
  ['foobar', -790332482],
  ['a-little-bit-long-string', -985981536],
  ['a-little-bit-longer-string', -1486304829],
  ['lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8', -58897971],
])('the partition of key %s is that of Kafka', (key, hash) => {
  expect(partitionOf(key, 12)).toBe((hash & 0x7fffffff) % 12)
})

/** Events that do not compress. */
function randomCall(n: number, count: number, size: number, once = false): NewEvent[] {
  return Array.from({ length: count }, (_, i) => {
    const key = `${n}-${i}`
    const value = Buffer.alloc(size)
    for (let at = 0; at < size; at += 32) createHash('sha256').update(`${key}-${at}`).digest().copy(value, at)
    return once ? { key, value, onceId: key } : { key, value }
  })
}

/** A process whose files may not pass 4 MB: beyond, writing fails with EFBIG, an I/O error to SQLite. */
async function appendUntilWriteFails(path: string, topic: string): Promise<number> {
  const module = new URL('../../topics/sqlite-log.ts', import.meta.url).href
  const script = `import { openSqliteLog } from ${JSON.stringify(module)}
    import { randomBytes } from 'node:crypto'
    const [path, topic] = process.argv.slice(1)
    const log = await openSqliteLog({ path })
    let acknowledged = 0
    try {
      for (;;) {
        await log.append(topic, [{ key: null, value: randomBytes(200_000) }])
        acknowledged++
      }
    } catch (error) {
      const broken = await log.broken
      console.log(JSON.stringify({ acknowledged, error: error.constructor.name, same: broken === error }))
    }
    await log.close()`
  const command = 'trap "" XFSZ; ulimit -f 8192; exec "$@"'
  const node = [process.execPath, '--input-type=module', '-e', script, path, topic]
  const child = spawn('sh', ['-c', command, 'sh', ...node], { stdio: ['ignore', 'pipe', 'inherit'] })
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString('utf8')
  })
  await once(child, 'close')
  const { acknowledged, error, same } = JSON.parse(output) as { acknowledged: number; error: string; same: boolean }
  expect({ error, same }).toEqual({ error: 'LogBroken', same: true })
  return acknowledged
}

async function checkIntegrity(
  log: SqliteLog,
  path: string,
  reopen: () => Promise<void>,
): Promise<[{ integrity_check: string }]> {
  await log.close()
  const db = new DatabaseSync(path)
  const rows = db.prepare('PRAGMA integrity_check').all()
  db.close()
  await reopen()
  return rows as unknown as [{ integrity_check: string }]
}

async function setVersion(path: string, version: number): Promise<void> {
  const file = await open(path, 'r+')
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(version)
  await file.write(bytes, 0, 4, 60)
  await file.close()
}

/** As a newer version leaves the file that was killed right after it had set its version. */
async function leaveVersionInWriteAheadLog(path: string, version: number): Promise<void> {
  const script = `const db = new (require('node:sqlite').DatabaseSync)(process.argv[1])
    db.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA user_version = ${version}')
    process.kill(process.pid, 'SIGKILL')`
  const child = spawn(process.execPath, ['-e', script, path], { stdio: ['ignore', 'ignore', 'inherit'] })
  await once(child, 'close')
}

async function hashFiles(folder: string): Promise<Record<string, string>> {
  const entries = await Promise.all(
    (await readdir(folder)).toSorted().map(async (name) => {
      const bytes = await readFile(join(folder, name))
      return [name, createHash('sha256').update(bytes).digest('hex')] as const
    }),
  )
  return Object.fromEntries(entries)
}
