/**
 * The published samples beside the checkout, with what a correct reader must find in each: once through `parse`, and once
 * through `import` into one data folder, asked over HTTP.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  ALL_DAYS,
  endAll,
  type ImportSummary,
  importMail,
  MUST_HAVE_SHARED,
  mailtrail,
  type Running,
  SHARED,
  tempFolder,
  up,
} from './fixtures.ts'

interface Aggregate {
  readonly kind: 'aggregate'
  readonly org: string
  readonly email: string
  readonly id: string
  readonly begin: number
  readonly end: number
  readonly domain: string
  readonly p: string | null
  readonly sp: string | null
  readonly np: string | null
  readonly adkim: string | null
  readonly aspf: string | null
  readonly records: number
  readonly messages: number
  readonly dkim: number
  readonly spf: number
  readonly dmarc: number
  readonly first: Readonly<Record<'ip' | 'disposition' | 'dkim' | 'spf' | 'header_from', string>> & { count: number }
}
interface Tls {
  readonly kind: 'tls'
  readonly org: string
  readonly id: string
  readonly contact: string
  readonly begin: string
  readonly end: string
  readonly policies: readonly {
    readonly domain: string
    readonly type: string
    readonly ok: number
    readonly failed: number
    readonly details: readonly (readonly [result_type: string, count: number])[]
  }[]
}
interface Failure {
  readonly kind: 'failure'
  readonly source_ip: string
  readonly reported_domain: string
  readonly feedback_type: string
  readonly auth_failure: string | null
  readonly delivery: string | null
}
type Expected = Aggregate | Tls | Failure | { readonly kind: 'other' | 'rejected' }

/** A line of `parse`, as far as it is compared. */
interface Line {
  readonly kind: string
  readonly source: string
  readonly report: Readonly<Record<string, unknown>>
  readonly policy: Readonly<Record<string, unknown>>
  readonly records: readonly RecordLine[]
  readonly policies: readonly {
    readonly domain: string
    readonly type: string
    readonly successful: number
    readonly failed: number
    readonly details: readonly Readonly<Record<string, unknown>>[]
  }[]
}
interface RecordLine {
  readonly source_ip: string
  readonly count: number
  readonly disposition: string
  readonly dkim: string
  readonly spf: string
  readonly header_from: string
}

const CORPUS = SHARED === null ? null : join(SHARED, 'corpus')
const FILES = 51
const LIMIT = 120_000

const expected: Readonly<Record<string, readonly Expected[]>> =
  CORPUS === null ? {} : JSON.parse(readFileSync(join(CORPUS, 'expected.json'), 'utf8'))

const fileOf = (source: string) => source.slice(CORPUS!.length + 1).replace(/#\d+$/, '')
/** A date without a zone is UTC (semantics: TLS reports). */
const seconds = (iso: unknown) => Date.parse(String(iso).replace(/(\d)$/, '$1Z')) / 1000

/** Messages of the records that satisfy the condition; a count that no one can believe adds nothing. */
const messages = (records: readonly RecordLine[], condition: (record: RecordLine) => boolean) =>
  records
    .filter(({ count }) => count >= 1 && count <= 1_000_000_000)
    .filter(condition)
    .reduce((sum, { count }) => sum + count, 0)

/** A line in the words of expected.json. */
function inWordsOfCorpus({ kind, report, policy, records, policies }: Line): unknown {
  if (kind === 'dmarc') {
    const [first] = records
    return {
      kind: 'aggregate',
      org: report.org_name,
      email: report.email,
      id: report.report_id,
      begin: seconds(report.begin),
      end: seconds(report.end),
      ...pick(policy, ['domain', 'p', 'sp', 'np', 'adkim', 'aspf']),
      records: records.length,
      messages: messages(records, () => true),
      dkim: messages(records, ({ dkim }) => dkim === 'pass'),
      spf: messages(records, ({ spf }) => spf === 'pass'),
      dmarc: messages(records, ({ dkim, spf }) => dkim === 'pass' || spf === 'pass'),
      ...(first === undefined
        ? {}
        : { first: { ip: first.source_ip, ...pick(first, ['count', 'disposition', 'dkim', 'spf', 'header_from']) } }),
    }
  }
  if (kind === 'tls') {
    return {
      kind,
      org: report.org_name,
      id: report.report_id,
      contact: report.contact,
      begin: seconds(report.begin),
      end: seconds(report.end),
      policies: policies.map(({ domain, type, successful, failed, details }) => ({
        domain,
        type,
        ok: successful,
        failed,
        details: details.map(({ result_type, count }) => [result_type, count]),
      })),
    }
  }
  if (kind === 'failure') {
    return {
      kind,
      ...pick(report, ['source_ip', 'reported_domain', 'feedback_type']),
      auth_failure: (report.auth_failure as readonly string[])[0] ?? null,
      delivery: report.delivery_result,
    }
  }
  return { kind }
}

function pick(from: object, names: readonly string[]): Readonly<Record<string, unknown>> {
  return Object.fromEntries(names.map((name) => [name, (from as Readonly<Record<string, unknown>>)[name]]))
}

/** What expected.json says, with its empty text as null and its times as seconds. */
function asCompared(one: Expected): unknown {
  const { note: _, ...said } = one as Expected & { note?: string }
  if (said.kind === 'aggregate') return { ...said, org: said.org === '' ? null : said.org }
  if (said.kind === 'tls') return { ...said, begin: seconds(said.begin), end: seconds(said.end) }
  return said
}

/** One aggregate report, however often it arrives (semantics: identity). */
function identity({ org, email, id, domain, begin, end }: Omit<Aggregate, 'kind'>): string {
  const submitter = org === '' ? email.slice(email.lastIndexOf('@') + 1) : org
  return JSON.stringify([submitter.toLowerCase(), id, domain.toLowerCase(), begin, end])
}

afterAll(endAll)

describe.skipIf(CORPUS === null && !MUST_HAVE_SHARED)('the corpus (../shared/corpus)', () => {
  test('it is there, and whole', () => {
    expect(CORPUS, '../shared must lie beside the checkout').not.toBeNull()
    expect(Object.keys(expected)).toHaveLength(FILES)
  })

  describe.skipIf(CORPUS === null)('through parse', () => {
    const read = new Map<string, Line[]>()

    beforeAll(async () => {
      const files = Object.keys(expected).map((file) => join(CORPUS!, file))
      const { code, stdout, stderr } = await mailtrail(['parse', ...files, '--format', 'ndjson'])
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
      for (const text of stdout.trimEnd().split('\n')) {
        const line = JSON.parse(text) as Line
        const file = fileOf(line.source)
        read.set(file, [...(read.get(file) ?? []), line])
      }
    }, LIMIT)

    test('every file is read, and no other', () => {
      expect([...read.keys()].sort()).toEqual(Object.keys(expected).sort())
    })

    test.each(Object.keys(expected))('%s', (file) => {
      expect(read.get(file)!.map(inWordsOfCorpus)).toEqual(expected[file]!.map(asCompared))
    })

    test('mails of an mbox are numbered from 1', () => {
      const sources = read.get('email-report-processor/mbox/romain')!.map(({ source }) => source.replace(/.*#/, '#'))
      expect(sources).toEqual(['#1', '#2', '#3', '#4', '#5', '#6', '#7', '#8', '#9', '#10'])
    })
  })

  describe.skipIf(CORPUS === null)('through import, over HTTP', () => {
    let summary: ImportSummary
    let running: Running
    const all = Object.values(expected).flat()
    const of = <Kind extends Expected['kind']>(kind: Kind) =>
      all.filter((one): one is Extract<Expected, { kind: Kind }> => one.kind === kind)

    beforeAll(async () => {
      const data = join(await tempFolder('corpus'), 'data')
      summary = await importMail(
        data,
        Object.keys(expected).map((file) => join(CORPUS!, file)),
      )
      running = await up(data)
      await running.idle()
    }, LIMIT)

    test('every mail is in', () => {
      const mails = FILES - 1 + of('other').length
      expect(summary).toEqual({ read: mails, new: mails, duplicates: 0, rejects: 1 })
    })

    test('every aggregate report is there once, with its policy and its sums', async () => {
      const wanted = new Map<string, unknown[]>()
      for (const one of of('aggregate')) wanted.set(identity(one), [...(wanted.get(identity(one)) ?? []), sums(one)])
      const items = await running.list<ReportItem>(`/dmarc/reports?${ALL_DAYS}`)
      expect(items.map(identityOf).sort()).toEqual([...wanted.keys()].sort())
      for (const item of items) expect(wanted.get(identityOf(item))).toContainEqual(sumsOf(item))
    })

    test('every record of a report that counts is there once', async () => {
      const reports = await running.list<ReportItem>(`/dmarc/reports?${ALL_DAYS}`)
      const records = await running.list<{ report_id: string; messages: number }>(`/dmarc/records?${ALL_DAYS}`)
      for (const { id, records: count, messages: sum } of reports) {
        const own = records.filter(({ report_id }) => report_id === id)
        expect({ id, count: own.length }).toEqual({ id, count })
        expect({ id, sum: own.reduce((total, record) => total + record.messages, 0) }).toEqual({ id, sum })
      }
      expect(records).toHaveLength(reports.reduce((total, report) => total + report.records, 0))
    })

    test('every TLS report is there once, with its sessions', async () => {
      const items = await running.list<Readonly<Record<string, unknown>>>(`/tls/reports?${ALL_DAYS}`)
      const shown = items.map(({ org_name, report_id, contact, begin, end, domains, successful, failed, details }) =>
        JSON.stringify([
          org_name,
          report_id,
          contact,
          seconds(begin),
          seconds(end),
          domains,
          successful,
          failed,
          details,
        ]),
      )
      const wanted = of('tls').map(({ org, id, contact, begin, end, policies }) => {
        const sum = (value: (policy: Tls['policies'][number]) => number) =>
          policies.reduce((total, policy) => total + value(policy), 0)
        return JSON.stringify([
          org,
          id,
          contact,
          seconds(begin),
          seconds(end),
          policies.map(({ domain }) => domain),
          sum(({ ok }) => ok),
          sum(({ failed }) => failed),
          sum(({ details }) => details.length),
        ])
      })
      expect(shown.sort()).toEqual(wanted.sort())
    })

    test('every failure detail is there once', async () => {
      const items = await running.list<{ result_type: string; count: number }>(`/tls/failures?${ALL_DAYS}`)
      const wanted = of('tls').flatMap(({ policies }) => policies.flatMap(({ details }) => details))
      expect(items.map(({ result_type, count }) => `${result_type} ${count}`).sort()).toEqual(
        wanted.map(([result_type, count]) => `${result_type} ${count}`).sort(),
      )
    })

    test('every failure report is there once', async () => {
      const items = await running.list<Readonly<Record<string, unknown>>>(`/failures?${ALL_DAYS}`)
      const shown = items.map((item) =>
        JSON.stringify([item.source_ip, item.reported_domain, item.feedback_type, item.delivery_result]),
      )
      const wanted = of('failure').map(({ source_ip, reported_domain, feedback_type, delivery }) =>
        JSON.stringify([source_ip, reported_domain, feedback_type, delivery]),
      )
      expect(shown.sort()).toEqual(wanted.sort())
    })

    test('mail that is no report waits to be looked at, and what could not be read is a reject', async () => {
      expect(await running.list(`/mail?kind=other&${ALL_DAYS}`)).toHaveLength(of('other').length)
      expect(await running.list(`/rejects?${ALL_DAYS}`)).toHaveLength(of('rejected').length)
    })

    test('the totals are the sum of it', async () => {
      const { totals } = await running.get<{ totals: unknown }>('/status')
      const reports = await running.list<ReportItem>(`/dmarc/reports?${ALL_DAYS}`)
      expect(totals).toMatchObject({
        mails: summary.new,
        reports: reports.length + of('tls').length + of('failure').length,
        records: reports.reduce((total, report) => total + report.records, 0),
        rejects: 1,
      })
    })
  })
})

interface ReportItem {
  readonly id: string
  readonly domain: string
  readonly org: string
  readonly report: { readonly report_id: string; readonly begin: string; readonly end: string }
  readonly policy: Readonly<Record<string, unknown>>
  readonly records: number
  readonly messages: number
  readonly passed: number
  readonly full_pass: number
  readonly dkim_only: number
  readonly spf_only: number
}

const identityOf = ({ org, domain, report }: ReportItem) =>
  JSON.stringify([org, report.report_id, domain, seconds(report.begin), seconds(report.end)])

const policyWords = ['p', 'sp', 'np', 'adkim', 'aspf']

function sums(one: Aggregate): unknown {
  return { ...pick(one, policyWords), ...pick(one, ['records', 'messages', 'dkim', 'spf', 'dmarc']) }
}

function sumsOf({ policy, records, messages: sum, passed, full_pass, dkim_only, spf_only }: ReportItem): unknown {
  const results = { dkim: full_pass + dkim_only, spf: full_pass + spf_only, dmarc: passed }
  return { ...pick(policy, policyWords), records, messages: sum, ...results }
}
