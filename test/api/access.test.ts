import { createHash, randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { ApiKey, Scope } from '../../api/auth.ts'
import type { Server } from '../../api/route.ts'
import { openClickhouseStore } from '../../projections/clickhouse-store.ts'
import { openSqliteLog } from '../../topics/sqlite-log.ts'
import { type ApiUnderTest, answerOf, openApi } from './api-under-test.ts'

let api: ApiUnderTest
beforeAll(async () => {
  api = await openApi()
})
afterAll(() => api.close())

interface Refused {
  error: { code: string; message: string; field: string | null; progress?: unknown }
}

async function ask(server: Server, method: 'GET' | 'POST', url: string, headers: Record<string, string> = {}) {
  const payload = method === 'POST' ? { payload: 'Subject: x\r\n\r\n' } : {}
  return answerOf<Refused>(
    await server.inject({ method, url, headers: { 'content-type': 'message/rfc822', ...headers }, ...payload }),
  )
}

describe('keys', () => {
  const keyOf = (name: string, ...scopes: Scope[]): ApiKey => ({
    name,
    scopes,
    sha256: createHash('sha256').update(`${name}-key`).digest('hex'),
  })
  const keys = [keyOf('sender', 'ingest'), keyOf('reader', 'read'), keyOf('boss', 'admin')]
  const as = (name: string) => ({ authorization: `Bearer ${name}-key` })
  let guarded: Server
  beforeAll(() => {
    guarded = api.serve({ keys })
  })

  test('everything but health needs one', async () => {
    for (const url of ['/health/live', '/health/ready']) expect((await ask(guarded, 'GET', url)).status).toBe(200)
    for (const url of ['/', '/api/v1/domains', '/api/v1/status', '/metrics', '/openapi.json', '/docs', '/nowhere']) {
      const answer = await ask(guarded, 'GET', url)
      expect([url, answer.status, answer.body.error.code]).toEqual([url, 401, 'authentication_missing'])
      expect(answer.headers['www-authenticate']).toContain('Bearer')
    }
    expect((await ask(guarded, 'POST', '/api/v1/mail')).status).toBe(401)
  })

  test('one that is not known is refused', async () => {
    for (const authorization of ['Bearer nobody', 'Bearer sender-keyx', 'bearer reader-ke']) {
      const answer = await ask(guarded, 'GET', '/api/v1/domains', { authorization })
      expect([answer.status, answer.body.error.code]).toEqual([401, 'authentication_invalid'])
    }
    expect((await ask(guarded, 'GET', '/api/v1/domains', { authorization: 'Basic eDp5' })).status).toBe(401)
  })

  test.each([
    ['sender', 202, 403, 403],
    ['reader', 403, 200, 403],
    ['boss', 202, 200, 400],
  ])('%s may do what its scopes say', async (name, mail, read, retry) => {
    expect((await ask(guarded, 'POST', '/api/v1/mail', as(name))).status).toBe(mail)
    expect((await ask(guarded, 'GET', '/api/v1/domains', as(name))).status).toBe(read)
    const asked = { 'content-type': 'application/json', ...as(name) }
    const response = await guarded.inject({
      method: 'POST',
      url: '/api/v1/rejects/retry',
      headers: asked,
      payload: '{}',
    })
    expect(response.statusCode).toBe(retry)
  })
})

describe('a store that cannot answer', () => {
  test('is 503 with Retry-After on reads, and mail is taken all the same', async () => {
    const store = openClickhouseStore({ url: 'http://127.0.0.1:9', username: 'x', password: 'x' })
    const server = api.serve({ store })
    for (const url of [
      '/api/v1/domains',
      '/api/v1/status',
      '/api/v1/dmarc/records',
      '/api/v1/domains/a.example/summary',
    ]) {
      const answer = await ask(server, 'GET', url)
      expect([answer.status, answer.body.error.code]).toEqual([503, 'store_unavailable'])
      expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0)
    }
    const csv = await ask(server, 'GET', '/api/v1/dmarc/records', { accept: 'text/csv' })
    expect(csv.status).toBe(503)
    expect((await ask(server, 'GET', '/health/ready')).status).toBe(503)
    expect((await ask(server, 'GET', '/health/live')).status).toBe(200)
    expect((await ask(server, 'POST', '/api/v1/mail')).status).toBe(202)
    expect((await ask(server, 'GET', '/metrics')).status).toBe(200)
    await store.close()
  })

  test('while it is rebuilt, reads say how far it is, unless the part that is there will do', async () => {
    const server = api.serve({ rebuilding: () => ({ done: 5, total: 20 }) })
    for (const url of ['/api/v1/domains', '/api/v1/status', '/health/ready', '/api/v1/mail']) {
      const answer = await ask(server, 'GET', url)
      expect([answer.status, answer.body.error]).toMatchObject([
        503,
        { code: 'rebuilding', progress: { done: 5, total: 20 } },
      ])
      expect((await ask(server, 'GET', `${url}?partial=true`)).status).toBe(200)
      expect((await ask(server, 'GET', `${url}?partial=false`)).status).toBe(503)
    }
    expect((await ask(server, 'POST', '/api/v1/mail')).status).toBe(202)
  })
})

describe('a log that cannot take mail', () => {
  test('is 503 with Retry-After when its disk is full', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'mailtrail-api-full-'))
    const log = await openSqliteLog({ path: join(folder, 'log.sqlite'), maxBytes: 2_000_000 })
    await log.createTopic({ name: 'ingest', partitions: 1, maxValueBytes: 2 ** 20 })
    const server = api.serve({ log })
    let answer = await ask(server, 'POST', '/api/v1/mail')
    for (let i = 0; answer.status === 202 && i < 1000; i++) {
      const payload = randomBytes(20_000)
      const response = await server.inject({ method: 'POST', url: '/api/v1/mail', payload })
      answer = answerOf(response)
    }
    expect([answer.status, answer.body.error.code]).toEqual([503, 'log_full'])
    expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0)
    await server.close()
    await log.close()
    await rm(folder, { recursive: true, force: true })
  })

  test('is 503 when it is closed', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'mailtrail-api-closed-'))
    const log = await openSqliteLog({ path: join(folder, 'log.sqlite') })
    await log.close()
    const answer = await ask(api.serve({ log }), 'POST', '/api/v1/mail')
    expect([answer.status, answer.body.error.code]).toEqual([503, 'log_unavailable'])
    await rm(folder, { recursive: true, force: true })
  })
})

describe('requests that are wrong', () => {
  test.each([
    ['/api/v1/nothing', 404, 'not_found', null],
    ['/api/v1/domains?limit=1001', 400, 'parameter_invalid', 'limit'],
    ['/api/v1/domains?limit=0', 400, 'parameter_invalid', 'limit'],
    ['/api/v1/domains?limit=ten', 400, 'parameter_invalid', 'limit'],
    ['/api/v1/domains?limit=1&limit=2', 400, 'parameter_invalid', 'limit'],
    ['/api/v1/domains?form=2026-11-01', 400, 'parameter_unknown', 'form'],
    ['/api/v1/domains?__proto__=1', 400, 'parameter_unknown', '__proto__'],
    ['/api/v1/domains?from=2026-02-30', 400, 'day_invalid', 'from'],
    ['/api/v1/domains?to=yesterday', 400, 'day_invalid', 'to'],
    ['/api/v1/domains?from=2026-11-02&to=2026-11-01', 400, 'range_reversed', 'from'],
    ['/api/v1/domains?generation=g7', 404, 'generation_unknown', 'generation'],
    ['/api/v1/domains/a.example/summary?interval=year', 400, 'parameter_invalid', 'interval'],
    ['/api/v1/domains/a.example/summary?from=1970-01-01&to=2149-01-01', 400, 'range_too_long', 'interval'],
    ['/api/v1/dmarc/records?verdict=spoofy', 400, 'parameter_invalid', 'verdict'],
    ['/api/v1/dmarc/records?asn=!AS', 400, 'parameter_invalid', 'asn'],
    ['/api/v1/domains/%zz/summary', 400, 'request_malformed', null],
  ])('%s is %d %s', async (url, status, code, field) => {
    const answer = await ask(api.server, 'GET', url)
    expect([answer.status, answer.body.error.code, answer.body.error.field]).toEqual([status, code, field])
    expect(answer.body.error.message).toMatch(/^\S.*\.$/)
  })

  test('the live generation is known by name and by number', async () => {
    expect((await ask(api.server, 'GET', '/api/v1/domains?generation=g1')).status).toBe(200)
    expect((await ask(api.server, 'GET', '/api/v1/domains?generation=1')).status).toBe(200)
  })

  test('bodies that are no JSON, or too large, are refused', async () => {
    const post = async (payload: string, type: string) => {
      const headers = { 'content-type': type }
      return answerOf<Refused>(
        await api.server.inject({ method: 'POST', url: '/api/v1/rejects/retry', headers, payload }),
      )
    }
    expect(await post('{', 'application/json')).toMatchObject({
      status: 400,
      body: { error: { code: 'body_invalid' } },
    })
    expect(await post('{"ids":["x"]}', 'application/json')).toMatchObject({
      status: 400,
      body: { error: { code: 'body_invalid', field: 'ids' } },
    })
    expect(await post('x', 'text/csv')).toMatchObject({
      status: 415,
      body: { error: { code: 'body_type_unsupported' } },
    })
    expect(await post(`"${'x'.repeat(2 ** 21)}"`, 'application/json')).toMatchObject({
      status: 413,
      body: { error: { code: 'body_too_large' } },
    })
  })
})
