/** What a processor is: event → events. How it is run, batched, appended and committed is the loop's business. */
import type { LogicalTopic } from '../topics/generation.ts'
import type { LogEvent, NewEvent } from '../topics/log.ts'

export interface ProducedEvent {
  readonly topic: LogicalTopic
  readonly event: NewEvent
}

/** What came of one event. Large results come piecewise; `release` frees what they lie in. */
export interface Produced {
  readonly events: Iterable<ProducedEvent>
  /** Memory that it takes until it is released. */
  readonly bytes: number
  release(): Promise<void>
}

/** What the processor needs is gone for good: the loop ends, and nothing is said of the event. */
export class Outage extends Error {}

export interface Processor {
  readonly name: string
  readonly from: LogicalTopic
  readonly to: readonly LogicalTopic[]
  /** Events that may be handled at once. */
  readonly concurrency: number
  /** Events that take long by their size. They are handled beside the others, which never wait for them. */
  readonly large?: {
    readonly concurrency: number
    isLarge(event: LogEvent): boolean
  }
  /**
   * Never rejects for bad input: that is an event on `rejects`. A rejection is a fault of ours, after which the loop
   * asks `giveUp` what to say of the event. Where it waits for something, it rejects when the signal aborts.
   */
  handle(event: LogEvent, signal?: AbortSignal): Promise<Produced>
  /** What is said of an event that the processor failed on. */
  giveUp(event: LogEvent, error: unknown): Produced
}

/**
 * A processor whose results must keep the order of its events: those of one report go on in the order in which they
 * came. It is given a batch at a time.
 */
export interface BatchProcessor {
  readonly name: string
  readonly from: LogicalTopic
  readonly to: readonly LogicalTopic[]
  /**
   * Events in the order of each partition; what comes of them, in the same order. Rejects only for a fault of ours or an
   * outage: nothing that a mail can hold makes it fail.
   */
  handle(events: readonly LogEvent[], signal: AbortSignal): Promise<readonly ProducedEvent[]>
}
