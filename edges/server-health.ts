/**
 * Whether a server is worth a question. After some silences in a row it is asked rarely, one question at a time, until
 * it answers: a dead server then costs nothing but that.
 */

const SILENCES = 8
const FIRST_PAUSE_MILLISECONDS = 2_000
const LONGEST_PAUSE_MILLISECONDS = 60_000

export class ServerHealth {
  readonly #now: () => number
  #silences = 0
  #pause = FIRST_PAUSE_MILLISECONDS
  #askAgainAt = 0

  constructor(now: () => number) {
    this.#now = now
  }

  /** True is a promise to ask and to `note` what came of it. */
  mayBeAsked(): boolean {
    if (this.#silences < SILENCES) return true
    const now = this.#now()
    if (now < this.#askAgainAt) return false
    this.#askAgainAt = now + this.#pause
    this.#pause = Math.min(this.#pause * 2, LONGEST_PAUSE_MILLISECONDS)
    return true
  }

  note(hasAnswered: boolean): void {
    if (!hasAnswered) {
      if (++this.#silences === SILENCES) this.#askAgainAt = this.#now() + FIRST_PAUSE_MILLISECONDS
      return
    }
    this.#silences = 0
    this.#pause = FIRST_PAUSE_MILLISECONDS
  }
}
