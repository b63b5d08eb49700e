/** A log that is counted and timed: whatever implementation is below and whoever uses it, the numbers have the same names. */
import type {
  Appended,
  Batch,
  FollowOptions,
  Log,
  LogEvent,
  NewEvent,
  Position,
  ReadOptions,
  TopicSettings,
  Watermark,
} from '../topics/log.ts'

export type LogOperation = 'send' | 'commit'

/** Told of everything that passes; seconds are of the wall. `error` is the class of what was thrown, or null. */
export interface LogMeter {
  /** Events that are durable now; those that were known already are not among them. */
  sent(topic: string, events: number): void
  /** Events given to a member of a group; 0 when it begins to read, so that the series is there from then on. */
  consumed(topic: string, group: string, events: number): void
  /** A batch that was committed, from when it was given out. */
  processed(topic: string, group: string, seconds: number): void
  operated(operation: LogOperation, topic: string, seconds: number, error: string | null): void
}

const secondsSince = (began: number) => (performance.now() - began) / 1000
/** The class of an error: few, and the same words for the same reason. */
export const errorType = (error: unknown) => (error instanceof Error ? error.constructor.name : 'unknown')

export class MeasuredLog implements Log {
  readonly #log: Log
  readonly #meter: LogMeter

  constructor(log: Log, meter: LogMeter) {
    this.#log = log
    this.#meter = meter
  }

  async append(topic: string, events: readonly NewEvent[]): Promise<readonly Appended[]> {
    const appended = await this.#timed('send', topic, () => this.#log.append(topic, events))
    let count = 0
    for (const { duplicate } of appended) if (!duplicate) count++
    this.#meter.sent(topic, count)
    return appended
  }

  read(topic: string, options: ReadOptions): AsyncIterable<Batch> {
    const batches = this.#log.read(topic, options)
    this.#meter.consumed(topic, options.group, 0)
    return {
      [Symbol.asyncIterator]: () => {
        const reader = batches[Symbol.asyncIterator]()
        const next = async (): Promise<IteratorResult<Batch>> => {
          const result = await reader.next()
          return result.done === true
            ? result
            : { done: false, value: this.#measured(topic, options.group, result.value) }
        }
        const end = reader.return?.bind(reader)
        return end === undefined ? { next } : { next, return: end }
      },
    }
  }

  #measured(topic: string, group: string, batch: Batch): Batch {
    const began = performance.now()
    this.#meter.consumed(topic, group, batch.events.length)
    return {
      events: batch.events,
      commit: async () => {
        await this.#timed('commit', topic, () => batch.commit())
        this.#meter.processed(topic, group, secondsSince(began))
      },
    }
  }

  async #timed<T>(operation: LogOperation, topic: string, work: () => Promise<T>): Promise<T> {
    const began = performance.now()
    try {
      const result = await work()
      this.#meter.operated(operation, topic, secondsSince(began), null)
      return result
    } catch (error) {
      this.#meter.operated(operation, topic, secondsSince(began), errorType(error))
      throw error
    }
  }

  get canErase(): boolean {
    return this.#log.canErase
  }
  erase(topic: string, positions: readonly Position[], options?: { readonly keepOnceIds?: boolean }): Promise<number> {
    return this.#log.erase(topic, positions, options)
  }
  scrub(): Promise<void> {
    return this.#log.scrub()
  }
  createTopic(settings: TopicSettings): Promise<void> {
    return this.#log.createTopic(settings)
  }
  topics(): Promise<readonly string[]> {
    return this.#log.topics()
  }
  deleteTopic(name: string): Promise<void> {
    return this.#log.deleteTopic(name)
  }
  follow(topic: string, options: FollowOptions): AsyncIterable<readonly LogEvent[]> {
    return this.#log.follow(topic, options)
  }
  get(topic: string, partition: number, offset: number): Promise<LogEvent | null> {
    return this.#log.get(topic, partition, offset)
  }
  watermarks(topic: string): Promise<readonly Watermark[]> {
    return this.#log.watermarks(topic)
  }
  size(topic: string): Promise<{ readonly events: number; readonly bytes: number }> {
    return this.#log.size(topic)
  }
  committed(topic: string, group: string): Promise<ReadonlyMap<number, number>> {
    return this.#log.committed(topic, group)
  }
  members(group: string): Promise<number> {
    return this.#log.members(group)
  }
  lag(topic: string, positions: ReadonlyMap<number, number>): Promise<{ events: number; oldest: number | null }> {
    return this.#log.lag(topic, positions)
  }
  close(): Promise<void> {
    return this.#log.close()
  }
}
