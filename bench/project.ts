/**
 * `node bench/project.ts [records in the log] [records for queries]`: what projecting costs, how fast it goes from the
 * log to queryable rows, and how long queries take. The rows for queries are made by the store itself, with the shape
 * that 50 million records of 2,000 domains over 90 days have.
 */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { dmarcRecords } from '../projections/dmarc-records.ts'
import { type EmbeddedStore, openEmbeddedStore } from '../projections/embedded-store.ts'
import { FeedList, feedsOf } from '../projections/feeds.ts'
import { eventReader, runProjections } from '../projections/run.ts'
import { layoutOf, recreateStore } from '../projections/schema.ts'
import { ProjectionState } from '../projections/state.ts'
import { winningDmarcRecords, winningDmarcReports, winningDmarcReportsOfMany } from '../projections/winners.ts'
import { eventTypes, topicSettings } from '../topics/all.ts'
import { NOT_CHECKED } from '../topics/authentication.ts'
import { EventCodec } from '../topics/avro.ts'
import { eventId, hashOf } from '../topics/cause.ts'
import { firstGeneration } from '../topics/generation.ts'
import type { NewEvent } from '../topics/log.ts'
import { DmarcRecordsRead, DmarcReportRead } from '../topics/reports.ts'
import { openSqliteLog } from '../topics/sqlite-log.ts'
import { DAYS, DOMAINS, FIRST_DAY, fillStore } from './fill.ts'
import { inTemporaryFolder, ROUNDS, type Row, report, treeBytes } from './measure.ts'

const LOGGED = Number(process.argv[2] ?? 500_000)
const QUERIED = Number(process.argv[3] ?? 5_000_000)
const RECORDS_A_REPORT = 60

const generation = firstGeneration('')
const { tables } = generation

const rows: Row[] = []

async function measure(
  what: string,
  unit: string,
  work: () => Promise<number> | number,
  options: { readonly runs?: number; readonly goal?: Row['goal'] } = {},
): Promise<void> {
  const values: number[] = []
  for (let run = 0; run < (options.runs ?? ROUNDS); run++) values.push(await work())
  rows.push({ what, unit, values, ...(options.goal === undefined ? {} : { goal: options.goal }) })
}

const atMost = (value: number) => ({ relation: '<=', value }) as const
const atLeast = (value: number) => ({ relation: '>=', value }) as const

/** Cheap repeatable numbers: the bench must give the same rows each time. */
function random(seed: number): number {
  const mixed = Math.imul(seed ^ (seed >>> 15), 0x2c1b3c6d)
  return (Math.imul(mixed ^ (mixed >>> 12), 0x297a2d39) >>> 0) / 4_294_967_296
}

function chunkOf(report: number, records: number, first: number, chunk: number): DmarcRecordsRead {
  const policy_domain = `domain${Math.floor(random(report) ** 2 * DOMAINS)}.example`
  const dict = [
    '',
    'none',
    'quarantine',
    'reject',
    'pass',
    'fail',
    policy_domain,
    's1',
    's2',
    'mail.example',
    'forwarded',
  ]
  const fixed = dict.length
  const rows = Array.from({ length: records }, (_, row) => report * 1000 + first + row)
  for (const row of rows) {
    const address = Math.floor(random(row) * 4e9)
    dict.push(`${address >>> 24 || 1}.${(address >>> 16) & 255}.${(address >>> 8) & 255}.${address & 255}`)
  }
  const pick = (row: number, choices: readonly number[]) => choices[Math.floor(random(row) * choices.length)]!
  const dkim = rows.map((row) => pick(row + 1, [4, 4, 4, 5]))
  const spf = rows.map((row) => pick(row + 2, [4, 4, 5]))
  const report_key = hashOf('report', String(report))
  const mail_id = hashOf('mail', String(report))
  return {
    id: eventId(mail_id, '1', 'DmarcRecordsRead', chunk),
    mail_id,
    part: '1',
    received_at: Date.UTC(2026, 10, 20) + report,
    parser_version: '1',
    report_key,
    variant: hashOf('variant', String(report)).slice(0, 32),
    policy_domain,
    org: `org${report % 40}.example`,
    day: new Date((FIRST_DAY + Math.floor(random(report + 7) * DAYS)) * 86_400_000).toISOString().slice(0, 10),
    implausible_period: false,
    p: 'none',
    sp: null,
    np: null,
    chunk,
    first,
    records: {
      dict,
      source_ip: rows.map((_, index) => fixed + index),
      count: rows.map((row) => Math.floor(1 / random(row + 3))),
      disposition: rows.map((row) => pick(row + 4, [1, 1, 1, 2, 3])),
      dkim,
      spf,
      header_from: rows.map(() => 6),
      envelope_from: rows.map((row) => pick(row + 5, [0, 6])),
      envelope_to: rows.map(() => 0),
      reasons: rows.map((_, index) => (index % 20 === 0 ? 1 : 0)),
      reason_type: rows.filter((_, index) => index % 20 === 0).map(() => 10),
      reason_comment: rows.filter((_, index) => index % 20 === 0).map(() => 0),
      dkim_results: rows.map(() => 1),
      dkim_domain: rows.map(() => 6),
      dkim_selector: rows.map((row) => pick(row + 6, [7, 8])),
      dkim_result: dkim,
      dkim_human_result: rows.map(() => 0),
      spf_results: rows.map(() => 1),
      spf_domain: rows.map(() => 9),
      spf_scope: rows.map(() => 0),
      spf_result: spf,
    },
  }
}

function closingOf(chunk: DmarcRecordsRead, records: number): DmarcReportRead {
  const { chunk: _chunk, first: _first, records: _records, ...shared } = chunk
  const begin = Date.parse(chunk.day) / 1000
  const none = { none: records, quarantine: 0, reject: 0 }
  return {
    ...shared,
    org_name: chunk.org,
    email: `a@${chunk.org}`,
    extra_contact_info: null,
    report_id: chunk.report_key.slice(0, 20),
    begin,
    end: begin + 86_399,
    span_days: 1,
    version: '1.0',
    generator: null,
    errors: [],
    adkim: 'r',
    aspf: 'r',
    pct: 100,
    fo: null,
    testing: null,
    discovery_method: null,
    chunks: 1,
    records,
    totals: { messages: records, passed: records, full_pass: records, dkim_only: 0, spf_only: 0, failed: 0, ...none },
    warnings: [],
    ...NOT_CHECKED,
  }
}

async function measureGathering(): Promise<void> {
  for (const size of [500, RECORDS_A_REPORT, 3]) {
    const chunks = Array.from({ length: Math.ceil(60_000 / size) }, (_, report) => chunkOf(report, size, 0, 0))
    const gathered = dmarcRecords.gather()
    await measure(
      `rows and Native block, chunks of ${size}, JavaScript`,
      'µs/record',
      () => {
        const start = performance.now()
        for (let round = 0; round < 5; round++) {
          gathered.clear()
          for (const data of chunks) gathered.append({ type: 'DmarcRecordsRead', data })
          gathered.encode()
        }
        return ((performance.now() - start) * 1000) / (5 * gathered.rows())
      },
      size >= RECORDS_A_REPORT ? { runs: 7, goal: atMost(1) } : { runs: 7 },
    )
  }
}

async function measureLoop(folder: string, store: EmbeddedStore): Promise<void> {
  const log = await openSqliteLog({ path: join(folder, 'log.sqlite') })
  const options = { maxMailBytes: 1e7, retentionIngest: null, retentionPrivate: null }
  for (const topic of topicSettings(options, generation)) await log.createTopic(topic)
  const codec = await EventCodec.open(log, eventTypes)
  const reports = Math.ceil(LOGGED / RECORDS_A_REPORT)
  let events: NewEvent[] = []
  for (let report = 0; report < reports; report++) {
    const chunk = chunkOf(report, RECORDS_A_REPORT, 0, 0)
    events.push({ key: chunk.report_key, value: codec.encode(DmarcRecordsRead, chunk) })
    events.push({ key: chunk.report_key, value: codec.encode(DmarcReportRead, closingOf(chunk, RECORDS_A_REPORT)) })
    if (events.length >= 1000 || report === reports - 1) {
      await log.append(generation.topics.enriched, events)
      events = []
    }
  }
  await measure(
    `log to queryable rows, ${reports} reports of ${RECORDS_A_REPORT}`,
    'records/s',
    async () => {
      await recreateStore(store, layoutOf(generation))
      const stop = new AbortController()
      const state = new ProjectionState()
      const start = performance.now()
      const run = runProjections(
        {
          log,
          codec: eventReader(codec),
          store,
          feeds: new FeedList(feedsOf([generation])),
          recreate: () => recreateStore(store, layoutOf(generation)),
          signal: stop.signal,
          rebuilt: true,
        },
        state,
      )
      while (!(await state.caughtUp(generation.topics.enriched, log))) await sleep(5)
      const seconds = (performance.now() - start) / 1000
      stop.abort()
      await run
      const [row] = await store.query<{ records: number }>(
        `SELECT count() AS records FROM ${tables.dmarc_records} FINAL`,
      )
      if (row?.records !== reports * RECORDS_A_REPORT) throw new Error(`${row?.records} records arrived.`)
      return (reports * RECORDS_A_REPORT) / seconds
    },
    { goal: atLeast(100_000) },
  )
  await measure('memory of the store process after it', 'MB', () => treeBytes(store.pid()) / 1e6, { runs: 1 })
  await log.close()
}

async function measureQueries(store: EmbeddedStore): Promise<void> {
  await fillStore(store, generation, QUERIED)
  const query = (sql: string, domain: string) => async () => {
    const start = performance.now()
    await store.query(sql, { parameters: { domain } })
    return performance.now() - start
  }
  const one = 'policy_domain = {domain:String}'
  const columns = ['policy_domain', 'day', 'messages', 'passed', 'failed']
  const byDay = (from: string) => `SELECT day, sum(messages), sum(passed), sum(failed) FROM (${from}) GROUP BY day`
  const byIp = (from: string) =>
    `SELECT source_ip, sum(messages) AS sent, min(day), max(day) FROM ${from} GROUP BY source_ip ORDER BY sent DESC LIMIT 50`
  const largest = 'domain0.example'
  const some = 'domain777.example'
  await measure('summary, some domain', 'ms', query(byDay(winningDmarcReports(tables, one, columns)), some), {
    runs: 9,
    goal: atMost(50),
  })
  await measure('summary, the largest', 'ms', query(byDay(winningDmarcReports(tables, one, columns)), largest), {
    runs: 9,
    goal: atMost(150),
  })
  await measure('sources by ip, some domain', 'ms', query(byIp(winningDmarcRecords(tables, one)), some), { runs: 9 })
  await measure('sources by ip, the largest', 'ms', query(byIp(winningDmarcRecords(tables, one)), largest), {
    runs: 9,
    goal: atMost(300),
  })
  const domains = `SELECT policy_domain, sum(messages), sum(passed), sum(failed) FROM (${winningDmarcReportsOfMany(tables, '1', columns)}) GROUP BY policy_domain`
  await measure('all domains', 'ms', query(domains, ''), { runs: 9, goal: atMost(500) })
  const size = async () => {
    const [row] = await store.query<{ bytes: number }>(
      `SELECT sum(bytes_on_disk) / ${QUERIED} AS bytes FROM system.parts WHERE active AND startsWith(table, 'dmarc_')`,
    )
    return row!.bytes
  }
  await measure('disk, parts as ingestion left them', 'bytes/record', size, { runs: 1, goal: atMost(18) })
  const merge = (table: string) => store.command(`OPTIMIZE TABLE ${table} FINAL`, { timeout: 600 })
  await Promise.all([merge(tables.dmarc_records), merge(tables.dmarc_reports)])
  await measure('disk, merged', 'bytes/record', size, { runs: 1, goal: atMost(18) })
}

await inTemporaryFolder(async (folder) => {
  const store = await openEmbeddedStore({ folder: join(folder, 'store'), tmp: join(folder, 'tmp') })
  try {
    await measureGathering()
    if (LOGGED > 0) await measureLoop(folder, store)
    if (QUERIED > 0) await measureQueries(store)
  } finally {
    await store.close()
  }
})
report('project', `${LOGGED} records in the log, ${QUERIED} for queries`, rows)
