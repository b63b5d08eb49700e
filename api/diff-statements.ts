/**
 * The statements behind the diff of two generations. Records are compared report by report: a report's verdicts are
 * gathered into two lists in the order of the records, one for each side, and the lists are laid side by side. That
 * costs a third of joining the records. A report whose lists do not fit (rows that arrived twice and are not merged yet,
 * a report or variant that counts on one side only) is compared record by record.
 *
 * A judgement (sender, verdict, rule) travels as a 64-bit code; 0 says that a side has no such record.
 */
import { type Tables, winningDmarcReports } from '../projections/winners.ts'
import type { Condition } from './filters.ts'

/** Examples shown of each transition. */
export const EXAMPLES = 3
/** Reports of a slice that are compared record by record on their own; with more, all of the slice is. */
export const MAX_IRREGULAR = 2000

const CODE = 'cityHash64(sender, verdict, rule)'
/** A record's index and messages in one number, so that a list of them is sorted and compared at once. */
const PLACE = 'bitOr(bitShiftLeft(toUInt64(record_index), 32), messages)'
const messagesOf = (place: string) => `bitAnd(${place}, 4294967295)`
const indexOf = (place: string) => `bitShiftRight(${place}, 32)`

/** Rows of both statements that compare; those with both codes 0 are sums of records that are alike. */
export interface ComparedRow {
  /** Empty in rows of sums. */
  readonly domain: string
  readonly from_code: string
  readonly to_code: string
  readonly records: number
  readonly messages: number
  readonly examples: readonly (readonly [
    messages: number,
    day: string,
    report: string,
    variant: string,
    index: number,
  ])[]
  /** Keys, in hex, of reports that must be compared record by record. */
  readonly irregular: readonly string[]
}

/** Records to be compared, by policy domain and day, in the order of the tables. Needs no memory. */
export function sizesStatement(sides: readonly Tables[], where: string): string {
  const [first, ...others] = [...new Set(sides.map((tables) => tables.dmarc_reports))]
  const sums = (table: string) =>
    `SELECT policy_domain, day, sum(records) AS records FROM ${table} WHERE ${where} GROUP BY policy_domain, day`
  const all =
    others.length === 0 ? sums(first!) : [first!, ...others].map((table) => `(${sums(table)})`).join(' UNION ALL ')
  return `SELECT policy_domain, day, sum(records) AS records FROM (${all})
    GROUP BY policy_domain, day HAVING records > 0 ORDER BY policy_domain, day`
}

/** Reports that count on a side: winners whose chunks are all judged. Columns report_key, variant, records. */
function countingReports(tables: Tables, where: string): string {
  const judged = `SELECT report_key, variant, sum(records) AS judged
    FROM (SELECT DISTINCT report_key, variant, chunk, records FROM ${tables.report_verdicts} WHERE ${where})
    GROUP BY report_key, variant`
  return `SELECT w.report_key AS report_key, w.variant AS variant, w.records AS records
    FROM (${winningDmarcReports(tables, where, ['report_key', 'variant', 'records'])}) AS w
    INNER JOIN (${judged}) AS j ON w.report_key = j.report_key AND w.variant = j.variant
    WHERE j.judged = w.records`
}

function judgedReports(tables: Tables, where: string): string {
  return `SELECT v.policy_domain AS policy_domain, v.day AS day, c.report_key AS report_key, c.variant AS variant,
      c.records AS records, v.codes AS codes, v.places AS places
    FROM (SELECT policy_domain, day, report_key, variant, groupArray(${PLACE}) AS unsorted,
        arraySort((code, place) -> place, groupArray(${CODE}), unsorted) AS codes, arraySort(unsorted) AS places
      FROM ${tables.record_verdicts} WHERE ${where} GROUP BY policy_domain, day, report_key, variant) AS v
    INNER JOIN (${countingReports(tables, where)}) AS c ON v.report_key = c.report_key AND v.variant = c.variant`
}

const examplesOf = (alias: string) =>
  `arrayMap(e -> (-e.1, toString(e.2), lower(hex(e.3)), lower(hex(e.4)), e.5), ${alias})`

/**
 * All records of a slice, report by report. Lists fit when both have every index of the report once, with the same
 * messages.
 */
export function compareReports(from: Tables, to: Tables, where: string): string {
  const fits = `x.records > 0 AND x.records = y.records AND x.places = y.places
    AND arrayMap(place -> ${indexOf('place')}, x.places) = range(toUInt64(x.records))`
  const none = 'toUInt64(0)'
  const pairs = `SELECT x.policy_domain AS policy_domain, x.day AS day, x.variant AS variant, ${fits} AS fit,
      if(x.records > 0, x.report_key, y.report_key) AS report_key, x.records AS records,
      arraySum(place -> ${messagesOf('place')}, x.places) AS messages,
      if(fit, arrayZip(x.codes, y.codes, x.places), []) AS pairs,
      arrayFilter(pair -> pair.1 != pair.2, pairs) AS changed,
      arrayJoin(arrayPushFront(changed, (${none}, ${none}, ${none}))) AS pair, length(changed) AS changes,
      arraySum(c -> ${messagesOf('c.3')}, changed) AS changed_messages
    FROM (${judgedReports(from, where)}) AS x
    FULL JOIN (${judgedReports(to, where)}) AS y ON x.report_key = y.report_key AND x.variant = y.variant`
  const isSum = 'pair.1 = 0'
  return `SELECT if(${isSum}, '', policy_domain) AS domain, toString(pair.1) AS from_code, toString(pair.2) AS to_code,
      if(${isSum}, sumIf(p.records - changes, fit), count()) AS records,
      if(${isSum}, sumIf(p.messages - changed_messages, fit), sum(${messagesOf('pair.3')})) AS messages,
      groupUniqArrayIf(${MAX_IRREGULAR + 1})(hex(report_key), NOT fit) AS irregular,
      groupArraySortedIf(${EXAMPLES})(
        (-toInt64(${messagesOf('pair.3')}), day, report_key, variant, ${indexOf('pair.3')}), NOT (${isSum})) AS most,
      ${examplesOf('most')} AS examples
    FROM (${pairs}) AS p GROUP BY domain, pair.1, pair.2`
}

/** The records of a slice, or of some reports of it, record by record. */
export function compareRecords(from: Tables, to: Tables, where: string, reports: readonly string[] | null): Condition {
  const named = 'report_key IN (SELECT toFixedString(unhex(arrayJoin({irregular:Array(String)})), 32))'
  const chosen = reports === null ? where : `(${where}) AND ${named}`
  const side = (
    tables: Tables,
    number: number,
  ) => `SELECT policy_domain, day, report_key, variant, record_index, messages,
      ${number} AS side, ${CODE} AS code FROM ${tables.record_verdicts}
    WHERE ${chosen} AND (report_key, variant) IN (SELECT report_key, variant FROM (${countingReports(tables, chosen)}))`
  const records = `SELECT policy_domain, day, report_key, variant, record_index, maxIf(code, side = 0) AS before,
      maxIf(code, side = 1) AS after, argMax(messages, side) AS sent
    FROM (${side(from, 0)} UNION ALL ${side(to, 1)})
    GROUP BY policy_domain, day, report_key, variant, record_index`
  return {
    sql: `SELECT if(before = after, '', policy_domain) AS domain, toString(if(before = after, 0, before)) AS from_code,
        toString(if(before = after, 0, after)) AS to_code, count() AS records, sum(sent) AS messages, [] AS irregular,
        groupArraySortedIf(${EXAMPLES})(
          (-toInt64(sent), day, report_key, variant, toUInt64(record_index)), before != after) AS most,
        ${examplesOf('most')} AS examples
      FROM (${records}) GROUP BY domain, from_code, to_code`,
    parameters: reports === null ? {} : { irregular: reports },
  }
}

/** What the codes of a slice stand for. */
export function judgementsStatement(sides: readonly Tables[], where: string): string {
  const distinct = ({ record_verdicts }: Tables) =>
    `SELECT DISTINCT sender, verdict, rule FROM ${record_verdicts} WHERE ${where}`
  return `SELECT DISTINCT toString(${CODE}) AS code, toString(sender) AS sender, toString(verdict) AS verdict,
    toString(rule) AS rule FROM (${sides.map(distinct).join(' UNION ALL ')})`
}
