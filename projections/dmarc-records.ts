/** One row per record of an aggregate report and variant: the table behind every answer about sources. */

import { DmarcRecordsEnriched } from '../topics/enriched.ts'
import { plausibleCount } from '../topics/plausible-count.ts'
import {
  array,
  bool,
  date,
  type FixedColumn,
  fixedHex,
  ipv6,
  lowCardinality,
  type NumberColumn,
  nullableFloat64,
  Offsets,
  type StringColumn,
  string,
  uint32,
} from './native.ts'
import { defineProjection } from './projection.ts'
import { dayNumber, parseAddress } from './values.ts'

function recordColumns() {
  const reasons = new Offsets()
  const dkimResults = new Offsets()
  const spfResults = new Offsets()
  const names = new Offsets()
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
    observed: bool(),
    ptr: string(),
    ptr_names: array(string(), names),
    asn: uint32(),
    as_name: lowCardinality(),
    country: lowCardinality(),
  }
}
type RecordColumns = ReturnType<typeof recordColumns>
type Records = DmarcRecordsEnriched['records']

export const dmarcRecords = defineProjection({
  table: 'dmarc_records',
  topic: 'enriched',
  from: DmarcRecordsEnriched,
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
    appendObservations(chunk, columns)
  },
})

export function appendIndexes(first: number, rows: number, column: NumberColumn<Uint32Array>): void {
  const values = column.reserve(rows)
  for (let row = 0; row < rows; row++) values[column.length + row] = first + row
  column.length += rows
}

/** Addresses as 16 bytes; what is none is kept as text beside zeros. */
export function appendSources(
  { dict, source_ip }: { readonly dict: readonly string[]; readonly source_ip: readonly number[] },
  { source_ip: addresses, source_text }: { readonly source_ip: FixedColumn; readonly source_text: StringColumn },
): void {
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
    values[messages.length + row] = plausibleCount(stated)
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

/** What was observed about each record's source; a source that is no address was not observed. */
function appendObservations({ records, observations }: DmarcRecordsEnriched, columns: RecordColumns): void {
  const { source_ip, dict: values } = records
  const { dict, address, observed } = observations
  const places = placesOf(values.length, address)
  const firstName = namesBefore(observations.ptr_names)
  const confirmed = confirmedNames(observations, firstName)
  const rows = source_ip.length
  const sawIt = columns.observed.reserve(rows)
  const asn = columns.asn.reserve(rows)
  const ptr = new Array<number>(rows)
  const as_name = new Array<number>(rows)
  const country = new Array<number>(rows)
  const names: number[] = []
  const counts = new Array<number>(rows)
  for (let row = 0; row < rows; row++) {
    const place = places[source_ip[row]!]!
    const isKnown = place >= 0
    sawIt[columns.observed.length + row] = isKnown && observed[place] === true ? 1 : 0
    asn[columns.asn.length + row] = isKnown ? observations.asn[place]! : 0
    ptr[row] = isKnown ? confirmed[place]! : 0
    as_name[row] = isKnown ? observations.as_name[place]! : 0
    country[row] = isKnown ? observations.country[place]! : 0
    counts[row] = isKnown ? observations.ptr_names[place]! : 0
    for (let name = 0; name < counts[row]!; name++) names.push(observations.ptr_name[firstName[place]! + name]!)
  }
  columns.observed.length += rows
  columns.asn.length += rows
  columns.ptr.pushMapped(dict, ptr)
  columns.as_name.pushMapped(dict, as_name)
  columns.country.pushMapped(dict, country)
  columns.ptr_names.offsets.pushAll(counts)
  columns.ptr_names.items.pushMapped(dict, names)
}

/** For each entry of the records' dictionary its row among the observations, -1 when it has none. */
function placesOf(entries: number, addresses: readonly number[]): Int32Array {
  const places = new Int32Array(entries).fill(-1)
  for (let place = 0; place < addresses.length; place++) places[addresses[place]!] = place
  return places
}

/** Where the names of each address begin. */
function namesBefore(counts: readonly number[]): readonly number[] {
  let before = 0
  return counts.map((count) => {
    before += count
    return before - count
  })
}

/** The first forward-confirmed name of each address, 0 when it has none. */
function confirmedNames(
  { ptr_names, ptr_name, ptr_confirmed }: DmarcRecordsEnriched['observations'],
  firstName: readonly number[],
): readonly number[] {
  return ptr_names.map((count, place) => {
    for (let name = firstName[place]!; name < firstName[place]! + count; name++)
      if (ptr_confirmed[name] === true) return ptr_name[name]!
    return 0
  })
}
