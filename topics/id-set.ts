/** A set of SHA-256 hashes in 32 bytes each and the room that a hash table needs: it grows with the log, for ever. */

const ID_BYTES = 32
const FIRST_SLOTS = 64
/** Above this share of used slots the table doubles. */
const FULLEST = 0.7

export class IdSet {
  #slots = FIRST_SLOTS
  #table = Buffer.alloc(FIRST_SLOTS * ID_BYTES)
  #used = new Uint8Array(FIRST_SLOTS)
  #size = 0

  get size(): number {
    return this.#size
  }

  /** `id` is 64 hex digits. */
  has(id: string): boolean {
    return this.#size > 0 && this.#used[this.#slotOf(Buffer.from(id, 'hex'))] === 1
  }

  add(id: string): void {
    if (this.#size + 1 > this.#slots * FULLEST) this.#grow()
    this.#put(Buffer.from(id, 'hex'))
  }

  #put(id: Uint8Array): void {
    const slot = this.#slotOf(id)
    if (this.#used[slot] === 1) return
    this.#table.set(id, slot * ID_BYTES)
    this.#used[slot] = 1
    this.#size++
  }

  /** Where the id stands, or the free slot where it would. A hash is spread evenly as it is. */
  #slotOf(id: Uint8Array): number {
    const start = Buffer.from(id.buffer, id.byteOffset, id.length).readUInt32LE(0) % this.#slots
    for (let slot = start; ; slot = (slot + 1) % this.#slots) {
      const at = slot * ID_BYTES
      if (this.#used[slot] === 0 || this.#table.compare(id, 0, ID_BYTES, at, at + ID_BYTES) === 0) return slot
    }
  }

  #grow(): void {
    const [table, used, slots] = [this.#table, this.#used, this.#slots]
    this.#slots = slots * 2
    this.#table = Buffer.alloc(this.#slots * ID_BYTES)
    this.#used = new Uint8Array(this.#slots)
    this.#size = 0
    for (let slot = 0; slot < slots; slot++)
      if (used[slot] === 1) this.#put(table.subarray(slot * ID_BYTES, (slot + 1) * ID_BYTES))
  }
}
