/**
 * Numbers for sequences of numbers: the same sequence always has the same number. A trie in one hash table with open
 * addressing; a `Map` of texts or of pairs costs several times as much for each record.
 */
export class Tuples {
  /** Parent, value and number of each node, in slots; number 0 = free. */
  #slots: Int32Array
  #mask: number
  readonly #used: number[] = []
  #next = 1

  constructor(capacity = 1024) {
    this.#slots = new Int32Array(capacity * 3)
    this.#mask = capacity - 1
  }

  /** The sequence of no numbers. */
  static readonly EMPTY = 0

  /** More than any number given so far. */
  get bound(): number {
    return this.#next
  }

  /** The number of a sequence that goes on with a 32-bit value. */
  step(parent: number, value: number): number {
    const wanted = value | 0
    const slots = this.#slots
    let slot = (Math.imul(parent, 0x9e3779b1) ^ Math.imul(wanted, 0x85ebca6b)) >>> 0
    slot = (slot ^ (slot >>> 15)) & this.#mask
    for (;;) {
      const at = slot * 3
      const number = slots[at + 2]!
      if (number === 0) return this.#add(slot, parent, wanted)
      if (slots[at] === parent && slots[at + 1] === wanted) return number
      slot = (slot + 1) & this.#mask
    }
  }

  #add(slot: number, parent: number, value: number): number {
    if (this.#used.length * 2 > this.#mask) {
      this.#grow()
      return this.step(parent, value)
    }
    const number = this.#next++
    const at = slot * 3
    this.#slots[at] = parent
    this.#slots[at + 1] = value
    this.#slots[at + 2] = number
    this.#used.push(slot)
    return number
  }

  #grow(): void {
    const old = this.#slots
    const used = this.#used.splice(0)
    const capacity = (this.#mask + 1) * 2
    this.#slots = new Int32Array(capacity * 3)
    this.#mask = capacity - 1
    for (const from of used) {
      const parent = old[from * 3]!
      const value = old[from * 3 + 1]!
      let slot = (Math.imul(parent, 0x9e3779b1) ^ Math.imul(value, 0x85ebca6b)) >>> 0
      slot = (slot ^ (slot >>> 15)) & this.#mask
      while (this.#slots[slot * 3 + 2] !== 0) slot = (slot + 1) & this.#mask
      this.#slots.set([parent, value, old[from * 3 + 2]!], slot * 3)
      this.#used.push(slot)
    }
  }

  /** Forgets all sequences. */
  clear(): void {
    for (const slot of this.#used) this.#slots[slot * 3 + 2] = 0
    this.#used.length = 0
    this.#next = 1
  }
}
