/**
 * Rows of `/dmarc/records`. The table is sorted by domain and then by day, so what is newest over all domains lies
 * everywhere in it: a page first finds the newest reports, which are few, and then only their records; a stream of
 * everything goes along the table.
 */
import type { Parameters } from '../projections/store.ts'
import { winningDmarcRecords, winningDmarcReports } from '../projections/winners.ts'
import type { Condition } from './filters.ts'
import type { Reading } from './reading.ts'
import { inRange, type TimeRange } from './time-range.ts'

export interface RecordRow {
  readonly policy_domain: string
  readonly day: string
  readonly key: string
  readonly shown_variant: string
  readonly record_index: number
  readonly org: string
  readonly org_name: string
  readonly report_id: string
  readonly begin: number
  readonly end: number
  readonly source_ip: string
  readonly source_text: string
  readonly count: number | null
  readonly messages: number
  readonly disposition: string
  readonly dkim: string
  readonly spf: string
  readonly dkim_aligned: boolean
  readonly spf_aligned: boolean
  readonly header_from: string
  readonly envelope_from: string
  readonly envelope_to: string
  readonly reason_type: readonly string[]
  readonly reason_comment: readonly string[]
  readonly dkim_domain: readonly string[]
  readonly dkim_selector: readonly string[]
  readonly dkim_result: readonly string[]
  readonly dkim_human_result: readonly string[]
  readonly spf_domain: readonly string[]
  readonly spf_scope: readonly string[]
  readonly spf_result: readonly string[]
  readonly observed: boolean
  readonly ptr: string
  readonly ptr_names: readonly string[]
  readonly asn: number
  readonly as_name: string
  readonly country: string
  /** Empty when there is none, and all three when the record is not judged yet. */
  readonly sender: string
  readonly verdict: string
  readonly rule: string
}

/** Day, policy domain, report key in hex, index of the record. */
export type RecordKey = [day: string, domain: string, report: string, index: number]

/** What was asked: `reports` narrows the reports, `records` their records, `verdicts` what the rules say of these. */
export interface RecordsAsked {
  readonly range: TimeRange
  readonly reports: Condition
  readonly records: Condition
  readonly verdicts: Condition
}

/** Reports whose records are looked at first, and then; after these, all the others at once. */
const REPORTS_AT_ONCE = [64, 2000]
/** Records that one statement of a stream sorts. */
const RECORDS_AT_ONCE = 100_000

const RECORD = 'report_key, variant, record_index'

/** `place` narrows the reports like `reports`; it may use only columns that verdicts have as well. */
interface Parts {
  readonly reports: string
  readonly records: string
  readonly place: string
}

function statement(reading: Reading, asked: RecordsAsked, { reports, records, place }: Parts, order: string): string {
  const { tables } = reading
  const chosen = `${inRange} AND ${asked.reports.sql} AND ${reports} AND ${place}`
  const winners = winningDmarcReports(tables, chosen, ['report_key', 'org_name', 'report_id', 'begin', 'end'])
  // All rows that judge a record under one rule set say the same, so any of them will do.
  const judged = `FROM ${tables.record_verdicts} WHERE ${inRange} AND ${place}`
  const wanted =
    asked.verdicts.sql === '1' ? '1' : `(${RECORD}) IN (SELECT ${RECORD} ${judged} AND ${asked.verdicts.sql})`
  return `SELECT r.* EXCEPT (report_key, variant), lower(hex(r.report_key)) AS key,
      lower(hex(r.variant)) AS shown_variant, w.org_name AS org_name, w.report_id AS report_id, w.begin AS begin,
      w.end AS end, v.sender AS sender, v.verdict AS verdict, v.rule AS rule
    FROM (SELECT * FROM ${winningDmarcRecords(tables, chosen, `${asked.records.sql} AND ${records} AND ${wanted}`)}) AS r
    INNER JOIN (${winners}) AS w ON w.report_key = r.report_key
    ANY LEFT JOIN (SELECT (${RECORD}) AS judged_record, sender, verdict, rule ${judged}) AS v
      ON v.judged_record = (r.report_key, r.variant, r.record_index)
    ORDER BY ${order}`
}

function valuesOf({ range, reports, records, verdicts }: RecordsAsked): Parameters {
  return { ...range, ...reports.parameters, ...records.parameters, ...verdicts.parameters }
}

const isSearch = ({ records, verdicts }: RecordsAsked) => records.sql !== '1' || verdicts.sql !== '1'

const NEWEST_FIRST = 'r.day DESC, r.policy_domain, r.report_key, r.record_index'
const reportPlace = (name: string) => `({${name}_domain:String}, toFixedString(unhex({${name}_report:String}), 32))`

/** Reports at or after a place in the order of pages: newest day first, then domain, then key. */
const reportsFrom = `(day < {after_day:Date} OR (day = {after_day:Date}
  AND (policy_domain, report_key) >= ${reportPlace('after')}))`
const reportsUpTo = `(day > {last_day:Date} OR (day = {last_day:Date}
  AND (policy_domain, report_key) <= ${reportPlace('last')}))`
const recordsAfter = `NOT (day = {after_day:Date} AND (policy_domain, report_key) = ${reportPlace('after')}
  AND record_index <= {after_index:Int64})`

function placeOf(name: string, [day, domain, report]: readonly [string, string, string, ...unknown[]]): Parameters {
  return { [`${name}_day`]: day, [`${name}_domain`]: domain, [`${name}_report`]: report }
}

/** Newest first, in steps that widen: the reader stops when the page is full. */
export async function* newestRecords(
  reading: Reading,
  asked: RecordsAsked,
  after: RecordKey | null,
  limit: number | null,
): AsyncGenerator<readonly RecordRow[]> {
  // Before everything: the last day of the range, before the first domain.
  let at: RecordKey = after ?? [asked.range.to, '', '00'.repeat(32), -1]
  for (const reports of limit === null ? [] : REPORTS_AT_ONCE) {
    const last = await lastOfNext(reading, asked, at, reports)
    if (last === null) break
    const these = `${reportsFrom} AND ${reportsUpTo}`
    const near = { reports: these, place: placesOfReports(reading, asked, these) }
    // The range ends where the pages have got to, so that fewer days are looked at.
    const bounds = { from: last[0], to: at[0], ...placeOf('last', last) }
    // All columns of so many reports, for the few records that match, take seconds: those are looked for first.
    const isWide = reports > REPORTS_AT_ONCE[0]! && isSearch(asked)
    const narrowed = { ...near, values: bounds }
    yield* rowsFrom(reading, asked, at, limit, isWide ? await matches(reading, asked, at, limit!, narrowed) : narrowed)
    at = [...last, 0xffffffff]
  }
  const rest = { ...asked, range: { ...asked.range, to: at[0] } }
  const searched = limit !== null && isSearch(asked)
  const everywhere = { reports: '1', place: placesOfReports(reading, rest, reportsFrom), values: {} }
  const all = { reports: '1', place: '1', values: {} }
  yield* rowsFrom(reading, rest, at, limit, searched ? await matches(reading, rest, at, limit, all) : everywhere)
}

/** What narrows a statement besides what was asked. */
interface Narrowed {
  readonly reports: string
  readonly place: string
  readonly values: Parameters
}

function rowsFrom(
  reading: Reading,
  asked: RecordsAsked,
  at: RecordKey,
  limit: number | null,
  narrowed: Narrowed,
): AsyncIterable<readonly RecordRow[]> {
  const parts = { reports: `${reportsFrom} AND ${narrowed.reports}`, records: recordsAfter, place: narrowed.place }
  const sql = statement(reading, asked, parts, NEWEST_FIRST)
  const values = { ...valuesOf(asked), ...placeOf('after', at), after_index: at[3], ...narrowed.values }
  if (limit === null) return reading.rows(sql, values, null)
  return reading.rows(`${sql} LIMIT {limit:UInt32}`, { ...values, limit }, limit)
}

/**
 * The reports of the next records that match. Who comes so far asks for what is rare, so few columns of all records are
 * searched first, and then all columns of few.
 */
async function matches(
  reading: Reading,
  asked: RecordsAsked,
  at: RecordKey,
  limit: number,
  { place, values }: Narrowed,
): Promise<Narrowed> {
  const found = await reading.query<{ domain: string; day: string; report: string }>(
    `SELECT toString(policy_domain) AS domain, day, lower(hex(report_key)) AS report FROM (
       SELECT policy_domain, day, report_key, record_index FROM (${matching(reading, asked, place)})
       ORDER BY day DESC, policy_domain, report_key, record_index
       LIMIT 1 BY day, policy_domain, report_key, record_index LIMIT {limit:UInt32})
     GROUP BY policy_domain, day, report_key`,
    { ...valuesOf(asked), ...placeOf('after', at), after_index: at[3], ...values, limit },
  )
  const these = `(policy_domain, day, report_key) IN (SELECT place.1, place.2, place.3 FROM (SELECT arrayJoin(arrayZip(
    {domains:Array(String)}, {days:Array(Date)},
    arrayMap(key -> toFixedString(unhex(key), 32), {keys:Array(String)}))) AS place))`
  return {
    reports: '1',
    place: these,
    values: {
      domains: found.map(({ domain }) => domain),
      days: found.map(({ day }) => day),
      keys: found.map(({ report }) => report),
    },
  }
}

/** Places of the records that match and count, by few columns; both tables are read in order and joined so. */
function matching(reading: Reading, { reports, records, verdicts }: RecordsAsked, place: string): string {
  const { dmarc_records, record_verdicts } = reading.tables
  const key = 'policy_domain, day, report_key, variant, record_index'
  const later = `${inRange} AND ${reportsFrom} AND ${recordsAfter} AND ${place}`
  const places = `(policy_domain, day, report_key) IN (
    SELECT policy_domain, day, report_key FROM ${dmarc_records} WHERE ${later} AND ${reports.sql} AND ${records.sql})`
  if (verdicts.sql === '1') {
    const winners = winningDmarcReports(reading.tables, `${inRange} AND ${places}`, ['report_key', 'variant'])
    return `SELECT ${key} FROM ${dmarc_records} WHERE ${later} AND ${reports.sql} AND ${records.sql}
      AND (report_key, variant) IN (${winners})`
  }
  const winners = winningDmarcReports(reading.tables, `${inRange} AND ${reports.sql} AND ${place}`, [
    ...['report_key', 'variant'],
  ])
  const judged = `SELECT ${key} FROM ${record_verdicts} WHERE ${later} AND ${verdicts.sql}`
  if (records.sql === '1') return `${judged} AND (report_key, variant) IN (${winners})`
  return `SELECT f.* FROM (
      SELECT ${key} FROM ${dmarc_records} WHERE ${later} AND ${reports.sql} AND ${records.sql}
        AND (report_key, variant) IN (${winners})) AS f
    INNER JOIN (${judged}) AS v USING (${key}) SETTINGS join_algorithm = 'full_sorting_merge'`
}

/** Where the records of some reports lie in the table: so few that its index finds them. */
function placesOfReports(reading: Reading, { reports }: RecordsAsked, these: string): string {
  return `(policy_domain, day, report_key) IN (SELECT policy_domain, day, report_key
    FROM ${reading.tables.dmarc_reports} WHERE ${inRange} AND ${reports.sql} AND ${these})`
}

/** The last of the next so many deliveries of reports; null when there are no more than that. */
async function lastOfNext(
  reading: Reading,
  asked: RecordsAsked,
  at: RecordKey,
  reports: number,
): Promise<[string, string, string] | null> {
  const chosen = `${inRange} AND ${asked.reports.sql} AND ${reportsFrom}`
  const [last] = await reading.query<{ day: string; domain: string; report: string }>(
    `SELECT day, toString(policy_domain) AS domain, lower(hex(report_key)) AS report
     FROM ${reading.tables.dmarc_reports} WHERE ${chosen}
     ORDER BY day DESC, policy_domain, report_key LIMIT 1 OFFSET {skip:UInt32}`,
    { ...asked.range, ...asked.reports.parameters, to: at[0], ...placeOf('after', at), skip: reports - 1 },
  )
  return last === undefined ? null : [last.day, last.domain, last.report]
}

/** Everything, by domain, day and report: in pieces that the store can sort in little memory. */
export async function* allRecords(reading: Reading, asked: RecordsAsked): AsyncGenerator<readonly RecordRow[]> {
  const order = 'r.policy_domain, r.day, r.report_key, r.record_index'
  const between = 'policy_domain BETWEEN {first_domain:String} AND {last_domain:String}'
  const sql = statement(reading, asked, { reports: '1', records: '1', place: between }, order)
  for await (const piece of piecesOf(reading, asked)) {
    yield* reading.stream<RecordRow>(sql, { ...valuesOf(asked), ...piece })
  }
}

/**
 * Runs of neighbouring domains or, within a large one, of days; each with about as many records as one statement sorts.
 * With filters, only where records match.
 */
async function* piecesOf(reading: Reading, { range, reports, records }: RecordsAsked): AsyncGenerator<Parameters> {
  const { dmarc_reports, dmarc_records } = reading.tables
  const [size, table] = records.sql === '1' ? ['sum(records)', dmarc_reports] : ['count()', dmarc_records]
  const sums = (column: string, narrowed: string, parameters: Parameters) =>
    reading.query<{ name: string; records: number }>(
      `SELECT toString(${column}) AS name, ${size} AS records FROM ${table}
       WHERE ${inRange} AND ${reports.sql} AND ${records.sql} AND ${narrowed} GROUP BY ${column} ORDER BY ${column}`,
      { ...range, ...reports.parameters, ...records.parameters, ...parameters },
    )
  for (const [first, last, matching] of runsOf(await sums('policy_domain', '1', {}))) {
    const domains = { first_domain: first, last_domain: last }
    if (matching <= RECORDS_AT_ONCE || first !== last) {
      yield domains
      continue
    }
    const days = await sums('day', 'policy_domain = {domain:String}', { domain: first })
    for (const [from, to] of runsOf(days)) yield { ...domains, from, to }
  }
}

/** Neighbours together as long as their records stay below the limit; what is larger stands alone. */
function* runsOf(sums: readonly { name: string; records: number }[]): Generator<[string, string, number]> {
  let run: [string, string, number] | null = null
  for (const { name, records } of sums) {
    if (run !== null && run[2] + records <= RECORDS_AT_ONCE) {
      run = [run[0], name, run[2] + records]
    } else {
      if (run !== null) yield run
      run = [name, name, records]
    }
  }
  if (run !== null) yield run
}
