import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { Server } from '../../api/route.ts'
import { type ApiUnderTest, openApi } from './api-under-test.ts'
import { judgedGeneration, judgedReport, type RecordGiven } from './rows.ts'

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

interface Item {
  source: string
  messages: number
  verdict: string
  why: string
  suggestions: { as: string; reason: string }[]
  [name: string]: unknown
}
interface Page {
  items: Item[]
  next_cursor: string | null
}

async function triage(query = ''): Promise<Page> {
  const answer = await server.inject({ method: 'GET', url: `/api/v1/domains/a.example/triage?${query}` })
  expect(answer.statusCode, answer.body).toBe(200)
  return answer.json<Page>()
}

let reports = 0
async function insert(day: string, records: readonly RecordGiven[]): Promise<void> {
  const given = { domain: 'a.example', day, name: `r${reports++}` }
  const { facts, report, verdicts, sums } = judgedReport(given, records)
  await api.insert('dmarc_records', ...facts)
  await api.insert('dmarc_reports', report)
  await api.insert('record_verdicts', ...verdicts)
  await api.insert('report_verdicts', sums)
}
const fails = { dkim: 'fail', spf: 'fail' }

describe('/domains/{domain}/triage', () => {
  test('lists what needs a decision, most messages first, with a reason and suggestions', async () => {
    await insert('2026-11-10', [
      { ip: '192.0.2.1', count: 500, sender: 'mailer', verdict: 'authenticated' },
      { ip: '192.0.2.2', count: 9, ...fails, verdict: 'unknown', ptr: 'mx.shop.example', asn: 64500, country: 'NL' },
      { ip: '192.0.2.1', count: 30, ...fails, sender: 'mailer', verdict: 'misconfigured' },
      { ip: '64.x.x.x', count: 1, ...fails, verdict: 'spoofed' },
      { ip: '192.0.2.3', count: 99, ...fails, verdict: 'spoofed', excluded: 'old printer' },
      { ip: '192.0.2.4', count: 50, verdict: 'forwarded', ...fails },
    ])
    const { items } = await triage()
    expect(items.map(({ source, verdict, messages }) => [source, verdict, messages])).toEqual([
      ['mailer', 'misconfigured', 30],
      ['192.0.2.2', 'unknown', 9],
      ['64.x.x.x', 'spoofed', 1],
    ])
    expect(items[1]).toMatchObject({
      ...{ sender: null, source_ip: '192.0.2.2', range: null, addresses: 1, ptr: 'mx.shop.example' },
      ...{ asn: 64500, as_name: 'Network 64500', country: 'NL', new: false },
      ...{ first_day: '2026-11-10', last_day: '2026-11-10' },
      why: '192.0.2.2 (mx.shop.example) sent 9 messages as a.example that failed DMARC, and no rule says whether it may.',
    })
    for (const { suggestions, why } of items) {
      expect(why).toMatch(/\.$/)
      expect(suggestions.length).toBeGreaterThan(1)
      for (const { as } of suggestions) expect(['own', 'sender', 'forwarder', 'exclude']).toContain(as)
    }
  })

  test('addresses of one network with names below one domain are one source, others are not', async () => {
    await insert('2026-11-10', [
      { ip: '192.0.2.1', count: 4, ...fails, ptr: 'a.shop.example' },
      { ip: '192.0.2.2', count: 3, ...fails, ptr: 'b.shop.example' },
      { ip: '192.0.2.3', count: 2, ...fails, ptr: 'c.other.example' },
      { ip: '2001:db8:1:2::1', count: 10, ...fails },
      { ip: '2001:db8:1:3::1', count: 1, ...fails },
    ])
    const { items } = await triage()
    expect(items.map(({ source, range, addresses, ptr }) => [source, range, addresses, ptr])).toEqual([
      ['2001:db8:1::/48', '2001:db8:1::/48', 2, null],
      ['192.0.2.0/24', '192.0.2.0/24', 2, 'shop.example'],
      ['192.0.2.3', null, 1, 'c.other.example'],
    ])
  })

  test('what was not seen before since is listed whatever its verdict, if anything was seen before', async () => {
    const old = { ip: '192.0.2.1', count: 5, sender: 'old', verdict: 'authenticated' } as const
    const fresh = { ip: '198.51.100.1', count: 3, verdict: 'authenticated' } as const
    await insert('2026-11-12', [old, fresh, { ...old, sender: 'fresh' }])
    expect((await triage('since=2026-11-10')).items).toEqual([])
    await insert('2026-11-01', [old])
    expect((await triage('since=2026-11-10')).items).toMatchObject([
      {
        source: 'fresh',
        verdict: 'authenticated',
        new: true,
        why: expect.stringContaining('not seen before 2026-11-10'),
      },
      { source: '198.51.100.1', new: true },
    ])
    await insert('2026-11-02', [fresh])
    expect((await triage('since=2026-11-10')).items).toMatchObject([{ source: 'fresh' }])
  })

  test('keeps to the days since, and pages show each source once', async () => {
    const records = Array.from({ length: 9 }, (_, i) => ({ ip: `192.0.${i}.1`, count: 1 + (i % 3), ...fails }))
    await insert('2026-11-12', records)
    await insert('2026-10-01', [{ ip: '203.0.113.1', count: 7, ...fails }])
    const seen: string[] = []
    for (let cursor: string | null = ''; cursor !== null; ) {
      const page: Page = await triage(`since=2026-11-01&limit=4${cursor === '' ? '' : `&cursor=${cursor}`}`)
      seen.push(...page.items.map(({ source }) => source))
      cursor = page.next_cursor
    }
    expect(seen.toSorted()).toEqual(records.map(({ ip }) => ip))
  })

  test('without rules there is nothing to decide', async () => {
    await insert('2026-11-12', [{ ip: '192.0.2.1', ...fails }])
    expect((await api.get<Page>('/api/v1/domains/a.example/triage')).body).toMatchObject({ items: [], rule_set: null })
  })
})
