/** One row per chunk of an aggregate report and variant: its messages by verdict, so that sums need no record. */
import { DmarcRecordsEvaluated, type Verdict, verdictNames } from '../topics/verdicts.ts'
import { date, fixedHex, type Int64Column, lowCardinality, uint32, uint64 } from './native.ts'
import { defineProjection } from './projection.ts'
import { dayNumber } from './values.ts'

export const reportVerdicts = defineProjection({
  table: 'report_verdicts',
  topic: 'verdicts',
  from: DmarcRecordsEvaluated,
  closes: true,
  columns: () => ({
    policy_domain: lowCardinality(),
    day: date(),
    report_key: fixedHex(32),
    variant: fixedHex(16),
    chunk: uint32(),
    records: uint32(),
    ...(Object.fromEntries(verdictNames.map((verdict) => [verdict, uint64()])) as Record<Verdict, Int64Column>),
  }),
  append(chunk, columns) {
    columns.policy_domain.push(chunk.policy_domain)
    columns.day.push(dayNumber(chunk.day))
    columns.report_key.pushHex(chunk.report_key)
    columns.variant.pushHex(chunk.variant)
    columns.chunk.push(chunk.chunk)
    columns.records.push(chunk.records.messages.length)
    const sums = messagesByVerdict(chunk.records)
    for (const verdict of verdictNames) columns[verdict].push(sums.get(verdict) ?? 0)
  },
})

function messagesByVerdict({ dict, messages, verdict }: DmarcRecordsEvaluated['records']): ReadonlyMap<string, number> {
  const sums = new Float64Array(dict.length)
  for (let row = 0; row < messages.length; row++) sums[verdict[row]!]! += messages[row]!
  const byName = new Map<string, number>()
  sums.forEach((sum, entry) => {
    if (sum > 0) byName.set(dict[entry]!, (byName.get(dict[entry]!) ?? 0) + sum)
  })
  return byName
}
