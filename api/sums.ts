/** The sums of a domain or of a span of time, from report rows alone: the report rows carry their own totals. */
import type { Static } from 'typebox'
import Type from 'typebox'
import { winningDmarcReports, winningTlsPolicies } from '../projections/winners.ts'
import type { TableName } from '../topics/generation.ts'
import { domainSums, messageSums } from './schemas.ts'
import { inRange } from './time-range.ts'

type Tables = Readonly<Record<TableName, string>>

export const messageColumns = Object.keys(messageSums) as (keyof typeof messageSums)[]

const addedColumns = [...messageColumns, 'reports', 'tls_reports', 'tls_successful', 'tls_failed'] as const

/** One row of sums as the store gives it: '' and the lowest integer stand for what was not said. */
export interface SumsRow extends Record<keyof typeof messageSums, number> {
  readonly reports: number
  readonly tls_reports: number
  readonly tls_successful: number
  readonly tls_failed: number
  readonly policy_p: string
  readonly policy_sp: string
  readonly policy_np: string
  readonly policy_pct: number
  readonly policy_rank: number
  readonly first: string
  readonly last: string
}
const domainSumsObject = Type.Object(domainSums)
export type DomainSums = Static<typeof domainSumsObject>

const NOT_SAID = -2147483648

/**
 * A row for each winning aggregate report and one for each (domain, TLS report): the same columns, zero where the
 * other kind has something to say. `where` narrows both; it may name `policy_domain` and `day`.
 *
 * `policy_rank` orders policies by the end of their report, then by report, in one integer: 0 = none.
 */
export function reportFacts(tables: Tables, where: string): string {
  const rank = 'bitOr(bitShiftLeft(toUInt64(greatest(end, 0)), 32), reinterpretAsUInt32(report_key))'
  return `
    SELECT policy_domain, day, ${messageColumns.join(', ')}, toUInt64(1) AS reports,
      toUInt64(0) AS tls_reports, toUInt64(0) AS tls_successful, toUInt64(0) AS tls_failed, toUInt8(0) AS host_only,
      toString(p) AS policy_p, toString(sp) AS policy_sp, toString(np) AS policy_np,
      ifNull(pct, ${NOT_SAID}) AS policy_pct, ${rank} AS policy_rank
    FROM (${winningDmarcReports(tables, `${inRange} AND ${where}`, ['policy_domain', 'report_key', 'day', ...messageColumns, 'p', 'sp', 'np', 'pct', 'end'])})
    UNION ALL
    SELECT policy_domain, day, ${messageColumns.map(() => 'toUInt64(0)').join(', ')}, toUInt64(0),
      toUInt64(1), sum(successful), sum(failed), min(host_level), '', '', '', toInt32(${NOT_SAID}), toUInt64(0)
    FROM ${winningTlsPolicies(tables, inRange, `${inRange} AND ${where}`)}
    GROUP BY policy_domain, day, report_key`
}

/** Aggregates over `reportFacts`; the policy is that of the report with the latest end. */
export const sumsOfFacts = [
  ...addedColumns.map((name) => `sum(f.${name}) AS ${name}`),
  ...['policy_p', 'policy_sp', 'policy_np', 'policy_pct'].map((name) => `argMax(f.${name}, f.policy_rank) AS ${name}`),
  'max(f.policy_rank) AS policy_rank',
  'min(f.day) AS first',
  'max(f.day) AS last',
].join(', ')

const said = (text: string) => (text === '' ? null : text)

export function readSums(row: SumsRow): DomainSums {
  const sums = new SumsOverTime()
  sums.add(row)
  return sums.value()
}

/** Adds rows up; the policy is that of the row with the highest rank. */
export class SumsOverTime {
  #rank = 0
  #value = {
    ...(Object.fromEntries(messageColumns.map((name) => [name, 0])) as Record<keyof typeof messageSums, number>),
    reports: 0,
    tls_reports: 0,
    tls_successful: 0,
    tls_failed: 0,
    policy: { p: null, sp: null, np: null, pct: null } as DomainSums['policy'],
    first_day: null as string | null,
    last_day: null as string | null,
  }

  add(row: SumsRow): void {
    const value = this.#value
    for (const name of addedColumns) value[name] += row[name]
    if (value.first_day === null || row.first < value.first_day) value.first_day = row.first
    if (value.last_day === null || row.last > value.last_day) value.last_day = row.last
    if (row.policy_rank <= this.#rank) return
    this.#rank = row.policy_rank
    value.policy = {
      p: said(row.policy_p),
      sp: said(row.policy_sp),
      np: said(row.policy_np),
      pct: row.policy_pct === NOT_SAID ? null : row.policy_pct,
    }
  }

  value(): DomainSums {
    return this.#value
  }
}
