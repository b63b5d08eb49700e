/** Changes between two generations, summed by domain and by what became of what. */
import { EXAMPLES } from './diff-statements.ts'

export interface Judged {
  readonly sender: string
  readonly verdict: string
  readonly rule: string
}

export interface ExampleKey {
  readonly messages: number
  readonly domain: string
  readonly day: string
  /** Hex. */
  readonly report: string
  readonly variant: string
  readonly index: number
}

/** Records of one domain that went from one judgement to another; null where a side has no such record. */
export interface Transition {
  /** Null in a row that stands for many small transitions, folded into one. */
  readonly domain: string | null
  readonly from: Judged | null
  readonly to: Judged | null
  readonly records: number
  readonly messages: number
  readonly examples: readonly ExampleKey[]
}

/** Kept at the most; a rule set of a hundred senders that is thrown over makes some hundred a domain. */
const MAX_TRANSITIONS = 20_000

/** What was folded, so that nobody takes the rest for all. */
export interface Folded {
  readonly transitions: number
  readonly records: number
  readonly messages: number
}

const labelOf = (judged: Judged | null) =>
  judged === null ? '' : [judged.verdict, judged.sender, judged.rule].join('\n')
const keyOf = ({ domain, from, to }: Transition) => `${domain ?? ''}\t${labelOf(from)}\t${labelOf(to)}`

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

/** Most messages first; the rest makes the order certain. */
export function compareTransitions(a: Transition, b: Transition): number {
  return b.messages - a.messages || b.records - a.records || compareText(keyOf(a), keyOf(b))
}

const placeOf = ({ day, report, variant }: ExampleKey) => `${day}${report}${variant}`

/** As the statements sort them, so that it does not matter how records are cut into slices. */
function compareExamples(a: ExampleKey, b: ExampleKey): number {
  return b.messages - a.messages || compareText(placeOf(a), placeOf(b)) || a.index - b.index
}

function sumOf(a: Transition, b: Transition): Transition {
  return {
    ...a,
    records: a.records + b.records,
    messages: a.messages + b.messages,
    examples: [...a.examples, ...b.examples].sort(compareExamples).slice(0, EXAMPLES),
  }
}

/** Adds transitions up and never holds more than about twice the bound. */
export class Transitions {
  readonly #most: number
  #kept = new Map<string, Transition>()
  readonly #folded = new Map<string, Transition>()
  #foldedCount = 0

  constructor(most = MAX_TRANSITIONS) {
    this.#most = most
  }

  add(transition: Transition): void {
    const key = keyOf(transition)
    const known = this.#kept.get(key)
    this.#kept.set(key, known === undefined ? transition : sumOf(known, transition))
    if (this.#kept.size > 2 * this.#most) this.#fold()
  }

  /** In order, folded rows among the others. */
  all(): readonly Transition[] {
    if (this.#kept.size > this.#most) this.#fold()
    return [...this.#kept.values(), ...this.#folded.values()].sort(compareTransitions)
  }

  folded(): Folded | null {
    if (this.#foldedCount === 0) return null
    let records = 0
    let messages = 0
    for (const transition of this.#folded.values()) {
      records += transition.records
      messages += transition.messages
    }
    return { transitions: this.#foldedCount, records, messages }
  }

  /** The smallest become one row for each pair of verdicts, without a domain. */
  #fold(): void {
    const sorted = [...this.#kept.values()].sort(compareTransitions)
    this.#kept = new Map(sorted.slice(0, this.#most).map((transition) => [keyOf(transition), transition]))
    for (const small of sorted.slice(this.#most)) {
      const verdictOf = (judged: Judged | null) =>
        judged === null ? null : { sender: '', verdict: judged.verdict, rule: '' }
      const row = { ...small, domain: null, from: verdictOf(small.from), to: verdictOf(small.to) }
      const known = this.#folded.get(keyOf(row))
      this.#folded.set(keyOf(row), known === undefined ? row : sumOf(known, row))
      this.#foldedCount++
    }
  }
}
