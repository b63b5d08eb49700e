import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { AddressData } from '../../edges/addresses.ts'
import { type Observer, type ObserverOptions, openObserver } from '../../edges/observer.ts'
import { openResolver, type ResolverOptions } from '../../edges/resolver.ts'
import { openSqliteState } from '../../state/sqlite-state.ts'
import type { State } from '../../state/state.ts'
import { eventTypes, MAX_EVENT_BYTES, PARTITIONS } from '../../topics/all.ts'
import { EventCodec } from '../../topics/avro.ts'
import type { LogEvent } from '../../topics/log.ts'
import type { AddressesObserved } from '../../topics/observations.ts'
import { partitionOf } from '../../topics/partition.ts'
import { openSqliteLog, type SqliteLog } from '../../topics/sqlite-log.ts'
import { a, type DnsServer, ptr, type Say, startDnsServer } from './dns-server.ts'
import { everyAddressHasAName } from './dns-server-thread.ts'

const TOPIC = 'observations'
const DAY = '2026-03-01'
const never = new AbortController().signal

let folder: string
let log: SqliteLog
let closers: { close(): Promise<unknown> }[]
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'mailtrail-observer-'))
  closers = []
  log = await openSqliteLog({ path: join(folder, 'log.sqlite') })
  await log.createTopic({ name: TOPIC, partitions: PARTITIONS, maxValueBytes: MAX_EVENT_BYTES })
})
afterEach(async () => {
  for (const closer of closers.reverse()) await closer.close()
  await log.close()
  rmSync(folder, { recursive: true, force: true })
})

/** Address data that says the same of every address. */
const dataOf = (country: string): AddressData => ({
  version: `test ${country}`,
  find: () => ({ asn: 64496, asName: 'Example Network', country }),
})

interface Opened {
  readonly observer: Observer
  readonly state: State
}

async function open(name: string, options: Partial<ObserverOptions> = {}): Promise<Opened> {
  const codec = await EventCodec.open(log, eventTypes)
  const state = await openSqliteState({ path: join(folder, `${name}.sqlite`) })
  closers.push(state)
  const observer = openObserver({
    log,
    topic: TOPIC,
    codec,
    state,
    resolver: null,
    data: dataOf('NZ'),
    now: () => 1_772_000_000_000,
    budgetMilliseconds: 2000,
    settledLive: () => Promise.resolve(),
    ...options,
  })
  closers.push(observer)
  return { observer, state }
}

async function close({ observer, state }: Opened): Promise<void> {
  await observer.close()
  await state.close()
}

async function dns(say: Say, options: Partial<ResolverOptions> = {}) {
  const server = await startDnsServer(say)
  closers.push(server)
  const resolver = openResolver({ servers: [server.address], timeoutMilliseconds: 300, ...options })
  closers.push(resolver)
  return { server, resolver }
}

const asking = { epoch: 1, ask: true, signal: never }
const replaying = { epoch: 1, ask: false, signal: never }
const about = (...addresses: readonly string[]) => addresses.map((address) => ({ day: DAY, address }))
const manyAddresses = (count: number) =>
  Array.from({ length: count }, (_, n) => `10.${n >> 16}.${(n >> 8) & 255}.${n & 255}`)

async function eventsOnTopic(): Promise<{ readonly event: LogEvent; readonly data: AddressesObserved }[]> {
  const codec = await EventCodec.open(log, eventTypes)
  const { events: total } = await log.lag(TOPIC, new Map())
  const stop = new AbortController()
  const found: { readonly event: LogEvent; readonly data: AddressesObserved }[] = []
  if (total === 0) return found
  for await (const events of log.follow(TOPIC, { signal: stop.signal })) {
    for (const event of events) found.push({ event, data: codec.decode(event.value).data as AddressesObserved })
    if (found.length >= total) stop.abort()
  }
  return found
}

describe('what is asked and recorded', () => {
  test('names, network and country of each address come in the order of the requests', async () => {
    const { resolver } = await dns(everyAddressHasAName)
    const { observer } = await open('one', { resolver })
    const found = await observer.observe(about('192.0.2.1', '192.0.2.2', '192.0.2.1'), asking)
    const [first, second] = ['1', '2'].map((host) => ({
      address: `192.0.2.${host}`,
      observed: true,
      ptr: [{ name: `host-192-0-2-${host}.example.net`, confirmed: true }],
      asn: 64496,
      as_name: 'Example Network',
      country: 'NZ',
    }))
    expect(found).toEqual([first, second, first])
    expect(observer.counters()).toEqual({ asked: 2, answered: 2, unanswered: 0, hits: 0, recorded: 2 })
  })

  test('each answer is on the topic once, in the partition of its address, in events of bounded size', async () => {
    const { observer } = await open('one')
    const addresses = manyAddresses(5000)
    await observer.observe(about(...addresses), asking)
    const events = await eventsOnTopic()
    expect(events.flatMap(({ data }) => data.addresses.map(({ address }) => address)).sort()).toEqual(addresses.sort())
    for (const { event, data } of events) {
      expect(data).toMatchObject({ epoch: 1, day: DAY, observed_at: 1_772_000_000_000, data_version: 'test NZ' })
      expect(data.addresses.length).toBeLessThanOrEqual(200)
      for (const { address } of data.addresses) expect(partitionOf(address, PARTITIONS)).toBe(event.partition)
    }
  })

  test('addresses with many long names go into more and smaller events', async () => {
    const label = 'x'.repeat(60)
    const { resolver } = await dns((name, type) => ({
      answers:
        type === 'PTR'
          ? Array.from({ length: 10 }, (_, n) => ptr(name, `n${n}.${label}.${label}.${label}.example`))
          : [a(name, '192.0.2.1')],
    }))
    const { observer } = await open('one', { resolver, budgetMilliseconds: 20_000 })
    await observer.observe(about(...manyAddresses(600)), asking)
    const events = await eventsOnTopic()
    expect(events.flatMap(({ data }) => data.addresses)).toHaveLength(600)
    for (const { event } of events) expect(event.value.length).toBeLessThanOrEqual(64 * 1024)
  })

  test('with look-ups off, network and country are still found', async () => {
    const { observer } = await open('one')
    const [found] = await observer.observe(about('192.0.2.1'), asking)
    expect(found).toMatchObject({ observed: false, ptr: [], asn: 64496, country: 'NZ' })
    expect(observer.counters()).toMatchObject({ asked: 1, answered: 0, unanswered: 1, recorded: 1 })
  })

  test('each day and each epoch is asked anew, the same day never again', async () => {
    const { resolver, server } = await dns(everyAddressHasAName)
    const { observer } = await open('one', { resolver })
    await observer.observe(about('192.0.2.1'), asking)
    await observer.observe(about('192.0.2.1'), asking)
    expect(observer.counters()).toMatchObject({ asked: 1, hits: 1, recorded: 1 })
    await observer.observe([{ day: '2026-03-02', address: '192.0.2.1' }], asking)
    await observer.observe(about('192.0.2.1'), { ...asking, epoch: 2 })
    expect(observer.counters()).toMatchObject({ asked: 3, recorded: 3 })
    expect(server.asked).toHaveLength(2)
  })

  test('address data that is still opening is waited for, and its failure is told', async () => {
    const { promise, resolve } = Promise.withResolvers<AddressData>()
    const late = await open('late', { data: promise })
    const waiting = late.observer.observe(about('192.0.2.1'), asking)
    resolve(dataOf('FI'))
    expect((await waiting)[0]!.country).toBe('FI')
    const broken = Promise.withResolvers<AddressData>()
    const failed = await open('failed', { data: broken.promise })
    broken.reject(new Error('no data here'))
    await expect(failed.observer.observe(about('192.0.2.9'), asking)).rejects.toThrow('no data here')
  })

  test('no request is no question', async () => {
    const { observer } = await open('one')
    expect(await observer.observe([], asking)).toEqual([])
    expect(await eventsOnTopic()).toEqual([])
  })
})

describe('the first answer counts', () => {
  test('two observers with different data end with the same answers', async () => {
    const one = await open('one', { data: dataOf('AA') })
    const two = await open('two', { data: dataOf('BB') })
    const addresses = manyAddresses(3000)
    const halves = [addresses.slice(0, 2000), addresses.slice(1000).reverse()] as const
    await Promise.all([
      one.observer.observe(about(...halves[0]), asking),
      two.observer.observe(about(...halves[1]), asking),
    ])
    const fromOne = await one.observer.observe(about(...addresses), asking)
    const fromTwo = await two.observer.observe(about(...addresses), asking)
    expect(fromOne).toEqual(fromTwo)
    expect(new Set(fromOne.map(({ country }) => country))).toEqual(new Set(['AA', 'BB']))
    const first = new Map<string, string | null>()
    for (const { data } of await eventsOnTopic())
      for (const { address, country } of data.addresses) if (!first.has(address)) first.set(address, country)
    expect(fromOne.map(({ country }) => country)).toEqual(addresses.map((address) => first.get(address)))
  })

  test('calls of one observer at the same time agree', async () => {
    const { observer } = await open('one')
    const addresses = manyAddresses(500)
    const all = await Promise.all(Array.from({ length: 5 }, () => observer.observe(about(...addresses), asking)))
    for (const answers of all) expect(answers).toEqual(all[0])
  })

  test('an answer that says that nobody answered stands as well', async () => {
    const { resolver } = await dns(everyAddressHasAName)
    const off = await open('off')
    await off.observer.observe(about('192.0.2.1'), asking)
    const on = await open('on', { resolver })
    expect((await on.observer.observe(about('192.0.2.1'), asking))[0]!.observed).toBe(false)
  })
})

describe('starting again', () => {
  test('what was observed is known without asking, and reading begins where it ended', async () => {
    const addresses = manyAddresses(1000)
    const before = await open('one')
    const answers = await before.observer.observe(about(...addresses), asking)
    await close(before)
    const after = await open('one', { data: dataOf('XX') })
    let total = -1
    await after.observer.refresh((_, all) => {
      total = all
    })
    expect(total).toBe(0)
    expect(await after.observer.observe(about(...addresses), asking)).toEqual(answers)
    expect(after.observer.counters()).toMatchObject({ asked: 0, recorded: 0, hits: 1000 })
  })

  test('without its state it reads the topic again, tells how far it is, and ends with the same', async () => {
    const addresses = manyAddresses(3000)
    const answers = await (await open('one')).observer.observe(about(...addresses), asking)
    const fresh = await open('fresh', { data: dataOf('XX') })
    const told: [number, number][] = []
    await fresh.observer.refresh((done, total) => told.push([done, total]))
    expect(told.at(-1)![0]).toBe(told.at(-1)![1])
    expect(told.at(-1)![1]).toBe((await eventsOnTopic()).length)
    expect(await fresh.observer.observe(about(...addresses), asking)).toEqual(answers)
    expect(fresh.observer.counters().recorded).toBe(0)
  })

  test('a state that has seen more than the log holds belongs to another log, and is forgotten', async () => {
    const other = await open('one')
    await other.state.keepObservations(
      1,
      [
        {
          day: DAY,
          observation: { address: '192.0.2.1', observed: true, ptr: [], asn: 1, as_name: null, country: 'XX' },
        },
      ],
      new Map([[0, 1000]]),
    )
    const [found] = await other.observer.observe(about('192.0.2.1'), asking)
    expect(found!.country).toBe('NZ')
  })
})

describe('a replay', () => {
  test('asks nobody: what is not on the topic is recorded as not observed', async () => {
    const { resolver, server } = await dns(everyAddressHasAName)
    const data: AddressData = {
      version: 'test',
      find() {
        throw new Error('asked in a replay')
      },
    }
    const { observer } = await open('one', { resolver, data })
    const [found] = await observer.observe(about('192.0.2.1'), replaying)
    expect(found).toEqual({ address: '192.0.2.1', observed: false, ptr: [], asn: null, as_name: null, country: null })
    expect(server.asked).toEqual([])
    const [recorded] = await eventsOnTopic()
    expect(recorded!.data).toMatchObject({ data_version: null, addresses: [found] })
    expect(observer.counters()).toMatchObject({ asked: 0, recorded: 1 })
  })

  test('waits until the live generation is done, and takes what that one observed meanwhile', async () => {
    const live = await open('live')
    let waited = 0
    const settledLive = async () => {
      waited++
      await live.observer.observe(about('192.0.2.1'), asking)
    }
    const replay = await open('replay', { settledLive, data: dataOf('XX') })
    const [found] = await replay.observer.observe(about('192.0.2.1'), replaying)
    expect(found!.country).toBe('NZ')
    expect(waited).toBe(1)
    await replay.observer.observe(about('192.0.2.1'), replaying)
    expect(waited).toBe(1)
  })
})

describe('trouble', () => {
  async function deadServer(): Promise<DnsServer> {
    const server = await startDnsServer(() => null)
    closers.push(server)
    return server
  }

  test('a dead server delays 100,000 addresses no longer than the budget', async () => {
    const server = await deadServer()
    const resolver = openResolver({
      servers: [server.address],
      timeoutMilliseconds: 60_000,
      lookUpMilliseconds: 60_000,
    })
    closers.push(resolver)
    const { observer } = await open('one', { resolver, budgetMilliseconds: 500 })
    await observer.refresh()
    const dead = performance.now()
    const found = await observer.observe(about(...manyAddresses(100_000)), asking)
    const withDead = performance.now() - dead
    expect(found.some(({ observed }) => observed)).toBe(false)
    expect(found.every(({ country }) => country === 'NZ')).toBe(true)
    expect(observer.counters()).toMatchObject({ asked: 100_000, answered: 0, unanswered: 100_000 })
    // The same without look-ups, as the measure of what this machine needs for all the rest.
    const off = await open('off')
    const start = performance.now()
    await off.observer.observe(
      about(...manyAddresses(100_000)).map((one) => ({ ...one, day: '2026-03-02' })),
      asking,
    )
    expect(withDead).toBeLessThan(500 + 3 * (performance.now() - start) + 2000)
  })

  test('what answers within the budget is taken, what is late is not', async () => {
    const { resolver } = await dns(
      (name, type) => ({
        ...everyAddressHasAName(name, type, 'udp')!,
        ...(name.startsWith('9.') ? { afterMilliseconds: 1500 } : {}),
      }),
      { timeoutMilliseconds: 5000 },
    )
    const { observer } = await open('one', { resolver, budgetMilliseconds: 600 })
    const found = await observer.observe(about('192.0.2.1', '192.0.2.9'), asking)
    expect(found.map(({ observed }) => observed)).toEqual([true, false])
    expect(observer.counters()).toMatchObject({ answered: 1, unanswered: 1 })
  })

  test('a signal ends waiting', async () => {
    const server = await deadServer()
    const resolver = openResolver({ servers: [server.address], timeoutMilliseconds: 60_000 })
    closers.push(resolver)
    const { observer } = await open('one', { resolver, budgetMilliseconds: 60_000 })
    const stop = new AbortController()
    const waiting = observer.observe(about('192.0.2.1'), { ...asking, signal: stop.signal })
    setTimeout(() => stop.abort(new Error('enough')), 50)
    await expect(waiting).rejects.toThrow('enough')
  })

  test('a log that ends is told to whoever asks', async () => {
    const { observer } = await open('one')
    await observer.refresh()
    await log.close()
    await expect(observer.observe(about('192.0.2.1'), asking)).rejects.toThrow('closed')
  })

  test('a closed observer refuses', async () => {
    const { observer } = await open('one')
    await observer.refresh()
    await observer.close()
    await expect(observer.observe(about('192.0.2.1'), asking)).rejects.toThrow('observer is closed')
  })
})
