import { createHash } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { Server } from '../../api/route.ts'
import { type ApiUnderTest, answerOf, openApi } from './api-under-test.ts'
import { begun, idOfRules, OTHER_RULES, type ReplaysUnderTest, RULES } from './replays-under-test.ts'

let api: ApiUnderTest
let replays: ReplaysUnderTest
let server: Server
beforeAll(async () => {
  api = await openApi()
})
afterAll(() => api.close())
beforeEach(async () => {
  replays = await begun()
  server = api.serve({ replays, generation: () => replays.control.live()!.generation })
  await replays.publish(OTHER_RULES)
})

interface Body {
  readonly id: string
  readonly state: string
  readonly items: readonly { id: string; state: string }[]
  readonly next_cursor: string | null
  readonly error: { code: string; field: string | null }
}

async function post(url: string, payload?: object) {
  const sent = payload === undefined ? {} : { payload }
  return answerOf<Body>(await server.inject({ method: 'POST', url: `/api/v1/generations${url}`, ...sent }))
}
const get = async (url: string) => answerOf<Body>(await server.inject(`/api/v1/generations${url}`))
const started = () => post('', { rule_set: idOfRules(OTHER_RULES) })

describe('POST /generations', () => {
  test('starts one from enriched, which is building', async () => {
    expect(await started()).toMatchObject({
      status: 202,
      body: { id: 'g2', from: 'enriched', parent: 'g1', state: 'building', rule_set: idOfRules(OTHER_RULES) },
    })
  })

  test('with plan=true says what it would mean, and starts none, under rules that need not be published', async () => {
    const body = { rule_set: '0'.repeat(64), from: 'enriched' }
    expect(await post('?plan=true', body)).toMatchObject({
      status: 200,
      body: { events: 7, tables: ['record_verdicts__g2'] },
    })
    expect(replays.control.generations()).toHaveLength(1)
    expect(await post('', body)).toMatchObject({ status: 404, body: { error: { code: 'rule_set_unknown' } } })
  })

  test.each([
    [{ rule_set: 'x' }, 'rule_set'],
    [{ rule_set: '0'.repeat(64), from: 'reports' }, 'from'],
    [{}, 'rule_set'],
  ])('refuses %j', async (body, field) => {
    expect(await post('', body)).toMatchObject({ status: 400, body: { error: { code: 'body_invalid', field } } })
  })
})

describe('GET /generations', () => {
  test('lists all, newest first, in pages', async () => {
    await started()
    await post('/g2/cancel')
    await started()
    const first = await get('?limit=2')
    expect(first.body.items.map(({ id, state }) => [id, state])).toEqual([
      ['g3', 'building'],
      ['g2', 'cancelled'],
    ])
    const rest = await get(`?limit=2&cursor=${first.body.next_cursor}`)
    expect(rest.body).toMatchObject({ items: [{ id: 'g1', state: 'live' }], next_cursor: null, generation: 'g1' })
  })

  test('one is known by name and by number', async () => {
    for (const name of ['g1', '1']) expect(await get(`/${name}`)).toMatchObject({ status: 200, body: { id: 'g1' } })
    expect(await get('/g9')).toMatchObject({ status: 404, body: { error: { code: 'generation_unknown' } } })
    expect((await get('/latest')).status).toBe(400)
  })
})

describe('POST /generations/{id}/…', () => {
  test('pauses, resumes and cancels, with or without a body', async () => {
    await started()
    expect((await post('/g2/pause')).body.state).toBe('paused')
    expect((await post('/2/resume', {})).body.state).toBe('building')
    expect((await post('/g2/cancel')).body.state).toBe('cancelled')
    expect(await post('/g2/pause')).toMatchObject({ status: 409, body: { error: { code: 'not_building' } } })
    expect((await post('/g2/explode')).status).toBe(400)
  })

  test('promote waits a minute when nothing else is said, and rollback goes back', async () => {
    await started()
    expect(await post('/g2/promote')).toMatchObject({ status: 200, body: { id: 'g2', state: 'live' } })
    expect(await post('/rollback')).toMatchObject({ status: 200, body: { id: 'g1', state: 'live' } })
    await post('/g2/promote', { timeout: 5, accept_gap: true })
    await post('/rollback?timeout=7')
    expect(replays.promotions).toEqual([
      { timeout: 60_000, acceptGap: false },
      { timeout: 60_000, acceptGap: false },
      { timeout: 5_000, acceptGap: true },
      { timeout: 7_000, acceptGap: false },
    ])
  })

  test('says why it cannot be done', async () => {
    expect(await post('/g1/promote')).toMatchObject({ status: 409, body: { error: { code: 'already_live' } } })
    expect(await post('/rollback')).toMatchObject({ status: 409, body: { error: { code: 'nothing_to_roll_back' } } })
    expect(await post('/g7/promote')).toMatchObject({ status: 404, body: { error: { code: 'generation_unknown' } } })
    expect((await post('/g1/promote', { timeout: -1 })).status).toBe(400)
  })
})

describe('observation epochs', () => {
  test('POST begins to fill the next, and GET says how far it is', async () => {
    const ask = () => server.inject({ method: 'POST', url: '/api/v1/observation-epochs' })
    const look = (epoch: number) => server.inject({ method: 'GET', url: `/api/v1/observation-epochs/${epoch}` })
    expect((await look(2)).statusCode).toBe(404)
    expect((await ask()).json()).toMatchObject({ epoch: 2 })
    expect((await look(2)).json()).toEqual({ epoch: 2, state: 'begun', done: 1, total: 1, reason: null })
    expect((await ask()).json()).toMatchObject({ epoch: 3 })
  })
})

describe('keys', () => {
  test('reading needs the scope read, changing the scope admin', async () => {
    const sha256 = createHash('sha256').update('reader-key').digest('hex')
    const guarded = api.serve({ replays, keys: [{ name: 'reader', sha256, scopes: ['read'] }] })
    const headers = { authorization: 'Bearer reader-key' }
    const ask = async (method: 'GET' | 'POST', url: string) =>
      (await guarded.inject({ method, url: `/api/v1${url}`, headers })).statusCode
    for (const url of ['/generations', '/generations/g1', '/rule-sets', `/rule-sets/${idOfRules(RULES)}`])
      expect([url, await ask('GET', url)]).toEqual([url, 200])
    for (const url of [
      '/generations',
      '/generations/g1/pause',
      '/generations/rollback',
      '/rule-sets',
      '/domains/example.org/triage',
      '/observation-epochs',
    ])
      expect([url, await ask('POST', url)]).toEqual([url, 403])
  })
})
