/** One row per record of an aggregate report and variant: the table behind every answer about sources. */
import { DmarcRecordsRead } from '../topics/reports.ts'
import {
  array,
  bool,
  date,
  fixedHex,
  ipv6,
  lowCardinality,
  type NumberColumn,
  nullableFloat64,
  Offsets,
  string,
  uint32,
} from './native.ts'
import { defineProjection } from './projection.ts'
import { dayNumber, parseAddress } from './values.ts'

/** A count above this, below 1, or that is no number adds nothing to any total (`count_implausible`). */
const MAX_PLAUSIBLE_COUNT = 1_000_000_000

/** Messages that a record adds to totals. */
export function plausibleMessages(count: number | null): number {
  return count !== null && count >= 1 && count <= MAX_PLAUSIBLE_COUNT ? Math.floor(count) : 0
}

function recordColumns() {
  const reasons = new Offsets()
  const dkimResults = new Offsets()
  const spfResults = new Offsets()
  return {
    policy_domain: lowCardinality(),
    day: date(),
    report_key: fixedHex(32),
    variant: fixedHex(16),
    record_index: uint32(),
    org: lowCardinality(),
    source_ip: ipv6(),
    source_text: string(),
    count: nullableFloat64(),
    messages: uint32(),
    disposition: lowCardinality(),
    dkim: lowCardinality(),
    spf: lowCardinality(),
    dkim_aligned: bool(),
    spf_aligned: bool(),
    header_from: lowCardinality(),
    envelope_from: lowCardinality(),
    envelope_to: lowCardinality(),
    reason_type: array(lowCardinality(), reasons),
    reason_comment: array(lowCardinality(), reasons),
    dkim_domain: array(lowCardinality(), dkimResults),
    dkim_selector: array(lowCardinality(), dkimResults),
    dkim_result: array(lowCardinality(), dkimResults),
    dkim_human_result: array(lowCardinality(), dkimResults),
    spf_domain: array(lowCardinality(), spfResults),
    spf_scope: array(lowCardinality(), spfResults),
    spf_result: array(lowCardinality(), spfResults),
  }
}
type RecordColumns = ReturnType<typeof recordColumns>
type Records = DmarcRecordsRead['records']

export const dmarcRecords = defineProjection({
  table: 'dmarc_records',
  from: DmarcRecordsRead,
  columns: recordColumns,
  append(chunk, columns) {
    const { records } = chunk
    const { dict } = records
    const rows = records.source_ip.length
    columns.policy_domain.fill(chunk.policy_domain, rows)
    columns.day.fill(dayNumber(chunk.day), rows)
    columns.report_key.pushHex(chunk.report_key, rows)
    columns.variant.pushHex(chunk.variant, rows)
    columns.org.fill(chunk.org, rows)
    appendIndexes(chunk.first, rows, columns.record_index)
    appendSources(records, columns)
    appendCounts(records, columns)
    columns.disposition.pushMapped(dict, records.disposition)
    columns.dkim.pushMapped(dict, records.dkim)
    columns.spf.pushMapped(dict, records.spf)
    appendPasses(dict, records.dkim, columns.dkim_aligned)
    appendPasses(dict, records.spf, columns.spf_aligned)
    columns.header_from.pushMapped(dict, records.header_from)
    columns.envelope_from.pushMapped(dict, records.envelope_from)
    columns.envelope_to.pushMapped(dict, records.envelope_to)
    appendLists(records, columns)
  },
})

function appendIndexes(first: number, rows: number, column: RecordColumns['record_index']): void {
  const values = column.reserve(rows)
  for (let row = 0; row < rows; row++) values[column.length + row] = first + row
  column.length += rows
}

/** Addresses as 16 bytes; what is none is kept as text beside zeros. */
function appendSources({ dict, source_ip }: Records, { source_ip: addresses, source_text }: RecordColumns): void {
  const parsed = new Uint8Array(dict.length * 16)
  const state = new Uint8Array(dict.length)
  for (let row = 0; row < source_ip.length; row++) {
    const entry = source_ip[row]!
    if (state[entry] === 0) state[entry] = parseAddress(dict[entry]!, parsed, entry * 16) ? 1 : 2
    addresses.pushBytes(parsed, entry * 16)
    source_text.push(state[entry] === 1 ? '' : dict[entry]!)
  }
}

function appendCounts({ count: counts }: Records, { count, messages }: RecordColumns): void {
  const values = messages.reserve(counts.length)
  for (let row = 0; row < counts.length; row++) {
    const stated = counts[row]!
    count.push(stated)
    values[messages.length + row] = plausibleMessages(stated)
  }
  messages.length += counts.length
}

/** A missing result is a fail (semantics: counting). */
function appendPasses(dict: readonly string[], results: readonly number[], column: NumberColumn<Uint8Array>): void {
  const pass = dict.indexOf('pass')
  const values = column.reserve(results.length)
  for (let row = 0; row < results.length; row++) values[column.length + row] = results[row] === pass ? 1 : 0
  column.length += results.length
}

function appendLists(records: Records, columns: RecordColumns): void {
  const { dict } = records
  columns.reason_type.offsets.pushAll(records.reasons)
  columns.reason_type.items.pushMapped(dict, records.reason_type)
  columns.reason_comment.items.pushMapped(dict, records.reason_comment)
  columns.dkim_domain.offsets.pushAll(records.dkim_results)
  columns.dkim_domain.items.pushMapped(dict, records.dkim_domain)
  columns.dkim_selector.items.pushMapped(dict, records.dkim_selector)
  columns.dkim_result.items.pushMapped(dict, records.dkim_result)
  columns.dkim_human_result.items.pushMapped(dict, records.dkim_human_result)
  columns.spf_domain.offsets.pushAll(records.spf_results)
  columns.spf_domain.items.pushMapped(dict, records.spf_domain)
  columns.spf_scope.items.pushMapped(dict, records.spf_scope)
  columns.spf_result.items.pushMapped(dict, records.spf_result)
}
