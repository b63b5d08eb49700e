/** What brokers, networks and readers do wrong. Everything acknowledged must be read; what is read twice is counted. */
import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { type KafkaLog, type KafkaLogOptions, openKafkaLog } from '../../topics/kafka-log.ts'
import type { Batch, LogEvent } from '../../topics/log.ts'
import { LogUnavailable } from '../../topics/log.ts'
import { missing, text, textOf } from '../topics/log.contract.ts'
import { freePort, install, type Kafka, start, unavailable } from './services/kafka.ts'
import { startTcpProxy, type TcpProxy } from './tcp-proxy.ts'

const reason = unavailable()
if (reason !== null && process.env.CI === 'true') throw new Error(`Kafka cannot be started: ${reason}.`)

const PARTITIONS = 12
const FETCH_API = 1
const isFetch = (piece: Buffer) => piece.length > 6 && piece.readInt16BE(4) === FETCH_API

/** Appends numbered events, some calls at a time, until it is stopped. Keeps what was acknowledged. */
class Load {
  readonly acknowledged: string[] = []
  readonly #log: KafkaLog
  readonly #topic: string
  readonly #callers: Promise<void>[]
  #next = 0
  #isOver = false

  constructor(log: KafkaLog, topic: string, callers = 4, pause = 5) {
    this.#log = log
    this.#topic = topic
    this.#callers = Array.from({ length: callers }, () => this.#call(pause))
  }

  async #call(pause: number): Promise<void> {
    while (!this.#isOver) {
      const values = Array.from({ length: 5 }, () => String(this.#next++))
      const events = values.map((value) => ({ key: value, value: text(value) }))
      try {
        await this.#log.append(this.#topic, events)
        this.acknowledged.push(...values)
      } catch (error) {
        if (!(error instanceof LogUnavailable)) throw error
      }
      await sleep(pause)
    }
  }

  async stop(): Promise<readonly string[]> {
    this.#isOver = true
    await Promise.all(this.#callers)
    return this.acknowledged
  }
}

/** What was read, by value: how often. */
class Tally {
  readonly counts = new Map<string, number>()

  add(events: readonly LogEvent[]): void {
    for (const event of events) {
      const value = textOf(event)
      this.counts.set(value, (this.counts.get(value) ?? 0) + 1)
    }
  }

  get twice(): number {
    return [...this.counts.values()].filter((count) => count > 1).length
  }

  async untilAll(values: readonly string[], milliseconds: number): Promise<void> {
    const end = performance.now() + milliseconds
    while (missing(values, [...this.counts.keys()]).length > 0 && performance.now() < end) await sleep(100)
    expect(missing(values, [...this.counts.keys()])).toEqual([])
  }
}

/** A reader that holds a few batches before it commits them, as the loops do. Asked to leave, it commits all first. */
async function readInto(tally: Tally, log: KafkaLog, topic: string, stop: AbortController, leave?: AbortSignal) {
  const open: Batch[] = []
  for await (const batch of log.read(topic, { group: 'readers', signal: stop.signal, maxEvents: 50 })) {
    tally.add(batch.events)
    open.push(batch)
    const isLast = batch.events.length < 50 || leave?.aborted === true
    for (const one of open.splice(0, isLast ? open.length : open.length - 2)) await one.commit()
    if (leave?.aborted === true) stop.abort()
  }
}

describe.skipIf(reason !== null)(`Kafka with faults${reason === null ? '' : ` (skipped: ${reason})`}`, () => {
  let kafka: Kafka
  let proxy: TcpProxy
  const problems: string[] = []
  const logs: KafkaLog[] = []
  const stops: AbortController[] = []

  beforeAll(async () => {
    await install()
    const port = await freePort()
    proxy = await startTcpProxy(port)
    kafka = await start({ port, advertisedPort: proxy.port })
  })
  afterAll(async () => {
    await proxy?.close()
    await kafka?.stop()
  })
  afterEach(async () => {
    Object.assign(proxy, { delay: 0, isRefusing: false, silences: () => false })
    for (const stop of stops.splice(0)) stop.abort()
    await Promise.all(logs.splice(0).map((log) => log.close()))
    problems.length = 0
  })

  const open = async (options: Partial<KafkaLogOptions> = {}): Promise<KafkaLog> => {
    const log = await openKafkaLog({
      brokers: kafka.brokers,
      ssl: false,
      sasl: null,
      clientId: 'mailtrail-test',
      replication: 1,
      fetchBytes: 1024 * 1024,
      onProblem: (message) => problems.push(message),
      ...options,
    })
    logs.push(log)
    return log
  }
  const stopper = () => {
    const stop = new AbortController()
    stops.push(stop)
    return stop
  }
  const makeTopic = async (name: string, maxValueBytes = 1024 * 1024) => {
    const log = await open()
    await log.createTopic({ name, partitions: PARTITIONS, maxValueBytes })
    return log
  }

  test('a broker that is killed and comes back: reading and appending go on, nothing acknowledged is lost', async () => {
    const log = await makeTopic('killed')
    const tally = new Tally()
    const stop = stopper()
    const reading = readInto(tally, log, 'killed', stop)
    const load = new Load(log, 'killed')
    for (const down of [2000, 12_000]) {
      await sleep(2000)
      await kafka.kill()
      await sleep(down)
      const before = load.acknowledged.length
      await kafka.restart()
      const restarted = performance.now()
      while (load.acknowledged.length < before + 100) await sleep(50)
      await tally.untilAll(load.acknowledged.slice(0, before + 100), 60_000)
      const seconds = ((performance.now() - restarted) / 1000).toFixed(1)
      console.log(`down for ${down / 1000} s: reading again after ${seconds} s, ${tally.twice} read twice`)
      expect(performance.now() - restarted).toBeLessThan(60_000)
    }
    await tally.untilAll(await load.stop(), 60_000)
    stop.abort()
    await reading
  })

  test('connections that are reset and an answer time of a second: nothing acknowledged is lost', async () => {
    const log = await makeTopic('reset')
    const tally = new Tally()
    const stop = stopper()
    const reading = readInto(tally, log, 'reset', stop)
    const load = new Load(log, 'reset')
    for (let i = 0; i < 8; i++) {
      await sleep(700)
      expect(proxy.cut()).toBeGreaterThan(0)
      if (i === 4) {
        proxy.isRefusing = true
        await sleep(1500)
        proxy.isRefusing = false
      }
    }
    proxy.delay = 500
    const before = load.acknowledged.length
    await sleep(8000)
    expect(load.acknowledged.length).toBeGreaterThan(before)
    proxy.delay = 0
    await tally.untilAll(await load.stop(), 60_000)
    console.log(`${load.acknowledged.length} acknowledged, ${tally.twice} read twice`)
    stop.abort()
    await reading
  })

  test('members that come and go under load: nothing is lost, and nothing is read twice', async () => {
    const seconds = process.env.CI === 'true' ? 120 : 15
    const log = await makeTopic('turns')
    const tally = new Tally()
    const load = new Load(log, 'turns', 4, 10)
    const steady = stopper()
    const reading = readInto(tally, log, 'turns', steady)
    let visits = 0
    const end = performance.now() + seconds * 1000
    const visit = async (stay: number) => {
      while (performance.now() < end) {
        const visitor = await open()
        const leave = new AbortController()
        const visiting = readInto(tally, visitor, 'turns', stopper(), leave.signal)
        visits++
        await sleep(stay)
        leave.abort()
        await visiting
        await visitor.close()
      }
    }
    await Promise.all([visit(1700), visit(2900)])
    await tally.untilAll(await load.stop(), 60_000)
    steady.abort()
    await reading
    console.log(`${visits} visits, ${load.acknowledged.length} acknowledged, ${tally.twice} read twice`)
    expect(visits).toBeGreaterThan(4)
    expect(tally.twice).toBe(0)
  }, 300_000)

  test('a reader to whom nothing comes although something is there begins anew', async () => {
    const log = await makeTopic('stalled')
    const stalling = await open({ stallTimeout: 3000 })
    const tally = new Tally()
    const stop = stopper()
    const reading = readInto(tally, stalling, 'stalled', stop)
    await log.append('stalled', [{ key: 'a', value: text('before') }])
    await tally.untilAll(['before'], 10_000)
    proxy.silences = isFetch
    await sleep(1000)
    proxy.silences = () => false
    await log.append('stalled', [{ key: 'a', value: text('after') }])
    await tally.untilAll(['after'], 10_000)
    expect(problems.join()).toContain('begins anew')
    expect(tally.twice).toBe(0)
    stop.abort()
    await reading
  })

  test('an outage is told after half a minute, appends are given up by then, and all of it heals', async () => {
    const log = await makeTopic('outage')
    proxy.isRefusing = true
    proxy.cut()
    const began = performance.now()
    await expect(log.append('outage', [{ key: 'a', value: text('lost in time') }])).rejects.toThrow(LogUnavailable)
    expect(performance.now() - began).toBeGreaterThan(25_000)
    await expect(log.watermarks('outage')).rejects.toThrow(LogUnavailable)
    expect(problems.join()).toMatch(/Appending to Kafka has failed for 3\d s/)
    proxy.isRefusing = false
    expect((await log.append('outage', [{ key: 'a', value: text('again') }])).length).toBe(1)
    expect(problems.join()).toContain('Appending to Kafka works again')
  })

  test('close ends promptly although no broker answers', async () => {
    const log = await makeTopic('closing')
    const stop = stopper()
    const reading = readInto(new Tally(), log, 'closing', stop)
    const outcome = expect(reading).rejects.toThrow('The log is closed')
    await sleep(1500)
    proxy.isRefusing = true
    proxy.cut()
    const began = performance.now()
    await log.close()
    await outcome
    expect(performance.now() - began).toBeLessThan(8000)
  })

  test('a slow reader holds no more than its bound', async () => {
    const log = await makeTopic('slow')
    const bytes = 256 * 1024
    const slow = await open({ fetchBytes: bytes })
    const value = Buffer.alloc(20_000)
    for (let i = 0; i < 30; i++)
      await log.append(
        'slow',
        Array.from({ length: 120 }, (_, j) => ({ key: `${i}-${j}`, value: incompressible(value) })),
      )
    // What the appends held goes when the collector has come round to it.
    let before = heldBytes()
    for (let look = 0; look < 20; look++) {
      await sleep(100)
      before = Math.min(before, heldBytes())
    }
    const stop = stopper()
    let most = 0
    let events = 0
    for await (const batch of slow.read('slow', { group: 'slow', signal: stop.signal, maxEvents: 10 })) {
      events += batch.events.length
      await sleep(100)
      most = Math.max(most, heldBytes() - before)
      if (events >= 300) stop.abort()
    }
    console.log(`a reader of ${PARTITIONS} × ${bytes / 1024} KB held ${(most / 1e6).toFixed(1)} MB at most, of 72 MB`)
    expect(most).toBeGreaterThan(bytes)
    // One batch always, however large; and the answer that is just coming in.
    expect(most).toBeLessThan(3 * PARTITIONS * bytes)
  })
})

describe.skipIf(reason !== null)('three brokers', () => {
  let kafka: Kafka

  beforeAll(async () => {
    await install()
    kafka = await start({ brokers: 3, heap: '384m' })
  })
  afterAll(() => kafka?.stop())

  test('one of them is killed and comes back: everything goes on without it, nothing acknowledged is lost', async () => {
    const log = await openKafkaLog({
      brokers: kafka.brokers,
      ssl: false,
      sasl: null,
      clientId: 'mailtrail-test',
      replication: 0,
      fetchBytes: 1024 * 1024,
      onProblem: () => undefined,
    })
    try {
      await log.createTopic({ name: 'three', partitions: PARTITIONS, maxValueBytes: 1024 * 1024 })
      const tally = new Tally()
      const stop = new AbortController()
      const reading = readInto(tally, log, 'three', stop)
      const load = new Load(log, 'three')
      for (const broker of [1, 2, 3]) {
        await sleep(1500)
        await kafka.kill(broker)
        const killed = performance.now()
        const before = load.acknowledged.length
        await sleep(1000)
        while (load.acknowledged.length < before + 500) await sleep(50)
        const until = load.acknowledged.length
        await tally.untilAll(load.acknowledged.slice(0, until), 60_000)
        const seconds = ((performance.now() - killed) / 1000).toFixed(1)
        console.log(`without broker ${broker}: all read ${seconds} s after the kill, ${tally.twice} read twice`)
        await kafka.restart(broker)
      }
      await tally.untilAll(await load.stop(), 60_000)
      stop.abort()
      await reading
    } finally {
      await log.close()
    }
  })
})

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

/** Bytes of all buffers that are still used. */
function heldBytes(): number {
  collectGarbage()
  return process.memoryUsage().arrayBuffers
}

function incompressible(value: Buffer): Buffer {
  const copy = Buffer.from(value)
  for (let i = 0; i + 4 <= copy.length; i += 4) copy.writeUInt32LE((Math.random() * 2 ** 32) >>> 0, i)
  return copy
}
