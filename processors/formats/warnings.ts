/** Collects the warnings of one report within its limits. */
import type { WarningCode } from './codes.ts'
import { MAX_WARNINGS } from './limits.ts'
import type { Warning } from './shapes.ts'

/** Warnings kept of one code: a report with a million records may repeat one oddity a million times. */
export const MAX_WARNINGS_OF_A_CODE = 10

export class WarningList {
  readonly #kept: Warning[] = []
  readonly #counts = new Map<WarningCode, number>()
  #more = 0
  /** Warnings that there was cause for, those included that are not kept. */
  count = 0

  /** Says whether one more warning of this code would be kept. When not, it is counted: give no detail then. */
  wants(code: WarningCode): boolean {
    this.count++
    const count = this.#counts.get(code) ?? 0
    // One place is left for `more_warnings`.
    if (count < MAX_WARNINGS_OF_A_CODE && this.#kept.length < MAX_WARNINGS - 1) return true
    this.#more++
    return false
  }

  /** Adds a warning, or counts it when there are enough. The same warning with the same detail is kept once. */
  add(code: WarningCode, detail: string): void {
    if (this.wants(code)) this.keep(code, detail)
  }

  /** Adds a warning that `wants` has agreed to. */
  keep(code: WarningCode, detail: string): void {
    if (this.#kept.some((warning) => warning.code === code && warning.detail === detail)) return
    this.#counts.set(code, (this.#counts.get(code) ?? 0) + 1)
    this.#kept.push({ code, detail })
  }

  list(): Warning[] {
    if (this.#more === 0) return [...this.#kept]
    return [...this.#kept, { code: 'more_warnings', detail: `${this.#more} more warnings are not listed.` }]
  }
}
