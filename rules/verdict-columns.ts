/** The columns of a chunk of verdicts as they are filled. */
import type { DmarcRecordsEvaluated } from '../topics/verdicts.ts'
import type { KnownSender } from './record-cursor.ts'

export type EvaluatedRecords = DmarcRecordsEvaluated['records']

/** What the rules say of a record. */
export interface Decision {
  /** Of the rule. */
  readonly id: string
  readonly verdict: string
  /** Reason of the exclusion, "" when there is none. */
  readonly excluded: string
}

interface DecisionIndexes {
  readonly verdict: number
  readonly rule: number
  readonly excluded: number
}

/** The columns of the result, with a dictionary of their own. */
export class VerdictColumns {
  readonly columns: EvaluatedRecords
  readonly #texts: readonly string[]
  /** Index in the new dictionary by index in that of the chunk, 0 = not there yet. */
  readonly #moved: Int32Array
  readonly #words = new Map<string, number>([['', 0]])
  readonly #senders: (number | undefined)[] = []
  readonly #decisions = new Map<Decision, DecisionIndexes>()
  #length = 0

  constructor(texts: readonly string[], length: number) {
    this.#texts = texts
    this.#moved = new Int32Array(texts.length)
    const column = () => new Array<number>(length).fill(0)
    this.columns = {
      dict: [''],
      source_ip: column(),
      messages: column(),
      outcome: column(),
      sender: column(),
      verdict: column(),
      rule: column(),
      excluded: column(),
    }
  }

  #indexOf(word: string): number {
    const known = this.#words.get(word)
    if (known !== undefined) return known
    const index = this.columns.dict.push(word) - 1
    this.#words.set(word, index)
    return index
  }

  #indexOfSender(sender: KnownSender): number {
    if (sender.number < 0) return 0
    this.#senders[sender.number] ??= this.#indexOf(sender.id)
    return this.#senders[sender.number]!
  }

  /** Records of one combination share their decision, whose words are then looked up once. */
  #indexesOf(decision: Decision): DecisionIndexes {
    let indexes = this.#decisions.get(decision)
    if (indexes === undefined) {
      indexes = {
        verdict: this.#indexOf(decision.verdict),
        rule: this.#indexOf(decision.id),
        excluded: this.#indexOf(decision.excluded),
      }
      this.#decisions.set(decision, indexes)
    }
    return indexes
  }

  add(source: number, messages: number, outcome: number, sender: KnownSender, decision: Decision): void {
    const { columns } = this
    const row = this.#length++
    if (source !== 0 && this.#moved[source] === 0) this.#moved[source] = columns.dict.push(this.#texts[source]!) - 1
    columns.source_ip[row] = this.#moved[source]!
    columns.messages[row] = messages
    columns.outcome[row] = outcome
    columns.sender[row] = this.#indexOfSender(sender)
    const { verdict, rule, excluded } = this.#indexesOf(decision)
    columns.verdict[row] = verdict
    columns.rule[row] = rule
    columns.excluded[row] = excluded
  }
}
