/**
 * What the outside world says about the addresses of a batch, written down once: per observation epoch, UTC day of
 * receipt and address the first answer on the topic `observations` is the answer for everyone. So an answer is appended,
 * and then the topic is read back to see which one was first.
 */

import type { Log } from '../topics/log.ts'
import type { AddressObservation, KeyObservation } from '../topics/observations.ts'
import type { AddressData } from './addresses.ts'
import { ended } from './ended.ts'
import { KeyObserver, type ObserveKeysOptions } from './key-observer.ts'
import { type ObservationWriter, observationEvents } from './observation-events.ts'
import { ObservationFold, type ObservationReader } from './observation-fold.ts'
import type { AddressDay, KeyDay, ObservationState } from './observation-state.ts'
import type { LookUp, Resolver } from './resolver.ts'

export interface ObserverOptions {
  readonly log: Log
  /** Physical name of `observations`. */
  readonly topic: string
  readonly codec: ObservationReader & ObservationWriter
  readonly state: ObservationState
  /** Null: look-ups are off, and every answer says `observed: false`. */
  readonly resolver: Resolver | null
  /** May still be opening: it is waited for when an address is first asked about. */
  readonly data: AddressData | Promise<AddressData>
  /** Milliseconds since 1970 UTC. */
  readonly now: () => number
  /** How long DNS may delay the addresses of one call. What comes later is `observed: false`. */
  readonly budgetMilliseconds: number
  /** Resolves when the live generation has observed all that the caller could be about to ask for. */
  readonly settledLive: (signal: AbortSignal) => Promise<unknown>
}

export interface ObserveOptions {
  /** Observation epoch, from 1. */
  readonly epoch: number
  /**
   * False in a replay: nobody is asked. What the epoch lacks is taken over from the latest epoch before it that has it
   * (it came in after `re-observe` had gone by), and else recorded as not observed.
   */
  readonly ask: boolean
  /** How long DNS may delay this call, when not as long as `ObserverOptions` says. */
  readonly budgetMilliseconds?: number
  readonly signal: AbortSignal
}

export interface ObserverCounters {
  /** Addresses that the outside world was asked about. */
  readonly asked: number
  /** Of these: DNS answered, be it that there is no name. */
  readonly answered: number
  /** Of these: no answer within the budget, or look-ups are off. */
  readonly unanswered: number
  /** Answers that were known. */
  readonly hits: number
  /** Answers that were appended. */
  readonly recorded: number
}

export interface Observer {
  /** Reads what the topic has up to its head of now; `observe` does so by itself when it was not done before. */
  refresh(onProgress?: (done: number, total: number) => void): Promise<void>
  /** An answer for each request, in their order. Rejects when the log or the state fails, or the signal aborts. */
  observe(requests: readonly AddressDay[], options: ObserveOptions): Promise<AddressObservation[]>
  /** The same of keys of DKIM. */
  observeKeys(requests: readonly KeyDay[], options: ObserveKeysOptions): Promise<KeyObservation[]>
  counters(): ObserverCounters
  close(): Promise<void>
}

const NO_NAMES: AddressObservation['ptr'] = []

export function openObserver(options: ObserverOptions): Observer {
  return new AddressObserver(options)
}

class AddressObserver implements Observer {
  readonly #options: ObserverOptions
  readonly #fold: ObservationFold
  readonly #keys: KeyObserver
  readonly #counters = { asked: 0, answered: 0, unanswered: 0, hits: 0, recorded: 0 }
  #refreshed: Promise<void> | undefined

  constructor(options: ObserverOptions) {
    this.#options = options
    const { log, topic, codec, state } = options
    this.#fold = new ObservationFold({ log, topic, codec, state })
    this.#keys = new KeyObserver({ ...options, fold: this.#fold })
    // Whoever asks about an address hears that the data could not be opened; until then nobody listens.
    if (options.data instanceof Promise) options.data.catch(() => undefined)
  }

  counters(): ObserverCounters {
    return { ...this.#counters }
  }

  refresh(onProgress?: (done: number, total: number) => void): Promise<void> {
    this.#refreshed ??= this.#fold.start(onProgress)
    return this.#refreshed
  }

  async close(): Promise<void> {
    await this.#keys.close()
    await this.#fold.close()
  }

  async observeKeys(requests: readonly KeyDay[], options: ObserveKeysOptions): Promise<KeyObservation[]> {
    await this.refresh()
    return this.#keys.observe(requests, options)
  }

  async observe(requests: readonly AddressDay[], options: ObserveOptions): Promise<AddressObservation[]> {
    await this.refresh()
    options.signal.throwIfAborted()
    const results = new Array<AddressObservation | undefined>(requests.length)
    let missing = await this.#findKnown(requests, results, null, options.epoch)
    if (missing.length > 0 && !options.ask) {
      await this.#options.settledLive(options.signal)
      options.signal.throwIfAborted()
      await this.#fold.reachHead(options.signal)
      missing = await this.#findKnown(requests, results, missing, options.epoch)
    }
    this.#counters.hits += requests.length - missing.length
    if (missing.length > 0) await this.#record(requests, missing, results, options)
    return results as AddressObservation[] // every place was known, or recorded and filled
  }

  /** Fills in what the state knows. Gives back the places in `results` that stay empty. */
  async #findKnown(
    requests: readonly AddressDay[],
    results: (AddressObservation | undefined)[],
    open: readonly number[] | null,
    epoch: number,
  ): Promise<number[]> {
    const wanted = open === null ? requests : open.map((place) => requests[place]!)
    const found = await this.#options.state.findObservations(epoch, wanted)
    const missing: number[] = []
    for (let i = 0; i < found.length; i++) {
      const place = open === null ? i : open[i]!
      const observation = found[i]
      if (observation === undefined) missing.push(place)
      else results[place] = observation
    }
    return missing
  }

  /** Finds out about the missing ones, or says that nobody was asked; appends that, and takes what was first. */
  async #record(
    requests: readonly AddressDay[],
    missing: readonly number[],
    results: (AddressObservation | undefined)[],
    options: ObserveOptions,
  ): Promise<void> {
    const { epoch, ask, signal } = options
    const { places, distinct } = distinctOf(requests, missing)
    const data = ask ? await this.#options.data : null
    const budget = options.budgetMilliseconds ?? this.#options.budgetMilliseconds
    const lookUps = ask ? await this.#lookUpAll(distinct, budget, signal) : null
    const earlier = ask ? [] : await this.#findEarlier(distinct, epoch)
    signal.throwIfAborted()
    const rows = distinct.map(({ day, address }, i) => {
      const known = earlier[i]
      if (known !== undefined) return { day, observation: known }
      const facts = data?.find(address)
      const lookUp = lookUps?.get(address)
      const observation: AddressObservation = {
        address,
        observed: lookUp?.observed ?? false,
        ptr: (lookUp?.ptr as AddressObservation['ptr'] | undefined) ?? NO_NAMES,
        asn: facts?.asn ?? null,
        as_name: facts?.asName ?? null,
        country: facts?.country ?? null,
      }
      return { day, observation }
    })
    const about = { epoch, observedAt: this.#options.now(), dataVersion: data?.version ?? null }
    const { events, order } = observationEvents(this.#options.codec, about, rows)
    this.#counters.recorded += rows.length
    const standing = await this.#fold.append(epoch, events, order, rows, signal)
    for (const [i, place] of missing.entries()) results[place] = standing[places[i]!]!
  }

  /** What the epochs before have, the latest first. */
  async #findEarlier(wanted: readonly AddressDay[], epoch: number): Promise<(AddressObservation | undefined)[]> {
    const results = new Array<AddressObservation | undefined>(wanted.length)
    let open: readonly number[] | null = null
    for (let before = epoch - 1; before >= 1 && open?.length !== 0; before--)
      open = await this.#findKnown(wanted, results, open, before)
    return results
  }

  /** DNS about each address once, within the budget. An address without an entry was not answered in time. */
  async #lookUpAll(
    distinct: readonly AddressDay[],
    budgetMilliseconds: number,
    signal: AbortSignal,
  ): Promise<Map<string, LookUp>> {
    const answers = new Map<string, LookUp>()
    const { resolver } = this.#options
    this.#counters.asked += distinct.length
    if (resolver !== null) {
      const addresses = new Set(distinct.map(({ address }) => address))
      const budget = new AbortController()
      let isOver = false
      // Those under way when the budget ends go on, so that the cache of the resolver has them next time.
      const all = [...addresses].map(async (address) => {
        const lookUp = await resolver.lookUp(address, budget.signal)
        if (!isOver) answers.set(address, lookUp)
      })
      await Promise.race([Promise.all(all), ended(budgetMilliseconds, signal, budget.signal)])
      isOver = true
      budget.abort()
    }
    let answered = 0
    for (const { address } of distinct) if (answers.get(address)?.observed === true) answered++
    this.#counters.answered += answered
    this.#counters.unanswered += distinct.length - answered
    return answers
  }
}

/** Each address and day once, and for each of the missing places which one it is. */
function distinctOf(requests: readonly AddressDay[], missing: readonly number[]) {
  const days = new Map<string, Map<string, number>>()
  const distinct: AddressDay[] = []
  const places = missing.map((place) => {
    const request = requests[place]!
    let addresses = days.get(request.day)
    if (addresses === undefined) {
      addresses = new Map()
      days.set(request.day, addresses)
    }
    let index = addresses.get(request.address)
    if (index === undefined) {
      index = distinct.push(request) - 1
      addresses.set(request.address, index)
    }
    return index
  })
  return { places, distinct }
}
