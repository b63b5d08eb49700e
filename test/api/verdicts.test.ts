/** Answers that speak of senders and verdicts, from tables filled with rows. */
import { Value } from 'typebox/value'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { Server } from '../../api/route.ts'
import { type ApiUnderTest, openApi } from './api-under-test.ts'
import {
  type JudgedReport,
  judgedGeneration,
  judgedReport,
  type RecordGiven,
  type ReportGiven,
  reportVerdict,
} from './rows.ts'

let api: ApiUnderTest
let server: Server
beforeAll(async () => {
  api = await openApi()
  server = api.serve({
    generation: () => judgedGeneration,
    generationNamed: () => ({ generation: judgedGeneration, gone: false }),
  })
})
afterAll(() => api.close())
beforeEach(() => api.clear())

type Item = Record<string, unknown>

async function ask<Body = Record<string, unknown>>(url: string): Promise<Body> {
  const answer = await server.inject({ method: 'GET', url: `/api/v1${url}` })
  expect(answer.statusCode, answer.body).toBe(200)
  return answer.json<Body>()
}
const itemsOf = async (url: string) => (await ask<{ items: Item[] }>(url)).items

async function insert({ facts, report, verdicts, sums }: JudgedReport): Promise<void> {
  await api.insert('dmarc_records', ...facts)
  await api.insert('dmarc_reports', report)
  await api.insert('record_verdicts', ...verdicts)
  await api.insert('report_verdicts', sums)
}

const report: ReportGiven = { domain: 'a.example', day: '2026-11-10', name: 'r1', org: 'Google.com' }
const records: readonly RecordGiven[] = [
  {
    ip: '192.0.2.1',
    count: 50,
    ptr: 'mx1.mailer.example',
    asn: 64500,
    country: 'NL',
    sender: 'mailer',
    verdict: 'authenticated',
  },
  {
    ip: '192.0.2.2',
    count: 20,
    ptr: 'mx2.mailer.example',
    asn: 64500,
    country: 'NL',
    sender: 'mailer',
    verdict: 'signing_broken',
    dkim: 'fail',
  },
  {
    ip: '198.51.100.7',
    count: 9,
    dkim: 'fail',
    spf: 'fail',
    asn: 64501,
    country: 'US',
    verdict: 'spoofed',
    disposition: 'reject',
  },
  {
    ip: '198.51.100.7',
    count: 1,
    dkim: 'fail',
    spf: 'fail',
    asn: 64501,
    country: 'US',
    sender: 'other',
    verdict: 'unknown',
    header_from: 'news.a.example',
  },
  { ip: '64.x.x.x', count: 3, dkim: 'fail', spf: 'fail', verdict: 'misconfigured', disposition: 'quarantine' },
]
const none = { authenticated: 0, forwarded: 0, signing_broken: 0, misconfigured: 0, spoofed: 0, unknown: 0 }

describe('/domains/{domain}/sources under rules', () => {
  const sources = (query: string) => itemsOf(`/domains/a.example/sources?${query}`)

  test('by address: sums, messages by verdict, and the sender with most messages', async () => {
    await insert(judgedReport(report, records))
    expect(await sources('by=ip')).toEqual([
      expect.objectContaining({
        ...{ key: '192.0.2.1', name: '192.0.2.1', messages: 50, passed: 50, full_pass: 50, failed: 0 },
        ...{ sender: 'mailer', verdicts: { ...none, authenticated: 50 } },
      }),
      expect.objectContaining({ key: '192.0.2.2', spf_only: 20, verdicts: { ...none, signing_broken: 20 } }),
      {
        ...{
          key: '198.51.100.7',
          name: '198.51.100.7',
          messages: 10,
          passed: 0,
          full_pass: 0,
          dkim_only: 0,
          spf_only: 0,
        },
        ...{ failed: 10, none: 1, quarantine: 0, reject: 9, sender: null },
        ...{ verdicts: { ...none, spoofed: 9, unknown: 1 }, first_day: '2026-11-10', last_day: '2026-11-10' },
      },
      expect.objectContaining({ key: '64.x.x.x', quarantine: 3, sender: null }),
    ])
  })

  test.each([
    [
      'sender',
      [
        ['mailer', 70],
        ['', 12],
        ['other', 1],
      ],
    ],
    [
      'ptr',
      [
        ['mx1.mailer.example', 50],
        ['mx2.mailer.example', 20],
        ['', 13],
      ],
    ],
    [
      'asn',
      [
        ['64500', 70],
        ['64501', 10],
        ['', 3],
      ],
    ],
    [
      'country',
      [
        ['NL', 70],
        ['US', 10],
        ['', 3],
      ],
    ],
    ['org', [['google.com', 83]]],
    [
      'header_from',
      [
        ['a.example', 82],
        ['news.a.example', 1],
      ],
    ],
  ])('by=%s', async (by, expected) => {
    await insert(judgedReport(report, records))
    const items = await sources(`by=${by}`)
    expect(items.map(({ key, messages }) => [key, messages])).toEqual(expected)
    const total = (verdict: string) =>
      items.reduce((sum, item) => sum + (item.verdicts as Record<string, number>)[verdict]!, 0)
    expect([total('authenticated'), total('spoofed'), total('misconfigured')]).toEqual([50, 9, 3])
  })

  test('an autonomous system is shown with its name', async () => {
    await insert(judgedReport(report, records))
    expect((await sources('by=asn'))[0]).toMatchObject({ key: '64500', name: 'Network 64500', sender: null })
  })

  test.each([
    ['by=ip&verdict=spoofed', ['198.51.100.7']],
    ['by=ip&verdict=!authenticated', ['192.0.2.2', '198.51.100.7', '64.x.x.x']],
    ['by=ip&sender=mailer&verdict=signing_broken', ['192.0.2.2']],
    ['by=ip&sender=none', ['198.51.100.7', '64.x.x.x']],
    ['by=ip&dkim=fail&spf=fail&disposition=none', ['198.51.100.7']],
    ['by=ip&country=us', ['198.51.100.7']],
    ['by=ip&asn=AS64500&verdict=authenticated', ['192.0.2.1']],
    ['by=sender&ptr=mailer.example', ['mailer']],
    ['by=sender&ptr=ailer.example', []],
    ['by=country&sender=other', ['US']],
    ['by=asn&org=yahoo', []],
  ])('narrowed: %s', async (query, expected) => {
    await insert(judgedReport(report, records))
    expect((await sources(query)).map(({ key }) => key)).toEqual(expected)
  })

  test('pages show each source once, also among equal sums', async () => {
    const many = Array.from({ length: 7 }, (_, i) => ({ ip: `192.0.2.${i}`, count: 1 + (i >> 1), sender: `s${i}` }))
    await insert(judgedReport(report, many))
    for (const by of ['ip', 'sender', 'asn']) {
      const seen: unknown[] = []
      let cursor: string | null = ''
      while (cursor !== null) {
        const page: { items: Item[]; next_cursor: string | null } = await ask(
          `/domains/a.example/sources?by=${by}&limit=2${cursor === '' ? '' : `&cursor=${cursor}`}`,
        )
        seen.push(...page.items.map(({ key }) => key))
        cursor = page.next_cursor
      }
      expect(seen).toHaveLength(by === 'asn' ? 1 : 7)
      expect(new Set(seen).size).toBe(seen.length)
    }
  })

  test('a stream says the same as the pages', async () => {
    await insert(judgedReport(report, records))
    for (const by of ['ip', 'sender', 'asn']) {
      const url = `/api/v1/domains/a.example/sources?by=${by}`
      const streamed = await server.inject({ method: 'GET', url, headers: { accept: 'application/x-ndjson' } })
      const lines = streamed.body
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as unknown)
      expect(lines).toEqual(await sources(`by=${by}`))
    }
  })
})

describe('what counts', () => {
  const totals = async () => {
    const [sources] = await itemsOf('/domains/a.example/sources?by=header_from')
    const [byAddress] = await itemsOf('/domains/a.example/sources?by=ip')
    const summary = await ask<{ totals: Item }>('/domains/a.example/summary')
    const [domain] = await itemsOf('/domains?fields=verdicts')
    return [sources?.verdicts, byAddress?.verdicts, summary.totals.verdicts, domain?.verdicts]
  }
  const one = [{ ip: '192.0.2.1', count: 5, verdict: 'authenticated' as const }]
  const two = [...one, { ip: '192.0.2.1', count: 2, verdict: 'spoofed' as const }]
  const five = { ...none, authenticated: 5 }

  test('a report that came twice counts once', async () => {
    await insert(judgedReport(report, one))
    await insert(judgedReport({ ...report, mail: 'again', received_at: '2026-11-12T00:00:00.000Z' }, one))
    expect(await totals()).toEqual([five, five, five, five])
  })

  test('of two contents the first received counts, whatever arrives in which order', async () => {
    await insert(judgedReport({ ...report, variant: 'later', received_at: '2026-11-12T00:00:00.000Z' }, two))
    await insert(judgedReport(report, one))
    expect(await totals()).toEqual([five, five, five, five])
  })

  test('a report counts when all its records are judged, and not before', async () => {
    await insert(judgedReport(report, one))
    const other: ReportGiven = { ...report, name: 'r2' }
    const { facts, report: row, verdicts } = judgedReport(other, two)
    await api.insert('dmarc_records', ...facts)
    await api.insert('dmarc_reports', row)
    await api.insert('record_verdicts', verdicts[0]!)
    await api.insert('report_verdicts', reportVerdict(other, two.slice(0, 1), 0))
    expect(await totals()).toEqual([five, five, five, five])

    await api.insert('record_verdicts', verdicts[1]!)
    await api.insert('report_verdicts', reportVerdict(other, two.slice(1), 1))
    const both = { ...none, authenticated: 10, spoofed: 2 }
    expect(await totals()).toEqual([both, both, both, both])
  })

  test('what is judged before its report is closed does not count', async () => {
    await insert(judgedReport(report, one))
    const { facts, verdicts, sums } = judgedReport({ ...report, name: 'r2' }, two)
    await api.insert('dmarc_records', ...facts)
    await api.insert('record_verdicts', ...verdicts)
    await api.insert('report_verdicts', sums)
    expect(await totals()).toEqual([five, five, five, five])
  })

  test('rows that are there twice, although their report is there once, count once', async () => {
    const judged = judgedReport(report, one)
    await insert(judged)
    await api.insert('dmarc_records', ...judged.facts)
    await api.insert('record_verdicts', ...judged.verdicts)
    expect(await totals()).toEqual([five, five, five, five])
  })

  test('a report without records counts nothing', async () => {
    await insert(judgedReport(report, one))
    await api.insert('dmarc_reports', judgedReport({ ...report, name: 'empty' }, []).report)
    expect(await totals()).toEqual([five, five, five, five])
  })
})

interface Document {
  readonly paths: Record<
    string,
    Record<string, { responses: Record<string, { content: Record<string, { schema: object }> }> }>
  >
}

describe('other answers', () => {
  test.each([
    ['/domains', '?fields=verdicts&fields=sources'],
    ['/domains/{domain}/summary', '?interval=week'],
    ['/domains/{domain}/sources', '?by=asn'],
    ['/domains/{domain}/sources', '?by=ip'],
    ['/domains/{domain}/what-if', '?p=reject&sp=none'],
    ['/domains/{domain}/triage', ''],
    ['/dmarc/records', ''],
  ])('%s%s is as the description says', async (path, query) => {
    await insert(judgedReport(report, records))
    const { paths } = (await server.inject({ url: '/openapi.json' })).json<Document>()
    const { schema } = Object.values(paths[`/api/v1${path}`]!.get!.responses['200']!.content)[0]!
    const answer = await ask(`${path.replace('{domain}', 'a.example')}${query}`)
    expect([...Value.Errors(schema, answer)]).toEqual([])
    if ('items' in answer) expect(answer.items).not.toEqual([])
  })

  test('/domains has verdicts only when asked', async () => {
    await insert(judgedReport(report, records))
    expect((await itemsOf('/domains'))[0]?.verdicts).toBeNull()
  })

  test('summary has verdicts in totals and series', async () => {
    await insert(judgedReport(report, records))
    await insert(judgedReport({ ...report, day: '2026-11-12', name: 'r2' }, records.slice(0, 1)))
    const { totals, series } = await ask<{ totals: Item; series: Item[] }>(
      '/domains/a.example/summary?from=2026-11-10&to=2026-11-12',
    )
    expect(totals.verdicts).toEqual({
      ...none,
      authenticated: 100,
      signing_broken: 20,
      misconfigured: 3,
      spoofed: 9,
      unknown: 1,
    })
    expect(series.map(({ verdicts }) => (verdicts as Item).authenticated)).toEqual([50, 0, 50])
  })

  test('a report says its messages by verdict, once all its records are judged', async () => {
    const { facts, report: row, verdicts, sums } = judgedReport(report, records)
    await api.insert('dmarc_records', ...facts)
    await api.insert('dmarc_reports', row)
    const [listed] = await itemsOf('/dmarc/reports')
    expect(await ask(`/dmarc/reports/${listed?.id}`)).toMatchObject({ verdicts: null })
    await api.insert('record_verdicts', ...verdicts)
    await api.insert('report_verdicts', sums)
    expect(await ask(`/dmarc/reports/${listed?.id}`)).toMatchObject({ verdicts: { authenticated: 50, spoofed: 9 } })
  })

  test('records show what was observed and what the rules say', async () => {
    await insert(judgedReport(report, records))
    expect((await itemsOf('/dmarc/records'))[0]).toMatchObject({
      ...{ observed: true, ptr: 'mx1.mailer.example', ptr_names: ['mx1.mailer.example'] },
      ...{ asn: 64500, as_name: 'Network 64500', country: 'NL' },
      ...{ sender: 'mailer', verdict: 'authenticated', rule: 'rule-authenticated' },
    })
  })

  test.each([
    ['verdict=spoofed', [2]],
    ['verdict=spoofed&verdict=unknown', [2, 3]],
    ['verdict=!spoofed&sender=none', [4]],
    ['sender=mailer&dkim=fail', [1]],
    ['sender=!mailer', [2, 3, 4]],
    ['country=nl', [0, 1]],
    ['country=none', [4]],
    ['asn=AS64501&verdict=unknown', [3]],
    ['asn=!64501', [0, 1, 4]],
    ['ptr=mailer.example', [0, 1]],
    ['ptr=mx2.mailer.example', [1]],
    ['ptr=none', [2, 3, 4]],
    ['ip=198.51.100.0/24&sender=other', [3]],
  ])('records are found by %s', async (query, expected) => {
    await insert(judgedReport(report, records))
    const items = await itemsOf(`/dmarc/records?${query}`)
    expect(items.map(({ record_index }) => record_index)).toEqual(expected)
    const streamed = await server.inject({
      method: 'GET',
      url: `/api/v1/dmarc/records?${query}`,
      headers: { accept: 'application/x-ndjson' },
    })
    expect(streamed.body.trim().split('\n')).toHaveLength(expected.length)
  })

  test('what is rare is found among many reports', async () => {
    for (let number = 0; number < 150; number++) {
      const rare = number === 3 ? 'spoofed' : 'authenticated'
      await insert(judgedReport({ ...report, name: `r${number}` }, [{ ip: '192.0.2.1', verdict: rare, asn: 64500 }]))
    }
    for (const query of ['verdict=spoofed', 'verdict=spoofed&asn=64500', 'verdict=spoofed&org=google.com'])
      expect(await itemsOf(`/dmarc/records?${query}`), query).toMatchObject([{ verdict: 'spoofed' }])
    expect(await itemsOf('/dmarc/records?verdict=spoofed&asn=64501')).toEqual([])
  }, 60_000)

  test('the views show verdicts beside the facts', async () => {
    await insert(judgedReport(report, records))
    expect(
      await api.store.query(
        'SELECT record_index, sender, verdict, asn, ptr FROM v_dmarc_records ORDER BY record_index LIMIT 3',
      ),
    ).toEqual([
      { record_index: 0, sender: 'mailer', verdict: 'authenticated', asn: 64500, ptr: 'mx1.mailer.example' },
      { record_index: 1, sender: 'mailer', verdict: 'signing_broken', asn: 64500, ptr: 'mx2.mailer.example' },
      { record_index: 2, sender: null, verdict: 'spoofed', asn: 64501, ptr: null },
    ])
    expect(await api.store.query('SELECT messages, authenticated, spoofed FROM v_dmarc_reports')).toEqual([
      { messages: 83, authenticated: 50, spoofed: 9 },
    ])
  })
})
