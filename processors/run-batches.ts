/**
 * The loop that runs a batch processor: what comes of a batch is appended in its order, and the batch is committed when
 * that is durable. While one batch is being appended the next is handled. At-least-once; derived ids make that harmless.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { LogicalTopic } from '../topics/generation.ts'
import type { Batch, Log, NewEvent, ReadOptions } from '../topics/log.ts'
import { logAway, untilLogAnswers } from '../topics/log-away.ts'
import type { BatchProcessor, ProducedEvent } from './processor.ts'
import { type LoopState, ProcessorStopped } from './run.ts'

export interface RunBatchesOptions {
  /** See `ReadOptions`: without it the loop refuses to go on behind events that are gone. */
  readonly onGap?: ReadOptions['onGap']
  readonly log: Log
  readonly processor: BatchProcessor
  /** Physical name of a topic in the generation that this loop works for. */
  readonly physical: (topic: LogicalTopic) => string
  readonly group: string
  readonly signal: AbortSignal
  /** Asked before each batch: resolves when nothing more urgent is to be done. */
  readonly turn?: (signal: AbortSignal) => Promise<void>
  /** Events of a batch at most; default 512. */
  readonly maxEvents?: number
  /** Attempts on a batch before the loop stops; default 3. */
  readonly maxAttempts?: number
  /** Told of everything that an operator should know. */
  readonly onProblem?: (message: string) => void
}

const MAX_BATCH_EVENTS = 512
const MAX_BATCH_BYTES = 2 * 1024 * 1024
const ATTEMPTS = 3
const RETRY_MILLISECONDS = 1000

/** Runs until the signal aborts. Rejects when the log breaks or the processor fails on a batch again and again. */
export async function runBatchProcessor(options: RunBatchesOptions, state: LoopState): Promise<void> {
  const { log, processor, physical, group, turn } = options
  const stop = new AbortController()
  const signal = AbortSignal.any([options.signal, stop.signal])
  let failure: unknown
  let appending: Promise<void> = Promise.resolve()
  const finish = async (batch: Batch, before: Promise<void>, produced: readonly ProducedEvent[]) => {
    await before
    if (failure !== undefined || signal.aborted) return
    await appendSurely(options, signal, produced)
    await batch.commit()
    state.handled += batch.events.length
    for (const { value } of batch.events) state.bytes += value.length
  }
  try {
    const reader = log.read(physical(processor.from), {
      ...(options.onGap === undefined ? {} : { onGap: options.onGap }),
      group,
      signal,
      maxEvents: options.maxEvents ?? MAX_BATCH_EVENTS,
      maxBytes: MAX_BATCH_BYTES,
    })
    for await (const batch of reader) {
      await turn?.(signal)
      const produced = await handleSurely(options, signal, batch)
      const before = appending
      await before
      appending = finish(batch, before, produced)
      appending.catch((error: unknown) => {
        failure ??= error
        stop.abort()
      })
    }
    await appending
  } catch (error) {
    failure ??= error
  } finally {
    stop.abort()
    await appending.catch(() => undefined) // its failure is in `failure`
  }
  if (failure !== undefined && !options.signal.aborted) throw failure
}

/** A fault may pass (a log that is full, an edge that is away); one that does not is ours, and stops the loop. */
async function handleSurely(
  { processor, maxAttempts = ATTEMPTS, onProblem }: RunBatchesOptions,
  signal: AbortSignal,
  batch: Batch,
): Promise<readonly ProducedEvent[]> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await processor.handle(batch.events, signal)
    } catch (error) {
      signal.throwIfAborted()
      const { message } = error as Error
      const away = logAway(error)
      if (away !== null) {
        onProblem?.(`${processor.name} waits: ${away}.`)
        attempt = 0
      } else if (attempt >= maxAttempts) {
        const { topic, partition, offset } = batch.events[0]!
        throw new ProcessorStopped(
          `${processor.name} failed ${attempt} times on the events from ${topic}, partition ${partition}, offset ${offset} on: ` +
            `${message} It has stopped; nothing is lost. Mend the cause (or go back to the version before) and start again.`,
          { cause: error },
        )
      } else {
        onProblem?.(`${processor.name} failed and tries again: ${message}`)
      }
    }
    await sleep(RETRY_MILLISECONDS, undefined, { signal })
  }
}

async function appendSurely(
  { log, physical, processor, onProblem }: RunBatchesOptions,
  signal: AbortSignal,
  produced: readonly ProducedEvent[],
): Promise<void> {
  const byTopic = new Map<LogicalTopic, NewEvent[]>()
  for (const { topic, event } of produced) {
    const events = byTopic.get(topic)
    if (events === undefined) byTopic.set(topic, [event])
    else events.push(event)
  }
  for (const [topic, events] of byTopic)
    await untilLogAnswers(() => log.append(physical(topic), events), {
      signal,
      onAway: (reason) => onProblem?.(`${processor.name} waits: ${reason}.`),
    })
}
