/** What every log must do. Run by the test of each implementation with its own backend. */
import { randomBytes, randomUUID } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  type Appended,
  type Batch,
  erasedHeader,
  type Gap,
  isErased,
  type Log,
  LogClosed,
  type LogEvent,
  type NewEvent,
  OffsetGone,
  OversizedEvent,
  type ReadOptions,
  type TopicSettings,
  UnknownTopic,
} from '../../topics/log.ts'

export interface LogBackend {
  /** Opens the log; after `close` of the one before, the same log again. */
  open(): Promise<Log>
  /** A process of its own appends numbered values to the topic and is killed; returns the values acknowledged to it. */
  appendThenKill(topic: string): Promise<readonly string[]>
  /**
   * Removes now what is older than the topic keeps: the events of partition 0 below `offset`. Where a broker does so in its
   * own time, by offset.
   */
  expire(log: Log, topic: string, offset: number): Promise<void>
  /** Whether `onceId` is exact: also among processes and after a restart. */
  readonly exactOnce: boolean
  /** Whether another partition count than the topic has is refused; else it is told to the operator. */
  readonly refusesOtherPartitions: boolean
  remove(): Promise<void>
}

export const text = (value: string) => Buffer.from(value, 'utf8')
export const textOf = (event: LogEvent) => Buffer.from(event.value).toString('utf8')

/** What was acknowledged and is not kept. */
export function missing(acknowledged: readonly string[], kept: readonly string[]): string[] {
  const found = new Set(kept)
  return acknowledged.filter((value) => !found.has(value))
}

/** Reads until `count` events have come, commits each batch when asked to, then aborts. */
export async function readEvents(
  log: Log,
  topic: string,
  count: number,
  options: Omit<ReadOptions, 'signal'> & { readonly commit?: boolean },
): Promise<LogEvent[]> {
  const stop = new AbortController()
  const events: LogEvent[] = []
  for await (const batch of log.read(topic, { ...options, signal: stop.signal })) {
    events.push(...batch.events)
    if (options.commit === true) await batch.commit()
    if (events.length >= count) stop.abort()
  }
  return events
}

export async function followEvents(
  log: Log,
  topic: string,
  count: number,
  from?: ReadonlyMap<number, number>,
): Promise<LogEvent[]> {
  const stop = new AbortController()
  const events: LogEvent[] = []
  const options = from === undefined ? { signal: stop.signal } : { signal: stop.signal, from }
  for await (const batch of log.follow(topic, options)) {
    events.push(...batch)
    if (events.length >= count) stop.abort()
  }
  return events
}

export function logContract(name: string, makeBackend: () => Promise<LogBackend>): void {
  describe(`${name} as a log`, () => {
    let backend: LogBackend
    let log: Log
    let topic: string

    const makeTopic = async (settings: Partial<TopicSettings> = {}): Promise<string> => {
      const created = `topic-${randomUUID()}`
      await log.createTopic({ name: created, partitions: 3, maxValueBytes: 8 * 1024 * 1024, ...settings })
      return created
    }
    const reopen = async () => {
      await log.close()
      log = await backend.open()
    }

    beforeEach(async () => {
      backend = await makeBackend()
      log = await backend.open()
      topic = await makeTopic()
    })
    afterEach(async () => {
      await log.close()
      await backend.remove()
    })

    test('what was acknowledged is there after kill -9', async () => {
      await log.close()
      const acknowledged = await backend.appendThenKill(topic)
      log = await backend.open()
      const kept = (await followEvents(log, topic, acknowledged.length)).map((event) => textOf(event).trimEnd())
      expect(acknowledged.length).toBeGreaterThan(0)
      expect(missing(acknowledged, kept)).toEqual([])
    })

    test('events of one key stay in one partition, in order', async () => {
      const keys = ['a', 'b', 'c', 'd', 'e']
      for (let i = 0; i < 20; i++)
        await log.append(
          topic,
          keys.map((key) => ({ key, value: text(`${key}${i}`) })),
        )
      const events = await readEvents(log, topic, 100, { group: 'g' })
      for (const key of keys) {
        const own = events.filter((event) => event.key === key)
        expect(own.map(textOf)).toEqual(Array.from({ length: 20 }, (_, i) => `${key}${i}`))
        expect(new Set(own.map(({ partition }) => partition)).size).toBe(1)
        expect(own.map(({ offset }) => offset)).toEqual(own.map(({ offset }) => offset).toSorted((a, b) => a - b))
      }
    })

    test('the position that append answers is where the event is', async () => {
      const positions = await log.append(topic, [
        { key: 'a', value: text('one') },
        { key: null, value: text('two') },
        { key: 'b', value: text('three') },
      ])
      const found = await Promise.all(positions.map(({ partition, offset }) => log.get(topic, partition, offset)))
      expect(found.map((event) => textOf(event!))).toEqual(['one', 'two', 'three'])
      expect(positions.map(({ duplicate }) => duplicate)).toEqual([false, false, false])
    })

    test('an event that is not there is null', async () => {
      const [position] = await log.append(topic, [{ key: 'a', value: text('one') }])
      expect(await log.get(topic, position!.partition, position!.offset + 1)).toBeNull()
      expect(await log.get(topic, (position!.partition + 1) % 3, position!.offset)).toBeNull()
    })

    test('events without a key reach every partition in the end', async () => {
      const partitions = new Set<number>()
      for (let i = 0; i < 60 && partitions.size < 3; i++)
        for (const { partition } of await log.append(topic, [{ key: null, value: text('x') }]))
          partitions.add(partition)
      expect(partitions.size).toBe(3)
    })

    test('values come back bit by bit, from none to several megabytes', async () => {
      const values = [0, 1, 63, 64, 5000, 65_536, 3_000_000].flatMap((size) => [
        randomBytes(size),
        Buffer.alloc(size, 'abc'),
      ])
      await log.append(
        topic,
        values.map((value, i) => ({ key: String(i), value })),
      )
      const events = await readEvents(log, topic, values.length, { group: 'g' })
      for (const event of events) expect(Buffer.from(event.value).equals(values[Number(event.key)]!)).toBe(true)
      expect(events.length).toBe(values.length)
    })

    test('a value that is part of a larger buffer is taken as it was when append was called', async () => {
      const whole = Buffer.from('....middle....')
      const appended = log.append(topic, [{ key: 'a', value: whole.subarray(4, 10) }])
      whole.fill('!')
      await appended
      expect((await readEvents(log, topic, 1, { group: 'g' })).map(textOf)).toEqual(['middle'])
    })

    test('an empty value, headers, key and timestamp are kept', async () => {
      const headers = { source: 'a:b "c" \\ ü ✓', empty: '' }
      await log.append(topic, [{ key: 'ключ', value: new Uint8Array(), headers, timestamp: 1_234_567_890_123 }])
      const [event] = await readEvents(log, topic, 1, { group: 'g' })
      expect(event).toMatchObject({ topic, key: 'ключ', headers, timestamp: 1_234_567_890_123 })
      expect(event!.value.length).toBe(0)
    })

    test('an event without key and headers has null and none', async () => {
      const before = Date.now()
      await log.append(topic, [{ key: null, value: text('x') }])
      const [event] = await readEvents(log, topic, 1, { group: 'g' })
      expect(event).toMatchObject({ key: null, headers: {} })
      expect(event!.timestamp).toBeGreaterThanOrEqual(before - 60_000)
    })

    test('a reader starts where its group committed, also after a restart', async () => {
      await log.append(topic, numbered(0, 10))
      await readEvents(log, topic, 10, { group: 'g', commit: true })
      await reopen()
      await log.append(topic, numbered(10, 15))
      const events = await readEvents(log, topic, 5, { group: 'g' })
      expect(events.map(textOf).toSorted()).toEqual(['10', '11', '12', '13', '14'])
    })

    test('a batch that was not committed comes again', async () => {
      await log.append(topic, numbered(0, 5))
      await readEvents(log, topic, 5, { group: 'g' })
      expect((await readEvents(log, topic, 5, { group: 'g' })).length).toBe(5)
    })

    test('groups do not see each other', async () => {
      await log.append(topic, numbered(0, 5))
      await readEvents(log, topic, 5, { group: 'one', commit: true })
      expect((await readEvents(log, topic, 5, { group: 'two' })).length).toBe(5)
      expect((await log.committed(topic, 'two')).size).toBe(0)
    })

    test('from wins over what the group committed', async () => {
      const positions = await log.append(topic, numbered(0, 10, 'same key'))
      await readEvents(log, topic, 10, { group: 'g', commit: true })
      const { partition, offset } = positions[7]!
      const from = async (asked: number) => (asked === partition ? offset : undefined)
      expect((await readEvents(log, topic, 3, { group: 'g', from })).map(textOf)).toEqual(['7', '8', '9'])
    })

    test('from is asked once for each partition', async () => {
      await log.append(topic, numbered(0, 5))
      const asked: number[] = []
      const from = (partition: number) => {
        asked.push(partition)
        return undefined
      }
      await readEvents(log, topic, 5, { group: 'g', from, maxEvents: 1 })
      expect(asked.toSorted()).toEqual([0, 1, 2])
    })

    test('a commit never moves back', async () => {
      await log.append(topic, numbered(0, 4, 'same key'))
      const stop = new AbortController()
      const batches: Batch[] = []
      for await (const batch of log.read(topic, { group: 'g', signal: stop.signal, maxEvents: 2 })) {
        batches.push(batch)
        if (batches.length === 2) {
          await batch.commit()
          const committed = await log.committed(topic, 'g')
          await batches[0]!.commit()
          expect(await log.committed(topic, 'g')).toEqual(committed)
          stop.abort()
        }
      }
      expect(batches.length).toBe(2)
    })

    test('a batch holds no more events and bytes than asked for, but one at least', async () => {
      const events = Array.from({ length: 10 }, (): NewEvent => ({ key: 'k', value: Buffer.alloc(1000) }))
      await log.append(topic, events)
      const sizes = async (limits: { maxEvents?: number; maxBytes?: number }) => {
        const stop = new AbortController()
        const lengths: number[] = []
        for await (const batch of log.read(topic, { group: 'g', signal: stop.signal, ...limits })) {
          lengths.push(batch.events.length)
          if (lengths.reduce((sum, length) => sum + length) === 10) stop.abort()
        }
        return lengths
      }
      expect(Math.max(...(await sizes({ maxEvents: 3 })))).toBeLessThanOrEqual(3)
      expect(Math.max(...(await sizes({ maxBytes: 2500 })))).toBeLessThanOrEqual(2)
      expect(await sizes({ maxBytes: 1 })).toEqual(new Array(10).fill(1))
    })

    test('a waiting reader is woken by an append', async () => {
      const reading = readEvents(log, topic, 2, { group: 'g' })
      await log.append(topic, numbered(0, 1))
      await log.append(topic, numbered(1, 2))
      expect((await reading).map(textOf).toSorted()).toEqual(['0', '1'])
    })

    test('follow reads without a group, from the beginning or from where it is told', async () => {
      const positions = await log.append(topic, numbered(0, 10, 'same key'))
      expect((await followEvents(log, topic, 10)).length).toBe(10)
      const { partition, offset } = positions[8]!
      const events = await followEvents(log, topic, 2, new Map([[partition, offset]]))
      expect(events.map(textOf)).toEqual(['8', '9'])
    })

    test.each([
      ['while it waits', 0],
      ['while the consumer holds a batch', 5],
    ])('an abort ends a reader promptly and without error %s', async (_, count) => {
      await log.append(topic, numbered(0, count))
      const stop = new AbortController()
      let batches = 0
      let aborted = 0
      const abort = () => {
        aborted = performance.now()
        stop.abort()
      }
      if (count === 0) setTimeout(abort, 200)
      for await (const _batch of log.read(topic, { group: 'g', signal: stop.signal, maxEvents: 1 })) {
        batches++
        abort()
      }
      expect(performance.now() - aborted).toBeLessThan(1000)
      expect(batches).toBe(Math.min(count, 1))
    })

    test('a reader whose signal was aborted before reads nothing', async () => {
      await log.append(topic, numbered(0, 5))
      for await (const _batch of log.read(topic, { group: 'g', signal: AbortSignal.abort() })) expect.unreachable()
      for await (const _events of log.follow(topic, { signal: AbortSignal.abort() })) expect.unreachable()
    })

    test('an oversized event is refused and nothing of its call is kept', async () => {
      const small = await makeTopic({ maxValueBytes: 100 })
      const call = log.append(small, [
        { key: 'a', value: Buffer.alloc(100) },
        { key: 'a', value: Buffer.alloc(101) },
      ])
      await expect(call).rejects.toThrow(OversizedEvent)
      expect((await log.watermarks(small)).every(({ low, high }) => low === high)).toBe(true)
    })

    test('a topic that was not created is refused', async () => {
      const signal = AbortSignal.timeout(5000)
      await expect(log.append('nowhere', numbered(0, 1))).rejects.toThrow(UnknownTopic)
      await expect(log.get('nowhere', 0, 0)).rejects.toThrow(UnknownTopic)
      await expect(log.watermarks('nowhere')).rejects.toThrow(UnknownTopic)
      await expect(firstOf(log.read('nowhere', { group: 'g', signal }))).rejects.toThrow(UnknownTopic)
      await expect(firstOf(log.follow('nowhere', { signal }))).rejects.toThrow(UnknownTopic)
    })

    test('creating a topic again changes its settings but never its partitions', async () => {
      await log.createTopic({ name: topic, partitions: 3, maxValueBytes: 10 })
      await expect(log.append(topic, [{ key: 'a', value: Buffer.alloc(11) }])).rejects.toThrow(OversizedEvent)
      const other = log.createTopic({ name: topic, partitions: 4, maxValueBytes: 10 })
      if (backend.refusesOtherPartitions) await expect(other).rejects.toThrow(/partitions/)
      else await other
      await reopen()
      expect(await log.topics()).toContain(topic)
      expect((await log.watermarks(topic)).length).toBe(3)
    })

    test('a call without events answers nothing', async () => {
      expect(await log.append(topic, [])).toEqual([])
    })

    test('watermarks and lag tell how far a group is', async () => {
      expect((await log.watermarks(topic)).map(({ partition }) => partition)).toEqual([0, 1, 2])
      expect((await log.watermarks(topic)).every(({ low, high }) => low === high)).toBe(true)
      expect(await log.lag(topic, new Map())).toEqual({ events: 0, oldest: null })
      const events = numbered(0, 12).map((event, i) => ({ ...event, timestamp: 1_700_000_000_000 + i }))
      const positions = await log.append(topic, events)
      expect(await log.lag(topic, new Map())).toEqual({ events: 12, oldest: 1_700_000_000_000 })
      for (const { partition, high } of await log.watermarks(topic)) {
        const own = positions.filter((position) => position.partition === partition)
        expect(high).toBe(own.length === 0 ? 0 : own.at(-1)!.offset + 1)
      }
      await readEvents(log, topic, 12, { group: 'g', commit: true })
      const more = [{ key: '0', value: text('late'), timestamp: 1_700_000_009_000 }]
      await log.append(topic, more)
      const lag = await log.lag(topic, await log.committed(topic, 'g'))
      expect(lag).toEqual({ events: 1, oldest: 1_700_000_009_000 })
    })

    test('a topic that is deleted leaves nothing behind, and its name can be used again', async () => {
      await log.append(topic, numbered(0, 2))
      await readEvents(log, topic, 2, { group: 'g', commit: true })
      await log.deleteTopic(topic)
      expect(await log.topics()).not.toContain(topic)
      await expect(log.append(topic, numbered(2, 3))).rejects.toThrow(UnknownTopic)
      await log.deleteTopic(topic)
      await reopen()
      expect(await log.topics()).not.toContain(topic)
      await log.createTopic({ name: topic, partitions: 3, maxValueBytes: 1e6 })
      expect(await log.size(topic)).toEqual({ events: 0, bytes: 0 })
      expect([...(await log.committed(topic, 'g'))]).toEqual([])
      await log.append(topic, [{ key: 'a', value: text('again') }])
      expect((await readEvents(log, topic, 1, { group: 'g' })).map(textOf)).toEqual(['again'])
    })

    test('the size of a topic counts its events and their bytes', async () => {
      await log.append(topic, numbered(0, 3))
      const { events, bytes } = await log.size(topic)
      expect(events).toBe(3)
      expect(bytes).toBeGreaterThan(2)
    })

    test('after close every verb says so', async () => {
      await log.append(topic, numbered(0, 5))
      const signal = AbortSignal.timeout(5000)
      const reader = log.read(topic, { group: 'g', signal, maxEvents: 1 })[Symbol.asyncIterator]()
      const { value: batch } = await reader.next()
      const waiting = log.follow(topic, { signal })[Symbol.asyncIterator]()
      await waiting.next()
      const woken = waiting.next()
      const outcome = expect(woken).rejects.toThrow(LogClosed)
      await log.close()
      await outcome
      await expect(reader.next()).rejects.toThrow(LogClosed)
      await expect((batch as Batch).commit()).rejects.toThrow(LogClosed)
      const verbs = [
        log.createTopic({ name: topic, partitions: 3, maxValueBytes: 1 }),
        log.topics(),
        log.deleteTopic(topic),
        log.size(topic),
        log.append(topic, numbered(0, 1)),
        firstOf(log.read(topic, { group: 'h', signal })),
        firstOf(log.follow(topic, { signal })),
        log.get(topic, 0, 0),
        log.watermarks(topic),
        log.committed(topic, 'g'),
        log.members('g'),
        log.lag(topic, new Map()),
      ]
      for (const verb of await Promise.allSettled(verbs))
        expect(verb).toMatchObject({ status: 'rejected', reason: expect.any(LogClosed) })
      await log.close()
    })

    test('close waits for the appends under way', async () => {
      const appends = Array.from({ length: 50 }, (_, i) => log.append(topic, numbered(i, i + 1)))
      await log.close()
      await Promise.all(appends)
      log = await backend.open()
      expect((await followEvents(log, topic, 50)).length).toBe(50)
    })

    test('what is older than the topic keeps goes, and the low watermark moves', async () => {
      const kept = await makeTopic({ partitions: 1, retention: { milliseconds: 60_000 } })
      const old = numbered(0, 5).map((event) => ({ ...event, timestamp: Date.now() - 120_000 }))
      const positions = await log.append(kept, old)
      const [fresh] = await log.append(kept, numbered(5, 6))
      await backend.expire(log, kept, positions[4]!.offset + 1)
      const [watermark] = await log.watermarks(kept)
      expect(watermark!.low).toBe(positions[4]!.offset + 1)
      expect(watermark!.high).toBe(fresh!.offset + 1)
      expect(await log.get(kept, 0, positions[4]!.offset)).toBeNull()
      expect((await readEvents(log, kept, 1, { group: 'g' })).map(textOf)).toEqual(['5'])
      expect((await log.lag(kept, new Map())).events).toBe(1)
    })

    test('offsets are not used again after everything was removed', async () => {
      const kept = await makeTopic({ partitions: 1, retention: { milliseconds: 60_000 } })
      const old = numbered(0, 5).map((event) => ({ ...event, timestamp: Date.now() - 120_000 }))
      const positions = await log.append(kept, old)
      await backend.expire(log, kept, positions[4]!.offset + 1)
      await reopen()
      const high = positions[4]!.offset + 1
      expect(await log.watermarks(kept)).toEqual([{ partition: 0, low: high, high }])
      const [next] = await log.append(kept, numbered(5, 6))
      expect(next!.offset).toBeGreaterThanOrEqual(high)
      expect((await log.lag(kept, new Map([[0, high]]))).events).toBe(1)
    })

    describe('when events are gone that a group has not read', () => {
      let kept: string
      let positions: readonly Appended[]

      beforeEach(async () => {
        kept = await makeTopic({ partitions: 1, retention: { milliseconds: 60_000 } })
        const old = (from: number, to: number) =>
          numbered(from, to).map((event) => ({ ...event, timestamp: Date.now() - 120_000 }))
        positions = [...(await log.append(kept, old(0, 2))), ...(await log.append(kept, old(2, 5)))]
        await log.append(kept, numbered(5, 6))
      })
      const expire = () => backend.expire(log, kept, positions[4]!.offset + 1)
      const gap = () => ({
        topic: kept,
        group: 'behind',
        partition: 0,
        position: positions[1]!.offset + 1,
        low: positions[4]!.offset + 1,
      })

      test('it is refused, with the gap', async () => {
        await readEvents(log, kept, 2, { group: 'behind', maxEvents: 2, commit: true })
        await expire()
        const refused = readEvents(log, kept, 1, { group: 'behind' })
        await expect(refused).rejects.toThrow(OffsetGone)
        await expect(refused).rejects.toThrow('--accept-gap')
        await refused.catch((error: OffsetGone) => expect(error.gap).toEqual(gap()))
      })

      test('it goes on at the low watermark when the gap is accepted', async () => {
        await readEvents(log, kept, 2, { group: 'behind', maxEvents: 2, commit: true })
        await expire()
        const gaps: Gap[] = []
        const onGap = async (found: Gap) => void gaps.push(found)
        expect((await readEvents(log, kept, 1, { group: 'behind', onGap, commit: true })).map(textOf)).toEqual(['5'])
        expect(gaps).toEqual([gap()])
        await log.append(kept, numbered(6, 7))
        expect((await readEvents(log, kept, 1, { group: 'behind' })).map(textOf)).toEqual(['6'])
      })

      test('a position given by from is checked like a committed one', async () => {
        await expire()
        const from = () => positions[1]!.offset + 1
        await expect(readEvents(log, kept, 1, { group: 'behind', from })).rejects.toThrow(OffsetGone)
      })

      test('a group that has read nothing misses nothing', async () => {
        await expire()
        expect((await readEvents(log, kept, 1, { group: 'new' })).map(textOf)).toEqual(['5'])
        expect((await readEvents(log, kept, 1, { group: 'newer', from: () => 0 })).map(textOf)).toEqual(['5'])
      })
    })

    test('the members of a group are the reads that are open', async () => {
      await log.append(topic, numbered(0, 1))
      const group = `members-${randomUUID()}`
      expect(await log.members(group)).toBe(0)
      const stop = new AbortController()
      for await (const _batch of log.read(topic, { group, signal: stop.signal })) {
        expect(await log.members(group)).toBe(1)
        expect(await log.members('another')).toBe(0)
        stop.abort()
      }
      expect(await log.members(group)).toBe(0)
    })

    describe('erased events', () => {
      const secret = (n: number): NewEvent => ({
        key: `key ${n}`,
        value: text(`secret ${n}`),
        headers: { from: 'anna' },
        onceId: `once ${n}`,
      })
      const shown = (events: readonly LogEvent[]) =>
        events.map((event) => (isErased(event) ? 'erased' : textOf(event))).sort()

      test('are empty, and offsets, timestamps, counts and all other events stay', async ({ skip }) => {
        if (!log.canErase) return skip()
        const appended = await log.append(topic, [0, 1, 2, 3, 4].map(secret))
        const before = await followEvents(log, topic, 5)
        const counts = async () => [await log.watermarks(topic), (await log.size(topic)).events]
        const counted = await counts()
        const gone = [appended[0]!, appended[3]!]
        expect(await log.erase(topic, gone)).toBe(2)
        for (const again of [false, true]) {
          if (again) await reopen()
          const after = await followEvents(log, topic, 5)
          expect(shown(after)).toEqual(['erased', 'erased', 'secret 1', 'secret 2', 'secret 4'])
          const places = ({ partition, offset, timestamp }: LogEvent) => ({ partition, offset, timestamp })
          expect(after.map(places)).toEqual(before.map(places))
          expect(await counts()).toEqual(counted)
          const one = (await log.get(topic, gone[0]!.partition, gone[0]!.offset))!
          expect({ key: one.key, headers: one.headers }).toEqual({ key: null, headers: { [erasedHeader]: 'true' } })
        }
        expect(await log.erase(topic, [...gone, { partition: 0, offset: 1_000_000 }])).toBe(2)
        await log.scrub()
        expect(shown(await followEvents(log, topic, 5))).toContain('secret 4')
      })

      test('may be appended again, unless their onceIds are kept', async ({ skip }) => {
        if (!log.canErase) return skip()
        const [first, second] = await log.append(topic, [secret(1), secret(2)])
        await log.erase(topic, [first!])
        await log.erase(topic, [second!], { keepOnceIds: true })
        const again = await log.append(topic, [secret(1), secret(2)])
        expect(again.map(({ duplicate }) => duplicate)).toEqual([false, true])
      })

      test('cannot be where the log is not ours to rewrite', async ({ skip }) => {
        if (log.canErase) return skip()
        await expect(log.erase(topic, [])).rejects.toThrow('retention')
        await expect(log.scrub()).rejects.toThrow('broker')
      })
    })

    test('an onceId is appended once: within a call, in later calls and after a restart', async ({ skip }) => {
      if (!backend.exactOnce) return skip()
      const once = (onceId: string): NewEvent => ({ key: null, value: text(onceId), onceId })
      const hash = 'ab'.repeat(32)
      const [first, again, other] = await log.append(topic, [once(hash), once(hash), once('x')])
      expect([first!.duplicate, again, other!.duplicate]).toEqual([false, { ...first, duplicate: true }, false])
      const [[third], [fourth]] = await Promise.all([log.append(topic, [once(hash)]), log.append(topic, [once('y')])])
      expect([third, fourth!.duplicate]).toEqual([{ ...first, duplicate: true }, false])
      await reopen()
      expect(await log.append(topic, [once(hash)])).toEqual([{ ...first, duplicate: true }])
      await log.append(topic, [{ key: null, value: text('without'), onceId: undefined as never }])
      expect((await followEvents(log, topic, 4)).map(textOf)).toEqual([hash, 'x', 'y', 'without'])
    })
  })
}

/** Events whose values are the numbers from `start` to below `end`. */
export function numbered(start: number, end: number, key?: string): NewEvent[] {
  return Array.from({ length: end - start }, (_, i) => ({ key: key ?? String(i % 4), value: text(String(start + i)) }))
}

async function firstOf<T>(iterable: AsyncIterable<T>): Promise<T | undefined> {
  for await (const item of iterable) return item
  return undefined
}
