/**
 * Which addresses of one day are kept, and in which row: an open hash table over 32-bit hashes, 8 bytes a slot. Two
 * addresses may have one hash, so what is found is a row to look at, not an answer.
 */

const EMPTY = 0xffffffff
const FIRST_SLOTS = 64

/** FNV-1a over the characters of an address. */
export function addressHash(address: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < address.length; i++) hash = Math.imul(hash ^ address.charCodeAt(i), 0x01000193)
  return hash >>> 0
}

export class DayIndex {
  #hashes = new Uint32Array(FIRST_SLOTS)
  #rows = new Uint32Array(FIRST_SLOTS).fill(EMPTY)
  #size = 0

  get size(): number {
    return this.#size
  }

  /** Rows are numbers below 2³² − 1. */
  add(hash: number, row: number): void {
    if (this.#size * 3 >= this.#rows.length * 2) this.#grow()
    this.#put(hash, row)
    this.#size++
  }

  #put(hash: number, row: number): void {
    const mask = this.#rows.length - 1
    let slot = this.#slotOf(hash)
    while (this.#rows[slot] !== EMPTY) slot = (slot + 1) & mask
    this.#hashes[slot] = hash
    this.#rows[slot] = row
  }

  /** The low bits of FNV are its weak ones. */
  #slotOf(hash: number): number {
    return (Math.imul(hash ^ (hash >>> 16), 0x9e3779b1) >>> 8) & (this.#rows.length - 1)
  }

  #grow(): void {
    const hashes = this.#hashes
    const rows = this.#rows
    this.#hashes = new Uint32Array(rows.length * 2)
    this.#rows = new Uint32Array(rows.length * 2).fill(EMPTY)
    for (let slot = 0; slot < rows.length; slot++) if (rows[slot] !== EMPTY) this.#put(hashes[slot]!, rows[slot]!)
  }

  /** The first row with this hash that `isWanted` takes; -1 when there is none. */
  find(hash: number, isWanted: (row: number) => boolean): number {
    const mask = this.#rows.length - 1
    for (let slot = this.#slotOf(hash); this.#rows[slot] !== EMPTY; slot = (slot + 1) & mask) {
      if (this.#hashes[slot] === hash && isWanted(this.#rows[slot]!)) return this.#rows[slot]!
    }
    return -1
  }
}
