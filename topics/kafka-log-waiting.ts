/** How the parts of the log on Kafka wait: for one another, and for brokers that are away. */

/** Wakes whoever waits for something to change. What happens between two waits is not lost. */
export class Pulse {
  #next = Promise.withResolvers<void>()
  #isDue = false

  fire(): void {
    this.#isDue = true
    this.#next.resolve()
  }

  /** Resolves at the next `fire`, or at once when there was one since the last wait; or after so many milliseconds. */
  async wait(milliseconds?: number): Promise<void> {
    if (!this.#isDue) {
      if (milliseconds === undefined) await this.#next.promise
      else await within(this.#next.promise, milliseconds)
    }
    if (!this.#isDue) return
    this.#isDue = false
    this.#next = Promise.withResolvers()
  }
}

/** Resolves when the promise settles or the time is over; true when it settled. Never rejects. */
export async function within(promise: Promise<unknown>, milliseconds: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<false>((resolve) => {
    timer = setTimeout(resolve, milliseconds, false)
  })
  const settled = promise.then(
    () => true,
    () => true,
  )
  try {
    return await Promise.race([settled, late])
  } finally {
    clearTimeout(timer)
  }
}

const FIRST_PAUSE_MILLISECONDS = 100
const LONGEST_PAUSE_MILLISECONDS = 2000
/** What passes sooner is not worth an operator's attention: a restart, another leader. */
const TOLD_AFTER_MILLISECONDS = 30_000

/** Failures in a row of one activity: how long to pause, and when to say so. */
export class Outage {
  readonly #activity: string
  readonly #onProblem: (message: string) => void
  #since: number | undefined
  #isTold = false
  #pause = FIRST_PAUSE_MILLISECONDS

  /** `activity` is the subject of a sentence, such as "Appending to Kafka". */
  constructor(activity: string, onProblem: (message: string) => void) {
    this.#activity = activity
    this.#onProblem = onProblem
  }

  /** Answers for how many milliseconds to pause. */
  failed(error: unknown): number {
    const now = performance.now()
    this.#since ??= now
    if (!this.#isTold && now - this.#since >= TOLD_AFTER_MILLISECONDS) {
      this.#isTold = true
      const seconds = Math.round((now - this.#since) / 1000)
      const { message } = error as Error
      this.#onProblem(
        `${this.#activity} has failed for ${seconds} s, and goes on when the brokers answer (${message}). Look whether they run and can be reached.`,
      )
    }
    const pause = this.#pause
    this.#pause = Math.min(pause * 2, LONGEST_PAUSE_MILLISECONDS)
    return pause
  }

  worked(): void {
    if (this.#isTold) {
      const seconds = Math.round((performance.now() - this.#since!) / 1000)
      this.#onProblem(`${this.#activity} works again, after ${seconds} s.`)
    }
    this.#since = undefined
    this.#isTold = false
    this.#pause = FIRST_PAUSE_MILLISECONDS
  }
}
