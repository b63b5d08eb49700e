import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { hashOf } from '../../topics/cause.ts'
import { type ApiUnderTest, openApi } from './api-under-test.ts'
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
  variantOf,
} from './rows.ts'

let api: ApiUnderTest
beforeAll(async () => {
  api = await openApi()
})
afterAll(() => api.close())
beforeEach(() => api.clear())

type Item = Record<string, unknown>
interface Page {
  items: Item[]
  next_cursor: string | null
}

const only = async (url: string) => (await api.get<Page>(url)).body.items

/** Follows `next_cursor` to the end; `between` runs after each page. */
async function allPages(url: string, between: () => Promise<unknown> = async () => undefined): Promise<Item[]> {
  const items: Item[] = []
  for (let cursor: string | null = ''; cursor !== null; ) {
    const { status, body }: { status: number; body: Page } = await api.get<Page>(
      cursor === '' ? url : `${url}&cursor=${cursor}`,
    )
    expect(status).toBe(200)
    items.push(...body.items)
    cursor = body.next_cursor
    await between()
  }
  return items
}

const report = { domain: 'a.example', day: '2026-11-10', name: 'r1', org: 'Google.com' }
const second = { domain: 'b.example', day: '2026-11-11', name: 'r2', org: 'Yahoo' }

async function twoReports(): Promise<void> {
  await api.insert('dmarc_reports', dmarcReport({ ...report, records: 4 }), dmarcReport({ ...second, records: 2 }))
  await api.insert(
    'dmarc_records',
    dmarcRecord(report, 0, { ip: '192.0.2.1', count: 5, selector: 's1' }),
    dmarcRecord(report, 1, { ip: '192.0.2.200', count: 3, dkim: 'fail', spf: '', disposition: 'reject' }),
    dmarcRecord(report, 2, { ip: '2001:db8::1', count: null, spf: 'fail', disposition: 'pass' }),
    dmarcRecord(report, 3, { ip: '64.x.x.x', count: 9e15, dkim: '', spf: 'fail', disposition: '' }),
    dmarcRecord(second, 0, { ip: '198.51.100.7', header_from: 'mail.b.example', selector: 's2' }),
    dmarcRecord(second, 1, { ip: '192.0.2.1', disposition: 'quarantine' }),
  )
}

describe('/dmarc/records', () => {
  test('shows a record with all that its report says, null where it says nothing', async () => {
    await twoReports()
    const items = await only('/api/v1/dmarc/records?domain=a.example')
    expect(items[0]).toEqual({
      id: hashOf(idOf('r1'), variantOf('first'), '0'),
      report_id: idOf('r1'),
      record_index: 0,
      domain: 'a.example',
      day: '2026-11-10',
      begin: '2026-11-10T00:00:00Z',
      end: '2026-11-10T23:59:59Z',
      org: 'google.com',
      org_name: 'Google.com',
      submitter_report_id: 'r1',
      source_ip: '192.0.2.1',
      count: 5,
      messages: 5,
      disposition: 'none',
      dkim: 'pass',
      spf: 'pass',
      dkim_aligned: true,
      spf_aligned: true,
      reasons: [],
      header_from: 'a.example',
      envelope_from: null,
      envelope_to: null,
      dkim_results: [{ domain: 'a.example', selector: 's1', result: 'pass', human_result: null }],
      spf_results: [{ domain: 'a.example', scope: null, result: 'pass' }],
      observed: false,
      ptr: null,
      ptr_names: [],
      asn: null,
      as_name: null,
      country: null,
      sender: null,
      verdict: null,
      rule: null,
    })
    expect(items[1]).toMatchObject({ spf: null, spf_aligned: false })
    expect(items[2]).toMatchObject({ source_ip: '2001:db8::1', count: null, messages: 0 })
    expect(items[3]).toMatchObject({ source_ip: '64.x.x.x', count: 9e15, messages: 0, disposition: null })
  })

  test.each([
    ['domain=a.example', ['a0', 'a1', 'a2', 'a3']],
    ['domain=a.example&domain=B.EXAMPLE.', ['b0', 'b1', 'a0', 'a1', 'a2', 'a3']],
    ['domain=!a.example', ['b0', 'b1']],
    ['ip=192.0.2.1', ['b1', 'a0']],
    ['ip=192.0.2.0/24', ['b1', 'a0', 'a1']],
    ['ip=192.0.2.0/24&ip=!192.0.2.1', ['a1']],
    ['ip=!192.0.2.0/24', ['b0', 'a2', 'a3']],
    ['ip=2001:db8::/32', ['a2']],
    ['ip=64.x.x.x', ['a3']],
    ['ip=0.0.0.0/0', ['b0', 'b1', 'a0', 'a1']],
    ['disposition=none', ['b0', 'a0', 'a2', 'a3']],
    ['disposition=quarantine&disposition=reject', ['b1', 'a1']],
    ['disposition=pass', ['a2']],
    ['disposition=!none', ['b1', 'a1']],
    ['dkim=fail', ['a1', 'a3']],
    ['spf=fail', ['a1', 'a2', 'a3']],
    ['dkim=fail&spf=fail', ['a1', 'a3']],
    ['dkim=!fail', ['b0', 'b1', 'a0', 'a2']],
    ['org=GOOGLE.com', ['a0', 'a1', 'a2', 'a3']],
    ['header_from=mail.b.example', ['b0']],
    ['header_from=!a.example', ['b0', 'b1']],
    ['selector=s1&selector=s2', ['b0', 'a0']],
    ['selector=!s1', ['b0', 'b1', 'a1', 'a2', 'a3']],
    ['domain=a.example&dkim=pass&spf=fail', ['a2']],
  ])('finds by %s', async (query, expected) => {
    await twoReports()
    const items = await only(`/api/v1/dmarc/records?${query}`)
    expect(items.map(({ domain, record_index }) => `${String(domain)[0]}${record_index}`)).toEqual(expected)
  })

  test('a network that is none is an error, not an empty answer', async () => {
    const { status, body } = await api.get('/api/v1/dmarc/records?ip=192.0.2.0/99')
    expect([status, body]).toMatchObject([400, { error: { code: 'parameter_invalid', field: 'ip' } }])
  })

  test('shows only records of the contents that count, and only once their report is whole', async () => {
    const winner = { ...report, received_at: '2026-11-11T01:00:00.000Z' }
    const loser = { ...report, variant: 'other', mail: 'm2', received_at: '2026-11-11T02:00:00.000Z' }
    await api.insert('dmarc_records', dmarcRecord(winner, 0, { ip: '192.0.2.1' }))
    await api.insert('dmarc_records', dmarcRecord(winner, 0, { ip: '192.0.2.1' }))
    await api.insert('dmarc_records', dmarcRecord(loser, 0, { ip: '192.0.2.2' }))
    expect(await only('/api/v1/dmarc/records')).toEqual([])
    await api.insert('dmarc_reports', dmarcReport(loser))
    expect(await only('/api/v1/dmarc/records')).toMatchObject([{ source_ip: '192.0.2.2' }])
    await api.insert('dmarc_reports', dmarcReport(winner))
    expect(await only('/api/v1/dmarc/records')).toMatchObject([{ source_ip: '192.0.2.1' }])
  })

  test('pages show no row twice and miss none while more arrives', async () => {
    const days = ['2026-11-08', '2026-11-10', '2026-11-15']
    const reports = days.flatMap((day) =>
      ['x', 'y'].map((name) => ({ domain: `${name}.example`, day, name: day + name })),
    )
    await api.insert('dmarc_reports', ...reports.map(dmarcReport))
    const records = reports.flatMap((each) => [0, 1, 2, 3, 4].map((i) => dmarcRecord(each, i, { ip: `192.0.2.${i}` })))
    await api.insert('dmarc_records', ...records)
    let arrived = 0
    const items = await allPages('/api/v1/dmarc/records?limit=4', async () => {
      const name = `new${arrived++}`
      for (const day of days) {
        const fresh = { domain: `${name}.example`, day, name: day + name }
        await api.insert('dmarc_reports', dmarcReport(fresh))
        await api.insert('dmarc_records', dmarcRecord(fresh, 0, { ip: '192.0.2.9' }))
      }
    })
    const ids = items.map(({ id }) => id)
    expect(new Set(ids).size).toBe(ids.length)
    const old = items.filter(({ domain }) => /^[xy]\.example$/.test(String(domain)))
    expect(old).toHaveLength(30)
    expect(items.map(({ day }) => day)).toEqual(
      items
        .map(({ day }) => day)
        .toSorted()
        .reverse(),
    )
  })
})

describe('/dmarc/reports', () => {
  test('lists reports newest first, and says how many other contents arrived', async () => {
    const conflicting = { ...report, variant: 'other', mail: 'm2', received_at: '2026-11-12T00:00:00.000Z' }
    await api.insert('dmarc_reports', dmarcReport(second), dmarcReport(report), dmarcReport(conflicting))
    const items = await only('/api/v1/dmarc/reports')
    expect(items).toMatchObject([
      { id: idOf('r2'), domain: 'b.example', conflicts: 0 },
      { id: idOf('r1'), domain: 'a.example', conflicts: 1, mail_id: idOf('mail of r1'), report: { report_id: 'r1' } },
    ])
    expect(await only('/api/v1/dmarc/reports?org=yahoo')).toHaveLength(1)
    expect((await allPages('/api/v1/dmarc/reports?limit=1')).map(({ id }) => id)).toEqual([idOf('r2'), idOf('r1')])
  })

  test('shows one with policy, warnings, mails and conflicts', async () => {
    const warnings = [['number_repaired', 'pct came as text.']] as const
    const policy = { p: 'reject', pct: null }
    await api.insert(
      'dmarc_reports',
      dmarcReport({ ...report, warnings, policy, totals: { full_pass: 2 } }),
      dmarcReport({ ...report, warnings, policy, mail: 'again', received_at: '2026-11-11T05:00:00.000Z' }),
      dmarcReport({ ...report, variant: 'other', mail: 'm2', received_at: '2026-11-12T00:00:00.000Z', records: 9 }),
    )
    const { status, body } = await api.get(`/api/v1/dmarc/reports/${idOf('r1')}`)
    expect(status).toBe(200)
    expect(body).toMatchObject({
      id: idOf('r1'),
      messages: 2,
      policy: { domain: 'a.example', p: 'reject', sp: null, pct: null },
      warnings: [{ code: 'number_repaired', detail: 'pct came as text.' }],
      mail_id: idOf('mail of r1'),
      deliveries: [{ mail_id: idOf('mail of r1') }, { mail_id: idOf('again') }],
      conflicts: [{ variant: variantOf('other'), records: 9, deliveries: [{ mail_id: idOf('m2') }] }],
      generation: 'g1',
      rule_set: null,
    })
  })

  test('an id that nobody knows is 404, one that is no id is 400', async () => {
    expect(await api.get(`/api/v1/dmarc/reports/${'0'.repeat(64)}`)).toMatchObject({
      status: 404,
      body: { error: { code: 'report_unknown' } },
    })
    expect(await api.get('/api/v1/dmarc/reports/../../etc')).toMatchObject({ status: 404 })
    expect(await api.get("/api/v1/dmarc/reports/'%20OR%201")).toMatchObject({
      status: 400,
      body: { error: { code: 'parameter_invalid', field: 'id' } },
    })
  })
})

describe('/domains/{domain}/sources', () => {
  test.each([
    ['ip', ['192.0.2.1', '192.0.2.200', '64.x.x.x', '2001:db8::1'], [5, 3, 0, 0]],
    ['org', ['google.com'], [8]],
    ['header_from', ['a.example'], [8]],
  ])('adds up by %s, most messages first', async (by, keys, messages) => {
    await twoReports()
    const items = await only(`/api/v1/domains/a.example/sources?by=${by}`)
    expect(items.map(({ key }) => key)).toEqual(keys)
    expect(items.map((item) => item.messages)).toEqual(messages)
  })

  test('has the sums of the records, counts duplicates once, and takes filters', async () => {
    await twoReports()
    await twoReports()
    const [first] = await only('/api/v1/domains/a.example/sources')
    expect(first).toEqual({
      key: '192.0.2.1',
      name: '192.0.2.1',
      messages: 5,
      passed: 5,
      full_pass: 5,
      dkim_only: 0,
      spf_only: 0,
      failed: 0,
      none: 5,
      quarantine: 0,
      reject: 0,
      sender: null,
      verdicts: null,
      first_day: '2026-11-10',
      last_day: '2026-11-10',
    })
    const failing = await only('/api/v1/domains/a.example/sources?dkim=fail&spf=fail')
    expect(failing).toMatchObject([
      { key: '192.0.2.200', failed: 3, reject: 3 },
      { key: '64.x.x.x', messages: 0 },
    ])
    expect(await allPages('/api/v1/domains/a.example/sources?limit=1')).toHaveLength(4)
  })
})

const tls = {
  day: '2026-11-10',
  name: 't1',
  org: 'Google Inc.',
  domains: ['a.example', 'mx.a.example'],
  successful: 15,
  failed: 4,
}

async function oneTlsReport(): Promise<void> {
  await api.insert('tls_reports', tlsReport(tls))
  await api.insert(
    'tls_policies',
    tlsPolicy(tls, 0, { domain: 'a.example', successful: 10, failed: 4, mx: ['mx.a.example'] }),
    tlsPolicy(tls, 1, { domain: 'mx.a.example', successful: 5, failed: 0, type: 'tlsa', host_level: true }),
  )
  await api.insert(
    'tls_failures',
    tlsFailure(tls, 0, { domain: 'a.example', result_type: 'certificate-expired', count: 3, mx: 'mx.a.example' }),
    tlsFailure(tls, 1, { domain: 'a.example', result_type: 'starttls-not-supported', count: null }),
  )
}

describe('/tls', () => {
  test('the summary has sessions over time and where failures lie', async () => {
    await oneTlsReport()
    await oneTlsReport()
    const { body } = await api.get<Item & { series: Item[] }>('/api/v1/tls/summary?from=2026-11-09&to=2026-11-11')
    expect(body).toMatchObject({
      totals: { successful: 15, failed: 4, reports: 1 },
      by_policy_type: [
        { type: 'sts', host_level: false, successful: 10, failed: 4 },
        { type: 'tlsa', host_level: true, successful: 5, failed: 0 },
      ],
      by_submitter: [{ org: 'google inc.', successful: 15, failed: 4, reports: 1 }],
      by_result_type: [
        { result_type: 'certificate-expired', failed: 3, details: 1 },
        { result_type: 'starttls-not-supported', failed: 0, details: 1 },
      ],
      by_mx: [
        { receiving_mx_hostname: 'mx.a.example', failed: 3 },
        { receiving_mx_hostname: null, failed: 0 },
      ],
    })
    expect(body.series.map(({ start, successful }) => [start, successful])).toEqual([
      ['2026-11-09', 0],
      ['2026-11-10', 15],
      ['2026-11-11', 0],
    ])
    const { body: own } = await api.get('/api/v1/tls/summary?domain=a.example')
    expect(own).toMatchObject({ totals: { successful: 10, failed: 4 } })
  })

  test('reports are listed and shown with policies and details', async () => {
    await oneTlsReport()
    await api.insert(
      'tls_reports',
      tlsReport({ ...tls, variant: 'other', mail: 'm', received_at: '2026-11-12T00:00:00.000Z' }),
    )
    expect(await only('/api/v1/tls/reports?domain=a.example')).toMatchObject([
      { id: idOf('t1'), org_name: 'Google Inc.', successful: 15, conflicts: 1 },
    ])
    expect(await only('/api/v1/tls/reports?domain=!a.example')).toEqual([])
    const { body } = await api.get(`/api/v1/tls/reports/${idOf('t1')}`)
    expect(body).toMatchObject({
      id: idOf('t1'),
      policies: [
        {
          domain: 'a.example',
          type: 'sts',
          details: [{ result_type: 'certificate-expired', count: 3 }, { count: null }],
        },
        { domain: 'mx.a.example', host_level: true, details: [] },
      ],
      conflicts: [{ variant: variantOf('other'), mail_id: idOf('m') }],
    })
  })

  test('failures are found by domain and result type, and page', async () => {
    await oneTlsReport()
    expect(await only('/api/v1/tls/failures?domain=a.example&result_type=certificate-expired')).toMatchObject([
      { report_id: idOf('t1'), org_name: 'Google Inc.', count: 3, receiving_mx_helo: null },
    ])
    expect(await only('/api/v1/tls/failures?result_type=!certificate-expired')).toHaveLength(1)
    expect(await allPages('/api/v1/tls/failures?limit=1')).toHaveLength(2)
  })
})

describe('/failures', () => {
  test('are listed by day of receipt, each once, and shown', async () => {
    const first = failureReport({ name: 'f', domain: 'a.example', received_at: '2026-11-10T08:00:00.000Z' })
    const again = failureReport({ name: 'f', domain: 'a.example', received_at: '2026-11-12T08:00:00.000Z' })
    const other = failureReport({ name: 'g', domain: 'b.example', received_at: '2026-11-11T08:00:00.000Z' })
    await api.insert('failure_reports', again, other, first)
    const items = await allPages('/api/v1/failures?limit=1')
    expect(items.map(({ id, day }) => [id, day])).toEqual([
      [idOf('g'), '2026-11-11'],
      [idOf('f'), '2026-11-10'],
    ])
    expect(await only('/api/v1/failures?from=2026-11-12')).toEqual([])
    expect(await only('/api/v1/failures?domain=a.example')).toHaveLength(1)
    const { body } = await api.get(`/api/v1/failures/${idOf('f')}`)
    expect(body).toMatchObject({
      id: idOf('f'),
      auth_failure: ['dmarc'],
      subject: 'hello',
      from: null,
      generation: 'g1',
    })
    expect(await api.get(`/api/v1/failures/${idOf('none')}`)).toMatchObject({ status: 404 })
  })
})

describe('/mail', () => {
  test('lists what was received by kind, and shows one with what was found in it', async () => {
    const id = idOf('mail')
    await api.insert(
      'mail',
      mailRow({ id, received_at: '2026-11-10T08:00:00.000Z', kind: 'dmarc', found: [['dmarc', '2', idOf('r1')]] }),
      mailRow({ id: idOf('note'), received_at: '2026-11-11T08:00:00.000Z', subject: '=SUM(A1)' }),
    )
    expect(await only('/api/v1/mail?kind=other')).toMatchObject([
      { id: idOf('note'), subject: '=SUM(A1)', kind: 'other' },
    ])
    expect((await allPages('/api/v1/mail?limit=1')).map((mail) => mail.id)).toEqual([idOf('note'), id])
    const { body } = await api.get(`/api/v1/mail/${id}`)
    expect(body).toMatchObject({
      id,
      received_at: '2026-11-10T08:00:00.000Z',
      date: null,
      found: [{ kind: 'dmarc', part: '2', id: idOf('r1') }],
      rejects: [],
    })
  })

  test('a mail read twice is one: the reading that found most, under the earliest receipt', async () => {
    const id = idOf('mail')
    await api.insert(
      'mail',
      mailRow({ id, received_at: '2026-11-10T08:00:00.000Z', kind: 'rejected', rejected: 1 }),
      mailRow({ id, received_at: '2026-11-12T08:00:00.000Z', kind: 'dmarc', found: [['dmarc', '2', idOf('r1')]] }),
    )
    expect(await only('/api/v1/mail')).toMatchObject([{ id, kind: 'dmarc', received_at: '2026-11-10T08:00:00.000Z' }])
    expect(await only('/api/v1/mail?from=2026-11-12')).toEqual([])
  })
})

describe('/rejects', () => {
  test('lists what still stands, by code', async () => {
    const received_at = '2026-11-10T08:00:00.000Z'
    const [a, b, solved] = [idOf('a'), idOf('b'), idOf('solved')]
    await api.insert(
      'rejects',
      rejectRow({ id: a, received_at, part: '2' }),
      rejectRow({ id: a, received_at, part: '3', code: 'zip_damaged' }),
      rejectRow({ id: b, received_at, code: 'zip_damaged', detail: 'broken' }),
      rejectRow({ id: solved, received_at, part: '2' }),
    )
    await api.insert(
      'mail',
      mailRow({ id: a, received_at, kind: 'rejected', rejected: 2 }),
      mailRow({ id: b, received_at, kind: 'rejected', rejected: 1 }),
      mailRow({ id: solved, received_at, kind: 'dmarc', found: [['dmarc', '2', idOf('r1')]] }),
    )
    const { body } = await api.get<Page & { codes: Item[] }>('/api/v1/rejects')
    expect(body.items.map(({ mail_id, part }) => `${mail_id} ${part}`).toSorted()).toEqual(
      [`${a} 2`, `${a} 3`, `${b} `].toSorted(),
    )
    expect(body.codes).toEqual([
      { code: 'zip_damaged', rejects: 2, mails: 2 },
      { code: 'xml_malformed', rejects: 1, mails: 1 },
    ])
    expect(await only('/api/v1/rejects?code=xml_malformed')).toMatchObject([{ mail_id: a, part: '2' }])
    expect(await only('/api/v1/rejects?code=!xml_malformed')).toHaveLength(2)
    expect(await allPages('/api/v1/rejects?limit=1')).toHaveLength(3)
    const { body: mail } = await api.get(`/api/v1/mail/${b}`)
    expect(mail).toMatchObject({ rejects: [{ code: 'zip_damaged', detail: 'broken', part: '' }] })
  })
})

describe('cursors', () => {
  const stopped = async () => {
    await twoReports()
    const { body } = await api.get<Page>('/api/v1/dmarc/records?limit=2&org=google.com')
    return body.next_cursor!
  }
  const codeOf = async (url: string) => {
    const { status, body } = await api.get<{ error?: { code: string } }>(url)
    return [status, body.error?.code]
  }

  test('belong to their filters, their range and their endpoint', async () => {
    const cursor = await stopped()
    expect(await codeOf(`/api/v1/dmarc/records?org=google.com&cursor=${cursor}`)).toEqual([200, undefined])
    for (const url of [
      `/api/v1/dmarc/records?cursor=${cursor}`,
      `/api/v1/dmarc/records?org=yahoo&cursor=${cursor}`,
      `/api/v1/dmarc/records?org=google.com&from=2026-11-01&cursor=${cursor}`,
      `/api/v1/dmarc/reports?org=google.com&cursor=${cursor}`,
    ]) {
      expect(await codeOf(url)).toEqual([400, 'cursor_invalid'])
    }
  })

  test('go on with the range they began with when the day changes', async () => {
    await twoReports()
    const { body } = await api.get<Page>('/api/v1/dmarc/records?limit=4')
    const tomorrow = api.serve({ now: () => new Date('2026-12-11T00:00:01.000Z') })
    const next = await tomorrow.inject(`/api/v1/dmarc/records?limit=4&cursor=${body.next_cursor}`)
    expect(next.json<Page>().items).toHaveLength(2)
  })

  test.each(['x', '', 'W10', Buffer.from('["g1","2026-11-01","2026-11-21","x",[1,2]]').toString('base64url')])(
    'made up (%s) are refused',
    async (cursor) => {
      expect(await codeOf(`/api/v1/dmarc/records?cursor=${cursor}`)).toEqual([400, 'cursor_invalid'])
    },
  )

  test('of a generation that is gone are 410', async () => {
    const [, ...rest] = JSON.parse(Buffer.from(await stopped(), 'base64url').toString()) as unknown[]
    const cursor = Buffer.from(JSON.stringify(['g0', ...rest])).toString('base64url')
    expect(await codeOf(`/api/v1/dmarc/records?org=google.com&cursor=${cursor}`)).toEqual([410, 'cursor_expired'])
  })
})
