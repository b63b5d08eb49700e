/** One row per record of an aggregate report and variant: sender, verdict and rule under one rule set. */
import { DmarcRecordsEvaluated } from '../topics/verdicts.ts'
import { appendIndexes, appendSources } from './dmarc-records.ts'
import { date, fixedHex, ipv6, lowCardinality, type NumberColumn, string, uint8, uint32 } from './native.ts'
import { defineProjection } from './projection.ts'
import { dayNumber } from './values.ts'

export const recordVerdicts = defineProjection({
  table: 'record_verdicts',
  topic: 'verdicts',
  from: DmarcRecordsEvaluated,
  columns: () => ({
    policy_domain: lowCardinality(),
    day: date(),
    report_key: fixedHex(32),
    variant: fixedHex(16),
    record_index: uint32(),
    source_ip: ipv6(),
    source_text: string(),
    messages: uint32(),
    outcome: uint8(),
    sender: lowCardinality(),
    verdict: lowCardinality(),
    rule: lowCardinality(),
    excluded: lowCardinality(),
  }),
  append(chunk, columns) {
    const { records } = chunk
    const { dict } = records
    const rows = records.source_ip.length
    columns.policy_domain.fill(chunk.policy_domain, rows)
    columns.day.fill(dayNumber(chunk.day), rows)
    columns.report_key.pushHex(chunk.report_key, rows)
    columns.variant.pushHex(chunk.variant, rows)
    appendIndexes(chunk.first, rows, columns.record_index)
    appendSources(records, columns)
    appendNumbers(records.messages, columns.messages)
    appendNumbers(records.outcome, columns.outcome)
    columns.sender.pushMapped(dict, records.sender)
    columns.verdict.pushMapped(dict, records.verdict)
    columns.rule.pushMapped(dict, records.rule)
    columns.excluded.pushMapped(dict, records.excluded)
  },
})

function appendNumbers(numbers: readonly number[], column: NumberColumn): void {
  column.reserve(numbers.length).set(numbers, column.length)
  column.length += numbers.length
}
