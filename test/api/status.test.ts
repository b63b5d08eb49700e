import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { readStages } from '../../api/stages.ts'
import { type ApiUnderTest, openApi } from './api-under-test.ts'
import { dmarcReport, failureReport, idOf, mailRow, rejectRow, tlsReport } from './rows.ts'

let api: ApiUnderTest
beforeAll(async () => {
  api = await openApi()
})
afterAll(() => api.close())
beforeEach(async () => {
  await api.clear()
  api.stages.length = 0
})

interface Status {
  idle: boolean
  totals: Record<string, number>
}
const status = async () => (await api.get<Status>('/api/v1/status')).body
const stage = (position: number, lag = 0) => ({
  stage: 'parse-mail',
  generation: 'g1',
  topic: 'ingest',
  position,
  lag,
  lag_seconds: lag,
  rate: 0,
})

describe('/status', () => {
  test('totals count each thing once', async () => {
    const received_at = '2026-11-10T08:00:00.000Z'
    const report = { domain: 'a.example', day: '2026-11-10', name: 'r', records: 3 }
    await api.insert(
      'dmarc_reports',
      dmarcReport(report),
      dmarcReport({ ...report, mail: 'again' }),
      dmarcReport({ ...report, variant: 'other', mail: 'm2', records: 100, received_at: '2026-11-12T00:00:00.000Z' }),
      dmarcReport({ ...report, name: 'old', day: '2001-01-01', records: 4 }),
    )
    await api.insert('tls_reports', tlsReport({ day: '2026-11-10', name: 't', domains: ['a.example'] }))
    await api.insert(
      'failure_reports',
      failureReport({ name: 'f', domain: 'a.example', received_at }),
      failureReport({ name: 'f', domain: 'a.example', received_at: '2026-11-11T08:00:00.000Z' }),
    )
    await api.insert(
      'mail',
      mailRow({ id: idOf('a'), received_at, kind: 'rejected', rejected: 2 }),
      mailRow({ id: idOf('a'), received_at, kind: 'rejected', rejected: 2, offset: 9 }),
      mailRow({ id: idOf('b'), received_at }),
    )
    await api.insert(
      'rejects',
      rejectRow({ id: idOf('a'), received_at, part: '2' }),
      rejectRow({ id: idOf('a'), received_at, part: '3' }),
    )
    const { body } = await api.get('/api/v1/status')
    expect(body).toEqual({
      generation: 'g1',
      rule_set: null,
      version: '0.0.0-test',
      parser_version: 'test',
      parser_changed: false,
      idle: true,
      stages: [],
      totals: { mails: 2, reports: 4, records: 7, rejects: 1 },
    })
  })

  test('is idle only when no stage has anything waiting', async () => {
    api.stages.push(stage(10), stage(4, 2))
    expect(await status()).toMatchObject({ idle: false, stages: [{ lag: 0 }, { lag: 2, lag_seconds: 2 }] })
    api.stages[1] = stage(6)
    expect(await status()).toMatchObject({ idle: true })
  })

  test('an idle answer never has totals from before', async () => {
    api.stages.push(stage(1, 5))
    expect((await status()).totals.mails).toBe(0)
    await api.insert('mail', mailRow({ id: idOf('a'), received_at: '2026-11-10T08:00:00.000Z' }))
    api.stages[0] = stage(6)
    expect(await status()).toMatchObject({ idle: true, totals: { mails: 1 } })
    await api.insert('mail', mailRow({ id: idOf('b'), received_at: '2026-11-10T08:00:00.000Z' }))
    api.stages[0] = stage(7)
    expect(await status()).toMatchObject({ idle: true, totals: { mails: 2 } })
  })

  test('many askers at once cost one look', async () => {
    api.stages.push(stage(100, 1))
    let looks = 0
    const { store } = api.dependencies
    const server = api.serve({
      store: {
        query(sql, options) {
          looks++
          return store.query(sql, options)
        },
        stream: (sql, options) => store.stream(sql, options),
        command: (sql, options) => store.command(sql, options),
        insert: (table, block) => store.insert(table, block),
        close: async () => undefined,
      },
    })
    const answers = await Promise.all(Array.from({ length: 50 }, () => server.inject('/api/v1/status')))
    expect(answers.every(({ statusCode }) => statusCode === 200)).toBe(true)
    expect(looks).toBe(1)
  })
})

describe('stages', () => {
  test('are read from the log: what waits, and for how long', async () => {
    const { log } = api.dependencies
    const value = Buffer.from('Subject: waiting\r\n\r\n')
    const before = new Map((await log.watermarks('ingest')).map(({ partition, high }) => [partition, high]))
    const timestamp = api.dependencies.now().getTime() - 7000
    await log.append('ingest', [{ key: 'k', value, timestamp }])
    const source = {
      stage: 's',
      generation: 'g1',
      topic: 'ingest',
      writes: [],
      positions: async () => before,
      rate: () => 3,
    }
    const [read] = await readStages(log, [source], api.dependencies.now)
    expect(read).toMatchObject({ stage: 's', lag: 1, lag_seconds: 7, rate: 3 })
  })
})

describe('/metrics', () => {
  test('says what was found out about addresses', async () => {
    const { body } = await api.serve({}).inject('/metrics')
    expect(body).toContain('mailtrail_addresses_observed_total{outcome="answered"} 2')
    expect(body).toContain('mailtrail_addresses_observed_total{outcome="unanswered"} 1')
    expect(body).toContain('mailtrail_addresses_observed_total{outcome="known"} 7')
  })

  test('counts reports that arrived with different contents', async () => {
    const report = { domain: 'a.example', day: '2026-11-10', name: 'r' }
    await api.insert(
      'dmarc_reports',
      dmarcReport(report),
      dmarcReport({ ...report, mail: 'same again' }),
      dmarcReport({ ...report, variant: 'other', mail: 'm2' }),
      dmarcReport({ ...report, name: 'quiet' }),
    )
    const { body } = await api.serve({}).inject('/metrics')
    expect(body).toMatch(/^mailtrail_report_conflicts 1$/m)
  })

  test('has the lag of each stage, and says when it cannot be read', async () => {
    api.stages.push(stage(1, 5))
    const { text } = await api.get('/metrics')
    expect(text).toMatch(/^mailtrail_stage_lag_events\{stage="parse-mail",generation="g1",topic="ingest"\} 5$/m)
    expect(text).toMatch(/^mailtrail_stages_readable 1$/m)
    const broken = api.serve({
      status: () => ({
        stages: async () => {
          throw new Error('away')
        },
      }),
    })
    expect((await broken.inject('/metrics')).body).toMatch(/^mailtrail_stages_readable 0$/m)
  })
})
