import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { EmbeddedStore } from '../../projections/embedded-store.ts'
import { feedsOf } from '../../projections/feeds.ts'
import { storedIncarnation, storedPositions } from '../../projections/schema.ts'
import { type Store, StoreUnavailable } from '../../projections/store.ts'
import type { Log, ReadOptions } from '../../topics/log.ts'
import type { SqliteLog } from '../../topics/sqlite-log.ts'
import type { DmarcDelivery, EventMaker, PlacedEvent, RecordShape } from './events.ts'
import {
  append,
  generation,
  openLog,
  openStore,
  project,
  removeFolder,
  shownContent,
  startProjecting,
  temporaryFolder,
} from './projecting.ts'

let folder: string
let store: EmbeddedStore
let log: SqliteLog
let make: EventMaker
let logs = 0

beforeAll(async () => {
  folder = await temporaryFolder()
  store = await openStore(folder)
})
afterAll(async () => {
  await log.close()
  await store.close()
  await removeFolder(folder)
})

/** A new empty log, and the store emptied for it. */
async function begin(): Promise<void> {
  await log?.close()
  ;({ log, make } = await openLog(join(folder, `log-${logs++}.sqlite`)))
  for (const table of [...Object.values(generation.tables), 'positions'])
    await store.command(`TRUNCATE TABLE IF EXISTS ${table}`)
}
beforeEach(begin)

const record = (last: number, count: number | null = 1, more: Partial<RecordShape> = {}): RecordShape => ({
  source_ip: `192.0.2.${last}`,
  count,
  ...more,
})

async function recordsShown(): Promise<unknown> {
  return store.query(
    'SELECT source_ip, count, messages, dkim_aligned, spf_aligned FROM v_dmarc_records ORDER BY report_key, record_index',
  )
}

describe('what the tables show', () => {
  test('a record as it was sent, and what it adds', async () => {
    const records = [
      record(1, 5, { dkim: 'pass', spf: 'fail' }),
      record(2, 2e9, { spf: 'pass' }),
      record(3, null),
      record(4, 0),
      { source_ip: '64.x.x.x', count: 7 },
      { source_ip: '2001:db8::1', count: 1.5 },
    ]
    await project(log, store, make.dmarc({ report_id: 'a', records }))
    const failing = { dkim_aligned: false, spf_aligned: false }
    expect(await recordsShown()).toEqual([
      { source_ip: '192.0.2.1', count: 5, messages: 5, dkim_aligned: true, spf_aligned: false },
      { source_ip: '192.0.2.2', count: 2e9, messages: 0, dkim_aligned: false, spf_aligned: true },
      { source_ip: '192.0.2.3', count: null, messages: 0, ...failing },
      { source_ip: '192.0.2.4', count: 0, messages: 0, ...failing },
      { source_ip: '64.x.x.x', count: 7, messages: 7, ...failing },
      { source_ip: '2001:db8::1', count: 1.5, messages: 1, ...failing },
    ])
  })

  test('the lists of a record stay with their record, over chunks', async () => {
    const result = (domain: string) => ({ domain, selector: `s.${domain}`, result: 'pass' })
    const records = [
      record(1, 1, { dkim_results: [result('a.example'), result('b.example')] }),
      record(2, 1),
      record(3, 1, { dkim_results: [result('c.example')], reasons: [{ type: 'forwarded', comment: 'arc' }] }),
    ]
    await project(log, store, make.dmarc({ report_id: 'a', records, chunk: 2 }))
    const shown = 'SELECT record_index, dkim_domain, dkim_selector, reason_type, reason_comment FROM v_dmarc_records'
    const none = { reason_type: [], reason_comment: [] }
    expect(await store.query(`${shown} ORDER BY record_index`)).toEqual([
      {
        record_index: 0,
        dkim_domain: ['a.example', 'b.example'],
        dkim_selector: ['s.a.example', 's.b.example'],
        ...none,
      },
      { record_index: 1, dkim_domain: [], dkim_selector: [], ...none },
      {
        record_index: 2,
        dkim_domain: ['c.example'],
        dkim_selector: ['s.c.example'],
        reason_type: ['forwarded'],
        reason_comment: ['arc'],
      },
    ])
  })

  test('a report without its closing event never counts, and counts once that comes', async () => {
    const report = { report_id: 'a', records: [record(1), record(2)], chunk: 1 }
    const events = make.dmarc(report)
    await project(log, store, events.slice(0, -1))
    await project(
      log,
      store,
      make.tls({ report_id: 't', successful: 5, failed: 1, result_types: ['x'], closed: false }),
    )
    expect(await recordsShown()).toEqual([])
    expect(await store.query('SELECT 1 FROM v_tls_policies UNION ALL SELECT 1 FROM v_tls_failures')).toEqual([])
    await project(log, store, events.slice(-1))
    expect(await recordsShown()).toHaveLength(2)
  })

  test('of two contents of a report the first received counts, whichever arrives first', async () => {
    const late = make.dmarc({
      report_id: 'a',
      mail: 'late',
      received_at: 2000,
      records: [record(1, 100), record(2, 100)],
    })
    const early = make.dmarc({ report_id: 'a', mail: 'early', received_at: 1000, records: [record(1, 7)] })
    await project(log, store, late)
    expect(await store.query('SELECT sum(messages) AS messages FROM v_dmarc_records')).toEqual([{ messages: 200 }])
    await project(log, store, early)
    expect(await store.query('SELECT sum(messages) AS messages, count() AS records FROM v_dmarc_records')).toEqual([
      { messages: 7, records: 1 },
    ])
    expect(await store.query('SELECT messages, records FROM v_dmarc_reports')).toEqual([{ messages: 7, records: 1 }])
    const stored = `SELECT uniqExact(variant) AS variants FROM ${generation.tables.dmarc_reports}`
    expect(await store.query(stored)).toEqual([{ variants: 2 }])
  })

  test('a content received again before another one wins with its earliest receipt', async () => {
    const first = { report_id: 'a', records: [record(1, 1)] }
    const second = { report_id: 'a', records: [record(1, 2)] }
    await project(log, store, make.dmarc({ ...first, mail: 'x', received_at: 3000 }))
    await project(log, store, make.dmarc({ ...second, mail: 'y', received_at: 2000 }))
    expect(await store.query('SELECT messages FROM v_dmarc_reports')).toEqual([{ messages: 2 }])
    await project(log, store, make.dmarc({ ...first, mail: 'x', received_at: 1000 }))
    expect(await store.query('SELECT messages FROM v_dmarc_reports')).toEqual([{ messages: 1 }])
  })

  test('the same report flagged implausible by one delivery and not by another has its records once', async () => {
    const records = [record(1, 3)]
    await project(log, store, [
      ...make.dmarc({ report_id: 'a', mail: 'x', received_at: 2e12, implausible_period: true, records }),
      ...make.dmarc({ report_id: 'a', mail: 'y', received_at: 1e12, records }),
    ])
    expect(await store.query('SELECT messages FROM v_dmarc_records')).toEqual([{ messages: 3 }])
    expect(await store.query('SELECT implausible_period FROM v_dmarc_reports')).toEqual([{ implausible_period: false }])
  })

  test('of several readings of a mail the one that found most, under the earliest receipt', async () => {
    await project(log, store, [
      make.mail({ mail: 'm', kind: 'rejected', rejected: 1, received_at: 1000, subject: 'first' }),
      make.mail({ mail: 'm', kind: 'dmarc', found: ['1', '2'], received_at: 2000, subject: 'best', ingest_offset: 1 }),
      make.mail({ mail: 'm', kind: 'dmarc', found: ['1'], rejected: 1, received_at: 3000, subject: 'third' }),
    ])
    expect(await store.query('SELECT kind, subject, received_at, found_part FROM v_mail')).toEqual([
      { kind: 'dmarc', subject: 'best', received_at: '1970-01-01T00:00:01.000Z', found_part: ['1', '2'] },
    ])
  })

  test('a failure report once, from its earliest delivery', async () => {
    await project(log, store, [
      make.failure({ mail: 'm', received_at: 2000, source_ip: '192.0.2.2' }),
      make.failure({ mail: 'm', received_at: 1000, source_ip: '192.0.2.1' }),
      make.failure({ mail: 'other', received_at: 1000 }),
    ])
    const shown = 'SELECT source_ip, received_at FROM v_failure_reports ORDER BY source_ip'
    expect(await store.query(shown)).toEqual([
      { source_ip: '192.0.2.1', received_at: '1970-01-01T00:00:01.000Z' },
      { source_ip: '192.0.2.7', received_at: '1970-01-01T00:00:01.000Z' },
    ])
  })

  test.each([
    ['a reading that rejected nothing', { part: '2' }, { kind: 'other' }, 0],
    ['a reading that found the part', { part: '2' }, { kind: 'dmarc', found: ['2'], rejected: 1 }, 0],
    ['a reading that found another part', { part: '2' }, { kind: 'dmarc', found: ['1'], rejected: 1 }, 1],
    ['a reading that made something of a mail that was rejected whole', { part: '' }, { kind: 'tls', rejected: 1 }, 0],
    ['the reading that rejected it', { part: '' }, { kind: 'rejected', rejected: 1 }, 1],
  ])('%s leaves so many rejects standing, in any order', async (_, reject, reading, standing) => {
    for (const order of [0, 1]) {
      await begin()
      const events = [make.reject({ mail: 'm', ...reject }), make.mail({ mail: 'm', ...reading })]
      await project(log, store, [events[order]!])
      await project(log, store, [events[1 - order]!])
      expect(await store.query('SELECT count() AS standing FROM v_rejects')).toEqual([{ standing }])
    }
  })

  test('a reject that was tried again is shown once, as it came first', async () => {
    await project(log, store, [
      make.reject({ mail: 'm', received_at: 2000, ingest_offset: 5 }),
      make.reject({ mail: 'm', received_at: 1000, ingest_offset: 9 }),
    ])
    expect(await store.query('SELECT received_at FROM v_rejects')).toEqual([
      { received_at: '1970-01-01T00:00:01.000Z' },
    ])
  })
})

const deliveries = fc.array(
  fc.record({
    report_id: fc.constantFrom('a', 'b', 'c'),
    policy_domain: fc.constantFrom('example.com', 'example.org'),
    mail: fc.constantFrom('m1', 'm2', 'm3', 'm4'),
    received_at: fc.constantFrom(1000, 2000, 2000, 86_400_000),
    closed: fc.boolean(),
    chunk: fc.constantFrom(1, 2, 100),
    records: fc.array(
      fc.record({ source_ip: fc.constantFrom('192.0.2.1', '2001:db8::1', 'x'), count: fc.constantFrom(1, 2, null) }),
      {
        maxLength: 4,
      },
    ),
  }),
  { minLength: 1, maxLength: 12 },
)

type Numbered = DmarcDelivery & { readonly index: number }

/** All events of the deliveries and of what surrounds them. */
function eventsOf(given: readonly Numbered[]): PlacedEvent[] {
  return given.flatMap(({ index, ...delivery }) => [
    ...make.dmarc(delivery),
    ...make.tls({
      report_id: delivery.report_id,
      successful: delivery.records.length,
      failed: index % 3,
      result_types: ['x', 'y'].slice(index % 3),
      received_at: delivery.received_at ?? 0,
      mail: delivery.mail ?? '',
      closed: delivery.closed ?? true,
    }),
    make.mail({
      mail: delivery.mail!,
      kind: 'dmarc',
      found: delivery.closed ? ['1'] : [],
      rejected: delivery.closed ? 0 : 1,
      received_at: delivery.received_at!,
      ingest_offset: index,
    }),
    make.failure({ mail: delivery.mail!, received_at: delivery.received_at! }),
    make.reject({
      mail: delivery.mail!,
      part: delivery.closed ? '' : '1',
      received_at: delivery.received_at!,
      ingest_offset: index,
    }),
  ])
}

/** Orders of one topic's events that keep the order of each key, as the log does; then some of them again. */
function shuffled(events: readonly PlacedEvent[], seed: number): PlacedEvent[] {
  const queues = new Map<string, PlacedEvent[]>()
  for (const event of events) {
    const key = `${event.topic} ${event.key}`
    queues.set(key, [...(queues.get(key) ?? []), event])
  }
  const order: PlacedEvent[] = []
  for (let state = seed; queues.size > 0; ) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
    const key = [...queues.keys()][(state >>> 8) % queues.size]!
    const queue = queues.get(key)!
    order.push(queue.shift()!)
    if (queue.length === 0) queues.delete(key)
    if (state % 5 === 0) order.push(order[(state >>> 12) % order.length]!)
  }
  return order
}

/** The deliveries in another order: which mail came first must not matter. */
function reordered(given: readonly Numbered[], seed: number): Numbered[] {
  const rank = ({ index }: Numbered) => Math.imul(index + 1, seed | 1) >>> 0
  return given.toSorted((a, b) => rank(a) - rank(b))
}

test('the same deliveries show the same, in any order, in any batches, delivered again, and read again', async () => {
  await fc.assert(
    fc.asyncProperty(deliveries, fc.nat(), fc.constantFrom(501, 60_000), async (drawn, seed, flushRows) => {
      const given = drawn.map((delivery, index) => ({ ...delivery, index }))
      await begin()
      await project(log, store, eventsOf(given))
      const expected = await shownContent(store)

      await begin()
      const events = shuffled(eventsOf(reordered(given, seed)), seed)
      const half = seed % (events.length + 1)
      await append(log, events.slice(0, half))
      const first = await startProjecting(log, store, { flushRows, flushMilliseconds: seed % 7 })
      if (seed % 2 === 0) await first.settled()
      await append(log, events.slice(half))
      await first.stop()
      const second = await startProjecting(log, store, { flushRows })
      await second.settled()
      await second.stop()
      expect(await shownContent(store)).toEqual(expected)

      // Positions that were lost, as after a power cut: everything is read again over the rows that are there.
      await store.command('TRUNCATE TABLE positions')
      await project(log, store, [])
      expect(await shownContent(store)).toEqual(expected)
    }),
    { numRuns: 8, endOnFailure: true },
  )
}, 240_000)

describe('the loops', () => {
  test('show a single mail within a second, and say how far they are', async () => {
    const running = await startProjecting(log, store)
    await running.settled()
    const began = performance.now()
    await append(log, make.dmarc({ report_id: 'a', records: [record(1)] }))
    await running.settled()
    expect(performance.now() - began).toBeLessThan(2000)
    expect(await recordsShown()).toHaveLength(1)
    const [position] = [...running.state.positions('enriched.g1')].filter(([, offset]) => offset > 0)
    expect((await storedPositions(store, feedsOf([generation]))).get('enriched.g1')?.get(position![0])).toBe(
      position![1],
    )
    await running.stop()
  })

  test('ask the store anew for the start of a partition that comes back', async () => {
    const asked: (readonly (number | undefined)[])[] = []
    const returning: Log = new Proxy(log as Log, {
      get(target, name) {
        const value = Reflect.get(target, name)
        if (typeof value !== 'function') return value
        if (name !== 'read') return value.bind(target)
        return async function* (topic: string, options: ReadOptions) {
          if (topic !== generation.topics.rejects) {
            yield* target.read(topic, options)
            return
          }
          const starts = async () => [await options.from!(0), await options.from!(1)]
          asked.push(await starts())
          const incarnation = await storedIncarnation(store)
          await store.command(`INSERT INTO positions SELECT '${incarnation}', 1, 'rejects', '${topic}', 1, 42`)
          asked.push(await starts())
        }
      },
    })
    const running = await startProjecting(returning as SqliteLog, store)
    await expect
      .poll(() => asked)
      .toEqual([
        [0, 0],
        [0, 42],
      ])
    await running.stop()
  })

  test('do not make an insert of every mail when mails come one by one', async () => {
    let inserts = 0
    const counting: Store = new Proxy(store, {
      get(target, name) {
        const value = Reflect.get(target, name)
        if (typeof value !== 'function') return value
        if (name === 'insert')
          return (table: string, block: Uint8Array) => {
            if (table === generation.tables.mail) inserts++
            return target.insert(table, block)
          }
        return value.bind(target)
      },
    })
    const running = await startProjecting(log, counting)
    const began = performance.now()
    for (let n = 0; n < 150; n++) {
      await append(log, [make.mail({ mail: `m${n}`, kind: 'other' })])
      await sleep(5)
    }
    await running.settled()
    const seconds = (performance.now() - began) / 1000
    await running.stop()
    expect(await store.query('SELECT count() AS mails FROM v_mail')).toEqual([{ mails: 150 }])
    expect(inserts).toBeLessThanOrEqual(Math.ceil(seconds * 5) + 2)
  })

  test('wait for a store that is away, holding no more rows, and go on', async () => {
    let away = true
    let tried = 0
    const failing: Store = new Proxy(store, {
      get(target, name) {
        const value = Reflect.get(target, name)
        if (typeof value !== 'function') return value
        if (name === 'insert')
          return async (table: string, block: Uint8Array) => {
            tried++
            if (away) throw new StoreUnavailable('pulled the plug')
            return target.insert(table, block)
          }
        return value.bind(target)
      },
    })
    const problems: string[] = []
    let events = 0
    const running = await startProjecting(log, failing, {
      flushRows: 600,
      onProblem: (problem) => problems.push(problem),
      onProgress: (_, flushed) => {
        events += flushed.events
      },
    })
    const records = Array.from({ length: 500 }, (_, n) => record(n % 250, 1))
    for (let report = 0; report < 12; report++) await append(log, make.dmarc({ report_id: `r${report}`, records }))
    await expect.poll(() => tried).toBeGreaterThan(2)
    expect(events).toBe(0)
    expect(problems[0]).toContain('pulled the plug')
    away = false
    await running.settled()
    await running.stop()
    expect(await store.query('SELECT count() AS records FROM v_dmarc_records')).toEqual([{ records: 6000 }])
    expect(events).toBe(24)
  })

  test('lose nothing and show nothing twice when the store is killed again and again', async () => {
    const running = await startProjecting(log, store, { flushRows: 1000 })
    const records = Array.from({ length: 200 }, (_, n) => record(n, 2))
    for (let report = 0; report < 30; report++) {
      await append(log, make.dmarc({ report_id: `r${report}`, records, chunk: 50 }))
      if (report % 8 !== 3) continue
      await store.query('SELECT 1')
      process.kill(store.pid(), 'SIGKILL')
    }
    await running.settled()
    await running.stop()
    const sums = 'SELECT count() AS records, sum(messages) AS messages FROM v_dmarc_records'
    expect(await store.query(sums)).toEqual([{ records: 6000, messages: 12_000 }])
    expect(await store.query('SELECT count() AS reports FROM v_dmarc_reports')).toEqual([{ reports: 30 }])
    expect(await readdir(join(folder, 'tmp'))).toEqual([])
  })

  test('fill the store again when it is emptied under them', async () => {
    const problems: string[] = []
    const running = await startProjecting(log, store, { onProblem: (problem) => problems.push(problem) })
    await append(log, make.dmarc({ report_id: 'a', records: [record(1, 3)] }))
    await running.settled()
    for (const table of [...Object.values(generation.tables), 'positions'])
      await store.command(`DROP TABLE ${table} SYNC`)
    await append(log, make.dmarc({ report_id: 'b', records: [record(2, 4)] }))
    await expect
      .poll(() => store.query('SELECT sum(messages) AS messages FROM v_dmarc_records').catch(() => []), {
        timeout: 15_000,
      })
      .toEqual([{ messages: 7 }])
    await running.stop()
    expect(problems.join()).toContain('rebuilt from the log')
  })

  test('fill the store again when asked, and tell the progress', async () => {
    const running = await startProjecting(log, store)
    await append(log, make.dmarc({ report_id: 'a', records: [record(1, 3)] }))
    await running.settled()
    await store.command(`TRUNCATE TABLE ${generation.tables.dmarc_reports}`)
    running.state.requestRebuild('A part is damaged.')
    await expect
      .poll(() => store.query('SELECT sum(messages) AS messages FROM v_dmarc_records').catch(() => []), {
        timeout: 15_000,
      })
      .toEqual([{ messages: 3 }])
    await running.settled()
    expect(running.state.rebuilding()).toBeNull()
    await running.stop()
  })

  test('stop with what is wrong when an event cannot be projected', async () => {
    const [event] = make.dmarc({ report_id: 'a', records: [record(1)], day: 'yesterday', closed: false })
    await append(log, [event!])
    const running = await startProjecting(log, store)
    await expect(running.settled()).rejects.toThrow('YYYY-MM-DD')
    await expect(running.stop()).rejects.toThrow('YYYY-MM-DD')
  })
})
