/**
 * Writer of ClickHouse's Native format: one block of columns, written from typed buffers without row objects.
 *
 * A block is: number of columns, number of rows (varuints), then per column its name, its type and its data. A column
 * with dictionaries writes a prefix (a version number) first; in an array the nested prefix comes before the offsets.
 * Everything is little-endian, as are the machines this runs on. Measured on 27 columns: see bench/project.ts.
 */

/** ClickHouse reads at most 65,409 rows as one block; larger inserts cost twice as much a row (measured). */
export const MAX_BLOCK_ROWS = 60_000

export interface Column {
  /** ClickHouse's name of the type. */
  readonly type: string
  /** Rows written so far. */
  readonly length: number
  /** State written before the data. */
  prefix(): readonly Uint8Array[]
  /** The data; called only when the column has rows. The pieces are views: use them before the next write. */
  data(): readonly Uint8Array[]
  clear(): void
}

type NumberArray = Uint8Array | Uint16Array | Uint32Array | Int32Array | Float64Array
interface NumberArrayOf<A extends NumberArray> {
  new (length: number): A
}

const FIRST_ROWS = 1024

/** Copies into an array of at least `wanted` elements, doubling. */
function grown<A extends NumberArray>(values: A, wanted: number, type: NumberArrayOf<A>): A {
  let length = Math.max(values.length, 16)
  while (length < wanted) length *= 2
  const larger = new type(length)
  larger.set(values as never)
  return larger
}

function bytesOf(values: NumberArray, length: number): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, length * values.BYTES_PER_ELEMENT)
}

const NO_BYTES: readonly Uint8Array[] = []
const LOW_CARDINALITY_VERSION = [Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0)] as const

/** Numbers of at most 32 bits, floats and dates: whatever has a typed array of its own. */
export class NumberColumn<A extends NumberArray = NumberArray> implements Column {
  readonly type: string
  readonly #of: NumberArrayOf<A>
  /** Written directly by callers that fill many rows: `reserve`, write at `length`, then `length = …`. */
  values: A
  length = 0

  constructor(type: string, of: NumberArrayOf<A>) {
    this.type = type
    this.#of = of
    this.values = new of(FIRST_ROWS)
  }

  reserve(rows: number): A {
    if (this.length + rows > this.values.length) this.values = grown(this.values, this.length + rows, this.#of)
    return this.values
  }

  push(value: number): void {
    this.reserve(1)[this.length++] = value
  }

  fill(value: number, rows: number): void {
    this.reserve(rows).fill(value, this.length, this.length + rows)
    this.length += rows
  }

  prefix(): readonly Uint8Array[] {
    return NO_BYTES
  }

  data(): readonly Uint8Array[] {
    return [bytesOf(this.values, this.length)]
  }

  clear(): void {
    this.length = 0
  }
}

export const uint8 = () => new NumberColumn('UInt8', Uint8Array)
export const uint16 = () => new NumberColumn('UInt16', Uint16Array)
export const uint32 = () => new NumberColumn('UInt32', Uint32Array)
export const int32 = () => new NumberColumn('Int32', Int32Array)
export const float64 = () => new NumberColumn('Float64', Float64Array)
/** 0 or 1. */
export const bool = () => new NumberColumn('Bool', Uint8Array)
/** Days since 1970 UTC; see `dayNumber`. */
export const date = () => new NumberColumn('Date', Uint16Array)

const TWO_32 = 4_294_967_296

/** Integers up to ±2^53, written as 64 bits. */
export class Int64Column implements Column {
  readonly type: string
  length = 0
  #words = new Uint32Array(FIRST_ROWS * 2)

  constructor(type: 'UInt64' | 'Int64' | "DateTime64(3, 'UTC')") {
    this.type = type
  }

  push(value: number): void {
    const at = this.length * 2
    if (at + 2 > this.#words.length) this.#words = grown(this.#words, at + 2, Uint32Array)
    const high = Math.floor(value / TWO_32)
    this.#words[at] = value - high * TWO_32
    this.#words[at + 1] = high
    this.length++
  }

  prefix(): readonly Uint8Array[] {
    return NO_BYTES
  }

  data(): readonly Uint8Array[] {
    return [bytesOf(this.#words, this.length * 2)]
  }

  clear(): void {
    this.length = 0
  }
}

export const uint64 = () => new Int64Column('UInt64')
export const int64 = () => new Int64Column('Int64')
/** Milliseconds since 1970 UTC. */
export const dateTime64 = () => new Int64Column("DateTime64(3, 'UTC')")

/** A column of numbers in which null is allowed. */
export class NullableColumn<A extends NumberArray> implements Column {
  readonly type: string
  readonly nulls = new NumberColumn('UInt8', Uint8Array)
  readonly values: NumberColumn<A>

  constructor(values: NumberColumn<A>) {
    this.values = values
    this.type = `Nullable(${values.type})`
  }

  get length(): number {
    return this.values.length
  }

  push(value: number | null): void {
    this.nulls.push(value === null ? 1 : 0)
    this.values.push(value ?? 0)
  }

  prefix(): readonly Uint8Array[] {
    return NO_BYTES
  }

  data(): readonly Uint8Array[] {
    return [...this.nulls.data(), ...this.values.data()]
  }

  clear(): void {
    this.nulls.clear()
    this.values.clear()
  }
}

export const nullableFloat64 = () => new NullableColumn(float64())
export const nullableInt32 = () => new NullableColumn(int32())

/** Bytes that grow by doubling. */
class Bytes {
  buffer = Buffer.allocUnsafeSlow(FIRST_ROWS)
  length = 0

  reserve(bytes: number): Buffer {
    if (this.length + bytes > this.buffer.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(this.buffer.length * 2, this.length + bytes))
      this.buffer.copy(larger, 0, 0, this.length)
      this.buffer = larger
    }
    return this.buffer
  }

  byte(value: number): void {
    this.reserve(1)[this.length++] = value
  }

  varuint(value: number): void {
    const buffer = this.reserve(5)
    let rest = value
    while (rest > 127) {
      buffer[this.length++] = (rest & 127) | 128
      rest >>>= 7
    }
    buffer[this.length++] = rest
  }

  /** Length and UTF-8 bytes. Lone surrogates become U+FFFD, as everywhere in Node. */
  text(value: string): void {
    this.varuint(value.length === 0 ? 0 : Buffer.byteLength(value))
    if (value.length === 0) return
    const buffer = this.reserve(value.length * 3)
    this.length += buffer.write(value, this.length, 'utf8')
  }

  copy(value: Uint8Array): void {
    this.reserve(value.length).set(value, this.length)
    this.length += value.length
  }

  view(): Uint8Array {
    return this.buffer.subarray(0, this.length)
  }
}

export class StringColumn implements Column {
  readonly type = 'String'
  length = 0
  readonly #bytes = new Bytes()

  push(value: string): void {
    this.#bytes.text(value)
    this.length++
  }

  /** One row for each of `indexes`, which point into `dict`. */
  pushMapped(dict: readonly string[], indexes: readonly number[]): void {
    for (let row = 0; row < indexes.length; row++) this.push(dict[indexes[row]!]!)
  }

  prefix(): readonly Uint8Array[] {
    return NO_BYTES
  }

  data(): readonly Uint8Array[] {
    return [this.#bytes.view()]
  }

  clear(): void {
    this.length = 0
    this.#bytes.length = 0
  }
}

export const string = () => new StringColumn()

/** Values of one width in bytes: hashes (from hex) and addresses (16 bytes). */
export class FixedColumn implements Column {
  readonly type: string
  readonly width: number
  length = 0
  readonly #bytes = new Bytes()

  constructor(type: string, width: number) {
    this.type = type
    this.width = width
  }

  /** The same value in `rows` rows. Throws when `hex` is not exactly `width` bytes. */
  pushHex(hex: string, rows = 1): void {
    const buffer = this.#bytes.reserve(this.width * rows)
    const from = this.#bytes.length
    if (hex.length !== this.width * 2 || buffer.write(hex, from, 'hex') !== this.width)
      throw new Error(`Expected ${this.width} bytes in hex and got ${JSON.stringify(hex)}.`)
    this.#repeat(from, rows)
  }

  /** Copies `width` bytes from `source` at `at`. */
  pushBytes(source: Uint8Array, at = 0): void {
    const buffer = this.#bytes.reserve(this.width)
    let to = this.#bytes.length
    for (let from = at; from < at + this.width; from++) buffer[to++] = source[from]!
    this.#bytes.length = to
    this.length++
  }

  #repeat(from: number, rows: number): void {
    const { buffer } = this.#bytes
    const end = from + this.width * rows
    for (let written = this.width; from + written < end; written *= 2)
      buffer.copyWithin(from + written, from, Math.min(from + written, end - written))
    this.#bytes.length = end
    this.length += rows
  }

  prefix(): readonly Uint8Array[] {
    return NO_BYTES
  }

  data(): readonly Uint8Array[] {
    return [this.#bytes.view()]
  }

  clear(): void {
    this.length = 0
    this.#bytes.length = 0
  }
}

/** From lower- or upper-case hex. */
export const fixedHex = (width: 16 | 32) => new FixedColumn(`FixedString(${width})`, width)
/** From the 16 bytes of `parseAddress`. */
export const ipv6 = () => new FixedColumn('IPv6', 16)

const HAS_ADDITIONAL_KEYS = 1 << 9
const NEEDS_UPDATE_DICTIONARY = 1 << 10

/** A dictionary of strings and an index into it for each row. Entry 0 is '', as ClickHouse wants it. */
export class LowCardinalityColumn implements Column {
  readonly type = 'LowCardinality(String)'
  length = 0
  #indexes = new Uint32Array(FIRST_ROWS)
  readonly #known = new Map<string, number>([['', 0]])
  readonly #dictionary = new Bytes()
  #entries = 1
  #map = new Int32Array(256)

  constructor() {
    this.#dictionary.byte(0)
  }

  #reserve(rows: number): Uint32Array {
    if (this.length + rows > this.#indexes.length) this.#indexes = grown(this.#indexes, this.length + rows, Uint32Array)
    return this.#indexes
  }

  #index(value: string): number {
    let index = this.#known.get(value)
    if (index === undefined) {
      index = this.#entries++
      this.#known.set(value, index)
      this.#dictionary.text(value)
    }
    return index
  }

  push(value: string): void {
    this.#reserve(1)[this.length++] = this.#index(value)
  }

  /** The same value in `rows` rows. */
  fill(value: string, rows: number): void {
    this.#reserve(rows).fill(this.#index(value), this.length, this.length + rows)
    this.length += rows
  }

  /** One row for each of `indexes`, which point into `dict`; each entry that is used is looked up once. */
  pushMapped(dict: readonly string[], indexes: readonly number[]): void {
    const rows = indexes.length
    const target = this.#reserve(rows)
    if (dict.length > this.#map.length) this.#map = new Int32Array(dict.length * 2)
    const map = this.#map
    map.fill(-1, 0, dict.length)
    let at = this.length
    for (let row = 0; row < rows; row++) {
      const from = indexes[row]!
      let index = map[from]!
      if (index < 0) {
        index = this.#index(dict[from]!)
        map[from] = index
      }
      target[at++] = index
    }
    this.length = at
  }

  prefix(): readonly Uint8Array[] {
    return LOW_CARDINALITY_VERSION
  }

  data(): readonly Uint8Array[] {
    const width = this.#entries <= 0x100 ? 0 : this.#entries <= 0x10000 ? 1 : 2
    const rows = this.#indexes.subarray(0, this.length)
    const indexes = width === 0 ? Uint8Array.from(rows) : width === 1 ? Uint16Array.from(rows) : rows
    return [
      words64(width | HAS_ADDITIONAL_KEYS | NEEDS_UPDATE_DICTIONARY, this.#entries),
      this.#dictionary.view(),
      words64(this.length),
      bytesOf(indexes, this.length),
    ]
  }

  clear(): void {
    this.length = 0
    this.#known.clear()
    this.#known.set('', 0)
    this.#dictionary.length = 1
    this.#entries = 1
  }
}

export const lowCardinality = () => new LowCardinalityColumn()

function words64(...values: readonly number[]): Uint8Array {
  const words = new Uint32Array(values.length * 2)
  values.forEach((value, index) => {
    words[index * 2] = value
  })
  return bytesOf(words, words.length)
}

/** Lengths of lists. Several array columns of one block may share theirs. */
export class Offsets {
  rows = 0
  #total = 0
  #words = new Uint32Array(FIRST_ROWS * 2)

  push(count: number): void {
    const at = this.rows * 2
    if (at + 2 > this.#words.length) this.#words = grown(this.#words, at + 2, Uint32Array)
    this.#total += count
    this.#words[at] = this.#total
    this.#words[at + 1] = 0
    this.rows++
  }

  pushAll(counts: readonly number[]): void {
    const end = (this.rows + counts.length) * 2
    if (end > this.#words.length) this.#words = grown(this.#words, end, Uint32Array)
    const words = this.#words
    let at = this.rows * 2
    let total = this.#total
    for (let row = 0; row < counts.length; row++) {
      total += counts[row]!
      words[at] = total
      words[at + 1] = 0
      at += 2
    }
    this.#total = total
    this.rows += counts.length
  }

  data(): Uint8Array {
    return bytesOf(this.#words, this.rows * 2)
  }

  clear(): void {
    this.rows = 0
    this.#total = 0
  }
}

export class ArrayColumn<C extends Column> implements Column {
  readonly type: string
  readonly offsets: Offsets
  readonly items: C

  /** Whoever shares `offsets` pushes to them once for all the columns. */
  constructor(items: C, offsets: Offsets = new Offsets()) {
    this.items = items
    this.offsets = offsets
    this.type = `Array(${items.type})`
  }

  get length(): number {
    return this.offsets.rows
  }

  prefix(): readonly Uint8Array[] {
    return this.items.prefix()
  }

  data(): readonly Uint8Array[] {
    return this.items.length === 0 ? [this.offsets.data()] : [this.offsets.data(), ...this.items.data()]
  }

  clear(): void {
    this.offsets.clear()
    this.items.clear()
  }
}

export const array = <C extends Column>(items: C, offsets?: Offsets) => new ArrayColumn(items, offsets)

/** Pushes one row that holds a list of texts. */
export function pushTexts(column: ArrayColumn<StringColumn | LowCardinalityColumn>, texts: readonly string[]): void {
  column.offsets.push(texts.length)
  for (const text of texts) column.items.push(text)
}

/**
 * The rows of all columns as one Native block, columns in the order of the object's keys.
 * Throws when the columns have not the same number of rows: a projection forgot one.
 */
export function encodeBlock(columns: Readonly<Record<string, Column>>): Buffer {
  const entries = Object.entries(columns)
  const rows = rowsOf(columns)
  const head = new Bytes()
  head.varuint(entries.length)
  head.varuint(rows)
  const pieces: Uint8Array[] = [head.view()]
  for (const [name, column] of entries) {
    if (column.length !== rows)
      throw new Error(`Column ${name} has ${column.length} rows while the block has ${rows}: a value was not pushed.`)
    const title = new Bytes()
    title.text(name)
    title.text(column.type)
    pieces.push(title.view())
    if (rows > 0) pieces.push(...column.prefix(), ...column.data())
  }
  return Buffer.concat(pieces)
}

export function rowsOf(columns: Readonly<Record<string, Column>>): number {
  for (const name in columns) return columns[name]!.length
  return 0
}

export function clearColumns(columns: Readonly<Record<string, Column>>): void {
  for (const column of Object.values(columns)) column.clear()
}
