/**
 * Posting has the right of way. Whoever posts waits for one fsync and for this thread; reading, evaluating and projecting
 * can be done a moment later, and take the cores from those who wait. So the loops ask here before each batch, and rest
 * for a while when several posts are under way and wait for long.
 */
import { setTimeout as sleep } from 'node:timers/promises'

/** A post that takes longer, averaged over the last ones, waits for us: alone it takes 1 ms. */
const SLOW_MILLISECONDS = 2
/** One client alone never takes all there is. */
const MANY_POSTS = 4
/** So many were under way so lately: between two of its posts a client is not gone. */
const RECENT_MILLISECONDS = 100
/** Nobody has posted for so long: the average says nothing any more. */
const FORGOTTEN_MILLISECONDS = 200
const LOOK_MILLISECONDS = 20
/**
 * A loop rests no longer before a batch: however much is posted, and for however long, work goes on. (Measured with 32
 * connections: 1,100 posts a second without resting, 3,600 while it rests, 2,500 beside an import.)
 */
const LONGEST_REST_MILLISECONDS = 2000
const WEIGHT = 0.05

export class PostPressure {
  #underWay = 0
  #average = 0
  #last = 0
  #manyAt = Number.NEGATIVE_INFINITY

  /** A post has begun; call what is returned when it is answered. */
  begin(): () => void {
    const begun = performance.now()
    if (++this.#underWay >= MANY_POSTS) this.#manyAt = begun
    return () => {
      this.#underWay--
      this.#last = performance.now()
      this.#average += WEIGHT * (this.#last - begun - this.#average)
    }
  }

  isHigh(): boolean {
    const now = performance.now()
    if (now - this.#last > FORGOTTEN_MILLISECONDS) this.#average = 0
    return now - this.#manyAt < RECENT_MILLISECONDS && this.#average > SLOW_MILLISECONDS
  }

  /** Resolves when no post waits for long, after a while, or when the signal aborts. */
  async giveWay(signal: AbortSignal): Promise<void> {
    const end = performance.now() + LONGEST_REST_MILLISECONDS
    while (this.isHigh() && performance.now() < end && !signal.aborted) await sleep(LOOK_MILLISECONDS)
  }
}
