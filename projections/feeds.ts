/** What is projected: each physical topic of the kept generations into the tables that it fills. */
import type { Generation } from '../topics/generation.ts'
import { projections } from './all.ts'
import type { ProjectedTopic, Projection } from './projection.ts'

/** One topic and what is made of it. Generations that share the topic share the feed. */
export interface Feed {
  readonly topic: ProjectedTopic
  /** Name on the log. */
  readonly physical: string
  /** Any generation that has these names. */
  readonly generation: Generation
  /** Number of the generation that the topic was made for. */
  readonly owner: number
}

/** Every topic that is projected, from what counts least if it is late to what counts most. */
export const projectedTopics: readonly ProjectedTopic[] = ['enriched', 'private', 'rejects', 'verdicts']

/** The number of the generation that a derived topic or table is named after. */
export function ownerOf(physical: string): number {
  const match = /(?:\.|__)g(\d+)$/.exec(physical)
  if (match === null) throw new Error(`${physical} is not the name of a topic or table of a generation.`)
  return Number(match[1])
}

/** The feeds of these generations, each once. */
export function feedsOf(generations: readonly Generation[]): readonly Feed[] {
  const feeds = new Map<string, Feed>()
  for (const generation of generations) {
    for (const topic of projectedTopics) {
      const physical = generation.topics[topic]
      if (!feeds.has(physical)) feeds.set(physical, { topic, physical, generation, owner: ownerOf(physical) })
    }
  }
  return [...feeds.values()]
}

export function projectionsOf({ topic }: Feed): readonly Projection[] {
  return projections.filter((projection) => projection.topic === topic)
}

/** Physical names of the tables that a feed fills. */
export function tablesOf(feed: Feed): readonly string[] {
  return projectionsOf(feed).map(({ table }) => feed.generation.tables[table])
}

/** The feeds that are wanted now. Whoever takes one away may wait until nothing is written from it any more. */
export class FeedList {
  #wanted: readonly Feed[]
  #applied: readonly Feed[] = []
  #version = 0
  readonly #waiting = new Set<() => void>()

  constructor(feeds: readonly Feed[]) {
    this.#wanted = feeds
  }

  wanted(): readonly Feed[] {
    return this.#wanted
  }

  set(feeds: readonly Feed[]): void {
    this.#wanted = feeds
    this.#version++
    this.#wake()
  }

  /** Told by the loops: these run, and no others do. */
  applied(feeds: readonly Feed[]): void {
    this.#applied = feeds
    this.#wake()
  }

  /** Resolves when no feed with this physical topic is run. */
  async ended(physical: string, signal: AbortSignal): Promise<void> {
    while (!signal.aborted && this.#applied.some((feed) => feed.physical === physical)) await this.#change(signal)
  }

  /** Resolves when other feeds are wanted than when `version` was read, or the signal aborts. */
  async changed(version: number, signal: AbortSignal): Promise<void> {
    while (this.#version === version && !signal.aborted) await this.#change(signal)
  }

  get version(): number {
    return this.#version
  }

  #wake(): void {
    for (const notify of this.#waiting) notify()
  }

  #change(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const notify = () => {
        this.#waiting.delete(notify)
        signal.removeEventListener('abort', notify)
        resolve()
      }
      this.#waiting.add(notify)
      signal.addEventListener('abort', notify, { once: true })
    })
  }
}
