/**
 * Brings topics, tables, loops and views to what the control topic says. Every process runs its loops; exactly one, the
 * leader, makes and deletes topics, tables and views. It deletes only what no kept generation points to, and only when no
 * process reads or writes it any more.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { FeedList } from '../projections/feeds.ts'
import { feedsOf, ownerOf, projectedTopics } from '../projections/feeds.ts'
import { untilStoreAnswers } from '../projections/run.ts'
import { createTables, dropTables, type StoreLayout, switchViews, unwantedTables } from '../projections/schema.ts'
import type { Store } from '../projections/store.ts'
import { settingsOf, type TopicOptions } from '../topics/all.ts'
import type { ControlState } from '../topics/control-state.ts'
import { derivedTopics, type Generation } from '../topics/generation.ts'
import type { Log } from '../topics/log.ts'
import { untilLogAnswers } from '../topics/log-away.ts'
import type { Erasures } from './erasures.ts'
import { activeGenerations, loopsOf, type ProcessorLoops, stages } from './loops.ts'

export interface ReconcilerOptions {
  readonly log: Log
  readonly store: Store
  readonly control: ControlState
  readonly loops: ProcessorLoops
  readonly feeds: FeedList
  readonly topicPrefix: string
  readonly topicOptions: TopicOptions
  /** What this process does, besides: run processors, project. */
  readonly roles: { readonly process: boolean; readonly project: boolean }
  /** What is to be erased, before any loop begins to work. */
  readonly erasures?: Erasures
  /** Whether this process makes and deletes what all share. */
  readonly leads: () => boolean
  readonly signal: AbortSignal
  readonly onProblem: (message: string) => void
}

/** A leader that must wait for others, and a process that waits for the leader, looks again so often. */
const LOOK_MILLISECONDS = 500
/** What could not be erased now is tried again after this time. */
const ERASE_AGAIN_MILLISECONDS = 10_000

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
      return this.#options.signal.aborted ? undefined : this.#bringSurely()
    })
    this.#running = this.#next
    return this.#running
  }

  /** A log that is away is waited for, and then everything is looked at anew: what was done before changes nothing. */
  #bringSurely(): Promise<void> {
    const { signal, onProblem } = this.#options
    const onAway = (reason: string) => onProblem(`Generations wait: ${reason}.`)
    return untilLogAnswers(() => this.#bring(), { signal, onAway }).catch((error: unknown) => {
      if (!signal.aborted) throw error
    })
  }

  async #bring(): Promise<void> {
    const { log, store, control, loops, feeds, topicPrefix, topicOptions, roles, leads, signal } = this.#options
    // Read at once: what the control topic says may change at every wait below, and comes in the next round.
    const layout = storeLayout(control)
    const wantedLoops = roles.process ? loopsOf(control, topicPrefix) : []
    const active = activeGenerations(control).map(({ generation }) => generation)
    const wanted = roles.project ? feedsOf(active) : []
    if (leads()) {
      await createTopics(log, layout.kept, topicOptions, new Set(await log.topics()))
      for (const generation of layout.kept) await this.#surely(() => createTables(store, generation))
    } else await this.#madeByLeader(layout)
    if (signal.aborted) return
    await this.#erase()
    if (signal.aborted) return
    await loops.set(wantedLoops)
    const before = feeds.wanted()
    feeds.set(wanted)
    for (const { physical } of before)
      if (!wanted.some((feed) => feed.physical === physical)) await feeds.ended(physical, signal)
    if (!leads()) return
    if (layout.live.name !== this.#shown) {
      await this.#surely(() => switchViews(store, layout.live))
      this.#shown = layout.live.name
    }
    if (!signal.aborted) await this.#removeLeftovers(layout)
  }

  /** Ends all loops of this process where it must; those that are wanted are started again. */
  async #erase(): Promise<void> {
    const { erasures, leads, loops, feeds, signal } = this.#options
    if (erasures === undefined || !leads() || !erasures.pending()) return
    const rest = async () => {
      await loops.set([])
      const before = feeds.wanted()
      feeds.set([])
      for (const { physical } of before) await feeds.ended(physical, signal)
    }
    await erasures.finish(rest, (work) => this.#surely(work))
    if (!erasures.pending()) return
    setTimeout(() => signal.aborted || void this.reconcile().catch(() => undefined), ERASE_AGAIN_MILLISECONDS).unref()
  }

  /** Waits until the topics and tables are there, or this process has become the leader itself. */
  async #madeByLeader(layout: StoreLayout): Promise<void> {
    const { log, store, leads, signal } = this.#options
    const topics = layout.kept.flatMap((generation) => Object.values(generation.topics))
    const tables = layout.kept.flatMap((generation) => Object.values(generation.tables))
    while (!signal.aborted && !leads()) {
      const there = new Set(await log.topics())
      if (topics.every((topic) => there.has(topic))) {
        const rows = await this.#surely(() =>
          store.query<{ name: string }>('SELECT name FROM system.tables WHERE database = currentDatabase()'),
        )
        const made = new Set(rows.map(({ name }) => name))
        if (tables.every((table) => made.has(table))) return
      }
      await sleep(LOOK_MILLISECONDS, undefined, { signal }).catch(() => undefined)
    }
  }

  async #removeLeftovers(layout: StoreLayout): Promise<void> {
    const { log, store, signal } = this.#options
    const tables = await this.#surely(() => unwantedTables(store, layout))
    const topics = await this.#unwantedTopics(layout)
    const numbers = new Set([...tables, ...topics].map(ownerOf))
    for (const group of [...numbers].flatMap((number) => this.#groupsOf(number))) {
      if ((await log.members(group)) === 0) continue
      // Another process is still at it, and hears of the end as we did.
      setTimeout(() => signal.aborted || void this.reconcile().catch(() => undefined), LOOK_MILLISECONDS).unref()
      return
    }
    await this.#surely(() => dropTables(store, tables))
    for (const topic of topics) await log.deleteTopic(topic)
  }

  /** Groups of all loops that read or write what is named after a generation. */
  #groupsOf(number: number): string[] {
    const { topicPrefix } = this.#options
    const processing = stages.map(({ stage }) => `${topicPrefix}${stage}.g${number}`)
    const projecting = projectedTopics.map((topic) => `${topicPrefix}project.${topic}.g${number}`)
    return [...processing, ...projecting]
  }

  #surely<T>(work: () => Promise<T>): Promise<T> {
    const { signal, onProblem } = this.#options
    return untilStoreAnswers({ signal, onProblem }, work)
  }

  async #unwantedTopics(layout: StoreLayout): Promise<string[]> {
    const { log, topicPrefix } = this.#options
    const wanted = new Set(layout.kept.flatMap(({ topics }) => Object.values(topics)))
    const isDerived = (name: string) =>
      derivedTopics.some((topic) => name.startsWith(`${topicPrefix}${topic}.g`) && /\.g\d+$/.test(name))
    return (await log.topics()).filter((name) => isDerived(name) && !wanted.has(name))
  }
}
