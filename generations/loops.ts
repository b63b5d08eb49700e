/**
 * The loops that the kept generations need: each stage once for each topic that it writes. Generations that share a topic
 * share the loop that fills it. A replay is nothing but loops that were not there before.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { BatchProcessor, Processor } from '../processors/processor.ts'
import { type LoopState, runProcessor } from '../processors/run.ts'
import { runBatchProcessor } from '../processors/run-batches.ts'
import { ownerOf } from '../projections/feeds.ts'
import type { ControlState, GenerationEntry } from '../topics/control-state.ts'
import type { Generation, LogicalTopic } from '../topics/generation.ts'
import type { Log, LogEvent, ReadOptions } from '../topics/log.ts'

/** Each stage, upstream first, what it reads, and the topic by which its loop is known. */
export const stages = [
  { stage: 'parse-mail', reads: 'ingest', writes: 'reports' },
  { stage: 'enrich', reads: 'reports', writes: 'enriched' },
  { stage: 'evaluate', reads: 'enriched', writes: 'verdicts' },
] as const satisfies readonly { stage: string; reads: LogicalTopic; writes: LogicalTopic }[]
export type StageName = (typeof stages)[number]['stage']

export interface Loop {
  readonly stage: StageName
  /** Physical name of the topic that it fills. */
  readonly writes: string
  readonly reads: string
  /** The generation that the topic was made for: its rule set and its observation epoch. */
  readonly generation: Generation
  readonly group: string
}

/** Generations whose loops run. */
export function activeGenerations(control: ControlState): readonly GenerationEntry[] {
  return control.kept().filter(({ state }) => state !== 'paused')
}

export function loopsOf(control: ControlState, topicPrefix: string): readonly Loop[] {
  const loops = new Map<string, Loop>()
  for (const { generation } of activeGenerations(control)) {
    for (const { stage, reads, writes } of stages) {
      const physical = generation.topics[writes]
      if (loops.has(physical)) continue
      const owner = control.generation(ownerOf(physical))!.generation
      const group = `${topicPrefix}${stage}.${owner.name}`
      loops.set(physical, { stage, writes: physical, reads: owner.topics[reads], generation: owner, group })
    }
  }
  return [...loops.values()]
}

/** Makes the processor of a loop. */
export interface ProcessorMakers {
  parseMail(loop: Loop, isLive: () => boolean): Processor
  /** `isLive` is asked at each batch: only the live generation's loop asks the outside world. */
  enrich(loop: Loop, isLive: () => boolean): BatchProcessor
  evaluate(loop: Loop): BatchProcessor
}

export interface ProcessorLoopsOptions {
  readonly log: Log
  readonly make: ProcessorMakers
  readonly signal: AbortSignal
  /** Asked before each batch of any loop: resolves when nothing more urgent is to be done in this process. */
  readonly giveWay: (signal: AbortSignal) => Promise<void>
  /** Whether the topic belongs to the live generation. */
  readonly isLive: (physical: string) => boolean
  /** With the event of `ingest` that it is about, when it is about one. */
  readonly onProblem: (message: string, event: LogEvent | null) => void
  /** See `ReadOptions`. */
  readonly onGap?: ReadOptions['onGap']
  /** Told when a loop fails for good. */
  readonly onFailure: (error: unknown) => void
}

interface Running {
  readonly loop: Loop
  readonly state: LoopState
  readonly ending: AbortController
  readonly done: Promise<void>
}

/** A replay waits so long before each batch while live mail is being worked on. */
const YIELD_MILLISECONDS = 50
/** Live work within the last so many milliseconds is work under way. */
const RECENT_MILLISECONDS = 100

export class ProcessorLoops {
  readonly #options: ProcessorLoopsOptions
  readonly #running = new Map<string, Running>()
  #liveHandled = 0
  #liveAt = 0

  constructor(options: ProcessorLoopsOptions) {
    this.#options = options
  }

  /** Starts what is wanted and does not run, and ends what runs and is not wanted. Resolves when that has ended. */
  async set(wanted: readonly Loop[]): Promise<void> {
    const ended = [...this.#running.values()].filter(({ loop }) => !wanted.some(({ writes }) => writes === loop.writes))
    for (const { ending } of ended) ending.abort()
    await Promise.all(ended.map(({ done }) => done))
    for (const { loop } of ended) this.#running.delete(loop.writes)
    for (const loop of wanted) if (!this.#running.has(loop.writes)) this.#start(loop)
  }

  /** Events handled since the loop was started; 0 when it does not run. */
  handled(writes: string): number {
    return this.#running.get(writes)?.state.handled ?? 0
  }

  /** Resolves when every loop has ended, after the signal aborted. */
  async ended(): Promise<void> {
    await Promise.allSettled([...this.#running.values()].map(({ done }) => done))
  }

  #start(loop: Loop): void {
    const ending = new AbortController()
    const state: LoopState = { handled: 0, bytes: 0 }
    const done = this.#run(loop, AbortSignal.any([this.#options.signal, ending.signal]), state)
    done.catch((error: unknown) => this.#options.onFailure(error))
    this.#running.set(loop.writes, { loop, state, ending, done: done.catch(() => undefined) })
  }

  #run(loop: Loop, signal: AbortSignal, state: LoopState): Promise<void> {
    const { log, make, onProblem, isLive, giveWay } = this.#options
    const { generation, group } = loop
    const physical = (topic: LogicalTopic) => generation.topics[topic]
    const live = () => isLive(loop.writes)
    const turn = async (waiting: AbortSignal) => {
      await giveWay(waiting)
      if (!live()) await this.#yieldToLive(waiting)
    }
    const { onGap } = this.#options
    const shared = { log, physical, group, signal, turn, onProblem, ...(onGap === undefined ? {} : { onGap }) }
    const inBatches = { ...shared, onProblem: (message: string) => onProblem(message, null) }
    switch (loop.stage) {
      case 'parse-mail':
        return runProcessor({ ...shared, processor: make.parseMail(loop, live) }, state)
      case 'enrich':
        return runBatchProcessor({ ...inBatches, processor: make.enrich(loop, live) }, state)
      case 'evaluate':
        return runBatchProcessor({ ...inBatches, processor: make.evaluate(loop) }, state)
    }
  }

  async #yieldToLive(signal: AbortSignal): Promise<void> {
    let handled = 0
    for (const { loop, state } of this.#running.values())
      if (this.#options.isLive(loop.writes)) handled += state.handled
    if (handled !== this.#liveHandled) this.#liveAt = performance.now()
    this.#liveHandled = handled
    if (performance.now() - this.#liveAt < RECENT_MILLISECONDS)
      await sleep(YIELD_MILLISECONDS, undefined, { signal }).catch(() => undefined)
  }
}
