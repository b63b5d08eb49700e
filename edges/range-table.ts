/** Ranges of addresses with a number each, in two typed arrays: found by halving, 10 to 20 steps. */
import type { AddressWords } from './address-words.ts'

/**
 * `starts` holds `width` words (highest first) for each range, ascending; a range ends where the next begins. Value 0
 * stands for a range of which nothing is known.
 */
export interface RangeTable {
  readonly width: 1 | 4
  readonly starts: Uint32Array
  readonly values: Uint32Array
}

/**
 * For each upper half of an IPv4 address how many ranges begin below it: halving then begins with a few ranges instead of
 * 450,000, most of which are not in the processor's cache.
 */
export type UpperHalves = Uint32Array

export function upperHalves({ starts }: RangeTable): UpperHalves {
  const counts = new Uint32Array(65_537)
  let upper = 0
  for (let i = 0; i < starts.length; i++) for (const own = starts[i]! >>> 16; upper <= own; upper++) counts[upper] = i
  counts.fill(starts.length, upper)
  return counts
}

/** Value of the range that holds an IPv4 address, 0 when there is none. */
export function valueOfIPv4({ starts, values }: RangeTable, upper: UpperHalves, address: number): number {
  let low = upper[address >>> 16]!
  let high = upper[(address >>> 16) + 1]!
  while (low < high) {
    const middle = (low + high) >>> 1
    if (starts[middle]! <= address) low = middle + 1
    else high = middle
  }
  return low === 0 ? 0 : values[low - 1]!
}

/** The same of an IPv6 address. */
export function valueOfIPv6({ starts, values }: RangeTable, address: AddressWords): number {
  let low = 0
  let high = values.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (compareWords(address, starts, 4, middle * 4) >= 0) low = middle + 1
    else high = middle
  }
  return low === 0 ? 0 : values[low - 1]!
}

/** How the address `a` stands to the one in `b` at `at`: negative before, 0 the same, positive after. */
export function compareWords(a: Uint32Array, b: Uint32Array, width: 1 | 4, at = 0): number {
  for (let i = 0; i < width; i++) {
    const difference = a[i]! - b[at + i]!
    if (difference !== 0) return difference
  }
  return 0
}

/** Collects ranges in ascending order. Neighbours with the same value become one. */
export class RangeTableBuilder {
  readonly #width: 1 | 4
  #starts: Uint32Array
  #values = new Uint32Array(1024)
  #count = 0

  constructor(width: 1 | 4) {
    this.#width = width
    this.#starts = new Uint32Array(1024 * width)
  }

  /** From `words` on the value holds, until the next call. A call for the same address replaces the one before. */
  from(words: AddressWords, value: number): void {
    const width = this.#width
    const order = this.#count === 0 ? 1 : compareWords(words, this.#starts, width, (this.#count - 1) * width)
    if (order < 0)
      throw new Error(`The ranges are not in order after range ${this.#count}; the address data cannot be used.`)
    if (order === 0) this.#count--
    if ((this.#count === 0 ? 0 : this.#values[this.#count - 1]) === value) return
    if (this.#count === this.#values.length) {
      this.#values = grown(this.#values)
      this.#starts = grown(this.#starts)
    }
    for (let i = 0; i < width; i++) this.#starts[this.#count * width + i] = words[i]!
    this.#values[this.#count++] = value
  }

  build(): RangeTable {
    const width = this.#width
    return { width, starts: this.#starts.slice(0, this.#count * width), values: this.#values.slice(0, this.#count) }
  }
}

function grown(from: Uint32Array): Uint32Array<ArrayBuffer> {
  const to = new Uint32Array(from.length * 2)
  to.set(from)
  return to
}

/** Adds one to an address in place; false when it was the last there is. */
export function increment(words: AddressWords, width: 1 | 4): boolean {
  for (let i = width - 1; i >= 0; i--) {
    const next = (words[i]! + 1) >>> 0
    words[i] = next
    if (next !== 0) return true
  }
  return false
}
