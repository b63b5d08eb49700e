/** Sums by plain scan against sums by FINAL and sums by hand, whatever arrives how often and in which order. */
import fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { openReading, type Reading } from '../../api/reading.ts'
import {
  finalGroups,
  type Grouping,
  groupRecords,
  provedGroups,
  type RecordsOfDomain,
  readAnnounced,
} from '../../api/record-groups.ts'
import { verdictNames } from '../../topics/verdicts.ts'
import { type ApiUnderTest, openApi } from './api-under-test.ts'
import {
  type JudgedReport,
  judgedGeneration,
  judgedReport,
  type RecordGiven,
  type ReportGiven,
  type Row,
} from './rows.ts'

let api: ApiUnderTest
let reading: Reading
beforeAll(async () => {
  api = await openApi()
  const source = {
    store: api.store,
    generation: () => judgedGeneration,
    generationNamed: () => null,
    rebuilding: () => null,
  }
  reading = openReading(source, {}, null)
})
afterAll(() => api.close())
beforeEach(() => api.clear())

const range = { from: '2026-11-01', to: '2026-11-30' }
const allNeeds = [
  { facts: false, verdicts: true },
  { facts: true, verdicts: true },
  { facts: true, verdicts: false },
]
const askedOf = (needs: RecordsOfDomain['needs']): RecordsOfDomain => ({ domain: 'a.example', range, needs })
const bySource: Grouping = {
  keys: ['source_ip', 'cityHash64(source_text)'],
  columns: ['toString(k0) AS address', 'sum(messages) AS total', 'count() AS counted'],
  matches: { sql: '1', parameters: {} },
  order: 'total DESC, k0, k1',
}
const failing: Grouping = {
  ...bySource,
  matches: { sql: 'NOT dkim_aligned AND messages >= {least:UInt32}', parameters: { least: 2 } },
}

interface Group {
  readonly address: string
  readonly total: number
  readonly counted: number
}
const shown = (rows: readonly Group[]) => rows.map(({ address, total, counted }) => `${address} ${total} ${counted}`)

/** `all`: as if the domain had so many records, which are joined in another way when they are millions. */
async function proved(needs: RecordsOfDomain['needs'], grouping: Grouping, all?: number): Promise<string[] | null> {
  const asked = askedOf(needs)
  const announced = await readAnnounced(reading, asked)
  const assumed = all === undefined ? announced : { ...announced, all }
  const rows = await provedGroups<Group>(reading, asked, grouping, assumed, 1000)
  return rows === null ? null : shown(rows)
}

async function byFinal(needs: RecordsOfDomain['needs'], grouping: Grouping): Promise<string[]> {
  const rows: string[] = []
  for await (const batch of finalGroups<Group>(reading, askedOf(needs), grouping, 1000)) rows.push(...shown(batch))
  return rows
}

interface Delivery {
  readonly report: number
  readonly variant: number
  /** Hour at which it was received. */
  readonly received: number
  readonly twice: boolean
}
/** A content follows from the report and the variant, as its hash says. */
function contentOf(report: number, variant: number): RecordGiven[] {
  return Array.from({ length: (report * 7 + variant * 3) % 5 }, (_, index) => ({
    ip: `192.0.2.${(report + index) % 4}`,
    count: 1 + ((report + variant + index) % 3),
    dkim: (report + index) % 2 === 0 ? 'pass' : 'fail',
    verdict: verdictNames[(report + index) % verdictNames.length]!,
  }))
}
function givenOf({ report, variant, received }: Delivery): ReportGiven {
  const hour = String(received).padStart(2, '0')
  return {
    ...{ domain: 'a.example', day: '2026-11-10', name: `report ${report}`, variant: `variant ${variant}` },
    ...{ received_at: `2026-11-11T${hour}:00:00.000Z`, mail: `${report} ${variant} ${received}` },
  }
}

async function insert({ facts, report, verdicts, sums }: JudgedReport): Promise<void> {
  await api.insert('dmarc_records', ...facts)
  await api.insert('dmarc_reports', report)
  await api.insert('record_verdicts', ...verdicts)
  await api.insert('report_verdicts', sums)
}

/** The groups as they must be: each report by the content with the smallest (received_at, variant). */
function byHand(deliveries: readonly Delivery[], matches: (record: RecordGiven) => boolean): string[] {
  const winners = new Map<number, Delivery & { key: string }>()
  for (const delivery of deliveries) {
    const { received_at, variant } = judgedReport(givenOf(delivery), []).report
    const key = `${received_at} ${(variant as { hex: string }).hex}`
    const before = winners.get(delivery.report)
    if (before === undefined || key < before.key) winners.set(delivery.report, { ...delivery, key })
  }
  const groups = new Map<string, { total: number; counted: number }>()
  for (const { report, variant } of winners.values()) {
    for (const record of contentOf(report, variant).filter(matches)) {
      const group = groups.get(record.ip) ?? { total: 0, counted: 0 }
      groups.set(record.ip, { total: group.total + record.count!, counted: group.counted + 1 })
    }
  }
  return [...groups]
    .toSorted(([a, x], [b, y]) => y.total - x.total || (a < b ? -1 : 1))
    .map(([ip, { total, counted }]) => `::ffff:${ip} ${total} ${counted}`)
}

const deliveries = fc.array(
  fc.record({
    report: fc.integer({ min: 0, max: 6 }),
    variant: fc.integer({ min: 0, max: 2 }),
    received: fc.integer({ min: 0, max: 3 }),
    twice: fc.boolean(),
  }),
  { maxLength: 12 },
)

describe('groups of records', () => {
  test('by plain scan are those by FINAL and by hand, whatever came how often', async () => {
    await fc.assert(
      fc.asyncProperty(deliveries, async (arrived) => {
        await api.clear()
        for (const delivery of arrived) {
          const judged = judgedReport(givenOf(delivery), contentOf(delivery.report, delivery.variant))
          await insert(judged)
          if (delivery.twice) await insert(judged)
        }
        for (const [grouping, matches] of [
          [bySource, () => true],
          [failing, ({ dkim, count }: RecordGiven) => dkim === 'fail' && count! >= 2],
        ] as const) {
          const expected = byHand(arrived, matches)
          for (const needs of allNeeds) {
            expect(await byFinal(needs, grouping)).toEqual(expected)
            expect(await proved(needs, grouping)).toEqual(expected)
          }
          expect(await proved({ facts: true, verdicts: true }, grouping, 3_000_000)).toEqual(expected)
        }
      }),
      { numRuns: 8, seed: 4711 },
    )
  }, 120_000)

  const one: Delivery = { report: 1, variant: 0, received: 0, twice: false }
  const two: Delivery = { ...one, report: 2 }
  const judged = (delivery: Delivery) => judgedReport(givenOf(delivery), contentOf(delivery.report, delivery.variant))
  const answered = async (needs: RecordsOfDomain['needs'], grouping: Grouping) => {
    const rows: string[] = []
    for await (const batch of groupRecords<Group>(reading, askedOf(needs), grouping, 1000)) rows.push(...shown(batch))
    return rows
  }

  test('rows that no report accounts for spoil the proof, and FINAL answers', async () => {
    await insert(judged(one))
    const loose = judged(two)
    await api.insert('dmarc_records', ...loose.facts, ...judged(one).facts)
    await api.insert('record_verdicts', ...loose.verdicts, ...judged(one).verdicts)
    for (const needs of allNeeds) {
      expect(await proved(needs, bySource)).toBeNull()
      expect(await answered(needs, bySource)).toEqual(byHand([one], () => true))
    }
  })

  test('a row too many and a row too few of different reports are not taken for all', async () => {
    const [first, second] = [judged(one), judged(two)]
    await insert(first)
    await api.insert('dmarc_records', ...second.facts)
    await api.insert('dmarc_reports', second.report)
    // The chunk of the one is there twice, with as many records as that of the other, which is not there.
    const copied = first.sums as Row & { records: number }
    await api.insert('record_verdicts', ...first.verdicts)
    await api.insert('report_verdicts', { ...copied, chunk: 0 })
    const needs = { facts: false, verdicts: true }
    expect(await answered(needs, bySource)).toEqual(byHand([one], () => true))
  })

  test('while reports arrive, a proved answer holds whole reports only', async () => {
    const ten = (report: number) =>
      judgedReport(
        { domain: 'a.example', day: '2026-11-10', name: `report ${report}` },
        Array.from({ length: 10 }, (_, index) => ({ ip: `192.0.2.${index}` })),
      )
    await insert(ten(0))
    let arriving = true
    const arrival = (async () => {
      for (let report = 1; report < 25; report++) {
        const { facts, report: row, verdicts, sums } = ten(report)
        for (const half of [facts.slice(0, 5), facts.slice(5)]) await api.insert('dmarc_records', ...half)
        await api.insert('dmarc_reports', row)
        for (const half of [verdicts.slice(0, 5), verdicts.slice(5)]) await api.insert('record_verdicts', ...half)
        await api.insert('report_verdicts', sums)
      }
      arriving = false
    })()
    const totals: number[] = []
    while (arriving) {
      for (const needs of allNeeds) {
        const rows = await proved(needs, {
          ...bySource,
          keys: ["''"],
          columns: ["'' AS address", 'sum(messages) AS total', 'count() AS counted'],
          order: 'k0',
        })
        if (rows !== null) totals.push(...rows.map((row) => Number(row.trim().split(' ')[0])))
      }
    }
    await arrival
    expect(totals.length).toBeGreaterThan(0)
    for (const total of totals) expect(total % 10).toBe(0)
    expect(await proved({ facts: false, verdicts: true }, bySource)).toHaveLength(10)
  }, 60_000)
})
