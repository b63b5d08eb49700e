import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { Server } from '../../api/route.ts'
import { type ApiUnderTest, openApi } from './api-under-test.ts'
import { judgedGeneration, judgedReport, type RecordGiven, type ReportGiven } from './rows.ts'

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

interface WhatIf {
  messages: number
  would_be_affected: number
  would_be_quarantined: number
  would_be_rejected: number
  already_affected: number
  assumes: string[]
  cannot_know: string[]
  by_verdict: unknown[]
  by_sender: unknown[]
  series: { start: string; messages: number; affected: number }[]
}

async function whatIf(query: string, asked = server): Promise<WhatIf> {
  const answer = await asked.inject({ method: 'GET', url: `/api/v1/domains/a.example/what-if?${query}` })
  expect(answer.statusCode, answer.body).toBe(200)
  return answer.json<WhatIf>()
}

const report: ReportGiven = { domain: 'a.example', day: '2026-11-10', name: 'r1' }
const fails = { dkim: 'fail', spf: 'fail' }
const records: readonly RecordGiven[] = [
  { ip: '192.0.2.1', count: 100, sender: 'mailer', verdict: 'authenticated' },
  { ip: '192.0.2.1', count: 7, ...fails, sender: 'mailer', verdict: 'misconfigured' },
  { ip: '192.0.2.9', count: 20, ...fails, header_from: 'news.a.example', verdict: 'unknown' },
  { ip: '192.0.2.9', count: 3, ...fails, verdict: 'spoofed', disposition: 'quarantine' },
]

async function insert(given: ReportGiven, of: readonly RecordGiven[]): Promise<void> {
  const { facts, report: row, verdicts, sums } = judgedReport(given, of)
  await api.insert('dmarc_records', ...facts)
  await api.insert('dmarc_reports', row)
  await api.insert('record_verdicts', ...verdicts)
  await api.insert('report_verdicts', sums)
}

describe('/domains/{domain}/what-if', () => {
  test('p holds below as well when no sp is asked for', async () => {
    await insert(report, records)
    expect(await whatIf('p=reject')).toMatchObject({
      ...{ domain: 'a.example', p: 'reject', sp: null, messages: 130, would_be_affected: 30 },
      ...{ would_be_quarantined: 0, would_be_rejected: 30, already_affected: 3 },
      by_verdict: [
        { verdict: 'unknown', messages: 20, affected: 20 },
        { verdict: 'misconfigured', messages: 7, affected: 7 },
        { verdict: 'spoofed', messages: 3, affected: 3 },
        { verdict: 'authenticated', messages: 100, affected: 0 },
      ],
      by_sender: [
        { sender: null, messages: 23, affected: 23 },
        { sender: 'mailer', messages: 107, affected: 7 },
      ],
      rule_set: judgedGeneration.ruleSet,
    })
  })

  test('sp holds for From domains other than the policy domain', async () => {
    await insert(report, records)
    expect(await whatIf('p=reject&sp=none')).toMatchObject({ would_be_affected: 10, would_be_rejected: 10 })
    expect(await whatIf('p=reject&sp=quarantine')).toMatchObject({ would_be_quarantined: 20, would_be_rejected: 10 })
    expect(await whatIf('p=quarantine&sp=reject')).toMatchObject({ would_be_quarantined: 10, would_be_rejected: 20 })
  })

  test('a record that names no From domain counts as the domain itself, and that is said', async () => {
    await insert(report, [{ ip: '192.0.2.1', count: 4, ...fails, header_from: '', verdict: 'unknown' }])
    const { would_be_affected, assumes } = await whatIf('p=reject&sp=none')
    expect(would_be_affected).toBe(4)
    expect(assumes.at(-1)).toMatch(/^4 failing messages come from records that name no From domain/)
    expect((await whatIf('p=reject')).assumes.join(' ')).not.toContain('name no From domain')
  })

  test('shows the trend, with empty intervals as zeros', async () => {
    await insert(report, records)
    await insert({ ...report, name: 'r2', day: '2026-11-12' }, records.slice(0, 2))
    const { series } = await whatIf('p=quarantine&from=2026-11-09&to=2026-11-12')
    expect(series).toEqual([
      { start: '2026-11-09', messages: 0, affected: 0 },
      { start: '2026-11-10', messages: 130, affected: 30 },
      { start: '2026-11-11', messages: 0, affected: 0 },
      { start: '2026-11-12', messages: 107, affected: 7 },
    ])
    const weeks = await whatIf('p=quarantine&from=2026-11-09&to=2026-11-12&interval=week')
    expect(weeks.series).toEqual([{ start: '2026-11-09', messages: 237, affected: 37 }])
  })

  test('says what it takes for granted and what no report can tell', async () => {
    const { assumes, cannot_know } = await whatIf('p=reject')
    for (const sentence of [...assumes, ...cannot_know]) expect(sentence).toMatch(/^[A-Z0-9].*\.$/)
    expect(cannot_know.join(' ')).toMatch(/np .*Sampling.*Local policy/)
  })

  test('without rules it counts the same, by nobody', async () => {
    await insert(report, records)
    const { would_be_affected, by_verdict, by_sender } = await whatIf('p=reject&sp=none', api.server)
    expect([would_be_affected, by_verdict, by_sender]).toEqual([10, [], []])
  })

  test.each(['', 'p=none', 'p=reject&sp=maybe'])('%s is refused', async (query) => {
    const answer = await server.inject({ method: 'GET', url: `/api/v1/domains/a.example/what-if?${query}` })
    expect(answer.statusCode).toBe(400)
  })
})
