/** Messages by verdict of whole reports, from the rows that sum them up: no record is read. */
import type { Static } from 'typebox'
import type { Parameters } from '../projections/store.ts'
import { judgedDmarcReports } from '../projections/winners.ts'
import { type Verdict, verdictNames } from '../topics/verdicts.ts'
import type { Reading } from './reading.ts'
import type { verdictSums } from './schemas.ts'

export type VerdictSums = Static<typeof verdictSums>

export function noVerdictSums(): VerdictSums {
  return Object.fromEntries(verdictNames.map((verdict) => [verdict, 0])) as VerdictSums
}

export function addVerdictSums(sums: VerdictSums, row: Readonly<Record<Verdict, number>>): void {
  for (const verdict of verdictNames) sums[verdict] += row[verdict]
}

/**
 * Sums by `column` of the reports that count and are judged; null while there are no rules. `where` may use only
 * policy_domain, day and report_key.
 */
export async function readVerdictSums(
  reading: Reading,
  column: 'policy_domain' | 'day',
  where: string,
  parameters: Parameters,
): Promise<ReadonlyMap<string, VerdictSums> | null> {
  if (reading.generation.ruleSet === null) return null
  const rows = await reading.query<VerdictSums & { place: string }>(
    `SELECT toString(${column}) AS place, ${verdictNames.map((name) => `sum(j.${name}) AS ${name}`).join(', ')}
     FROM (${judgedDmarcReports(reading.tables, where, [column])}) AS j GROUP BY place`,
    parameters,
  )
  return new Map(rows.map(({ place, ...sums }) => [place, sums]))
}
