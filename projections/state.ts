/** How far the projections have got: for `/status`, `--wait`, readiness and metrics. Topics by their names on the log. */
import type { Log } from '../topics/log.ts'
import type { Feed } from './feeds.ts'

/** Rates are over the last so many milliseconds. */
const RATE_MILLISECONDS = 10_000

export interface Progress {
  readonly done: number
  readonly total: number
}

interface Inserted {
  readonly at: number
  readonly rows: number
  readonly events: number
}

const NOWHERE: ReadonlyMap<number, number> = new Map()

export class ProjectionState {
  readonly #positions = new Map<string, Map<number, number>>()
  readonly #inserted = new Map<string, Inserted[]>()
  #heads: readonly { readonly physical: string; readonly partition: number; readonly high: number }[] = []
  #requested: string | null = null
  /** From the request on until the heads to be reached are known. */
  #isAboutToRebuild = false
  #wake: () => void = () => {}

  /** The next offset by partition: all before it is in the store. Partitions that are not read yet are absent. */
  positions(physical: string): ReadonlyMap<number, number> {
    return this.#positions.get(physical) ?? NOWHERE
  }

  /** Events a second, lately. */
  eventRate(physical: string): number {
    return this.#rate(physical, ({ events }) => events)
  }

  /** Rows a second, lately (of the topic's largest table). */
  rowRate(physical: string): number {
    return this.#rate(physical, ({ rows }) => rows)
  }

  /** Whether all that is on the topic now is in the store. */
  async caughtUp(physical: string, log: Log): Promise<boolean> {
    const positions = this.positions(physical)
    const watermarks = await log.watermarks(physical)
    return watermarks.every(({ partition, low, high }) => low === high || (positions.get(partition) ?? 0) >= high)
  }

  /** Offsets done of those that the log held when the rebuild began, or null when none is under way. */
  rebuilding(): Progress | null {
    if (this.#isAboutToRebuild) return { done: 0, total: 1 }
    let done = 0
    let total = 0
    for (const { physical, partition, high } of this.#heads) {
      done += Math.min(this.positions(physical).get(partition) ?? 0, high)
      total += high
    }
    if (done >= total) this.#heads = []
    return done >= total ? null : { done, total }
  }

  /** Said by the loops as soon as the store is known to be lost. */
  aboutToRebuild(): void {
    this.#isAboutToRebuild = true
  }

  /** Makes the loops stop, empty the store and fill it again. The reason is a sentence for the operator. */
  requestRebuild(reason: string): void {
    this.#requested = reason
    this.#isAboutToRebuild = true
    this.#wake()
  }

  /** Resolves with the reason when a rebuild is asked for, with null when the signal aborts. */
  async rebuildRequested(signal: AbortSignal): Promise<string | null> {
    await new Promise<void>((resolve) => {
      this.#wake = resolve
      signal.addEventListener('abort', () => resolve(), { once: true })
      if (this.#requested !== null || signal.aborted) resolve()
    })
    const reason = signal.aborted ? null : this.#requested
    if (reason !== null) this.#requested = null
    return reason
  }

  async beginRebuild(log: Log, feeds: readonly Feed[]): Promise<void> {
    this.#positions.clear()
    const heads = []
    for (const { physical } of feeds) {
      for (const { partition, low, high } of await log.watermarks(physical))
        if (high > low) heads.push({ physical, partition, high })
    }
    this.#heads = heads
    this.#isAboutToRebuild = false
  }

  reached(physical: string, partition: number, position: number): void {
    const positions = this.#positions.get(physical)
    if (positions === undefined) this.#positions.set(physical, new Map([[partition, position]]))
    else positions.set(partition, position)
  }

  inserted(physical: string, rows: number, events: number): void {
    const list = this.#inserted.get(physical) ?? []
    this.#inserted.set(physical, list)
    const now = performance.now()
    list.push({ at: now, rows, events })
    while (list[0]!.at < now - RATE_MILLISECONDS) list.shift()
  }

  /** The store was emptied: nothing that was reached counts any more. */
  forgetAll(): void {
    this.#positions.clear()
    this.#inserted.clear()
  }

  /** The topic is no longer projected. */
  forget(physical: string): void {
    this.#positions.delete(physical)
    this.#inserted.delete(physical)
    this.#heads = this.#heads.filter((head) => head.physical !== physical)
  }

  #rate(physical: string, value: (inserted: Inserted) => number): number {
    const since = performance.now() - RATE_MILLISECONDS
    let sum = 0
    for (const inserted of this.#inserted.get(physical) ?? []) if (inserted.at >= since) sum += value(inserted)
    return sum / (RATE_MILLISECONDS / 1000)
  }
}
