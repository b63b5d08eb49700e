/**
 * What must hold of a replay (docs/replay.md), on the whole program: mail through HTTP, real log, real store, `kill -9`.
 * The eight points of the design are the names of the tests.
 */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, test } from 'vitest'
import { ALL_DAYS, endAll, mailtrail, type Running, tempFolder, until, up } from '../fixtures.ts'
import { makeMails, writeMails } from '../report-mail.ts'

afterEach(endAll)

/** Calls everything that fails spoofed, but for one domain whose failures are its own. */
const RULES = `
version: 1
name: everything else is spoofed
verdicts:
  - { id: passed, verdict: authenticated, when: passed }
  - { id: ours, verdict: misconfigured, when: 'policy_domain.below("d1.example")' }
  - { id: rest, verdict: spoofed }
`
const OTHER_RULES = RULES.replace('name: everything', 'name: passing is unknown, everything').replace(
  'verdict: authenticated',
  'verdict: unknown',
)

interface Generation {
  readonly id: string
  readonly state: string
  readonly rule_set: string
  readonly done: number
  readonly total: number
  readonly names: Readonly<Record<string, string>>
}
interface Sums {
  readonly key: string
  readonly messages: number
  readonly verdicts: Readonly<Record<string, number>>
}

const yaml = { 'content-type': 'application/yaml' }
const json = { 'content-type': 'application/json' }

async function answered<Body>(response: Promise<Response>, status: number): Promise<Body> {
  const answer = await response
  const text = await answer.text()
  expect(answer.status, text).toBe(status)
  return JSON.parse(text) as Body
}

const publish = async (running: Running, rules: string) =>
  (await answered<{ id: string }>(running.post('/rule-sets', rules, yaml), 201)).id

async function startReplay(running: Running, rules: string, from: 'enriched' | 'ingest' = 'enriched') {
  const rule_set = await publish(running, rules)
  return (await answered<{ id: string }>(running.post('/generations', JSON.stringify({ rule_set, from }), json), 202))
    .id
}

const ready = (running: Running, id: string, seconds = 120) =>
  until(`generation ${id} to be ready`, seconds, async () => {
    const { state } = await running.get<Generation>(`/generations/${id}`)
    return state === 'ready' || state === 'live'
  })

const promote = (running: Running, id: string) =>
  answered<Generation>(running.post(`/generations/${id}/promote`, '{}', json), 200)

/** What a generation answers, of everything that its verdicts go into. */
async function answersOf(running: Running, generation?: string) {
  const asked = generation === undefined ? ALL_DAYS : `${ALL_DAYS}&generation=${generation}`
  const domains = await running.list<{ domain: string }>(`/domains?${asked}&fields=verdicts`)
  const sources = await Promise.all(
    domains.map(({ domain }) => running.list<Sums>(`/domains/${domain}/sources?by=ip&${asked}`)),
  )
  const records = await running.list<{ verdict: string; sender: string | null; rule: string }>(
    `/dmarc/records?${asked}`,
  )
  return { domains, sources, records }
}

/** A running mailtrail with mail in it. */
async function filled(mails = 300, seed = 7) {
  const folder = await tempFolder('replay')
  const made = makeMails(seed, mails)
  await writeMails(join(folder, 'mail'), made.mails)
  const running = await up(join(folder, 'data'), { paths: [join(folder, 'mail')] })
  await running.says(/Read \d+ mails/)
  await running.idle()
  return { folder, running, made, data: join(folder, 'data') }
}

describe('a replay', () => {
  test('plan writes nothing, and cancel leaves no topic and no table behind', async () => {
    const { running, folder, data } = await filled()
    const before = await running.list<Generation>('/generations')
    const rule_set = await publish(running, RULES)
    const body = JSON.stringify({ rule_set, from: 'enriched' })
    const plan = await answered<{ events: number; tables: string[] }>(
      running.post('/generations?plan=true', body, json),
      200,
    )
    expect(plan.events).toBeGreaterThan(0)
    expect(plan.tables).toEqual(['record_verdicts__g2', 'report_verdicts__g2'])
    expect((await running.list<Generation>('/generations')).map(({ id }) => id)).toEqual(before.map(({ id }) => id))

    const id = await startReplay(running, RULES)
    expect(id).toBe('g2')
    await ready(running, id)
    await answered(running.post(`/generations/${id}/cancel`, '{}', json), 200)
    const gone = await running.get<Generation>(`/generations/${id}`)
    expect(gone.state).toBe('cancelled')
    await running.stop()
    const { stdout } = await mailtrail(['doctor', '--data', data])
    expect(stdout).not.toContain('g2')
    const again = await up(data)
    // A name is never used again.
    expect(await startReplay(again, RULES)).toBe('g3')
    await writeFile(join(folder, 'done'), '')
  })

  test('answers nothing before it is promoted, and everything after', async () => {
    const { running } = await filled()
    const before = await answersOf(running)
    const id = await startReplay(running, RULES)
    await ready(running, id)
    expect(await answersOf(running)).toEqual(before)
    const preview = await answersOf(running, id)
    expect(preview.records).toHaveLength(before.records.length)
    expect(new Set(preview.records.map(({ rule }) => rule))).toEqual(new Set(['passed', 'ours', 'rest']))
    expect((await promote(running, id)).state).toBe('live')
    expect(await answersOf(running)).toEqual(preview)
    expect(await answersOf(running, 'g1')).toEqual(before)

    await answered(running.post('/generations/rollback', '{}', json), 200)
    expect(await answersOf(running)).toEqual(before)
  })

  test('from the raw mail gives the same facts and the same verdicts under the same rules', async () => {
    const { running } = await filled()
    const before = await answersOf(running)
    const { rule_set } = await running.get<{ rule_set: string }>('/status')
    const body = JSON.stringify({ rule_set, from: 'ingest' })
    const { id } = await answered<{ id: string }>(running.post('/generations', body, json), 202)
    await ready(running, id)
    expect(await answersOf(running, id)).toEqual(before)
    await promote(running, id)
    expect(await answersOf(running)).toEqual(before)
  })

  test('changes live answers only by mail that arrives meanwhile, which is visible in both', async () => {
    const { running } = await filled(400)
    const late = makeMails(99, 40).mails
    const id = await startReplay(running, RULES)
    for (const { bytes } of late) {
      const { id: mail } = await answered<{ id: string }>(running.post('/mail', bytes), 202)
      // Usually within half a second; bench/replay.ts says how long at the 99th percentile.
      await until('a mail to be seen while the replay runs', 10, async () => {
        const response = await fetch(`${running.url}/api/v1/mail/${mail}`)
        await response.body?.cancel()
        return response.ok
      })
    }
    await running.idle()
    await ready(running, id)
    const mine = await answersOf(running)
    const theirs = await answersOf(running, id)
    const facts = (answers: typeof mine) =>
      answers.records.map(({ verdict: _v, sender: _s, rule: _r, ...record }) => JSON.stringify(record)).sort()
    expect(facts(theirs)).toEqual(facts(mine))
  })

  test('that is killed again and again ends with the same answers', async () => {
    const { running, data } = await filled(600, 3)
    const id = await startReplay(running, RULES)
    await ready(running, id)
    const expected = await answersOf(running, id)
    await running.stop()
    let again = await up(data)
    const second = await startReplay(again, OTHER_RULES.replace('verdict: unknown', 'verdict: authenticated'))
    for (const wait of [0, 20, 60, 120, 200]) {
      await sleep(wait)
      await again.kill()
      again = await up(data)
    }
    await ready(again, second)
    const found = await answersOf(again, second)
    expect(found.records.map(({ verdict, rule }) => [verdict, rule])).toEqual(
      expected.records.map(({ verdict, rule }) => [verdict, rule]),
    )
    expect(found.sources).toEqual(expected.sources)
  }, 240_000)

  test('can be paused and resumed, also over a restart', async () => {
    const { running, data } = await filled()
    const id = await startReplay(running, RULES)
    await answered(running.post(`/generations/${id}/pause`, '{}', json), 200)
    const paused = await running.get<Generation>(`/generations/${id}`)
    expect(paused.state).toBe('paused')
    await running.stop()
    const again = await up(data)
    await sleep(500)
    const still = await again.get<Generation>(`/generations/${id}`)
    expect(still).toMatchObject({ state: 'paused', done: paused.done })
    const refused = await again.post(`/generations/${id}/promote`, '{}', json)
    expect(refused.status).toBe(409)
    await answered(again.post(`/generations/${id}/resume`, '{}', json), 200)
    await ready(again, id)
  })

  test('never lets an answer mix generations while it is promoted', async () => {
    const { running } = await filled(200)
    const ids = ['g1']
    for (const rules of [RULES, OTHER_RULES]) ids.push(await startReplay(running, rules))
    for (const id of ids.slice(1)) await ready(running, id)
    const expected = new Map<string, string>()
    for (const id of ids) {
      const { items } = await running.get<{ items: unknown[] }>(`/domains?${ALL_DAYS}&fields=verdicts&generation=${id}`)
      expected.set(id, JSON.stringify(items))
    }
    expect(new Set(expected.values()).size).toBe(3)
    let stopped = false
    const seen = new Set<string>()
    const hammer = async () => {
      while (!stopped) {
        const { items, generation } = await running.get<{ items: unknown[]; generation: string }>(
          `/domains?${ALL_DAYS}&fields=verdicts`,
        )
        seen.add(generation)
        expect(JSON.stringify(items), generation).toBe(expected.get(generation))
      }
    }
    const hammers = Promise.all([hammer(), hammer(), hammer(), hammer()])
    for (const id of ['g2', 'g3', 'g1', 'g3', 'g2']) {
      await promote(running, id)
      await sleep(150)
    }
    stopped = true
    await hammers
    expect(seen.size).toBe(3)
  })

  test('a cursor goes on in its generation after a promotion, and is gone after retirement', async () => {
    const { running, data } = await filled(200)
    const path = `/dmarc/records?${ALL_DAYS}&limit=5`
    const first = await running.get<{ next_cursor: string; generation: string }>(path)
    const id = await startReplay(running, RULES)
    await ready(running, id)
    await promote(running, id)
    const second = await running.get<{ generation: string; next_cursor: string }>(`${path}&cursor=${first.next_cursor}`)
    expect(second.generation).toBe('g1')
    await running.stop()
    const later = await up(data, { env: { MAILTRAIL_KEEP_FORMER: '0m' } })
    await until('g1 to be retired', 20, async () => {
      const { state } = await later.get<Generation>('/generations/g1')
      return state === 'retired'
    })
    const response = await fetch(`${later.url}/api/v1${path}&cursor=${second.next_cursor}`)
    expect(response.status).toBe(410)
    // What generation 2 shares with it is still there, and fed.
    const before = (await later.list(`/dmarc/records?${ALL_DAYS}`)).length
    for (const { bytes } of makeMails(5, 20).mails) await later.post('/mail', bytes)
    await later.idle()
    expect((await later.list(`/dmarc/records?${ALL_DAYS}`)).length).toBeGreaterThan(before)
  })
})
