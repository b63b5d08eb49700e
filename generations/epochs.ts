/**
 * Observation epochs: a new one is filled first, by asking anew about every address that is known, and begins when that is
 * done. One at a time; one that was cut off is filled further by the next attempt.
 */
import type { ObservationEpoch } from '../api/replays.ts'
import { ObservationEpochBegun } from '../topics/control.ts'
import type { ControlLog } from '../topics/control-log.ts'

export interface EpochsOptions {
  readonly control: ControlLog
  readonly now: () => number
  /** Observes all that was ever observed under this epoch. */
  readonly observe: (
    epoch: number,
    onProgress: (done: number, total: number) => void,
    signal: AbortSignal,
  ) => Promise<void>
  readonly signal: AbortSignal
}

export class Epochs {
  readonly #options: EpochsOptions
  #latest: ObservationEpoch | null = null
  #running: Promise<void> = Promise.resolve()

  constructor(options: EpochsOptions) {
    this.#options = options
  }

  find(epoch: number): ObservationEpoch | null {
    if (this.#latest?.epoch === epoch) return this.#latest
    const isBegun = epoch >= 1 && epoch <= this.#options.control.state.epoch()
    return isBegun ? { epoch, state: 'begun', done: 0, total: 0, reason: null } : null
  }

  /** Starts filling the next epoch, or says how far the one under way is. */
  begin(): ObservationEpoch {
    if (this.#latest?.state === 'observing') return this.#latest
    const epoch = this.#options.control.state.epoch() + 1
    this.#latest = { epoch, state: 'observing', done: 0, total: 0, reason: null }
    this.#running = this.#fill(epoch).catch((error: Error) => {
      this.#latest = { ...this.#latest!, state: 'failed', reason: error.message }
    })
    return this.#latest
  }

  /** Resolves when nothing is under way, after the signal aborted. */
  ended(): Promise<void> {
    return this.#running
  }

  async #fill(epoch: number): Promise<void> {
    const { observe, control, now, signal } = this.#options
    await observe(
      epoch,
      (done, total) => {
        this.#latest = { ...this.#latest!, done, total }
      },
      signal,
    )
    const outcome = await control.append(ObservationEpochBegun, { at: now(), epoch })
    if (!outcome.valid) throw new Error(outcome.message)
    this.#latest = { ...this.#latest!, state: 'begun' }
  }
}
