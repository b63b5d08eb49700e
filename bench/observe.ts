/**
 * `node bench/observe.ts`: what enriching costs. 100,000 addresses that were never seen before, in batches as the loop
 * gives them; without DNS, with a DNS server in a thread of its own, and known already.
 */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { openAddressData } from '../edges/addresses.ts'
import { openObserver } from '../edges/observer.ts'
import { openResolver, type Resolver } from '../edges/resolver.ts'
import { enrich } from '../processors/enrich.ts'
import { openSqliteState } from '../state/sqlite-state.ts'
import { startDnsServerThread } from '../test/edges/dns-server-thread.ts'
import { eventTypes, MAX_EVENT_BYTES, PARTITIONS } from '../topics/all.ts'
import { EventCodec } from '../topics/avro.ts'
import type { LogEvent } from '../topics/log.ts'
import { DmarcRecordsRead } from '../topics/reports.ts'
import { openSqliteLog } from '../topics/sqlite-log.ts'
import { inTemporaryFolder, type Row, report } from './measure.ts'

const ADDRESSES = 100_000
const ASKED = 20_000
const BATCH = 5_000
const ROUNDS = 3
const DAYS = 30

/** Spread over the whole space, each once (an odd factor permutes 32-bit numbers). */
function address(n: number): string {
  const bits = Math.imul(n + 1, 0x9e3779b1) >>> 0
  return `${bits >>> 24}.${(bits >>> 16) & 255}.${(bits >>> 8) & 255}.${bits & 255}`
}

const days = Array.from({ length: DAYS }, (_, n) => new Date(Date.UTC(2026, 0, 1 + n)).toISOString().slice(0, 10))
/** A mail has 64 records in the middle, and all of one mail are of one day. */
const day = (n: number) => days[Math.floor(n / 64) % DAYS]!

const cpuMicroseconds = () => {
  const { user, system } = process.cpuUsage()
  return user + system
}

interface Cost {
  readonly cpu: number
  readonly wall: number
}

async function costOf(count: number, work: () => Promise<unknown>): Promise<Cost> {
  const cpu = cpuMicroseconds()
  const start = performance.now()
  await work()
  return { cpu: (cpuMicroseconds() - cpu) / count, wall: performance.now() - start }
}

const values = new Map<string, number[]>()
const note = (what: string, value: number) => values.set(what, [...(values.get(what) ?? []), value])

async function round(folder: string, resolver: Resolver | null): Promise<void> {
  await mkdir(folder)
  const log = await openSqliteLog({ path: join(folder, 'log.sqlite') })
  const codec = await EventCodec.open(log, eventTypes)
  await log.createTopic({ name: 'observations', partitions: PARTITIONS, maxValueBytes: MAX_EVENT_BYTES })
  const state = await openSqliteState({ path: join(folder, 'state.sqlite') })
  const data = await openAddressData({ folder: join(folder, '..', 'address-data') })
  const open = () =>
    openObserver({
      log,
      topic: 'observations',
      codec,
      state,
      resolver,
      data,
      now: Date.now,
      budgetMilliseconds: resolver === null ? 0 : 60_000,
      settledLive: () => Promise.resolve(),
    })
  let observer = open()
  await observer.refresh()
  const options = { epoch: 1, ask: true, signal: new AbortController().signal }
  const observeAll = async (count: number) => {
    for (let first = 0; first < count; first += BATCH) {
      const requests = Array.from({ length: BATCH }, (_, i) => ({ day: day(first + i), address: address(first + i) }))
      await observer.observe(requests, options)
    }
  }
  if (resolver === null) {
    note('new address, no DNS: µs CPU', (await costOf(ADDRESSES, () => observeAll(ADDRESSES))).cpu)
    await observer.close()
    observer = open()
    note('known address, from the state: µs CPU', (await costOf(ADDRESSES, () => observeAll(ADDRESSES))).cpu)
    await enrichKnown(codec, (requests) => observer.observe(requests, options))
  } else {
    const { wall } = await costOf(ASKED, () => observeAll(ASKED))
    note('new address, DNS on loopback: addresses a second', (ASKED / wall) * 1000)
  }
  await observer.close()
  await state.close()
  await log.close()
}

type Observed = Parameters<typeof enrich>[0]['observe']

/** The processor on chunks of 500 records; observing is not counted, for its answers are there before. */
async function enrichKnown(
  codec: EventCodec<(typeof eventTypes)[number]>,
  observe: (requests: readonly { day: string; address: string }[]) => ReturnType<Observed>,
): Promise<void> {
  const events = Array.from({ length: ADDRESSES / 500 }, (_, chunk) => recordsEvent(codec, chunk * 500))
  const requests = Array.from({ length: ADDRESSES }, (_, n) => ({ day: '2026-01-01', address: address(n) }))
  const known = await observe(requests)
  const processor = enrich({
    observe: async (asked) => known.slice(0, asked.length),
    epoch: 1,
    ask: () => false,
    codec,
  })
  const { cpu } = await costOf(ADDRESSES, () => processor.handle(events, new AbortController().signal))
  note('enrich of chunks of 500: µs CPU a record', cpu)
}

function recordsEvent(codec: EventCodec<(typeof eventTypes)[number]>, first: number): LogEvent {
  const records = Array.from({ length: 500 }, (_, i) => first + i)
  const ones = records.map(() => 1)
  const zeros = records.map(() => 0)
  const value = codec.encode(DmarcRecordsRead, {
    id: 'a'.repeat(64),
    mail_id: 'b'.repeat(64),
    part: '1.2!0',
    received_at: Date.UTC(2026, 0, 1),
    parser_version: '1',
    report_key: 'c'.repeat(64),
    variant: 'd'.repeat(32),
    policy_domain: 'example.org',
    org: 'example.net',
    day: '2026-01-01',
    implausible_period: false,
    p: 'none',
    sp: null,
    np: null,
    chunk: 0,
    first: 0,
    records: {
      dict: ['', 'none', 'pass', 'example.org', ...records.map(address)],
      source_ip: records.map((_, i) => 4 + i),
      count: ones,
      disposition: ones,
      dkim: ones,
      spf: ones,
      header_from: ones,
      envelope_from: zeros,
      envelope_to: zeros,
      reasons: zeros,
      reason_type: [],
      reason_comment: [],
      dkim_results: ones,
      dkim_domain: ones,
      dkim_selector: ones,
      dkim_result: ones,
      dkim_human_result: zeros,
      spf_results: ones,
      spf_domain: ones,
      spf_scope: zeros,
      spf_result: ones,
    },
  })
  return { topic: 'reports', partition: 0, offset: first, key: 'k', value, headers: {}, timestamp: 0 }
}

await inTemporaryFolder(async (folder) => {
  for (let n = 0; n < ROUNDS; n++) await round(join(folder, `off-${n}`), null)
  const server = await startDnsServerThread()
  try {
    for (let n = 0; n < ROUNDS; n++) {
      const resolver = openResolver({ servers: [server.address], concurrency: 64 })
      await round(join(folder, `dns-${n}`), resolver)
      await resolver.close()
    }
  } finally {
    await server.close()
  }
})

const goals: Readonly<Record<string, Row['goal']>> = {
  'new address, no DNS: µs CPU': { relation: '<=', value: 4 },
  'enrich of chunks of 500: µs CPU a record': { relation: '<=', value: 1 },
}
report(
  'observe',
  `${ADDRESSES} addresses over ${DAYS} days`,
  [...values].map(([what, list]) => {
    const goal = goals[what]
    const unit = what.includes('a second') ? '/s' : 'µs'
    return { what, unit, values: list, ...(goal === undefined ? {} : { goal }) }
  }),
)
