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
})

interface Body {
  readonly id: string
  readonly created: boolean
  readonly rule_set: string
  readonly changes: readonly { part: string; id: string; change: string; description: string }[]
  readonly diff: readonly { part: string; id: string; change: string }[]
  readonly items: readonly { id: string; name: string; generations: readonly string[] }[]
  readonly error: { code: string; field: string | null; message: string; problems: readonly { line: number }[] }
}

async function send(url: string, payload: string, type = 'text/yaml') {
  const headers = { 'content-type': type }
  return answerOf<Body>(await server.inject({ method: 'POST', url: `/api/v1${url}`, payload, headers }))
}
const get = async (url: string) => answerOf<Body>(await server.inject(`/api/v1${url}`))

describe('POST /rule-sets', () => {
  test('publishes a rule file, once', async () => {
    const first = await send('/rule-sets', OTHER_RULES)
    expect(first).toMatchObject({ status: 201, body: { id: idOfRules(OTHER_RULES), created: true, problems: [] } })
    expect(await send('/rule-sets', `# the same\n${OTHER_RULES}`, 'application/yaml; charset=utf-8')).toMatchObject({
      status: 201,
      body: { id: first.body.id, created: false },
    })
  })

  test('says line and column of what is wrong, and publishes nothing', async () => {
    const before = replays.control.ruleSets().length
    const { status, body } = await send('/rule-sets', RULES.replace('when: passed', 'when: pased'))
    expect({ status, code: body.error.code }).toEqual({ status: 422, code: 'rules_invalid' })
    expect(body.error.problems[0]).toMatchObject({
      line: 14,
      severity: 'error',
      message: expect.stringContaining('passed'),
    })
    expect(replays.control.ruleSets()).toHaveLength(before)
  })

  test('check=true answers what publishing would find, and publishes nothing', async () => {
    expect(await send('/rule-sets?check=true', OTHER_RULES)).toMatchObject({
      status: 200,
      body: { id: idOfRules(OTHER_RULES), name: 'second', problems: [] },
    })
    expect(await send('/rule-sets?check=true', 'version: 2')).toMatchObject({ status: 200, body: { id: null } })
    expect(replays.control.ruleSets()).toHaveLength(1)
  })

  test('takes YAML as it is, and nothing else', async () => {
    expect(await send('/rule-sets', '{}', 'application/json')).toMatchObject({
      status: 415,
      body: { error: { code: 'rules_type_unsupported' } },
    })
    expect(await send('/rule-sets', '')).toMatchObject({ status: 400, body: { error: { code: 'body_invalid' } } })
    const latin = await server.inject({
      method: 'POST',
      url: '/api/v1/rule-sets',
      payload: Buffer.from('name: caf\xe9', 'latin1'),
      headers: { 'content-type': 'text/yaml' },
    })
    expect(latin.statusCode).toBe(400)
    expect((await send('/rule-sets', `#${'x'.repeat(2 ** 21)}`)).status).toBe(413)
  })
})

describe('GET /rule-sets', () => {
  test('lists them newest first, in pages, with the generations under them', async () => {
    await send('/rule-sets', OTHER_RULES)
    const page = await get('/rule-sets?limit=1')
    expect(page.body.items).toMatchObject([{ id: idOfRules(OTHER_RULES), name: 'second', generations: [] }])
    const { next_cursor } = page.body as unknown as { next_cursor: string }
    const rest = await get(`/rule-sets?limit=1&cursor=${next_cursor}`)
    expect(rest.body).toMatchObject({ items: [{ id: idOfRules(RULES), generations: ['g1'] }], next_cursor: null })
  })

  test('gives one as it was published', async () => {
    const { status, headers } = await get(`/rule-sets/${idOfRules(RULES)}`)
    expect({ status, type: headers['content-type'] }).toEqual({ status: 200, type: 'application/yaml; charset=utf-8' })
    expect((await server.inject(`/api/v1/rule-sets/${idOfRules(RULES)}`)).body).toBe(RULES)
    expect(await get(`/rule-sets/${'0'.repeat(64)}`)).toMatchObject({
      status: 404,
      body: { error: { code: 'rule_set_unknown' } },
    })
  })

  test('says in what two differ', async () => {
    const { body } = await send('/rule-sets', OTHER_RULES)
    const { changes } = (await get(`/rule-sets/${idOfRules(RULES)}/diff?to=${body.id}`)).body
    expect(changes.map(({ part, id, change }) => [part, id, change])).toEqual([
      ['name', '', 'changed'],
      ['verdict_rule', 'misconfigured', 'changed'],
    ])
    expect((await get(`/rule-sets/${idOfRules(RULES)}/diff?to=${'0'.repeat(64)}`)).body.error.field).toBe('to')
  })
})

describe('POST /rule-sets/test', () => {
  test('wants a domain and rules without errors', async () => {
    expect(await send('/rule-sets/test?domain=example.org', OTHER_RULES)).toMatchObject({
      status: 200,
      body: { id: idOfRules(OTHER_RULES), items: [] },
    })
    expect((await send('/rule-sets/test', OTHER_RULES)).body.error).toMatchObject({ field: 'domain' })
    expect((await send('/rule-sets/test?domain=a.example', 'x: 1')).status).toBe(422)
  })
})

describe('POST /domains/{domain}/triage', () => {
  const decide = (decisions: readonly object[], more: object = {}) =>
    send('/domains/Example.ORG/triage', JSON.stringify({ decisions, ...more }), 'application/json')

  test('makes a draft of the live rules, whose comments stay', async () => {
    const { status, body } = await decide([{ source: '192.0.2.7', as: 'own', reason: 'the shop' }])
    expect(status).toBe(201)
    expect(body.diff.map(({ part, id, change }) => [part, id, change])).toEqual([['domain', 'example.org', 'changed']])
    const { yaml } = replays.control.ruleSet(body.rule_set)!
    expect(yaml).toContain('# the newsletter')
    expect(yaml).toMatch(/192\.0\.2\.7\S* # the shop/)
    expect(replays.control.live()?.generation.ruleSet).toBe(idOfRules(RULES))
  })

  test('adds to a draft when told so', async () => {
    const first = await decide([{ source: '192.0.2.7', as: 'own', reason: 'a' }])
    const second = await decide([{ source: '192.0.2.8', as: 'own', reason: 'b' }], { base: first.body.rule_set })
    const { yaml } = replays.control.ruleSet(second.body.rule_set)!
    expect(yaml).toContain('192.0.2.7')
    expect(yaml).toContain('192.0.2.8')
  })

  test('says which decision cannot be carried out', async () => {
    const { status, body } = await decide([
      { source: '192.0.2.7', as: 'own', reason: 'a' },
      { source: 'nobody', as: 'own', reason: 'a' },
    ])
    expect({ status, ...body.error }).toMatchObject({ status: 422, code: 'decision_invalid', field: 'decisions/1' })
    expect((await decide([])).status).toBe(400)
    expect((await decide([{ source: 'x', as: 'nothing', reason: 'a' }])).status).toBe(400)
  })
})
