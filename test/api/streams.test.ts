import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { StoreUnavailable } from '../../projections/store.ts'
import { type ApiUnderTest, openApi } from './api-under-test.ts'
import { dmarcRecord, dmarcReport, idOf, mailRow } from './rows.ts'

let api: ApiUnderTest
beforeAll(async () => {
  api = await openApi()
})
afterAll(() => api.close())
beforeEach(() => api.clear())

const csv = { accept: 'text/csv' }
const ndjson = { accept: 'application/x-ndjson' }
const days = ['2026-11-08', '2026-11-10', '2026-11-15']

async function thirtyRecords(): Promise<void> {
  const reports = days.flatMap((day) =>
    ['x', 'y'].map((name) => ({ domain: `${name}.example`, day, name: day + name })),
  )
  await api.insert('dmarc_reports', ...reports.map(dmarcReport))
  const records = reports.flatMap((each) => [0, 1, 2, 3, 4].map((i) => dmarcRecord(each, i, { ip: `192.0.2.${i}` })))
  await api.insert('dmarc_records', ...records)
}

interface Placed {
  domain: string
  day: string
  report_id: string
  record_index: number
}

describe('NDJSON', () => {
  test('gives everything, by domain and day, and says where it comes from', async () => {
    await thirtyRecords()
    const { body: page } = await api.get<{ items: Placed[] }>('/api/v1/dmarc/records?limit=1000')
    const { status, text, headers } = await api.get('/api/v1/dmarc/records', ndjson)
    expect(status).toBe(200)
    expect(headers).toMatchObject({
      'content-type': 'application/x-ndjson; charset=utf-8',
      'mailtrail-generation': 'g1',
    })
    expect(headers['mailtrail-rule-set']).toBeUndefined()
    const lines = text.split('\n')
    expect(lines.pop()).toBe('')
    const place = ({ domain, day, report_id, record_index }: Placed) => `${domain} ${day} ${report_id} ${record_index}`
    const byDomain = page.items.toSorted((a, b) => (place(a) < place(b) ? -1 : 1))
    expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual(byDomain)
    expect(lines).toHaveLength(30)
  })

  test('keeps to a limit when one is given', async () => {
    await thirtyRecords()
    const { text } = await api.get('/api/v1/dmarc/records?limit=7', ndjson)
    expect(text.trimEnd().split('\n')).toHaveLength(7)
  })

  test.each([
    '/api/v1/domains',
    '/api/v1/domains/x.example/sources',
    '/api/v1/dmarc/reports',
    '/api/v1/tls/reports',
    '/api/v1/tls/failures',
    '/api/v1/failures',
    '/api/v1/mail',
    '/api/v1/rejects',
  ])('is there for %s, empty lists included', async (url) => {
    expect(await api.get(url, ndjson)).toMatchObject({ status: 200, text: '' })
    const { text } = await api.get(url, csv)
    expect(text).toMatch(/^[a-z_]+(,[a-z_]+)*\r\n$/)
  })
})

describe('CSV', () => {
  test('has a header, one line a row, nested values flattened, and JSON where a list stands', async () => {
    const report = { domain: 'x.example', day: '2026-11-10', name: 'r', policy: { p: 'reject', pct: null } }
    await api.insert(
      'dmarc_reports',
      dmarcReport({ ...report, totals: { failed: 3 }, warnings: [['bom_removed', 'a "b"']] }),
    )
    const { text, headers } = await api.get('/api/v1/dmarc/reports', csv)
    expect(headers['content-type']).toBe('text/csv; charset=utf-8; header=present')
    const [head, line, end] = text.split('\r\n')
    expect(end).toBe('')
    expect(head).toContain('report_org_name,report_email')
    expect(head).toContain(',policy_domain,policy_adkim,policy_aspf,policy_p,')
    expect(line).toContain('x.example,r,r,reject,,,,,')
    expect(line).toContain('"[{""code"":""bom_removed"",""detail"":""a \\""b\\""""}]"')
  })

  test('makes formulas of strangers harmless, and leaves numbers alone', async () => {
    const subjects = ['=SUM(A1)', '+1', '-1', '@x', '\tx', '\rx', 'a=1', 'a,"b"\r\nc']
    await api.insert(
      'mail',
      ...subjects.map((subject, i) =>
        mailRow({ id: idOf(`m${i}`), received_at: `2026-11-10T08:00:0${i}.000Z`, subject }),
      ),
    )
    await api.insert('dmarc_reports', dmarcReport({ domain: 'x.example', day: '2026-11-10', name: 'r' }))
    await api.insert(
      'dmarc_records',
      dmarcRecord({ domain: 'x.example', day: '2026-11-10', name: 'r' }, 0, { ip: '192.0.2.1', count: -5 }),
    )
    const { text } = await api.get('/api/v1/mail', csv)
    for (const shown of [
      ",'=SUM(A1),",
      ",'+1,",
      ",'-1,",
      ",'@x,",
      ",'\tx,",
      ',\ufffdx,',
      ',a=1,',
      ',"a,""b""\r\nc",',
    ]) {
      expect(text).toContain(shown)
    }
    const { text: records } = await api.get('/api/v1/dmarc/records', csv)
    expect(records).toContain(',192.0.2.1,-5,0,')
  })
})

describe('a store that fails in the middle', () => {
  test('cuts the connection, so that nobody takes a part for the whole', async () => {
    await thirtyRecords()
    const { store } = api.dependencies
    const failing = api.serve({
      store: {
        query: (sql, options) => store.query(sql, options),
        command: (sql, options) => store.command(sql, options),
        insert: (table, block) => store.insert(table, block),
        close: async () => undefined,
        async *stream<Row>(sql: string, options?: Parameters<typeof store.stream>[1]) {
          yield* store.stream<Row>(sql, options)
          throw new StoreUnavailable('gone')
        },
      },
    })
    const address = await failing.listen({ host: '127.0.0.1', port: 0 })
    const response = await fetch(`${address}/api/v1/dmarc/records`, { headers: ndjson })
    expect(response.status).toBe(200)
    await expect(response.text()).rejects.toThrow()
  })
})
