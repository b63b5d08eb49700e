/** What is wrong with a rule set, and where. */
import { suggestion } from './nearest.ts'

export interface RuleProblem {
  /** From 1. */
  readonly line: number
  /** From 1, in characters. */
  readonly column: number
  readonly severity: 'error' | 'warning'
  /** A sentence that says what to do. */
  readonly message: string
}

/** More are not listed: after so many the file is something else than a rule set. */
const MAX_PROBLEMS = 200

/** Collects problems by offset in the text. */
export class Problems {
  readonly #lineStarts: readonly number[]
  readonly #found: { readonly at: number; readonly severity: RuleProblem['severity']; readonly message: string }[] = []

  constructor(text: string) {
    const starts = [0]
    for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) starts.push(at + 1)
    this.#lineStarts = starts
  }

  error(at: number, message: string): void {
    if (this.#found.length < MAX_PROBLEMS) this.#found.push({ at, severity: 'error', message })
  }
  warn(at: number, message: string): void {
    if (this.#found.length < MAX_PROBLEMS) this.#found.push({ at, severity: 'warning', message })
  }

  /** ` Did you mean "…"?`, or nothing: not looked for either when no more problems are listed. */
  suggestion(name: string, known: Iterable<string>): string {
    return this.#found.length < MAX_PROBLEMS ? suggestion(name, known) : ''
  }

  get hasErrors(): boolean {
    return this.#found.some(({ severity }) => severity === 'error')
  }

  lineOf(at: number): number {
    return this.#lineStarts.findLastIndex((start) => start <= at) + 1
  }

  /** In the order of the text. */
  all(): readonly RuleProblem[] {
    return [...this.#found]
      .sort((a, b) => a.at - b.at)
      .map(({ at, severity, message }) => {
        const line = this.lineOf(at)
        return { line, column: at - this.#lineStarts[line - 1]! + 1, severity, message }
      })
  }
}
