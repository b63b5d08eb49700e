/**
 * Asks the outside world anew about every address and every key that was ever observed, under a new epoch. What the epoch has already is
 * not asked about again, so that one that was cut off goes on where it was.
 */
import type { Log } from '../topics/log.ts'
import { type AddressesObserved, type KeyObserved, KeyObserved as KeyType } from '../topics/observations.ts'
import type { ObservationReader } from './observation-fold.ts'
import type { Observer } from './observer.ts'

export interface ReobserveOptions {
  readonly log: Log
  /** Physical name of `observations`. */
  readonly topic: string
  readonly codec: ObservationReader
  readonly observer: Observer
  /** The epoch to fill; what the epochs before it hold is asked about. */
  readonly epoch: number
  /** In events of the topic. */
  readonly onProgress: (done: number, total: number) => void
  readonly signal: AbortSignal
}

/** Nobody waits for these answers but this: a slow name server gets its time. */
const BUDGET_MILLISECONDS = 20_000
/** Calls under way; each holds up to 200 addresses. */
const AT_ONCE = 4

/** Resolves when everything that the topic held when it began is observed. Rejects when the log fails or the signal aborts. */
export async function reobserve(options: ReobserveOptions): Promise<void> {
  const { log, topic, codec, observer, epoch, onProgress, signal } = options
  const marks = await log.watermarks(topic)
  const open = new Map(marks.filter(({ low, high }) => high > low).map(({ partition, high }) => [partition, high]))
  const { events: total } = await log.lag(topic, new Map())
  onProgress(0, total)
  let done = 0
  let failure: unknown
  const underWay = new Set<Promise<void>>()
  const ask = async (value: Uint8Array) => {
    const { type, data } = await codec.read(value)
    const { epoch: before, day } = data as AddressesObserved | KeyObserved // the fold checks that nothing else is there
    const options = { epoch, ask: true, budgetMilliseconds: BUDGET_MILLISECONDS, signal }
    if (before < epoch && type === KeyType.name) {
      await observer.observeKeys([{ day, name: (data as KeyObserved).name }], options)
    } else if (before < epoch) {
      const { addresses } = data as AddressesObserved
      const requests = addresses.map(({ address }) => ({ day, address }))
      await observer.observe(requests, options)
    }
    onProgress(++done, total)
  }
  const heads = new Map(open)
  const stop = new AbortController()
  if (open.size === 0) return
  for await (const events of log.follow(topic, { signal: AbortSignal.any([signal, stop.signal]) })) {
    for (const { partition, offset, value } of events) {
      const head = heads.get(partition) ?? 0
      if (offset + 1 >= head) open.delete(partition)
      // What lies beyond came after the beginning, our own answers among it: read on, it would never end.
      if (offset >= head) continue
      const asked = ask(value)
        .catch((error: unknown) => {
          failure ??= error
        })
        .finally(() => underWay.delete(asked))
      underWay.add(asked)
      if (underWay.size >= AT_ONCE) await Promise.race(underWay)
      if (failure !== undefined) stop.abort()
    }
    if (open.size === 0) stop.abort()
  }
  await Promise.all(underWay)
  signal.throwIfAborted()
  if (failure !== undefined) throw failure
}
