/** Kafka's primitive types: big-endian numbers, length-prefixed strings, zigzag varints. */

/** Writes from left to right into a buffer that grows. */
export class ByteWriter {
  #bytes: Buffer
  #end = 0

  constructor(capacity = 256) {
    this.#bytes = Buffer.allocUnsafe(capacity)
  }

  get length(): number {
    return this.#end
  }

  written(): Buffer {
    return this.#bytes.subarray(0, this.#end)
  }

  /** Makes room for so many bytes and answers where they begin. */
  #room(size: number): number {
    const start = this.#end
    this.#end += size
    if (this.#end > this.#bytes.length) {
      const grown = Buffer.allocUnsafe(Math.max(this.#bytes.length * 2, this.#end))
      this.#bytes.copy(grown, 0, 0, start)
      this.#bytes = grown
    }
    return start
  }

  int8(value: number): this {
    const at = this.#room(1)
    this.#bytes.writeInt8(value, at)
    return this
  }

  int16(value: number): this {
    const at = this.#room(2)
    this.#bytes.writeInt16BE(value, at)
    return this
  }

  int32(value: number): this {
    const at = this.#room(4)
    this.#bytes.writeInt32BE(value, at)
    return this
  }

  uint32(value: number): this {
    const at = this.#room(4)
    this.#bytes.writeUInt32BE(value, at)
    return this
  }

  int64(value: number | bigint): this {
    const at = this.#room(8)
    this.#bytes.writeBigInt64BE(BigInt(value), at)
    return this
  }

  raw(bytes: Uint8Array): this {
    const at = this.#room(bytes.length)
    this.#bytes.set(bytes, at)
    return this
  }

  /** UTF-8 without a length before it; `size` is its length in bytes. */
  text(text: string, size: number): this {
    const at = this.#room(size)
    this.#bytes.write(text, at, size, 'utf8')
    return this
  }

  string(text: string | null): this {
    if (text === null) return this.int16(-1)
    const size = Buffer.byteLength(text, 'utf8')
    return this.int16(size).text(text, size)
  }

  /** A zigzag varint; exact up to 2^53. */
  varint(value: number): this {
    let rest = value < 0 ? -2 * value - 1 : 2 * value
    while (rest > 0x7f) {
      this.int8((((rest % 128) | 0x80) << 24) >> 24)
      rest = Math.floor(rest / 128)
    }
    return this.int8(rest)
  }

  array<T>(items: readonly T[], write: (item: T) => void): this {
    this.int32(items.length)
    for (const item of items) write(item)
    return this
  }
}

/** Bytes that `varint` takes for the value. */
export function varintSize(value: number): number {
  let rest = value < 0 ? -2 * value - 1 : 2 * value
  let size = 1
  while (rest > 0x7f) {
    size++
    rest = Math.floor(rest / 128)
  }
  return size
}

/** Reads from left to right. Throws a RangeError when the bytes end too early. */
export class ByteReader {
  readonly bytes: Buffer
  at: number
  readonly end: number

  constructor(bytes: Buffer, at = 0, end = bytes.length) {
    this.bytes = bytes
    this.at = at
    this.end = end
  }

  #take(size: number): number {
    const start = this.at
    if (size < 0 || start + size > this.end) throw new RangeError('The bytes end in the middle of a value.')
    this.at += size
    return start
  }

  int8(): number {
    return this.bytes.readInt8(this.#take(1))
  }

  int16(): number {
    return this.bytes.readInt16BE(this.#take(2))
  }

  int32(): number {
    return this.bytes.readInt32BE(this.#take(4))
  }

  /** Offsets and timestamps: what is above 2^53 loses its last digits. */
  int64(): number {
    return Number(this.bytes.readBigInt64BE(this.#take(8)))
  }

  bigint64(): bigint {
    return this.bytes.readBigInt64BE(this.#take(8))
  }

  raw(size: number): Buffer {
    const start = this.#take(size)
    return this.bytes.subarray(start, start + size)
  }

  string(): string | null {
    const size = this.int16()
    return size < 0 ? null : this.raw(size).toString('utf8')
  }

  /** Bytes with a 32-bit length before them; empty for null. */
  blob(): Buffer {
    const size = this.int32()
    return size < 0 ? Buffer.alloc(0) : this.raw(size)
  }

  varint(): number {
    let value = 0
    let factor = 1
    for (let i = 0; i < 10; i++) {
      const byte = this.bytes[this.#take(1)]!
      value += (byte & 0x7f) * factor
      if ((byte & 0x80) === 0) return value % 2 === 0 ? value / 2 : -(value + 1) / 2
      factor *= 128
    }
    throw new RangeError('A number has more than ten bytes.')
  }

  /** Bytes with a varint length before them; null when it is negative. */
  varBlob(): Buffer | null {
    const size = this.varint()
    return size < 0 ? null : this.raw(size)
  }

  array<T>(read: () => T): T[] {
    const count = this.int32()
    const items: T[] = []
    for (let i = 0; i < count; i++) items.push(read())
    return items
  }
}
