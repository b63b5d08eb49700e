/**
 * Kafka's record batch, version 2 (KIP-98): what a partition's log consists of, on disk as on the wire. Written here
 * rather than with kafkajs' encoder, which costs 27 µs a record of 2 KB, and read here because kafkajs takes a batch of
 * many records as arguments of one call and sorts timestamps as text.
 */
import { ByteReader, ByteWriter, varintSize } from './kafka-log-bytes.ts'
import { compress, decompress } from './kafka-log-codecs.ts'
import type { LogEvent, NewEvent } from './log.ts'

/** Bytes before the records: offset, length, leader epoch, magic, CRC and 40 bytes about the batch. */
export const BATCH_HEADER_BYTES = 61
const MAGIC = 2
const LENGTH_AT = 8
const CRC_AT = 17
const ATTRIBUTES_AT = 21
/** The length counts from behind itself. */
const LENGTH_END = 12
const CODEC_MASK = 0x07
const LOG_APPEND_TIME = 0x08
const TRANSACTIONAL = 0x10
const CONTROL = 0x20
/** Of a record, before its tail: length, attributes, two differences, at their longest. */
export const RECORD_OVERHEAD = 26

/** Which producer wrote a batch, and the number of its first record: brokers drop what they have already. */
export interface ProducerState {
  readonly id: bigint
  readonly epoch: number
  readonly sequence: number
}

const CRC_TABLES = makeCrcTables()

/** CRC-32C (Castagnoli) of eight bytes a step; Node's zlib knows only the other polynomial. */
function makeCrcTables(): readonly Int32Array[] {
  const tables = Array.from({ length: 8 }, () => new Int32Array(256))
  for (let i = 0; i < 256; i++) {
    let crc = i
    for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1
    tables[0]![i] = crc
  }
  for (let i = 0; i < 256; i++) {
    for (let t = 1; t < 8; t++) {
      const before = tables[t - 1]![i]!
      tables[t]![i] = (before >>> 8) ^ tables[0]![before & 0xff]!
    }
  }
  return tables
}

const [T0, T1, T2, T3, T4, T5, T6, T7] = CRC_TABLES as [
  Int32Array,
  Int32Array,
  Int32Array,
  Int32Array,
  Int32Array,
  Int32Array,
  Int32Array,
  Int32Array,
]

export function crc32c(bytes: Uint8Array): number {
  let crc = -1
  let i = 0
  for (; i + 8 <= bytes.length; i += 8) {
    const low = crc ^ (bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24))
    crc =
      T7[low & 0xff]! ^
      T6[(low >>> 8) & 0xff]! ^
      T5[(low >>> 16) & 0xff]! ^
      T4[low >>> 24]! ^
      T3[bytes[i + 4]!]! ^
      T2[bytes[i + 5]!]! ^
      T1[bytes[i + 6]!]! ^
      T0[bytes[i + 7]!]!
  }
  for (; i < bytes.length; i++) crc = (crc >>> 8) ^ T0[(crc ^ bytes[i]!) & 0xff]!
  return (crc ^ -1) >>> 0
}

/** An event as it will be written: what depends on its place in a batch comes before `tail`. */
export interface EncodedEvent extends Pick<NewEvent, 'key' | 'onceId' | 'partition'> {
  /** Of the value. */
  readonly valueBytes: number
  readonly timestamp: number
  /** Key, value and headers. */
  readonly tail: Buffer
}

/** Copies the events, so that what happens to their buffers afterwards changes nothing. `now` is their default timestamp. */
export function encodeEvents(events: readonly NewEvent[], now: number): EncodedEvent[] {
  const out = new ByteWriter(events.reduce((sum, event) => sum + tailBytes(event), 0))
  const ends = events.map((event) => {
    writeTail(out, event)
    return out.length
  })
  const all = out.written()
  return events.map(({ key, onceId, partition, value, timestamp }, i) => ({
    key,
    ...(onceId === undefined ? {} : { onceId }),
    ...(partition === undefined ? {} : { partition }),
    valueBytes: value.length,
    timestamp: timestamp ?? now,
    tail: all.subarray(ends[i - 1] ?? 0, ends[i]),
  }))
}

/** At most: four lengths of ten bytes, and ten bytes for each length of a header. */
function tailBytes({ key, value, headers }: NewEvent): number {
  let bytes = 40 + value.length + (key === null ? 0 : Buffer.byteLength(key))
  for (const name in headers) bytes += 20 + Buffer.byteLength(name) + Buffer.byteLength(headers[name]!)
  return bytes
}

function writeTail(out: ByteWriter, { key, value, headers }: NewEvent): void {
  if (key === null) out.varint(-1)
  else writeText(out, key)
  out.varint(value.length).raw(value)
  const entries = headers === undefined ? [] : Object.entries(headers)
  out.varint(entries.length)
  for (const [name, content] of entries) {
    writeText(out, name)
    writeText(out, content)
  }
}

function writeText(out: ByteWriter, content: string): void {
  const size = Buffer.byteLength(content)
  out.varint(size).text(content, size)
}

/** One batch of all these events. */
export function encodeBatch(events: readonly EncodedEvent[], producer: ProducerState): Buffer {
  const first = events[0]!.timestamp
  let latest = first
  const records = new ByteWriter(events.reduce((sum, { tail }) => sum + tail.length + RECORD_OVERHEAD, 0))
  for (const [offsetDelta, { timestamp, tail }] of events.entries()) {
    const delta = timestamp - first
    records.varint(1 + varintSize(delta) + varintSize(offsetDelta) + tail.length)
    records.int8(0).varint(delta).varint(offsetDelta).raw(tail)
    latest = Math.max(latest, timestamp)
  }
  const { codec, bytes: body } = compress(records.written())
  const batch = new ByteWriter(BATCH_HEADER_BYTES + body.length)
    .int64(0)
    .int32(BATCH_HEADER_BYTES - LENGTH_END + body.length)
    .int32(-1)
    .int8(MAGIC)
    .uint32(0)
    .int16(codec)
    .int32(events.length - 1)
    .int64(first)
    .int64(latest)
    .int64(producer.id)
    .int16(producer.epoch)
    .int32(producer.sequence)
    .int32(events.length)
    .raw(body)
    .written()
  batch.writeUInt32BE(crc32c(batch.subarray(ATTRIBUTES_AT)), CRC_AT)
  return batch
}

/** A batch as it was fetched; its records are still compressed. */
export interface RawBatch {
  /** All of it, header included. */
  readonly bytes: Buffer
  readonly firstOffset: number
  /** Offset behind the last record, those among it that compaction removed. */
  readonly nextOffset: number
}

/** The whole batches at the beginning of what was fetched; a cut one at the end is left out. */
export function splitBatches(fetched: Buffer): RawBatch[] {
  const batches: RawBatch[] = []
  for (let at = 0; at + BATCH_HEADER_BYTES <= fetched.length; ) {
    const size = LENGTH_END + fetched.readInt32BE(at + LENGTH_AT)
    if (at + size > fetched.length) break
    const magic = fetched.readInt8(at + 16)
    if (magic !== MAGIC)
      throw new Error(
        `Records are in the message format ${magic} of Kafka before 0.11. Let the broker keep this topic in the current format.`,
      )
    const firstOffset = Number(fetched.readBigInt64BE(at))
    const lastDelta = fetched.readInt32BE(at + 23)
    batches.push({ bytes: fetched.subarray(at, at + size), firstOffset, nextOffset: firstOffset + lastDelta + 1 })
    at += size
  }
  return batches
}

export interface AbortedTransaction {
  readonly producerId: bigint
  readonly firstOffset: number
}

/** Passes over control batches and what a transaction wrote that was aborted (KIP-98, `read_committed`). */
export function committedBatches(batches: readonly RawBatch[], aborted: readonly AbortedTransaction[]): RawBatch[] {
  const waiting = aborted.toSorted((a, b) => a.firstOffset - b.firstOffset)
  const open = new Set<bigint>()
  return batches.filter(({ bytes, nextOffset }) => {
    while (waiting.length > 0 && waiting[0]!.firstOffset < nextOffset) open.add(waiting.shift()!.producerId)
    const attributes = bytes.readInt16BE(ATTRIBUTES_AT)
    if ((attributes & TRANSACTIONAL) === 0) return (attributes & CONTROL) === 0
    const producerId = bytes.readBigInt64BE(43)
    if ((attributes & CONTROL) === 0) return !open.has(producerId)
    open.delete(producerId) // its marker: what comes after is another transaction
    return false
  })
}

/** Header values as text. Of several with one name the last counts, as in Kafka's own `lastHeader`. */
function readHeaders(record: ByteReader): Readonly<Record<string, string>> {
  const count = record.varint()
  if (count <= 0) return {}
  const entries: [string, string][] = []
  for (let i = 0; i < count; i++) {
    const name = record.varBlob()?.toString('utf8') ?? ''
    entries.push([name, record.varBlob()?.toString('utf8') ?? ''])
  }
  return Object.fromEntries(entries)
}

const NOTHING = Buffer.alloc(0)

/** The events of a batch from an offset on. A null value (a tombstone) is an empty one; keys are read as UTF-8. */
export function readBatch({ bytes, firstOffset }: RawBatch, topic: string, partition: number, from = 0): LogEvent[] {
  const header = new ByteReader(bytes, ATTRIBUTES_AT)
  const attributes = header.int16()
  header.int32()
  const firstTimestamp = header.int64()
  const maxTimestamp = header.int64()
  header.at = BATCH_HEADER_BYTES - 4
  const count = header.int32()
  const records = new ByteReader(decompress(attributes & CODEC_MASK, bytes.subarray(BATCH_HEADER_BYTES)))
  const events: LogEvent[] = []
  for (let i = 0; i < count; i++) {
    const end = records.varint() + records.at
    records.int8()
    const timestampDelta = records.varint()
    const offset = firstOffset + records.varint()
    if (offset >= from) {
      const key = records.varBlob()?.toString('utf8') ?? null
      const value = records.varBlob() ?? NOTHING
      const headers = readHeaders(records)
      const timestamp = (attributes & LOG_APPEND_TIME) === 0 ? firstTimestamp + timestampDelta : maxTimestamp
      events.push({ topic, partition, offset, key, value, headers, timestamp })
    }
    records.at = end
  }
  return events
}
