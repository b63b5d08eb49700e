import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Answer } from 'dns-packet'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type Observer, openObserver } from '../../edges/observer.ts'
import { reobserve } from '../../edges/re-observe.ts'
import { openResolver } from '../../edges/resolver.ts'
import { openSqliteState } from '../../state/sqlite-state.ts'
import { eventTypes, MAX_EVENT_BYTES, PARTITIONS } from '../../topics/all.ts'
import { EventCodec } from '../../topics/avro.ts'
import type { KeyObserved } from '../../topics/observations.ts'
import { partitionOf } from '../../topics/partition.ts'
import { openSqliteLog, type SqliteLog } from '../../topics/sqlite-log.ts'
import { type DnsServer, NXDOMAIN, type Say, SERVFAIL, startDnsServer, zone } from './dns-server.ts'

const TOPIC = 'observations'
const DAY = '2026-03-01'
const NAME = 's1._domainkey.reporter.example'
const never = new AbortController().signal
const asking = { epoch: 1, ask: true, signal: never }
const replaying = { epoch: 1, ask: false, signal: never }
const about = (...names: readonly string[]) => names.map((name) => ({ day: DAY, name }))
const txt = (name: string, ...data: readonly string[]): Answer => ({ type: 'TXT', name, data: [...data], ttl: 3600 })

let folder: string
let log: SqliteLog
let closers: { close(): Promise<unknown> }[]
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'mailtrail-keys-'))
  closers = []
  log = await openSqliteLog({ path: join(folder, 'log.sqlite') })
  await log.createTopic({ name: TOPIC, partitions: PARTITIONS, maxValueBytes: MAX_EVENT_BYTES })
})
afterEach(async () => {
  for (const closer of closers.reverse()) await closer.close()
  await log.close()
  rmSync(folder, { recursive: true, force: true })
})

async function open(name: string, say: Say | null, budgetMilliseconds = 2000) {
  const codec = await EventCodec.open(log, eventTypes)
  const state = await openSqliteState({ path: join(folder, `${name}.sqlite`) })
  closers.push(state)
  let server: DnsServer | undefined
  let resolver = null
  if (say !== null) {
    server = await startDnsServer(say)
    closers.push(server)
    resolver = openResolver({ servers: [server.address], timeoutMilliseconds: 300 })
    closers.push(resolver)
  }
  const observer: Observer = openObserver({
    log,
    topic: TOPIC,
    codec,
    state,
    resolver,
    data: { version: 'test', find: () => ({ asn: null, asName: null, country: null }) },
    now: () => 1_772_000_000_000,
    budgetMilliseconds,
    settledLive: () => Promise.resolve(),
  })
  closers.push(observer)
  return { observer, asked: server?.asked ?? [], codec }
}

async function eventsOnTopic() {
  const codec = await EventCodec.open(log, eventTypes)
  const found: { readonly partition: number; readonly data: KeyObserved }[] = []
  for (const { partition, low, high } of await log.watermarks(TOPIC))
    for (let offset = low; offset < high; offset++) {
      const event = await log.get(TOPIC, partition, offset)
      found.push({ partition, data: codec.decode(event!.value).data as KeyObserved })
    }
  return found
}

test('the strings of a record are joined, and the answer is on the topic once, in the partition of its name', async () => {
  const { observer, asked } = await open(
    'one',
    zone({ [`TXT ${NAME}`]: [txt(NAME, 'v=DKIM1; ', 'p=AAAA'), txt(NAME, 'else')] }),
  )
  const key = { name: NAME, outcome: 'answered', records: ['else', 'v=DKIM1; p=AAAA'] }
  const all = await Promise.all(Array.from({ length: 50 }, () => observer.observeKeys(about(NAME, NAME), asking)))
  for (const found of all) expect(found).toEqual([key, key])
  expect(asked).toEqual([`TXT ${NAME} udp`])
  const events = await eventsOnTopic()
  expect(events).toEqual([
    {
      partition: partitionOf(NAME, PARTITIONS),
      data: { epoch: 1, day: DAY, observed_at: 1_772_000_000_000, ...key },
    },
  ])
})

test('that there is no such name is an answer; silence, failure and look-ups that are off are none', async () => {
  const say: Say = (name) =>
    name.startsWith('gone') ? { rcode: NXDOMAIN } : name.startsWith('broken') ? { rcode: SERVFAIL } : null
  const { observer } = await open('one', say, 400)
  const names = ['gone._domainkey.a.example', 'broken._domainkey.a.example', 'silent._domainkey.a.example']
  const found = await observer.observeKeys(about(...names), asking)
  expect(found.map(({ outcome, records }) => [outcome, records])).toEqual([
    ['answered', []],
    ['no_answer', []],
    ['no_answer', []],
  ])
  const off = await open('off', null)
  const [unasked] = await off.observer.observeKeys(about('other._domainkey.a.example'), asking)
  expect(unasked).toMatchObject({ outcome: 'not_looked_up', records: [] })
})

test('an answer that comes after the budget does not count, and the topic says so for ever', async () => {
  const say: Say = (name) => ({ answers: [txt(name, 'v=DKIM1; p=AAAA')], afterMilliseconds: 250 })
  const { observer } = await open('one', say, 100)
  const begun = performance.now()
  const [late] = await observer.observeKeys(about(NAME), asking)
  expect(performance.now() - begun).toBeLessThan(1500)
  expect(late).toMatchObject({ outcome: 'no_answer' })
  const other = await open('two', (name) => ({ answers: [txt(name, 'v=DKIM1; p=AAAA')] }))
  expect(await other.observer.observeKeys(about(NAME), asking)).toEqual([late])
  expect(other.asked).toEqual([])
})

test('the first of two processes that ask at once is right for both', async () => {
  const one = await open('one', (name) => ({ answers: [txt(name, 'v=DKIM1; p=ONE')], afterMilliseconds: 20 }))
  const two = await open('two', (name) => ({ answers: [txt(name, 'v=DKIM1; p=TWO')], afterMilliseconds: 20 }))
  const [first, second] = await Promise.all([one, two].map(({ observer }) => observer.observeKeys(about(NAME), asking)))
  expect(first).toEqual(second)
})

test('texts of any size and number are taken up to a limit', async () => {
  const say: Say = (name) => ({
    answers: Array.from({ length: 12 }, (_, n) =>
      txt(name, ...Array.from({ length: 20 }, () => `${n % 10}`.repeat(255))),
    ),
  })
  const { observer } = await open('one', say)
  const [found] = await observer.observeKeys(about(NAME), asking)
  expect(found!.outcome).toBe('answered')
  expect(found!.records).toHaveLength(4)
  for (const record of found!.records) expect(record).toHaveLength(4096)
})

test('names that cannot exist are not asked about', async () => {
  const { observer, asked } = await open('one', () => ({ answers: [] }))
  const [found] = await observer.observeKeys(about(`${'x'.repeat(70)}._domainkey.a.example`), asking)
  expect(found).toMatchObject({ outcome: 'answered', records: [] })
  expect(asked).toEqual([])
})

test('a replay takes what is there, or the epoch before, and asks nobody; a new state reads it from the topic', async () => {
  const record = 'v=DKIM1; p=AAAA'
  const live = await open('live', zone({ [`TXT ${NAME}`]: [txt(NAME, record)] }))
  await live.observer.observeKeys(about(NAME), asking)
  const replay = await open('replay', (name) => ({ answers: [txt(name, 'other')] }))
  const later = { ...replaying, epoch: 2 }
  expect(await replay.observer.observeKeys(about(NAME), replaying)).toMatchObject([{ records: [record] }])
  expect(await replay.observer.observeKeys(about(NAME), later)).toMatchObject([{ records: [record] }])
  const [unknown] = await replay.observer.observeKeys(about('new._domainkey.a.example'), replaying)
  expect(unknown).toMatchObject({ outcome: 'not_looked_up' })
  expect(replay.asked).toEqual([])
})

test('re-observe asks anew about every key that was observed', async () => {
  const live = await open('live', zone({}))
  await live.observer.observeKeys(about(NAME), asking)
  const again = await open('again', zone({ [`TXT ${NAME}`]: [txt(NAME, 'v=DKIM1; p=AAAA')] }))
  const { observer, codec } = again
  await reobserve({ log, topic: TOPIC, codec, observer, epoch: 2, onProgress: () => undefined, signal: never })
  const [found] = await observer.observeKeys(about(NAME), { ...replaying, epoch: 2 })
  expect(found).toMatchObject({ outcome: 'answered', records: ['v=DKIM1; p=AAAA'] })
})

test('who goes away is not kept waiting, and an observer that is closed says so', async () => {
  const { observer } = await open('one', () => null, 60_000)
  const gone = new AbortController()
  const waiting = observer.observeKeys(about(NAME), { ...asking, signal: gone.signal })
  setTimeout(() => gone.abort(new Error('gone')), 20)
  await expect(waiting).rejects.toThrow('gone')
  const other = observer.observeKeys(about('two._domainkey.a.example'), asking)
  other.catch(() => undefined)
  await observer.close()
  await expect(other).rejects.toThrow('closed')
})
