import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type ApiUnderTest, openApi } from './api-under-test.ts'
import { dmarcRecord, dmarcReport, tlsPolicy, tlsReport } from './rows.ts'

let api: ApiUnderTest
beforeAll(async () => {
  api = await openApi()
})
afterAll(() => api.close())
beforeEach(() => api.clear())

interface Sums {
  messages: number
  [name: string]: unknown
}
interface Page {
  items: (Sums & { domain: string })[]
  next_cursor: string | null
}
interface Summary {
  totals: Sums
  series: (Sums & { start: string })[]
}

describe('/domains', () => {
  test('says what the reports of a domain add up to, biggest first, domains known from TLS only included', async () => {
    await api.insert(
      'dmarc_reports',
      dmarcReport({
        domain: 'big.example',
        day: '2026-11-10',
        name: 'a',
        totals: { full_pass: 50, dkim_only: 20, spf_only: 10, failed: 20, none: 85, quarantine: 5, reject: 10 },
        policy: { p: 'none', pct: 100 },
      }),
      dmarcReport({
        domain: 'big.example',
        day: '2026-11-12',
        name: 'b',
        totals: { full_pass: 1 },
        policy: { p: 'reject', sp: 'quarantine', pct: null },
      }),
      dmarcReport({ domain: 'small.example', day: '2026-11-11', name: 'c', totals: { failed: 3 } }),
    )
    const tls = { day: '2026-11-13', name: 't', domains: ['big.example', 'tls-only.example'] }
    await api.insert('tls_reports', tlsReport(tls))
    await api.insert(
      'tls_policies',
      tlsPolicy(tls, 0, { domain: 'big.example', successful: 9, failed: 1 }),
      tlsPolicy(tls, 1, { domain: 'big.example', successful: 2, failed: 0, type: 'tlsa' }),
      tlsPolicy(tls, 2, { domain: 'tls-only.example', successful: 7, failed: 3 }),
    )

    const { status, body } = await api.get('/api/v1/domains')

    expect(status).toBe(200)
    expect(body).toEqual({
      items: [
        {
          domain: 'big.example',
          name: 'big.example',
          messages: 101,
          passed: 81,
          full_pass: 51,
          dkim_only: 20,
          spf_only: 10,
          failed: 20,
          none: 86,
          quarantine: 5,
          reject: 10,
          reports: 2,
          tls_reports: 1,
          tls_successful: 11,
          tls_failed: 1,
          policy: { p: 'reject', sp: 'quarantine', np: null, pct: null },
          first_day: '2026-11-10',
          last_day: '2026-11-13',
          host_only: false,
          sources: null,
          verdicts: null,
        },
        expect.objectContaining({ domain: 'small.example', messages: 3, failed: 3, tls_reports: 0 }),
        expect.objectContaining({
          domain: 'tls-only.example',
          messages: 0,
          reports: 0,
          tls_reports: 1,
          tls_successful: 7,
          tls_failed: 3,
          policy: { p: null, sp: null, np: null, pct: null },
          first_day: '2026-11-13',
        }),
      ],
      next_cursor: null,
      generation: 'g1',
      rule_set: null,
    })
  })

  test('counts a report once, by its earliest delivery, whatever arrives in which order', async () => {
    const first = { domain: 'a.example', day: '2026-11-10', name: 'r', received_at: '2026-11-11T08:00:00.000Z' }
    const later = { ...first, variant: 'other', mail: 'other mail', received_at: '2026-11-11T09:00:00.000Z' }
    await api.insert('dmarc_reports', dmarcReport({ ...later, totals: { failed: 1000 } }))
    await api.insert('dmarc_reports', dmarcReport({ ...first, totals: { full_pass: 5 } }))
    await api.insert('dmarc_reports', dmarcReport({ ...first, totals: { full_pass: 5 } }))
    await api.insert('dmarc_reports', dmarcReport({ ...first, mail: 'third', totals: { full_pass: 5 } }))

    const { body } = await api.get<Page>('/api/v1/domains')

    expect(body.items).toMatchObject([{ messages: 5, full_pass: 5, failed: 0, reports: 1 }])
  })

  test('counts distinct sources exactly when asked', async () => {
    const report = { domain: 'a.example', day: '2026-11-10', name: 'r' }
    await api.insert('dmarc_reports', dmarcReport({ ...report, totals: { full_pass: 4 } }))
    await api.insert(
      'dmarc_records',
      dmarcRecord(report, 0, { ip: '192.0.2.1' }),
      dmarcRecord(report, 1, { ip: '192.0.2.1' }),
      dmarcRecord(report, 2, { ip: '2001:db8::1' }),
      dmarcRecord(report, 3, { ip: '64.x.x.x' }),
      dmarcRecord({ ...report, variant: 'loser' }, 0, { ip: '192.0.2.99' }),
    )
    const { body } = await api.get<Page>('/api/v1/domains?fields=sources')
    expect(body.items[0]?.sources).toBe(3)
  })

  test('pages by size, each domain once', async () => {
    const names = Array.from({ length: 7 }, (_, i) => `d${i}.example`)
    const reports = names.map((domain, i) =>
      dmarcReport({ domain, day: '2026-11-10', name: domain, totals: { failed: 10 * (i >> 1) } }),
    )
    await api.insert('dmarc_reports', ...reports)
    const seen: string[] = []
    let cursor: string | null = ''
    while (cursor !== null) {
      const { body }: { body: Page } = await api.get<Page>(
        `/api/v1/domains?limit=2${cursor === '' ? '' : `&cursor=${cursor}`}`,
      )
      seen.push(...body.items.map(({ domain }) => domain))
      cursor = body.next_cursor
    }
    expect(seen).toEqual(['d6', 'd4', 'd5', 'd2', 'd3', 'd0', 'd1'].map((name) => `${name}.example`))
  })

  test('keeps to the range, today and the 29 days before unless said otherwise', async () => {
    const days = ['2026-10-22', '2026-10-23', '2026-11-21', '2026-11-22']
    await api.insert(
      'dmarc_reports',
      ...days.map((day) => dmarcReport({ domain: 'a.example', day, name: day, totals: { failed: 1 } })),
    )
    const { body } = await api.get<Page>('/api/v1/domains')
    expect(body.items).toMatchObject([{ messages: 2, first_day: '2026-10-23', last_day: '2026-11-21' }])
    const { body: older } = await api.get<Page>('/api/v1/domains?from=2026-10-22&to=2026-10-22')
    expect(older.items).toMatchObject([{ messages: 1 }])
  })
})

describe('/domains/{domain}/summary', () => {
  const reports = [
    { domain: 'a.example', day: '2026-11-01', name: '1', totals: { failed: 1 } }, // a Sunday
    { domain: 'a.example', day: '2026-11-02', name: '2', totals: { failed: 2 } },
    { domain: 'a.example', day: '2026-11-04', name: '4', totals: { full_pass: 4 }, policy: { p: 'reject' } },
    { domain: 'sub.a.example', day: '2026-11-04', name: 's', totals: { failed: 10 }, policy: { p: 'quarantine' } },
    { domain: 'nota.example', day: '2026-11-04', name: 'n', totals: { failed: 100 } },
  ]

  test('has an entry for every day, zeros where nothing was reported', async () => {
    await api.insert('dmarc_reports', ...reports.map(dmarcReport))
    const { body } = await api.get<Summary>('/api/v1/domains/A.Example./summary?from=2026-11-01&to=2026-11-05')
    expect(body.totals).toMatchObject({ domain: 'a.example', messages: 7, failed: 3, passed: 4, reports: 3 })
    expect(body.totals.policy).toEqual({ p: 'reject', sp: null, np: null, pct: 100 })
    expect(body.series.map(({ start, messages }) => [start, messages])).toEqual([
      ['2026-11-01', 1],
      ['2026-11-02', 2],
      ['2026-11-03', 0],
      ['2026-11-04', 4],
      ['2026-11-05', 0],
    ])
    expect(body.series[2]).toMatchObject({ reports: 0, first_day: null, policy: { p: null, pct: null } })
  })

  test('weeks begin on Monday, months on the 1st', async () => {
    await api.insert('dmarc_reports', ...reports.map(dmarcReport))
    const path = '/api/v1/domains/a.example/summary?from=2026-11-01&to=2026-12-01'
    const { body: weeks } = await api.get<Summary>(`${path}&interval=week`)
    expect(weeks.series.map(({ start, messages }) => [start, messages])).toEqual([
      ['2026-10-26', 1],
      ['2026-11-02', 6],
      ['2026-11-09', 0],
      ['2026-11-16', 0],
      ['2026-11-23', 0],
      ['2026-11-30', 0],
    ])
    const { body: months } = await api.get<Summary>(`${path}&interval=month`)
    expect(months.series.map(({ start, messages }) => [start, messages])).toEqual([
      ['2026-11-01', 7],
      ['2026-12-01', 0],
    ])
  })

  test('counts the policy domains below it when asked, under the policy of the domain itself', async () => {
    await api.insert('dmarc_reports', ...reports.map(dmarcReport))
    const path = '/api/v1/domains/a.example/summary?from=2026-11-01&to=2026-11-05&subdomains=true'
    const { body } = await api.get<Summary>(path)
    expect(body.totals).toMatchObject({ messages: 17, failed: 13, policy: { p: 'reject' } })
  })

  test('a domain that nobody reported is all zeros', async () => {
    const { status, body } = await api.get<Summary>('/api/v1/domains/none.example/summary')
    expect(status).toBe(200)
    expect(body.totals).toMatchObject({ messages: 0, first_day: null })
    expect(body.series).toHaveLength(30)
  })
})
