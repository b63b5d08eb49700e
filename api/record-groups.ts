/**
 * Sums over the records of one domain. `FINAL` merges all rows of the domain before it counts them: a second for a
 * million records. But nearly every report came once, so a plain scan counts each of its rows once, and that can be
 * proved: the rows of a report are in the tables before the report's own row is, so a scan that begins after the
 * reports were read finds all of them; when it finds no more than the reports announced, it found each once. Reports
 * that came several times, or in several contents, are few and known: they are left out of the plain scan and read
 * beside it, each row once. Where the proof fails, `FINAL` answers.
 */
import type { Parameters } from '../projections/store.ts'
import {
  countedVerdicts,
  judgedDmarcReports,
  winningDmarcRecords,
  winningDmarcReports,
} from '../projections/winners.ts'
import type { Condition } from './filters.ts'
import type { Reading } from './reading.ts'
import { inRange, type TimeRange } from './time-range.ts'

/** Records of a domain and what is wanted of them. */
export interface RecordsOfDomain {
  readonly domain: string
  readonly range: TimeRange
  /** Whether columns are named that only the facts have (`factColumns`), or that only the verdicts have. */
  readonly needs: { readonly facts: boolean; readonly verdicts: boolean }
}

/** Columns of every source. */
const commonColumns = [
  'day',
  'source_ip',
  'source_text',
  'messages',
  'dkim_aligned',
  'spf_aligned',
  'disposition',
  "disposition = 'quarantine' AS is_quarantined",
  "disposition = 'reject' AS is_rejected",
]
/** Columns of sources with facts. */
const factColumns = [
  ...['org', 'header_from', 'dkim', 'spf', 'dkim_selector'],
  ...['observed', 'ptr', 'asn', 'as_name', 'country'],
]
/** Columns of all sources; empty where verdicts are not asked for. */
const verdictColumns = ['sender', 'verdict', 'excluded']
const noVerdicts = verdictColumns.map((name) => `'' AS ${name}`)

/** What groups are made of. All SQL may name the columns of the source and `parameters`. */
export interface Grouping {
  /** Expressions grouped by; they come back, and are ordered by, as `k0`, `k1` … */
  readonly keys: readonly string[]
  /** Aggregates with their names; one of them must be `sum(messages) AS total` when `after` or `order` name it. */
  readonly columns: readonly string[]
  /** Records that count; not the domain or the range. */
  readonly matches: Condition
  /** Groups to leave out, as a condition over keys and columns. */
  readonly having?: string
  readonly order: string
  readonly parameters?: Parameters
}

/** Domains with more records are joined in order, which takes longer and no memory, instead of by a table in memory. */
const JOINED_IN_MEMORY = 2_000_000
/** Reports that are read one by one at most; their ids travel with the statement. */
const MOST_ODD_REPORTS = 3000

const base = `policy_domain = {domain:String} AND ${inRange}`
const shortKey = 'reinterpretAsUInt64(report_key)'
const oddKeys = 'SELECT toUInt64(arrayJoin({odd:Array(String)}))'
/** Tells records of one domain apart, as long as the short keys of its reports are distinct. */
const recordKey = `bitOr(bitShiftLeft(toUInt128(${shortKey}), 32), record_index)`

/** What the reports of the domain announce, as far as a plain scan can be held to it. */
export interface Announced {
  /** Rows that the plain scan must find. */
  readonly records: number
  /** False: only `FINAL` tells which rows count. */
  readonly provable: boolean
  /** Rows of all reports, for choosing a way to join. */
  readonly all: number
  /** Reports beside the plain scan: short key, and key with variant of those that count. */
  readonly odd: readonly string[]
  readonly counted: readonly string[]
}

/**
 * One row for all ordinary reports of the domain, and one for each odd one. A report is ordinary when one row announces
 * it and, where verdicts are asked for, one row judges each of its chunks, all of them, under the same variant.
 */
export async function readAnnounced(reading: Reading, asked: RecordsOfDomain): Promise<Announced> {
  const { dmarc_reports, report_verdicts } = reading.tables
  const { domain, range, needs } = asked
  // Numbers, for they compare faster than strings of fixed length do.
  const key = `${shortKey} AS short_key, reinterpretAsUInt256(report_key) AS whole_key, reinterpretAsUInt128(variant) AS content`
  const judged = `UNION ALL SELECT ${key}, 0 AS is_report, 0 AS stated, records AS judged, chunk
    FROM ${report_verdicts} WHERE ${base}`
  const isJudged = `min(content) = max(content) AND sum(judged) = announced
    AND uniqExactIf(chunk, NOT is_report) = countIf(NOT is_report)`
  const rows = await reading.query<{ is_odd: number; short: string; announced: number; mixed: number }>(
    `SELECT is_odd, toString(if(is_odd, short_key, 0)) AS short, sum(announced) AS announced, max(is_mixed) AS mixed
     FROM (
       SELECT short_key, min(whole_key) != max(whole_key) AS is_mixed, sum(stated) AS announced,
         NOT (countIf(is_report) = 1 ${needs.verdicts ? `AND ${isJudged}` : ''}) AS is_odd
       FROM (SELECT ${key}, 1 AS is_report, records AS stated, 0 AS judged, toUInt32(0) AS chunk
         FROM ${dmarc_reports} WHERE ${base} ${needs.verdicts ? judged : ''})
       GROUP BY short_key)
     GROUP BY is_odd, short ORDER BY is_odd LIMIT ${MOST_ODD_REPORTS + 2}`,
    { domain, ...range },
  )
  const odd = rows.filter(({ is_odd }) => Boolean(is_odd)).map(({ short }) => short)
  const provable = odd.length <= MOST_ODD_REPORTS && rows.every(({ mixed }) => !mixed)
  return {
    records: rows.find(({ is_odd }) => !is_odd)?.announced ?? 0,
    provable,
    all: rows.reduce((sum, { announced }) => sum + announced, 0),
    odd,
    counted: provable && odd.length > 0 ? await countedAmong(reading, asked, odd) : [],
  }
}

/** Of odd reports those that count, with the variant that does: short key and variant in hex. */
async function countedAmong(
  reading: Reading,
  { domain, range, needs }: RecordsOfDomain,
  odd: readonly string[],
): Promise<string[]> {
  const { tables } = reading
  const among = `${base} AND ${shortKey} IN (${oddKeys})`
  const counted = needs.verdicts
    ? judgedDmarcReports(tables, among, ['report_key', 'variant'])
    : winningDmarcReports(tables, among, ['report_key', 'variant'])
  const rows = await reading.query<{ one: string }>(
    `SELECT concat(toString(${shortKey}), ' ', lower(hex(variant))) AS one FROM (${counted})`,
    { domain, ...range, odd },
  )
  return rows.map(({ one }) => one)
}

const dispositionOfOutcome = "multiIf(bitTest(outcome, 2), 'quarantine', bitTest(outcome, 3), 'reject', 'none')"
const verdictExpressions = [
  ...['day', 'source_ip', 'source_text', 'messages'],
  'bitTest(outcome, 0) AS dkim_aligned',
  'bitTest(outcome, 1) AS spf_aligned',
  `${dispositionOfOutcome} AS disposition`,
  'bitTest(outcome, 2) AS is_quarantined',
  'bitTest(outcome, 3) AS is_rejected',
  ...verdictColumns,
]

/** The rows of a domain as a subquery; `is_plain` marks those that the plain scan is held to. */
function plainSource(reading: Reading, { needs }: RecordsOfDomain, { odd, counted, all }: Announced): string {
  const { dmarc_records, record_verdicts } = reading.tables
  const countedKeys = `SELECT toUInt64(splitByChar(' ', one)[1]), toFixedString(unhex(splitByChar(' ', one)[2]), 16)
    FROM (SELECT arrayJoin({counted:Array(String)}) AS one)`
  const isPlain = odd.length === 0 ? '1' : `${shortKey} NOT IN (${oddKeys})`
  const isCounted = `(${shortKey}, variant) IN (${countedKeys})`
  const rowsOf = (table: string, columns: readonly string[]) => {
    const list = columns.join(', ')
    const plain = `SELECT ${list}, toUInt8(1) AS is_plain FROM ${table} WHERE ${base} AND ${isPlain}`
    if (counted.length === 0) return plain
    return `${plain} UNION ALL SELECT ${list}, toUInt8(0) AS is_plain FROM (
      SELECT * FROM ${table} WHERE ${base} AND ${isCounted} LIMIT 1 BY report_key, variant, record_index)`
  }
  if (!needs.facts) return rowsOf(record_verdicts, verdictExpressions)
  const facts = [...commonColumns, ...factColumns]
  if (!needs.verdicts) return rowsOf(dmarc_records, [...facts, ...noVerdicts])
  if (all > JOINED_IN_MEMORY) {
    const keys = ['report_key', 'variant', 'record_index']
    const verdicts = `SELECT day, ${keys.join(', ')}, ${verdictColumns.join(', ')} FROM ${record_verdicts} WHERE ${base}`
    return `SELECT * FROM (${rowsOf(dmarc_records, [...keys, ...facts])}) AS f
      ANY LEFT JOIN (${verdicts}) AS v USING (day, ${keys.join(', ')}) SETTINGS join_algorithm = 'full_sorting_merge'`
  }
  const isRight = odd.length === 0 ? '1' : counted.length === 0 ? isPlain : `(${isPlain} OR ${isCounted})`
  return `SELECT f.*, ${verdictColumns.map((name) => `v.${name} AS ${name}`).join(', ')}
    FROM (${rowsOf(dmarc_records, [`${recordKey} AS record_key`, ...facts])}) AS f
    ANY LEFT JOIN (SELECT ${recordKey} AS judged_key, ${verdictColumns.join(', ')} FROM ${record_verdicts}
      WHERE ${base} AND ${isRight}) AS v ON f.record_key = v.judged_key`
}

/** The same rows by `FINAL`. */
function finalSource(reading: Reading, { needs }: RecordsOfDomain): string {
  const { tables } = reading
  if (!needs.facts) return `SELECT ${verdictExpressions.join(', ')} FROM ${countedVerdicts(tables, base)}`
  const facts = [...commonColumns, ...factColumns].join(', ')
  if (!needs.verdicts) return `SELECT ${facts}, ${noVerdicts.join(', ')} FROM ${winningDmarcRecords(tables, base)}`
  const keys = 'report_key, variant, record_index'
  const judged = `SELECT report_key, variant FROM (${judgedDmarcReports(tables, base, ['report_key', 'variant'])})`
  return `SELECT * FROM (SELECT ${keys}, ${facts} FROM ${tables.dmarc_records} FINAL
      WHERE ${base} AND (report_key, variant) IN (${judged})) AS f
    ANY LEFT JOIN (SELECT day, ${keys}, ${verdictColumns.join(', ')} FROM ${countedVerdicts(tables, base)}) AS v
      USING (day, ${keys}) SETTINGS join_algorithm = 'full_sorting_merge'`
}

/** What a group has besides the columns asked for. */
interface Proof {
  readonly is_total: number
  readonly scanned: number
}

/** The groups, in order. With a limit, so many at most and at once; without, as they come. */
export async function* groupRecords<Row extends object>(
  reading: Reading,
  asked: RecordsOfDomain,
  grouping: Grouping,
  limit: number | null,
): AsyncGenerator<readonly Row[]> {
  if (limit === null) {
    yield* finalGroups<Row>(reading, asked, grouping, null)
    return
  }
  const announced = await readAnnounced(reading, asked)
  const rows = await provedGroups<Row>(reading, asked, grouping, announced, limit)
  if (rows !== null) yield rows
  else yield* finalGroups<Row>(reading, asked, grouping, limit)
}

/** The groups by `FINAL`. */
export function finalGroups<Row extends object>(
  reading: Reading,
  asked: RecordsOfDomain,
  grouping: Grouping,
  limit: number | null,
): AsyncIterable<readonly Row[]> {
  return reading.rows<Row>(groupsOf(finalSource(reading, asked), grouping, limit), valuesOf(asked, grouping), limit)
}

/** The groups by plain scan, without proof: for a second look at groups whose rows were counted by a proved one. */
export function plainGroups<Row extends object>(
  reading: Reading,
  asked: RecordsOfDomain,
  grouping: Grouping,
  announced: Announced,
): Promise<Row[]> {
  const { odd, counted } = announced
  return reading.query<Row>(groupsOf(plainSource(reading, asked, announced), grouping, null), {
    ...valuesOf(asked, grouping),
    ...{ odd, counted },
  })
}

function valuesOf({ domain, range }: RecordsOfDomain, { matches, parameters }: Grouping): Parameters {
  return { domain, ...range, ...matches.parameters, ...parameters }
}

/** The groups by plain scan; null when it cannot be proved that each record was counted once. */
export async function provedGroups<Row extends object>(
  reading: Reading,
  asked: RecordsOfDomain,
  grouping: Grouping,
  announced: Announced,
  limit: number,
): Promise<Row[] | null> {
  if (!announced.provable) return null
  if (announced.all === 0) return []
  const { matches, keys, columns, having, order } = grouping
  const names = keys.map((_, index) => `k${index}`)
  const isFiltered = matches.sql !== '1'
  const key = (expression: string, name: string) =>
    isFiltered
      ? `if(matched, ${expression}, defaultValueOfTypeName(toTypeName(${expression}))) AS ${name}`
      : `${expression} AS ${name}`
  const shown = [...(isFiltered ? ['matched'] : []), ...(having === undefined ? [] : [`(${having})`])].join(' AND ')
  const rows = await reading.query<Row & Proof>(
    `SELECT ${[...names, ...columns].join(', ')}, sum(is_plain) AS scanned, grouping(k0) AS is_total
     FROM (SELECT *, ${isFiltered ? `toUInt8(${matches.sql}) AS matched, ` : ''}${keys.map((one, i) => key(one, names[i]!)).join(', ')}
       FROM (${plainSource(reading, asked, announced)}))
     GROUP BY GROUPING SETS ((${[...(isFiltered ? ['matched'] : []), ...names].join(', ')}), ())
     ${shown === '' ? '' : `HAVING is_total = 1 OR (${shown})`}
     ORDER BY is_total DESC, ${order} LIMIT {limit:UInt32}`,
    { ...valuesOf(asked, grouping), odd: announced.odd, counted: announced.counted, limit: limit + 1 },
  )
  const [total, ...groups] = rows
  return (total?.scanned ?? 0) === announced.records ? groups : null
}

function groupsOf(source: string, { keys, columns, matches, having, order }: Grouping, limit: number | null): string {
  return `SELECT ${[...keys.map((key, index) => `${key} AS k${index}`), ...columns].join(', ')}
    FROM (${source}) WHERE ${matches.sql}
    GROUP BY ${keys.map((_, index) => `k${index}`).join(', ')} ${having === undefined ? '' : `HAVING ${having}`}
    ORDER BY ${order} ${limit === null ? '' : `LIMIT ${limit}`}`
}
