/**
 * Records of an aggregate report as columns of indexes into a dictionary: the body of a `DmarcRecordsRead` event.
 * Measured against an array of records: 2–5 times faster to write and to read, a third of the size.
 */
import type { Hash } from 'node:crypto'
import { compile } from '../topics/avro.ts'
import { DmarcRecordsRead, type DmarcRecordsRead as DmarcRecordsReadData } from '../topics/reports.ts'
import type { DmarcRecordRest } from './formats/record-memo.ts'
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

/** The indexes of all of a record but its address and count; lists are flattened. */
interface RestIndexes extends Readonly<Record<(typeof single)[number], number>> {
  readonly reasons: readonly number[]
  readonly dkim_results: readonly number[]
  readonly spf_results: readonly number[]
}
const single = ['disposition', 'dkim', 'spf', 'header_from', 'envelope_from', 'envelope_to'] as const

export class RecordColumns {
  #columns = emptyColumns()
  #index = new Map<string, number>()
  #restIndexes = new Map<DmarcRecordRest, RestIndexes>()
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

  /** Adds a record. Records with the same `rest` take the same indexes, which are then looked up once. */
  add(record: DmarcRecord, rest: DmarcRecordRest | null): void {
    const columns = this.#columns
    columns.source_ip.push(this.#indexOf(record.source_ip))
    columns.count.push(record.count)
    let indexes = rest === null ? undefined : this.#restIndexes.get(rest)
    if (indexes === undefined) {
      indexes = this.#indexesOf(record)
      if (rest !== null) this.#restIndexes.set(rest, indexes)
    }
    columns.disposition.push(indexes.disposition)
    columns.dkim.push(indexes.dkim)
    columns.spf.push(indexes.spf)
    columns.header_from.push(indexes.header_from)
    columns.envelope_from.push(indexes.envelope_from)
    columns.envelope_to.push(indexes.envelope_to)
    const { reasons, dkim_results, spf_results } = indexes
    columns.reasons.push(reasons.length / 2)
    for (let i = 0; i < reasons.length; i += 2) {
      columns.reason_type.push(reasons[i]!)
      columns.reason_comment.push(reasons[i + 1]!)
    }
    columns.dkim_results.push(dkim_results.length / 4)
    for (let i = 0; i < dkim_results.length; i += 4) {
      columns.dkim_domain.push(dkim_results[i]!)
      columns.dkim_selector.push(dkim_results[i + 1]!)
      columns.dkim_result.push(dkim_results[i + 2]!)
      columns.dkim_human_result.push(dkim_results[i + 3]!)
    }
    columns.spf_results.push(spf_results.length / 3)
    for (let i = 0; i < spf_results.length; i += 3) {
      columns.spf_domain.push(spf_results[i]!)
      columns.spf_scope.push(spf_results[i + 1]!)
      columns.spf_result.push(spf_results[i + 2]!)
    }
    this.#numbers += 11 + reasons.length + dkim_results.length + spf_results.length
  }

  #indexesOf(record: DmarcRecord): RestIndexes {
    return {
      disposition: this.#indexOf(record.disposition),
      dkim: this.#indexOf(record.dkim),
      spf: this.#indexOf(record.spf),
      header_from: this.#indexOf(record.header_from),
      envelope_from: this.#indexOf(record.envelope_from),
      envelope_to: this.#indexOf(record.envelope_to),
      reasons: record.reasons.flatMap(({ type, comment }) => [this.#indexOf(type), this.#indexOf(comment)]),
      dkim_results: record.dkim_results.flatMap(({ domain, selector, result, human_result }) => [
        this.#indexOf(domain),
        this.#indexOf(selector),
        this.#indexOf(result),
        this.#indexOf(human_result),
      ]),
      spf_results: record.spf_results.flatMap(({ domain, scope, result }) => [
        this.#indexOf(domain),
        this.#indexOf(scope),
        this.#indexOf(result),
      ]),
    }
  }

  /**
   * The chunk as Avro binary of the field `records`; begins a new one. The facts go into `hash` in a form of their own:
   * the dictionary, then every column. It does not change with the event's schema; it does with the limits of a chunk.
   */
  take(hash: Hash): Buffer {
    const { dict, count, ...rest } = this.#columns
    const columns = Object.values(rest)
    const numbers = new Int32Array(columns.reduce((sum, column) => sum + 1 + column.length, 0))
    let at = 0
    for (const column of columns) {
      numbers[at] = column.length
      numbers.set(column, at + 1)
      at += 1 + column.length
    }
    hash.update(JSON.stringify([dict, count])).update(numbers)
    const bytes = columnsType.toBuffer(this.#columns)
    this.#columns = emptyColumns()
    this.#index = new Map()
    this.#restIndexes = new Map()
    this.#text = 0
    this.#numbers = 0
    return bytes
  }
}
