/**
 * The source addresses of a chunk of records, read out of its Avro binary without decoding the rest. They stand before
 * the columns that cost most, so reading ends there. Avro's binary form: https://avro.apache.org/docs/1.12.0/specification/
 */
import { isIP } from 'node:net'
import type { AvroSchema } from '../topics/avro.ts'
import { DmarcRecordsRead } from '../topics/reports.ts'

export interface SourceAddresses {
  /** Milliseconds since 1970 UTC. */
  readonly receivedAt: number
  /** Each address once. */
  readonly addresses: readonly string[]
  /** Index of each in the dictionary of the records. */
  readonly indexes: readonly number[]
}

type Skip = (reader: Reader) => void

/** The fields in front of `records`, each with how to pass over it; `received_at` is read. */
const leading = leadingFields()

function leadingFields(): readonly { readonly isReceivedAt: boolean; readonly skip: Skip }[] {
  const { fields } = DmarcRecordsRead.schema
  const end = fields.findIndex(({ name }) => name === 'records')
  const records: AvroSchema = fields[end]!.type
  const [dict, source] = typeof records === 'object' && 'fields' in records ? records.fields : []
  // The reading below goes by this order; a schema that says otherwise must not be misread.
  if (dict?.name !== 'dict' || source?.name !== 'source_ip')
    throw new Error('DmarcRecordsRead.records must begin with dict and source_ip; enrich reads it so.')
  return fields.slice(0, end).map(({ name, type }) => ({ isReceivedAt: name === 'received_at', skip: skipOf(type) }))
}

function skipOf(type: AvroSchema): Skip {
  if (type === 'string' || type === 'bytes') return (reader) => reader.skipString()
  if (type === 'boolean') return (reader) => reader.skip(1)
  if (type === 'int' || type === 'long') return (reader) => reader.long()
  if (Array.isArray(type)) {
    const branches = type.map(skipOf)
    return (reader) => branches[reader.long()]!(reader)
  }
  if (type === 'null') return () => undefined
  if (typeof type === 'object' && 'type' in type && type.type === 'long') return (reader) => reader.long()
  throw new Error(`A field of type ${JSON.stringify(type)} stands in front of the records; enrich cannot pass over it.`)
}

/** The part of Avro's binary form that is needed. What lies beyond the bytes is a fault of the writer: it throws. */
class Reader {
  readonly #bytes: Buffer
  at: number

  constructor(bytes: Buffer, at: number) {
    this.#bytes = bytes
    this.at = at
  }

  skip(count: number): void {
    this.at += count
    if (count < 0 || this.at > this.#bytes.length) throw new Error('An event ends before its last field.')
  }

  /** Zig-zag, seven bits a byte. Exact up to 2⁵³. */
  long(): number {
    const bytes = this.#bytes
    let byte = bytes[this.at++]!
    let value = byte & 127
    let shift = 7
    for (; byte >= 128 && shift <= 21; shift += 7) {
      byte = bytes[this.at++]!
      value |= (byte & 127) << shift
    }
    if (byte >= 128) {
      let factor = 2 ** shift
      for (; byte >= 128; factor *= 128) {
        byte = bytes[this.at++]!
        value += (byte & 127) * factor
      }
    }
    if (this.at > bytes.length) throw new Error('An event ends before its last field.')
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2
  }

  skipString(): void {
    this.skip(this.long())
  }

  /** Calls back for each item of an array. Blocks may come with their size in front (a negative count). */
  array(item: (index: number) => void): void {
    let index = 0
    for (let count = this.long(); count !== 0; count = this.long()) {
      if (count < 0) {
        count = -count
        this.long()
      }
      for (let i = 0; i < count; i++) item(index++)
    }
  }
}

/**
 * What is to be observed about the chunk in `value`, a framed `DmarcRecordsRead` written with the current schema. Text
 * that is no address (a redacted one) is left out.
 */
export function sourceAddresses(value: Buffer, bodyStart: number): SourceAddresses {
  const reader = new Reader(value, bodyStart)
  let receivedAt = 0
  for (const { isReceivedAt, skip } of leading) {
    if (isReceivedAt) receivedAt = reader.long()
    else skip(reader)
  }
  const starts: number[] = []
  reader.array(() => {
    starts.push(reader.at)
    reader.skipString()
  })
  const seen = new Uint8Array(starts.length)
  reader.array(() => {
    seen[reader.long()] = 1
  })
  const addresses: string[] = []
  const indexes: number[] = []
  for (let index = 1; index < starts.length; index++) {
    if (seen[index] === 0) continue
    reader.at = starts[index]!
    const length = reader.long()
    const text = length > MAX_ADDRESS ? '' : value.toString('latin1', reader.at, reader.at + length)
    if (isAddress(text)) {
      addresses.push(text)
      indexes.push(index)
    }
  }
  return { receivedAt, addresses, indexes }
}

/** The same of a chunk that was decoded, because its writer had another schema. */
export function sourceAddressesOf({ received_at, records }: DmarcRecordsRead): SourceAddresses {
  const indexes = [...new Set(records.source_ip)]
    .filter((index) => index !== 0 && isAddress(records.dict[index] ?? ''))
    .sort((a, b) => a - b)
  return { receivedAt: received_at, addresses: indexes.map((index) => records.dict[index]!), indexes }
}

/** `0000:…:255.255.255.255` */
const MAX_ADDRESS = 45

/** With a zone (RFC 4007 §11) it is an address of somebody's own network, and means nothing here. */
function isAddress(text: string): boolean {
  return text !== '' && isIP(text) !== 0 && !text.includes('%')
}
