/** How fast a count grows. */

const WINDOW_MILLISECONDS = 10_000

/** Per second, between now and the oldest look of the last ten seconds. Who looks more often sees no other rate. */
export class RateMeter {
  readonly #now: () => number
  #looks: { readonly at: number; readonly count: number }[] = []

  constructor(now: () => number) {
    this.#now = now
  }

  rate(count: number): number {
    const at = this.#now()
    const looks = this.#looks
    looks.push({ at, count })
    while (looks.length > 2 && looks[1]!.at < at - WINDOW_MILLISECONDS) looks.shift()
    const first = looks[0]!
    const seconds = (at - first.at) / 1000
    return seconds > 0 ? Math.max(0, (count - first.count) / seconds) : 0
  }
}
