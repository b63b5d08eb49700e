/**
 * The loop that runs a processor: reads its topic as a group, handles events side by side, appends what came of them,
 * and commits a batch only when all its outputs are durable. At-least-once; derived ids make that harmless.
 */
import type { LogicalTopic } from '../topics/generation.ts'
import type { Batch, Log, LogEvent, NewEvent, ReadOptions } from '../topics/log.ts'
import { untilLogAnswers } from '../topics/log-away.ts'
import { Outage, type Processor, type Produced } from './processor.ts'

export interface RunOptions {
  readonly log: Log
  readonly processor: Processor
  /** Physical name of a topic in the generation that this loop works for. */
  readonly physical: (topic: LogicalTopic) => string
  readonly group: string
  readonly signal: AbortSignal
  /** Asked before each batch: resolves when nothing more urgent is to be done. */
  readonly turn?: (signal: AbortSignal) => Promise<void>
  /** Failures in a row after which the loop stops rather than reject everything; default 100. */
  readonly maxFailures?: number
  /** See `ReadOptions`: without it the loop refuses to go on behind events that are gone. */
  readonly onGap?: ReadOptions['onGap']
  /** Told of everything that an operator should know. */
  readonly onProblem?: (message: string, event: LogEvent | null) => void
}

export interface LoopState {
  /** Events handled since the start. */
  handled: number
  /** Bytes of them. */
  bytes: number
}

/** Everything the processor was given failed: the fault is ours or the machine's, not the mail's. */
export class ProcessorStopped extends Error {}

/** Input bytes under way; beyond it the loop waits. */
const MAX_BYTES_UNDER_WAY = 96 * 1024 * 1024
/** Results that wait for the log. */
const MAX_BYTES_PRODUCED = 64 * 1024 * 1024
const MAX_BATCH_EVENTS = 256
const MAX_BATCH_BYTES = 16 * 1024 * 1024
/** Batches of which more than large events is not durable yet. */
const MAX_OPEN_BATCHES = 4
/**
 * Batches that are read ahead of a large event: they cannot be committed before it, but what came of them is out. Their
 * bytes are held until then, so that these have a bound, too.
 */
const MAX_UNCOMMITTED_BATCHES = 256
const MAX_UNCOMMITTED_BYTES = 64 * 1024 * 1024

/** Runs until the signal aborts. Rejects when the log breaks or the processor fails on everything. */
export async function runProcessor(options: RunOptions, state: LoopState): Promise<void> {
  const { log, processor, physical, group } = options
  const stop = new AbortController()
  const signal = AbortSignal.any([options.signal, stop.signal])
  const appender = new Appender(log, physical, signal, options.onProblem)
  const usualRoom = new Room(processor.concurrency, MAX_BYTES_UNDER_WAY)
  const largeRoom = new Room(processor.large?.concurrency ?? 0, MAX_BYTES_UNDER_WAY)
  const isLarge = (event: LogEvent) => processor.large?.isLarge(event) === true
  const produceRoom = new Room(Number.POSITIVE_INFINITY, MAX_BYTES_PRODUCED)
  const failures = new FailureCount(options, appender)
  const open = new OpenBatches()
  let failed: unknown
  const fail = (error: unknown) => {
    failed ??= error
    stop.abort()
  }

  const handleOne = async (event: LogEvent): Promise<void> => {
    let produced: Produced
    const room = isLarge(event) ? largeRoom : usualRoom
    await room.take(event.value.length)
    try {
      produced = await processor.handle(event, signal)
      await failures.succeeded()
    } catch (error) {
      // What was broken off is no failure: the batch is not committed, and the event is read again.
      if (signal.aborted) return
      if (error instanceof Outage) throw error
      await failures.failed(event, error)
      return
    } finally {
      room.give(event.value.length)
    }
    // From here on the result waits for the log, while the next event is handled.
    await produceRoom.take(produced.bytes)
    try {
      await appender.append(produced)
    } finally {
      produceRoom.give(produced.bytes)
    }
    state.handled++
    state.bytes += event.value.length
  }
  const finishBatch = async (batch: Batch, before: Promise<void>): Promise<void> => {
    const large: Promise<void>[] = []
    const usual: Promise<void>[] = []
    for (const event of batch.events) (isLarge(event) ? large : usual).push(handleOne(event))
    for (const each of large) each.catch(() => undefined) // awaited below
    const bytes = batch.events.reduce((sum, { value }) => sum + value.length, 0)
    const finished = open.add(Promise.all(usual), bytes)
    await Promise.all(usual)
    await Promise.all(large)
    await failures.settled()
    await before
    if (!signal.aborted) await batch.commit()
    finished()
  }

  try {
    let last: Promise<void> = Promise.resolve()
    const reader = log.read(physical(processor.from), {
      ...(options.onGap === undefined ? {} : { onGap: options.onGap }),
      group,
      signal,
      maxEvents: MAX_BATCH_EVENTS,
      maxBytes: MAX_BATCH_BYTES,
    })
    for await (const batch of reader) {
      await options.turn?.(signal)
      last = finishBatch(batch, last)
      last.catch(fail)
      await open.room(last)
    }
    await last
  } catch (error) {
    fail(error)
  }
  if (failed !== undefined && !options.signal.aborted) throw failed
}

/** The batches that were read and are not committed. */
class OpenBatches {
  #usual: Promise<unknown>[] = []
  #batches = 0
  #bytes = 0

  /** `usual` resolves when all but the large events of the batch are done. Call what is returned at its commit. */
  add(usual: Promise<unknown>, bytes: number): () => void {
    usual.catch(() => undefined) // told by the batch's own promise
    this.#usual.push(usual)
    this.#batches++
    this.#bytes += bytes
    return () => {
      this.#batches--
      this.#bytes -= bytes
    }
  }

  /** Resolves when another batch may be read. `last` is the last one's commit; rejects when a batch failed. */
  async room(last: Promise<void>): Promise<void> {
    while (this.#usual.length >= MAX_OPEN_BATCHES) await this.#usual.shift()
    if (this.#batches >= MAX_UNCOMMITTED_BATCHES || this.#bytes >= MAX_UNCOMMITTED_BYTES) await last
  }
}

/** Lets so many events of so many bytes in at once; one event always, however large. */
class Room {
  #events: number
  #bytes: number
  #taken = 0
  readonly #waiting: { bytes: number; enter: () => void }[] = []

  constructor(events: number, bytes: number) {
    this.#events = events
    this.#bytes = bytes
  }

  async take(bytes: number): Promise<void> {
    if (this.#waiting.length > 0 || !this.#fits(bytes)) {
      await new Promise<void>((enter) => this.#waiting.push({ bytes, enter }))
      return
    }
    this.#enter(bytes)
  }

  give(bytes: number): void {
    this.#taken--
    this.#events++
    this.#bytes += bytes
    while (this.#waiting.length > 0 && this.#fits(this.#waiting[0]!.bytes)) {
      const next = this.#waiting.shift()!
      this.#enter(next.bytes)
      next.enter()
    }
  }

  #fits(bytes: number): boolean {
    return this.#taken === 0 || (this.#events > 0 && this.#bytes >= bytes)
  }

  #enter(bytes: number): void {
    this.#taken++
    this.#events--
    this.#bytes -= bytes
  }
}

/**
 * Counts failures in a row. A failed event becomes a reject only when something else succeeds or its batch ends below
 * the threshold: when everything fails, nothing is rejected and nothing is lost.
 */
class FailureCount {
  readonly #options: RunOptions
  readonly #appender: Appender
  #held: Produced[] = []
  #inRow = 0

  constructor(options: RunOptions, appender: Appender) {
    this.#options = options
    this.#appender = appender
  }

  async failed(event: LogEvent, error: unknown): Promise<void> {
    const { processor, onProblem, maxFailures = 100 } = this.#options
    const message = error instanceof Error ? error.message : String(error)
    onProblem?.(`${processor.name} failed on an event: ${message}`, event)
    this.#held.push(processor.giveUp(event, error))
    if (++this.#inRow >= maxFailures) {
      throw new ProcessorStopped(
        `${processor.name} failed on ${this.#inRow} events in a row, last with: ${message}. ` +
          'It has stopped; nothing is lost. Mend the cause (or go back to the version before) and start again.',
      )
    }
  }

  async succeeded(): Promise<void> {
    this.#inRow = 0
    if (this.#held.length > 0) await this.settled()
  }

  /** Appends the rejects that were held back. */
  async settled(): Promise<void> {
    const held = this.#held
    this.#held = []
    for (const produced of held) await this.#appender.append(produced)
  }
}

const MAX_APPEND_BYTES = 4 * 1024 * 1024
const MAX_APPEND_EVENTS = 2000
/** Events of a result that never wait for others: a large result that fills one append after the other starves no small one. */
const EVENTS_AT_ONCE = 8

/** Appends results to their topics; results that come while an append is under way go together in the next one. */
class Appender {
  readonly #log: Log
  readonly #physical: (topic: LogicalTopic) => string
  readonly #signal: AbortSignal
  readonly #onProblem: RunOptions['onProblem']
  #pending = new Map<LogicalTopic, NewEvent[]>()
  #pendingBytes = 0
  #pendingEvents = 0
  #running: Promise<void> | undefined
  #next: Promise<void> | undefined

  constructor(
    log: Log,
    physical: (topic: LogicalTopic) => string,
    signal: AbortSignal,
    onProblem: RunOptions['onProblem'],
  ) {
    this.#log = log
    this.#physical = physical
    this.#signal = signal
    this.#onProblem = onProblem
  }

  /** Resolves when all events of the result are durable; then releases it. */
  async append(produced: Produced): Promise<void> {
    let last: Promise<void> | undefined
    let added = 0
    for (const { topic, event } of produced.events) {
      const isFull = this.#pendingBytes >= MAX_APPEND_BYTES || this.#pendingEvents >= MAX_APPEND_EVENTS
      if (isFull && added++ >= EVENTS_AT_ONCE) await this.#flushed()
      const events = this.#pending.get(topic)
      if (events === undefined) this.#pending.set(topic, [event])
      else events.push(event)
      this.#pendingBytes += event.value.length
      this.#pendingEvents++
      last = this.#flushed()
    }
    await last
    await produced.release()
  }

  /** Resolves when all that is pending now is durable. */
  #flushed(): Promise<void> {
    if (this.#next !== undefined) return this.#next
    const before = this.#running ?? Promise.resolve()
    this.#next = before.then(async () => {
      this.#running = this.#next
      this.#next = undefined
      const pending = this.#pending
      this.#pending = new Map()
      this.#pendingBytes = 0
      this.#pendingEvents = 0
      // All calls of one turn go into one transaction of the embedded log.
      await Promise.all([...pending].map(([topic, events]) => this.#appendSurely(topic, events)))
    })
    return this.#next
  }

  async #appendSurely(topic: LogicalTopic, events: readonly NewEvent[]): Promise<void> {
    await untilLogAnswers(() => this.#log.append(this.#physical(topic), events), {
      signal: this.#signal,
      onAway: (reason) => this.#onProblem?.(`Processing waits: ${reason}.`, null),
    })
  }
}
