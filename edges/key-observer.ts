/**
 * What DNS says of the keys of DKIM, written down once: per observation epoch, UTC day of receipt and name the first
 * answer on the topic `observations` is the answer for everyone. Mails of one sender come side by side, so a key that is
 * being asked about is not asked about again.
 */
import type { KeyObservation, KeyOutcome } from '../topics/observations.ts'
import { ended } from './ended.ts'
import { keyEvent, type ObservationWriter } from './observation-events.ts'
import type { ObservationFold } from './observation-fold.ts'
import type { KeyDay, ObservationState } from './observation-state.ts'
import type { Resolver } from './resolver.ts'

export interface KeyObserverOptions {
  readonly fold: ObservationFold
  readonly codec: ObservationWriter
  readonly state: ObservationState
  /** Null: look-ups are off. */
  readonly resolver: Resolver | null
  readonly now: () => number
  readonly budgetMilliseconds: number
  readonly settledLive: (signal: AbortSignal) => Promise<unknown>
}

export interface ObserveKeysOptions {
  /** Observation epoch, from 1. */
  readonly epoch: number
  /** False in a replay: nobody is asked (see `ObserveOptions` of the addresses). */
  readonly ask: boolean
  readonly budgetMilliseconds?: number
  readonly signal: AbortSignal
}

/** Answers held in memory: a sender's key is the same in all of its mails of a day. */
const REMEMBERED = 2000

export class KeyObserver {
  readonly #options: KeyObserverOptions
  readonly #stop = new AbortController()
  /** By epoch, day and name. */
  readonly #known = new Map<string, KeyObservation>()
  readonly #underWay = new Map<string, Promise<KeyObservation>>()

  constructor(options: KeyObserverOptions) {
    this.#options = options
  }

  /** An answer for each request, in their order. Rejects when the log or the state fails, or the signal aborts. */
  async observe(requests: readonly KeyDay[], options: ObserveKeysOptions): Promise<KeyObservation[]> {
    const { signal } = options
    signal.throwIfAborted()
    const found = requests.map((request) => this.#known.get(placeOf(options.epoch, request)))
    const answers = found.map((known, i) => known ?? this.#once(requests[i]!, options))
    return unlessAborted(Promise.all(answers), signal)
  }

  /** What is begun goes on when the one who asked went away: others may wait for it. */
  #once(request: KeyDay, options: ObserveKeysOptions): Promise<KeyObservation> {
    const place = placeOf(options.epoch, request)
    const key = `${options.ask} ${place}`
    const underWay = this.#underWay.get(key)
    if (underWay !== undefined) return underWay
    const started = this.#find(request, { ...options, signal: this.#stop.signal })
      .then((found) => {
        if (this.#known.size >= REMEMBERED) this.#known.delete(this.#known.keys().next().value!)
        this.#known.set(place, found)
        return found
      })
      .finally(() => this.#underWay.delete(key))
    started.catch(() => undefined) // whoever waits for it hears of it
    this.#underWay.set(key, started)
    return started
  }

  async #find(request: KeyDay, options: ObserveKeysOptions): Promise<KeyObservation> {
    const { fold, state, codec, now, settledLive } = this.#options
    const { epoch, ask, signal } = options
    let [known] = await state.findKeys(epoch, [request])
    if (known === undefined && !ask) {
      await settledLive(signal)
      await fold.reachHead(signal)
      known = (await state.findKeys(epoch, [request]))[0]
    }
    if (known !== undefined) return known
    const answer = ask ? await this.#lookUp(request.name, options) : await this.#findEarlier(request, epoch)
    signal.throwIfAborted()
    await fold.appendKeys([keyEvent(codec, { epoch, observedAt: now() }, request.day, answer)], signal)
    const [standing] = await state.findKeys(epoch, [request])
    if (standing === undefined) throw new Error('A key was folded and is not in the state; that is a fault.')
    return standing
  }

  async #lookUp(name: string, options: ObserveKeysOptions): Promise<KeyObservation> {
    const { resolver } = this.#options
    if (resolver === null) return answerOf(name, 'not_looked_up')
    const budget = new AbortController()
    const milliseconds = options.budgetMilliseconds ?? this.#options.budgetMilliseconds
    // One under way when the budget ends goes on, so that the cache of the resolver has it next time.
    const found = await Promise.race([
      resolver.findTexts(name, budget.signal),
      ended(milliseconds, options.signal, budget.signal),
    ])
    budget.abort()
    if (found === undefined || !found.observed) return answerOf(name, 'no_answer')
    return answerOf(name, 'answered', found.texts)
  }

  /** What the epochs before have, the latest first; else that nobody was asked. */
  async #findEarlier(request: KeyDay, epoch: number): Promise<KeyObservation> {
    for (let before = epoch - 1; before >= 1; before--) {
      const [found] = await this.#options.state.findKeys(before, [request])
      if (found !== undefined) return found
    }
    return answerOf(request.name, 'not_looked_up')
  }

  async close(): Promise<void> {
    this.#stop.abort(new Error('The observer is closed.'))
    await Promise.allSettled(this.#underWay.values())
  }
}

const placeOf = (epoch: number, { day, name }: KeyDay) => `${epoch} ${day} ${name}`

function answerOf(name: string, outcome: KeyOutcome, records: readonly string[] = []): KeyObservation {
  return { name, outcome, records: [...records] }
}

function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason)
    signal.addEventListener('abort', abort, { once: true })
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort))
  })
}
