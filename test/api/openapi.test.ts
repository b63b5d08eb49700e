import fc from 'fast-check'
import type { TSchema } from 'typebox'
import { Value } from 'typebox/value'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { errorCodes } from '../../api/errors.ts'
import { routes } from '../../api/routes/all.ts'
import { createTables } from '../../projections/schema.ts'
import { type ApiUnderTest, answerOf, openApi } from './api-under-test.ts'
import { idOfRules, RULES } from './replays-under-test.ts'
import {
  dmarcRecord,
  dmarcReport,
  failureReport,
  idOf,
  mailRow,
  rejectRow,
  tlsFailure,
  tlsPolicy,
  tlsReport,
} from './rows.ts'

interface Schema extends TSchema {
  readonly type?: string
  readonly enum?: readonly string[]
  readonly items?: Schema
}
interface Parameter {
  readonly name: string
  readonly in: string
  readonly schema: Schema
}
interface Operation {
  readonly summary?: string
  readonly parameters?: readonly Parameter[]
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: Schema }>> }
  readonly responses: Readonly<Record<string, { readonly content?: Readonly<Record<string, { schema: Schema }>> }>>
}
interface Document {
  readonly openapi: string
  readonly info: { readonly description: string }
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
}

let api: ApiUnderTest
let document: Document
beforeAll(async () => {
  api = await openApi()
  document = (await api.get<Document>('/openapi.json')).body
  await api.dependencies.replays.start(idOfRules(RULES), 'enriched')
  await createTables(api.store, api.dependencies.replays.control.generation('g2')!.generation)
  await fill()
  await api.dependencies.forgetting!.begin([idOf('erased')], { reason: 'mail_id', block: false })
})
afterAll(() => api.close())

const received_at = '2026-11-10T08:00:00.000Z'

/** Something of everything, with text that tries to be more than text. */
async function fill(): Promise<void> {
  const hostile = `'"<script>\u0000\u202e\t=1;--\\`
  const report = { domain: 'a.example', day: '2026-11-10', name: 'r', org: hostile, policy: { pct: null } }
  await api.insert('dmarc_reports', dmarcReport(report), dmarcReport({ ...report, variant: 'v', mail: 'm2' }))
  await api.insert(
    'dmarc_records',
    dmarcRecord(report, 0, { ip: '192.0.2.1', selector: hostile }),
    dmarcRecord(report, 1, { ip: hostile, count: null }),
  )
  const tls = { day: '2026-11-10', name: 't', domains: ['a.example'] }
  await api.insert('tls_reports', tlsReport(tls))
  await api.insert('tls_policies', tlsPolicy(tls, 0, { domain: 'a.example', successful: 1, failed: 2 }))
  await api.insert('tls_failures', tlsFailure(tls, 0, { domain: 'a.example', result_type: hostile, count: 2 }))
  await api.insert('failure_reports', failureReport({ name: 'f', domain: 'a.example', received_at, subject: hostile }))
  await api.insert('mail', mailRow({ id: idOf('m'), received_at, subject: hostile, kind: 'rejected', rejected: 1 }))
  await api.insert('rejects', rejectRow({ id: idOf('m'), received_at, detail: hostile }))
}

/** Addresses that answer 200 over what `fill` wrote. */
const examples: Readonly<Record<string, string>> = {
  '/': '/',
  '/api/v1/mail': '/api/v1/mail',
  '/api/v1/mail/{id}': `/api/v1/mail/${idOf('m')}`,
  '/api/v1/rejects': '/api/v1/rejects',
  '/api/v1/forget/{erasure}': '/api/v1/forget/1',
  '/api/v1/status': '/api/v1/status',
  '/api/v1/reports/unfinished': '/api/v1/reports/unfinished',
  '/api/v1/domains': '/api/v1/domains?fields=sources',
  '/api/v1/domains/{domain}/summary': '/api/v1/domains/a.example/summary?interval=week',
  '/api/v1/domains/{domain}/sources': '/api/v1/domains/a.example/sources',
  '/api/v1/domains/{domain}/what-if': '/api/v1/domains/a.example/what-if?p=reject',
  '/api/v1/domains/{domain}/triage': '/api/v1/domains/a.example/triage',
  '/api/v1/dmarc/records': '/api/v1/dmarc/records?limit=1',
  '/api/v1/dmarc/reports': '/api/v1/dmarc/reports',
  '/api/v1/dmarc/reports/{id}': `/api/v1/dmarc/reports/${idOf('r')}`,
  '/api/v1/tls/summary': '/api/v1/tls/summary',
  '/api/v1/tls/reports': '/api/v1/tls/reports',
  '/api/v1/tls/reports/{id}': `/api/v1/tls/reports/${idOf('t')}`,
  '/api/v1/tls/failures': '/api/v1/tls/failures',
  '/api/v1/failures': '/api/v1/failures',
  '/api/v1/failures/{id}': `/api/v1/failures/${idOf('f')}`,
  '/api/v1/rule-sets': '/api/v1/rule-sets',
  '/api/v1/rule-sets/{id}': `/api/v1/rule-sets/${idOfRules(RULES)}`,
  '/api/v1/rule-sets/{id}/diff': `/api/v1/rule-sets/${idOfRules(RULES)}/diff?to=${idOfRules(RULES)}`,
  '/api/v1/generations': '/api/v1/generations',
  '/api/v1/generations/{id}': '/api/v1/generations/g1',
  '/api/v1/observation-epochs/{epoch}': '/api/v1/observation-epochs/1',
  '/api/v1/generations/{id}/diff': '/api/v1/generations/g2/diff',
  '/health/live': '/health/live',
  '/health/ready': '/health/ready',
  '/metrics': '/metrics',
  '/openapi.json': '/openapi.json',
}

/** `Value.Check` reads the schemas of the document as they are; only nullable unions and objects occur in them. */
const responseSchema = (path: string, method: string, status: string): Schema | undefined =>
  Object.values(document.paths[path]?.[method]?.responses[status]?.content ?? {})[0]?.schema

describe('/openapi.json', () => {
  test('has every endpoint, with a summary and the errors it may give', () => {
    const operations = Object.values(document.paths).flatMap((methods) => Object.values(methods))
    expect(document.openapi).toBe('3.1.0')
    expect(operations).toHaveLength(routes.length)
    for (const [path, methods] of Object.entries(document.paths)) {
      for (const [method, { summary, responses }] of Object.entries(methods)) {
        expect(summary, `${method} ${path}`).toBeTruthy()
        expect(Object.keys(responses).length, `${method} ${path}`).toBeGreaterThan(0)
        if (method === 'post') expect(methods.post?.requestBody, path).toBeDefined()
        if (path.startsWith('/api/v1/')) expect(Object.keys(responses), `${method} ${path}`).toContain('503')
      }
    }
  })

  test('lists every error code', () => {
    for (const code of Object.keys(errorCodes)) expect(document.info.description).toContain(`\`${code}\``)
  })

  test('has an example for every read', () => {
    const reads = Object.entries(document.paths).filter(([, methods]) => 'get' in methods)
    const documented = reads.map(([path]) => path).filter((path) => path !== '/api/v1/mail/{id}/raw')
    expect(documented.toSorted()).toEqual(Object.keys(examples).toSorted())
  })

  test.each(Object.entries(examples))('describes what %s answers', async (path, url) => {
    const { status, body, text } = await api.get(url)
    expect(status, text).toBe(200)
    const schema = responseSchema(path, 'get', '200')
    if (schema === undefined || schema.type === 'string') return
    expect([...Value.Errors(schema, body)]).toEqual([])
    if (path !== '/openapi.json') expect(Value.Check(schema, { ...(body as object), more: 1 })).toBe(false)
  })

  test('describes what POST /mail and errors answer', async () => {
    const headers = { 'content-type': 'message/rfc822' }
    const accepted = await api.server.inject({ method: 'POST', url: '/api/v1/mail', payload: 'x', headers })
    expect([...Value.Errors(responseSchema('/api/v1/mail', 'post', '202')!, accepted.json())]).toEqual([])
    const refused = await api.server.inject({ method: 'POST', url: '/api/v1/mail', payload: '', headers })
    expect([...Value.Errors(responseSchema('/api/v1/mail', 'post', '400')!, refused.json())]).toEqual([])
  })
})

describe('/docs', () => {
  test('is a page that loads nothing from elsewhere', async () => {
    const { status, text, headers } = await api.get('/docs/')
    expect(status).toBe(200)
    expect(headers['content-security-policy']).toContain("default-src 'self'")
    expect(text).not.toMatch(/(src|href)="(https?:)?\/\//)
    for (const [, asset] of text.matchAll(/(?:src|href)="(\.?\/?[^"]+\.(?:js|css|png))"/g)) {
      const url = new URL(asset!, 'http://x/docs/').pathname
      expect((await api.get(url)).status, url).toBe(200)
    }
  })

  test('the first page points only at what is there', async () => {
    const { text } = await api.get('/')
    for (const [, href] of text.matchAll(/href="([^"]+)"/g)) {
      const { status } = await api.get(href!)
      expect([200, 302], href).toContain(status)
    }
  })
})

/** Text that has broken out of a statement somewhere. */
const sqlText = fc.constantFrom(
  "' OR '1'='1",
  "'; DROP TABLE mail__g1; --",
  "\\' OR 1=1 --",
  '\\',
  '{domain:String}',
  '`',
  "a'||sleep(3)||'",
  '\u0000',
  '\t\n\r',
  '\ud800',
  '%00%27',
  '🙂',
  '!',
  '!!',
  'a\tb',
  '\\N',
  'NULL',
  '\\x27',
)

function valuesOf({ name, schema }: Parameter): fc.Arbitrary<string | string[]> {
  const single = schema.type === 'array' ? schema.items : schema
  const allowed = single?.enum
  const text =
    allowed !== undefined
      ? fc.constantFrom(...allowed)
      : single?.type === 'integer'
        ? fc.integer({ min: -2, max: 1200 }).map(String)
        : single?.type === 'boolean'
          ? fc.constantFrom('true', 'false', 'maybe')
          : name === 'from' || name === 'to'
            ? fc.oneof(fc.constantFrom('2026-11-01', '2026-11-30', '1970-01-01', '2149-06-06', '0000-00-00'), sqlText)
            : name === 'ip'
              ? fc.oneof(
                  fc.ipV4(),
                  fc.ipV6(),
                  fc.ipV4().map((ip) => `${ip}/${ip.length}`),
                  sqlText,
                )
              : fc.oneof(sqlText, fc.string({ unit: 'binary', maxLength: 40 }), fc.domain())
  return schema.type === 'array' ? fc.array(text, { minLength: 1, maxLength: 3 }) : text
}

function requestOf(path: string, parameters: readonly Parameter[]): fc.Arbitrary<string> {
  const query = parameters.filter((parameter) => parameter.in === 'query')
  const optional = Object.fromEntries(query.map((parameter) => [parameter.name, valuesOf(parameter)]))
  const inPath = path.includes('{id}')
    ? fc.oneof(fc.constantFrom(idOf('m'), idOf('r'), idOf('f'), idOf('t')), sqlText)
    : fc.oneof(fc.constant('a.example'), sqlText, fc.string({ unit: 'binary', minLength: 1, maxLength: 300 }))
  return fc.record({ inPath, values: fc.record(optional, { requiredKeys: [] }) }).map(({ inPath: text, values }) => {
    const search = new URLSearchParams()
    for (const [name, value] of Object.entries(values)) {
      for (const each of [value].flat() as string[]) search.append(name, each)
    }
    return `${path.replace(/\{\w+\}/, encodeURIComponent(text.toWellFormed()))}?${search}`
  })
}

describe('whatever is asked', () => {
  test.each(Object.keys(examples).filter((path) => path.startsWith('/api/')))(
    '%s answers, or says what is wrong, and never fails',
    async (path) => {
      const { parameters = [] } = document.paths[path]!.get!
      const accept = fc.constantFrom('application/json', 'text/csv', 'application/x-ndjson', '*/*', '\u00ff;q=x')
      await fc.assert(
        fc.asyncProperty(requestOf(path, parameters), accept, async (url, accepted) => {
          const answer = answerOf<{ error?: { code: string } }>(
            await api.server.inject({ method: 'GET', url, headers: { accept: accepted } }),
          )
          if (answer.status >= 500) throw new Error(`${url} ${answer.status} ${answer.text}`)
          if (answer.status >= 400) expect(Object.keys(errorCodes)).toContain(answer.body.error?.code)
        }),
        { numRuns: 40 },
      )
    },
  )

  test('text that looks like SQL is a value: it finds what has it, and nothing else', async () => {
    const hostile = "' OR '1'='1"
    const report = { domain: 'b.example', day: '2026-11-11', name: 'b' }
    await api.insert('dmarc_reports', dmarcReport(report))
    await api.insert('dmarc_records', dmarcRecord(report, 0, { ip: '192.0.2.1', selector: hostile }))
    const found = async (query: string) =>
      (await api.get<{ items: unknown[] }>(`/api/v1/dmarc/records?${query}`)).body.items.length
    for (const name of ['domain', 'org', 'ip', 'header_from', 'disposition', 'dkim', 'spf']) {
      expect([name, await found(`${name}=${encodeURIComponent(hostile)}`)]).toEqual([name, 0])
    }
    expect(await found(`selector=${encodeURIComponent(hostile)}`)).toBe(1)
    expect(await api.store.query('SELECT 1 FROM mail__g1 LIMIT 1')).toHaveLength(1)
  })
})
