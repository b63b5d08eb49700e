/** The fold of the control topic: which commands hold, which are void, and what they leave. */
import { createHash } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { eventTypes } from '../../topics/all.ts'
import { EventCodec } from '../../topics/avro.ts'
import { GenerationPaused, GenerationPromoted, GenerationStarted, RuleSetPublished } from '../../topics/control.ts'
import { ControlLog } from '../../topics/control-log.ts'
import { ControlState } from '../../topics/control-state.ts'
import { openSqliteLog, type SqliteLog } from '../../topics/sqlite-log.ts'

type Event = Parameters<ControlState['apply']>[0]

let clock = 1000
const published = (rule_set: string): Event => ({
  type: 'RuleSetPublished',
  data: { at: ++clock, rule_set, name: `rules ${rule_set}`, yaml: `# ${rule_set}` },
})
const started = (rule_set: string, from = 'ingest', parent = 0, epoch = 1): Event => ({
  type: 'GenerationStarted',
  data: { at: ++clock, rule_set, from, parent, epoch, parser_version: '1' },
})
const promoted = (generation: number): Event => ({
  type: 'GenerationPromoted',
  data: { at: ++clock, generation, accept_gap: false },
})
const command = (
  type: 'GenerationRolledBack' | 'GenerationPaused' | 'GenerationResumed' | 'GenerationCancelled' | 'GenerationRetired',
  generation: number,
): Event => ({ type, data: { at: ++clock, generation } })

/** A state after these events, all of which must hold. */
function given(...events: readonly Event[]): ControlState {
  const state = new ControlState('')
  for (const event of events) expect(state.apply(event), JSON.stringify(event)).toMatchObject({ valid: true })
  return state
}
const statesOf = (state: ControlState) => state.generations().map((entry) => entry.state)
const firstOf = (...more: readonly Event[]) => given(published('a'), started('a'), promoted(1), ...more)

describe('generations', () => {
  test('are numbered by the events that start them, and void ones take no number', () => {
    const state = given(published('a'), started('a'))
    expect(state.apply(started('unpublished'))).toMatchObject({ valid: false, code: 'rule_set_unknown' })
    expect(state.apply(started('a', 'enriched', 1))).toEqual({ valid: true, generation: 2 })
    expect(state.generations().map(({ generation }) => generation.name)).toEqual(['g1', 'g2'])
  })

  test('that start from enriched have verdicts of their own and share everything else', () => {
    const state = firstOf(published('b'), started('b', 'enriched', 1))
    const { topics, tables, ruleSet, parent } = state.generation('g2')!.generation
    expect({ ruleSet, parent }).toEqual({ ruleSet: 'b', parent: 1 })
    expect(topics).toMatchObject({
      ingest: 'ingest',
      reports: 'reports.g1',
      enriched: 'enriched.g1',
      verdicts: 'verdicts.g2',
    })
    expect(tables).toMatchObject({ dmarc_records: 'dmarc_records__g1', record_verdicts: 'record_verdicts__g2' })
  })

  test('that start from ingest have everything of their own', () => {
    const state = firstOf(started('a', 'ingest', 1))
    const { topics, tables } = state.generation(2)!.generation
    expect(topics).toMatchObject({
      ingest: 'ingest',
      observations: 'observations',
      reports: 'reports.g2',
      private: 'private.g2',
    })
    expect(new Set(Object.values(tables).map((name) => name.split('__')[1]))).toEqual(new Set(['g2']))
  })

  test('need a parent that is kept', () => {
    const state = firstOf(published('b'), started('b', 'enriched', 1), command('GenerationCancelled', 2))
    for (const parent of [0, 2, 9])
      expect(state.apply(started('a', 'enriched', parent)), `parent ${parent}`).toMatchObject({
        code: 'parent_unusable',
      })
    expect(state.apply(started('a', 'reports', 1))).toMatchObject({ code: 'start_point_unknown' })
    expect(state.apply(started('a', 'ingest', 0, 2))).toMatchObject({ code: 'epoch_unknown' })
  })
})

describe('of two commands that contradict each other the second is void', () => {
  test.each([
    ['cancel after promote', [promoted(2)], command('GenerationCancelled', 2), 'not_building'],
    ['promote after cancel', [command('GenerationCancelled', 2)], promoted(2), 'not_building'],
    ['promote twice', [promoted(2)], promoted(2), 'already_live'],
    ['pause twice', [command('GenerationPaused', 2)], command('GenerationPaused', 2), 'not_building'],
    ['promote while paused', [command('GenerationPaused', 2)], promoted(2), 'not_building'],
    ['resume without a pause', [], command('GenerationResumed', 2), 'not_paused'],
    ['retire the live one', [], command('GenerationRetired', 1), 'not_former'],
    ['roll back to what never was live', [], command('GenerationRolledBack', 2), 'not_former'],
    ['a generation that never was', [], promoted(7), 'generation_unknown'],
  ] as const)('%s', (_, before, after, code) => {
    const state = firstOf(published('b'), started('b', 'enriched', 1), ...before)
    const states = statesOf(state)
    expect(state.apply(after)).toMatchObject({ valid: false, code })
    expect(statesOf(state)).toEqual(states)
  })
})

test('promotion makes the one before former, and going back makes it live again', () => {
  const state = firstOf(published('b'), started('b', 'enriched', 1), promoted(2))
  expect(statesOf(state)).toEqual(['former', 'live'])
  expect(state.former()?.generation.name).toBe('g1')
  state.apply(command('GenerationRolledBack', 1))
  expect(statesOf(state)).toEqual(['live', 'former'])
  state.apply(command('GenerationRetired', 2))
  expect(state.former()).toBeNull()
  expect(state.kept().map(({ generation }) => generation.name)).toEqual(['g1'])
})

test('whatever commands come, exactly one generation is live once one was, and numbers and names are never used again', () => {
  const numbers = fc.integer({ min: 0, max: 6 })
  const anyEvent = fc.oneof(
    fc.constantFrom('a', 'b').map(published),
    fc
      .tuple(fc.constantFrom('a', 'b', 'c'), fc.constantFrom('ingest', 'enriched'), numbers)
      .map(([set, from, parent]) => started(set, from, parent)),
    numbers.map(promoted),
    fc
      .tuple(
        fc.constantFrom(
          'GenerationRolledBack',
          'GenerationPaused',
          'GenerationResumed',
          'GenerationCancelled',
          'GenerationRetired',
        ),
        numbers,
      )
      .map(([type, generation]) => command(type, generation)),
  )
  fc.assert(
    fc.property(fc.array(anyEvent, { maxLength: 60 }), (events) => {
      const state = new ControlState('p-')
      const names = new Map<string, number>()
      let wasLive = false
      for (const event of events) {
        const before = JSON.stringify(state.generations())
        const outcome = state.apply(event)
        if (!outcome.valid) expect(JSON.stringify(state.generations())).toBe(before)
        wasLive ||= state.live() !== null
        expect(statesOf(state).filter((one) => one === 'live')).toHaveLength(wasLive ? 1 : 0)
        for (const { generation } of state.generations()) {
          expect(names.get(generation.name) ?? generation.number).toBe(generation.number)
          names.set(generation.name, generation.number)
        }
        // What a kept generation points to was made for one that is there, and is deleted with no other.
        for (const { generation } of state.kept()) expect(generation.topics.ingest).toBe('p-ingest')
      }
    }),
    { numRuns: 300 },
  )
})

describe('the control topic', () => {
  let folder: string
  let log: SqliteLog
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'mailtrail-control-'))
    log = await openSqliteLog({ path: join(folder, 'log.sqlite') })
    await log.createTopic({ name: 'control', partitions: 1, maxValueBytes: 1e6 })
  })
  afterEach(async () => {
    await log.close()
    await rm(folder, { recursive: true, force: true })
  })

  async function open() {
    const stop = new AbortController()
    const codec = await EventCodec.open(log, eventTypes)
    const control = await ControlLog.open({ log, codec, topic: 'control', topicPrefix: '', signal: stop.signal })
    const close = async () => {
      stop.abort()
      await control.done
    }
    return { control, close }
  }

  test('a command is answered when it is folded, and another process comes to the same state', async () => {
    const first = await open()
    const { control } = first
    expect(control.state.generations()).toEqual([])
    const rules = { at: 1, rule_set: 'a', name: 'a', yaml: '' }
    expect(await control.append(RuleSetPublished, rules)).toEqual({ valid: true, generation: null })
    expect(await control.append(RuleSetPublished, rules)).toMatchObject({ code: 'rule_set_known' })
    const start = { at: 2, rule_set: 'a', from: 'ingest', parent: 0, epoch: 1, parser_version: '1' }
    expect(await control.append(GenerationStarted, start)).toEqual({ valid: true, generation: 1 })
    const outcomes = await Promise.all([
      control.append(GenerationPaused, { at: 3, generation: 1 }),
      control.append(GenerationPromoted, { at: 3, generation: 1, accept_gap: false }),
    ])
    expect(outcomes).toMatchObject([{ valid: true }, { valid: false, code: 'not_building' }])
    const second = await open()
    expect(second.control.state.generations()).toEqual(control.state.generations())
    let changes = 0
    second.control.onChange(() => changes++)
    await control.append(RuleSetPublished, { ...rules, rule_set: 'b' })
    await expect.poll(() => second.control.state.ruleSets().length).toBe(2)
    expect(changes).toBe(1)
    await first.close()
    await second.close()
  })
})

describe('erasures', () => {
  const id = (n: number) => createHash('sha256').update(String(n)).digest('hex')
  const erased = (mail_ids: readonly string[], block = false): Event => ({
    type: 'MailErased',
    data: { at: ++clock, mail_ids: [...mail_ids], reason: 'mail_id', block },
  })
  const finished = (erasure: number): Event => ({ type: 'MailErasureFinished', data: { at: ++clock, erasure } })

  test('leave a mail unread until they are finished, and for good when it is blocked', () => {
    const state = firstOf(erased([id(1), id(2)]), erased([id(3)], true))
    expect(state.unfinishedErasures().map(({ mailIds }) => mailIds)).toEqual([[id(1), id(2)], [id(3)]])
    expect([1, 2, 3, 4].map((n) => state.isUnread(id(n)))).toEqual([true, true, true, false])
    expect(state.apply(finished(1))).toMatchObject({ valid: true })
    expect(state.apply(finished(2))).toMatchObject({ valid: true })
    expect(state.unfinishedErasures()).toEqual([])
    expect([1, 2, 3, 4].map((n) => state.isUnread(id(n)))).toEqual([false, false, true, false])
    expect([1, 2, 3, 4].map((n) => state.wasErased(id(n)))).toEqual([true, true, true, false])
    expect(state.erasures().map(({ number, mails, block }) => [number, mails, block])).toEqual([
      [1, 2, false],
      [2, 1, true],
    ])
  })

  test('that are not there, or are finished, cannot be finished', () => {
    const state = firstOf(erased([id(1)]), finished(1))
    for (const number of [1, 2]) expect(state.apply(finished(number))).toMatchObject({ code: 'erasure_unknown' })
  })

  test('pass over what is no id, which somebody may have written', () => {
    const state = firstOf(erased(['', 'x', 'AB'.repeat(32), id(1)]))
    expect(state.unfinishedErasures()[0]!.mailIds).toEqual([id(1)])
  })

  test('of very many mails are remembered in little room, each of them', () => {
    const state = firstOf()
    const before = process.memoryUsage().arrayBuffers
    for (let from = 0; from < 50_000; from += 5000) {
      state.apply(erased(Array.from({ length: 5000 }, (_, i) => id(from + i))))
      state.apply(finished(from / 5000 + 1))
    }
    expect(Array.from({ length: 50_000 }, (_, n) => state.wasErased(id(n))).every(Boolean)).toBe(true)
    expect(Array.from({ length: 1000 }, (_, n) => state.wasErased(id(50_000 + n))).some(Boolean)).toBe(false)
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(50_000 * 32 * 6)
  })
})
