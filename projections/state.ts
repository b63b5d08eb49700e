/** How far the projections have got: for `/status`, `--wait`, readiness and metrics. */
import type { Generation } from '../topics/generation.ts'
import type { Log } from '../topics/log.ts'
import type { ProjectedTopic } from './projection.ts'
import { projectedTopics } from './schema.ts'

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

export class ProjectionState {
  readonly #positions = new Map<ProjectedTopic, Map<number, number>>(projectedTopics.map((topic) => [topic, new Map()]))
  readonly #inserted = new Map<ProjectedTopic, Inserted[]>(projectedTopics.map((topic) => [topic, []]))
  #heads: readonly { readonly topic: ProjectedTopic; readonly partition: number; readonly high: number }[] = []
  #requested: string | null = null
  #wake: () => void = () => {}

  /** The next offset by partition: all before it is in the store. Partitions that are not read yet are absent. */
  positions(topic: ProjectedTopic): ReadonlyMap<number, number> {
    return this.#positions.get(topic)!
  }

  /** Events a second, lately. */
  eventRate(topic: ProjectedTopic): number {
    return this.#rate(topic, ({ events }) => events)
  }

  /** Rows a second, lately (of the topic's largest table). */
  rowRate(topic: ProjectedTopic): number {
    return this.#rate(topic, ({ rows }) => rows)
  }

  /** Whether all that is on the topic now is in the store. */
  async caughtUp(topic: ProjectedTopic, log: Log, generation: Generation): Promise<boolean> {
    const positions = this.positions(topic)
    const watermarks = await log.watermarks(generation.topics[topic])
    return watermarks.every(({ partition, low, high }) => low === high || (positions.get(partition) ?? 0) >= high)
  }

  /** Offsets done of those that the log held when the rebuild began, or null when none is under way. */
  rebuilding(): Progress | null {
    let done = 0
    let total = 0
    for (const { topic, partition, high } of this.#heads) {
      done += Math.min(this.positions(topic).get(partition) ?? 0, high)
      total += high
    }
    if (done >= total) this.#heads = []
    return done >= total ? null : { done, total }
  }

  /** Makes the loops stop, empty the store and fill it again. The reason is a sentence for the operator. */
  requestRebuild(reason: string): void {
    this.#requested = reason
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

  async beginRebuild(log: Log, generation: Generation): Promise<void> {
    const heads = []
    for (const topic of projectedTopics) {
      this.#positions.get(topic)!.clear()
      for (const { partition, low, high } of await log.watermarks(generation.topics[topic]))
        if (high > low) heads.push({ topic, partition, high })
    }
    this.#heads = heads
  }

  reached(topic: ProjectedTopic, partition: number, position: number): void {
    this.#positions.get(topic)!.set(partition, position)
  }

  inserted(topic: ProjectedTopic, rows: number, events: number): void {
    const list = this.#inserted.get(topic)!
    const now = performance.now()
    list.push({ at: now, rows, events })
    while (list[0]!.at < now - RATE_MILLISECONDS) list.shift()
  }

  #rate(topic: ProjectedTopic, value: (inserted: Inserted) => number): number {
    const since = performance.now() - RATE_MILLISECONDS
    let sum = 0
    for (const inserted of this.#inserted.get(topic)!) if (inserted.at >= since) sum += value(inserted)
    return sum / (RATE_MILLISECONDS / 1000)
  }
}
