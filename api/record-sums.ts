/** Sums of messages over groups of records: what `record-groups.ts` aggregates, and how answers say it. */
import type { Static } from 'typebox'
import Type from 'typebox'
import { type Verdict, verdictNames } from '../topics/verdicts.ts'
import { messageSums, type verdictSums } from './schemas.ts'

/** Aggregates; those of `messageSums` that they do not name follow from them. */
export const recordSumColumns = [
  'sum(messages) AS total',
  'sumIf(messages, dkim_aligned AND spf_aligned) AS full_pass',
  'sumIf(messages, dkim_aligned AND NOT spf_aligned) AS dkim_only',
  'sumIf(messages, spf_aligned AND NOT dkim_aligned) AS spf_only',
  'sumIf(messages, is_quarantined) AS quarantine',
  'sumIf(messages, is_rejected) AS reject',
  'min(day) AS first',
  'max(day) AS last',
]
export const verdictSumColumns = verdictNames.map((verdict) => `sumIf(messages, verdict = '${verdict}') AS ${verdict}`)

export interface RecordSumsRow {
  readonly total: number
  readonly full_pass: number
  readonly dkim_only: number
  readonly spf_only: number
  readonly quarantine: number
  readonly reject: number
  readonly first: string
  readonly last: string
}

const sums = Type.Object(messageSums)

export function messageSumsOf(row: RecordSumsRow): Static<typeof sums> {
  const { total, full_pass, dkim_only, spf_only, quarantine, reject } = row
  const passed = full_pass + dkim_only + spf_only
  return {
    messages: total,
    ...{ passed, full_pass, dkim_only, spf_only, failed: total - passed },
    ...{ none: total - quarantine - reject, quarantine, reject },
  }
}

export function verdictSumsOf(row: Readonly<Partial<Record<Verdict, number>>>): Static<typeof verdictSums> {
  return Object.fromEntries(verdictNames.map((verdict) => [verdict, row[verdict] ?? 0])) as Record<Verdict, number>
}
