/** Answers for as long as they hold, positive and negative ones; bounded. */
import type { Answer } from './dns-message.ts'

/** Some servers say 0, some say years: what is believed. */
const LEAST_SECONDS = 60
const MOST_SECONDS = 86_400
/** Longer answers are not kept: 64 KB of addresses or text, 50,000 times, would be somebody's attack. */
const MAX_VALUES = 64
const MAX_TEXT = 4096

export class DnsCache {
  readonly #entries = new Map<string, { readonly answer: Answer; readonly until: number }>()
  readonly #limit: number
  readonly #now: () => number
  hits = 0

  constructor(limit: number, now: () => number) {
    this.#limit = limit
    this.#now = now
  }

  get(key: string): Answer | undefined {
    const entry = this.#entries.get(key)
    if (entry === undefined) return undefined
    if (entry.until <= this.#now()) {
      this.#entries.delete(key)
      return undefined
    }
    this.hits++
    return entry.answer
  }

  /** When it is full, the oldest answer goes. */
  put(key: string, answer: Answer): void {
    if (answer.values.length > MAX_VALUES || textOf(answer) > MAX_TEXT) return
    const seconds = Math.min(MOST_SECONDS, Math.max(LEAST_SECONDS, answer.ttlSeconds))
    this.#entries.delete(key)
    if (this.#entries.size >= this.#limit) this.#entries.delete(this.#entries.keys().next().value!)
    this.#entries.set(key, { answer, until: this.#now() + seconds * 1000 })
  }
}

function textOf({ values }: Answer): number {
  let length = 0
  for (const value of values) length += value.length
  return length
}
