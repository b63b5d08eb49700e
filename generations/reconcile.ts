/**
 * Brings topics, tables, loops and views to what the control topic says. Exactly one process does it; it deletes only what
 * no kept generation points to, and only when nothing reads or writes it any more.
 */
import type { FeedList } from '../projections/feeds.ts'
import { feedsOf } from '../projections/feeds.ts'
import { untilStoreAnswers } from '../projections/run.ts'
import { createTables, dropTables, type StoreLayout, switchViews, unwantedTables } from '../projections/schema.ts'
import type { Store } from '../projections/store.ts'
import { settingsOf, type TopicOptions } from '../topics/all.ts'
import type { ControlState } from '../topics/control-state.ts'
import { derivedTopics, type Generation } from '../topics/generation.ts'
import type { Log } from '../topics/log.ts'
import { activeGenerations, loopsOf, type ProcessorLoops } from './loops.ts'

export interface ReconcilerOptions {
  readonly log: Log
  readonly store: Store
  readonly control: ControlState
  readonly loops: ProcessorLoops
  readonly feeds: FeedList
  readonly topicPrefix: string
  readonly topicOptions: TopicOptions
  readonly signal: AbortSignal
  readonly onProblem: (message: string) => void
}

/** The generations that the store must have, and the live one. */
export function storeLayout(control: ControlState): StoreLayout {
  return { live: control.live()!.generation, kept: control.kept().map(({ generation }) => generation) }
}

/** Makes the topics of these generations, and brings those that are there to the settings, but for those known. */
export async function createTopics(
  log: Log,
  generations: readonly Generation[],
  options: TopicOptions,
  known: ReadonlySet<string> = new Set(),
): Promise<void> {
  for (const generation of generations)
    for (const topic of derivedTopics)
      if (!known.has(generation.topics[topic])) await log.createTopic(settingsOf(topic, generation, options))
}

export class Reconciler {
  readonly #options: ReconcilerOptions
  #shown: string
  #running: Promise<void> = Promise.resolve()
  /** A round that has not begun: whoever asks meanwhile is served by it, too. */
  #next: Promise<void> | undefined

  /** `shown`: name of the generation that the views show now. */
  constructor(options: ReconcilerOptions, shown: string) {
    this.#options = options
    this.#shown = shown
  }

  /** Resolves when everything is as the control topic said when this was called. */
  reconcile(): Promise<void> {
    this.#next ??= this.#running.then(() => {
      this.#next = undefined
      return this.#options.signal.aborted ? undefined : this.#bring()
    })
    this.#running = this.#next
    return this.#running
  }

  async #bring(): Promise<void> {
    const { log, store, control, loops, feeds, topicPrefix, topicOptions, signal, onProblem } = this.#options
    // Read at once: what the control topic says may change at every wait below, and comes in the next round.
    const layout = storeLayout(control)
    const wantedLoops = loopsOf(control, topicPrefix)
    const wanted = feedsOf(activeGenerations(control).map(({ generation }) => generation))
    const surely = (work: () => Promise<void>) => untilStoreAnswers({ signal, onProblem }, work)
    await createTopics(log, layout.kept, topicOptions, new Set(await log.topics()))
    for (const generation of layout.kept) await surely(() => createTables(store, generation))
    await loops.set(wantedLoops)
    const before = feeds.wanted()
    feeds.set(wanted)
    for (const { physical } of before)
      if (!wanted.some((feed) => feed.physical === physical)) await feeds.ended(physical, signal)
    if (layout.live.name !== this.#shown) {
      await surely(() => switchViews(store, layout.live))
      this.#shown = layout.live.name
    }
    if (signal.aborted) return
    await surely(async () => dropTables(store, await unwantedTables(store, layout)))
    for (const topic of await this.#unwantedTopics(layout)) await log.deleteTopic(topic)
  }

  async #unwantedTopics(layout: StoreLayout): Promise<string[]> {
    const { log, topicPrefix } = this.#options
    const wanted = new Set(layout.kept.flatMap(({ topics }) => Object.values(topics)))
    const isDerived = (name: string) =>
      derivedTopics.some((topic) => name.startsWith(`${topicPrefix}${topic}.g`) && /\.g\d+$/.test(name))
    return (await log.topics()).filter((name) => isDerived(name) && !wanted.has(name))
  }
}
