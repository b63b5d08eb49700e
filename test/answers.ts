/** Everything that a running mailtrail answers, held against what must be true; and the store held against another. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'vitest'
import { openEmbeddedStore } from '../projections/embedded-store.ts'
import { ALL_DAYS, type Running } from './fixtures.ts'
import type { Truth } from './report-mail.ts'

interface DomainItem {
  readonly domain: string
  readonly messages: number
  readonly passed: number
  readonly full_pass: number
  readonly dkim_only: number
  readonly spf_only: number
  readonly reports: number
  readonly tls_successful: number
  readonly tls_failed: number
}
interface Status {
  readonly idle: boolean
  readonly totals: {
    readonly mails: number
    readonly reports: number
    readonly records: number
    readonly rejects: number
  }
}
type Item = Readonly<Record<string, unknown>>

/** Each list of the API, and what makes an item of it the only one of its kind. */
const lists: readonly { path: string; key: (item: Item) => string; wanted: (truth: Truth) => number }[] = [
  { path: '/dmarc/reports', key: ({ id }) => `${id}`, wanted: ({ aggregate }) => aggregate.reports },
  { path: '/dmarc/records', key: ({ id }) => `${id}`, wanted: ({ aggregate }) => aggregate.records },
  { path: '/tls/reports', key: ({ id }) => `${id}`, wanted: ({ tls }) => tls.reports },
  {
    path: '/tls/failures',
    key: ({ report_id, policy_index, detail_index }) => `${report_id} ${policy_index} ${detail_index}`,
    wanted: ({ tls }) => tls.details,
  },
  { path: '/failures', key: ({ id }) => `${id}`, wanted: ({ failures }) => failures },
  { path: '/mail', key: ({ id }) => `${id}`, wanted: ({ mails, duplicates }) => mails - duplicates },
  { path: '/mail?kind=other', key: ({ id }) => `${id}`, wanted: ({ other }) => other },
  { path: '/rejects', key: ({ mail_id }) => `${mail_id}`, wanted: ({ rejects }) => rejects },
]

/** Expects every answer to be exactly the truth: totals, each domain, and lists in which nothing stands twice. */
export async function expectTruth(running: Running, truth: Truth): Promise<void> {
  await running.idle()
  const { totals } = await running.get<Status>('/status')
  expect(totals).toMatchObject({
    mails: truth.mails - truth.duplicates,
    reports: truth.aggregate.reports + truth.tls.reports + truth.failures,
    records: truth.aggregate.records,
    rejects: truth.rejects,
  })
  const domains = await running.list<DomainItem>(`/domains?${ALL_DAYS}`)
  const sum = (value: (item: DomainItem) => number) => domains.reduce((total, item) => total + value(item), 0)
  expect({
    messages: sum(({ messages }) => messages),
    passed: sum(({ passed }) => passed),
    dkim: sum(({ full_pass, dkim_only }) => full_pass + dkim_only),
    spf: sum(({ full_pass, spf_only }) => full_pass + spf_only),
    reports: sum(({ reports }) => reports),
    records: totals.records,
  }).toEqual(truth.aggregate)
  expect(Object.fromEntries(domains.map((item) => [item.domain, domainTruth(item)]))).toEqual(
    Object.fromEntries(truth.domains),
  )
  for (const { path, key, wanted } of lists) {
    let items = 0
    const distinct = new Set<string>()
    for await (const item of running.items<Item>(`${path}${path.includes('?') ? '&' : '?'}${ALL_DAYS}`)) {
      items++
      distinct.add(key(item))
    }
    const count = wanted(truth)
    expect({ path, items, distinct: distinct.size }).toEqual({ path, items: count, distinct: count })
  }
}

const domainTruth = ({ reports, messages, passed, tls_successful, tls_failed }: DomainItem) => ({
  reports,
  messages,
  passed,
  tls_successful,
  tls_failed,
})

export const VIEWS = [
  'v_dmarc_records',
  'v_dmarc_reports',
  'v_tls_policies',
  'v_tls_failures',
  'v_failure_reports',
  'v_mail',
  'v_rejects',
] as const

export interface Checksum {
  readonly rows: number
  readonly hash: string
}

/** Rows of every view and a hash over them, without the columns left out, that no order changes. The data folder must not be in use. */
export async function viewChecksums(
  data: string,
  leftOut: readonly string[] = [],
): Promise<Readonly<Record<string, Checksum>>> {
  const columns = leftOut.length === 0 ? '*' : `* EXCEPT (${leftOut.join(', ')})`
  const tmp = await mkdtemp(join(tmpdir(), 'mailtrail-checksum-'))
  const store = await openEmbeddedStore({ folder: join(data, 'store'), tmp })
  try {
    const checksums: Record<string, Checksum> = {}
    for (const view of VIEWS) {
      const [row] = await store.query<Checksum>(
        `SELECT count() AS rows, hex(sum(sipHash64(toString(tuple(*))))) AS hash FROM (SELECT ${columns} FROM ${view})`,
      )
      checksums[view] = row!
    }
    return checksums
  } finally {
    await store.close()
    await rm(tmp, { recursive: true, force: true })
  }
}
