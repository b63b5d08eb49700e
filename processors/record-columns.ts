/**
 * Records of an aggregate report as columns of indexes into a dictionary: the body of a `DmarcRecordsRead` event.
 * Measured against an array of records: 2–5 times faster to write and to read, a third of the size.
 */
import { compile } from '../topics/avro.ts'
import { DmarcRecordsRead, type DmarcRecordsRead as DmarcRecordsReadData } from '../topics/reports.ts'
import type { DmarcRecord } from './formats/shapes.ts'

export const MAX_CHUNK_RECORDS = 500
/** Room for the dictionary of a chunk; with the indexes an event stays below 256 KB. */
const MAX_CHUNK_TEXT = 160 * 1024
/** Numbers in the columns of a chunk, at up to three bytes each. */
const MAX_CHUNK_NUMBERS = 24 * 1024

const columnsField = DmarcRecordsRead.schema.fields.find((field) => field.name === 'records')!
export const columnsType = compile(columnsField.type)

type Columns = DmarcRecordsReadData['records']

const emptyColumns = (): Columns => ({
  dict: [''],
  source_ip: [],
  count: [],
  disposition: [],
  dkim: [],
  spf: [],
  header_from: [],
  envelope_from: [],
  envelope_to: [],
  reasons: [],
  reason_type: [],
  reason_comment: [],
  dkim_results: [],
  dkim_domain: [],
  dkim_selector: [],
  dkim_result: [],
  dkim_human_result: [],
  spf_results: [],
  spf_domain: [],
  spf_scope: [],
  spf_result: [],
})

export class RecordColumns {
  #columns = emptyColumns()
  #index = new Map<string, number>()
  #text = 0
  #numbers = 0

  get length(): number {
    return this.#columns.source_ip.length
  }

  /** No further record fits; take the chunk first. */
  get full(): boolean {
    return this.length >= MAX_CHUNK_RECORDS || this.#text >= MAX_CHUNK_TEXT || this.#numbers >= MAX_CHUNK_NUMBERS
  }

  #indexOf(text: string | null): number {
    if (text === null) return 0
    const known = this.#index.get(text)
    if (known !== undefined) return known
    const index = this.#columns.dict.push(text) - 1
    this.#index.set(text, index)
    this.#text += text.length * 3
    return index
  }

  add(record: DmarcRecord): void {
    const columns = this.#columns
    columns.source_ip.push(this.#indexOf(record.source_ip))
    columns.count.push(record.count)
    columns.disposition.push(this.#indexOf(record.disposition))
    columns.dkim.push(this.#indexOf(record.dkim))
    columns.spf.push(this.#indexOf(record.spf))
    columns.header_from.push(this.#indexOf(record.header_from))
    columns.envelope_from.push(this.#indexOf(record.envelope_from))
    columns.envelope_to.push(this.#indexOf(record.envelope_to))
    columns.reasons.push(record.reasons.length)
    for (const reason of record.reasons) {
      columns.reason_type.push(this.#indexOf(reason.type))
      columns.reason_comment.push(this.#indexOf(reason.comment))
    }
    columns.dkim_results.push(record.dkim_results.length)
    for (const result of record.dkim_results) {
      columns.dkim_domain.push(this.#indexOf(result.domain))
      columns.dkim_selector.push(this.#indexOf(result.selector))
      columns.dkim_result.push(this.#indexOf(result.result))
      columns.dkim_human_result.push(this.#indexOf(result.human_result))
    }
    columns.spf_results.push(record.spf_results.length)
    for (const result of record.spf_results) {
      columns.spf_domain.push(this.#indexOf(result.domain))
      columns.spf_scope.push(this.#indexOf(result.scope))
      columns.spf_result.push(this.#indexOf(result.result))
    }
    this.#numbers += 11 + 2 * record.reasons.length + 4 * record.dkim_results.length + 3 * record.spf_results.length
  }

  /** The chunk as Avro binary of the field `records`; begins a new one. */
  take(): Buffer {
    const bytes = columnsType.toBuffer(this.#columns)
    this.#columns = emptyColumns()
    this.#index = new Map()
    this.#text = 0
    this.#numbers = 0
    return bytes
  }
}

/** The facts of a record as one line of text, for the hash that tells variants of a report apart. */
export function factsOf(record: DmarcRecord): string {
  let line = `${record.source_ip}\t${record.count}\t${record.disposition}\t${record.dkim}\t${record.spf}\t${record.header_from}\t${record.envelope_from}\t${record.envelope_to}`
  for (const reason of record.reasons) line += `\tR\t${reason.type}\t${reason.comment}`
  for (const result of record.dkim_results) {
    line += `\tD\t${result.domain}\t${result.selector}\t${result.result}\t${result.human_result}`
  }
  for (const result of record.spf_results) line += `\tS\t${result.domain}\t${result.scope}\t${result.result}`
  return `${line}\n`
}
