/** The topic `control` as a process sees it: folded to its head before anything else is done, and followed from there. */
import { type AnyEventType, type ControlEventType, controlEvents } from './all.ts'
import type { EventCodec, EventData } from './avro.ts'
import { ControlState, type Outcome } from './control-state.ts'
import type { Log, LogEvent } from './log.ts'

export interface ControlLogOptions {
  readonly log: Log
  readonly codec: EventCodec<AnyEventType>
  /** Physical name of the topic. */
  readonly topic: string
  readonly topicPrefix: string
  readonly signal: AbortSignal
}

const PARTITION = 0

export class ControlLog {
  readonly state: ControlState
  readonly #options: ControlLogOptions
  readonly #listeners = new Set<() => void>()
  /** Outcomes of the events that this process appended and has not been told of. */
  readonly #awaited = new Map<number, (outcome: Outcome) => void>()
  readonly #early = new Map<number, Outcome>()
  #appending = 0
  #folded = 0
  /** Rejects when the topic cannot be followed any more. */
  readonly done: Promise<void>

  private constructor(options: ControlLogOptions, folded: () => void, target: number) {
    this.#options = options
    this.state = new ControlState(options.topicPrefix)
    this.done = this.#follow(folded, target)
  }

  /** Resolves when everything that is on the topic now is folded. */
  static async open(options: ControlLogOptions): Promise<ControlLog> {
    const head = (await options.log.watermarks(options.topic)).find(({ partition }) => partition === PARTITION)
    const target = head === undefined || head.low === head.high ? 0 : head.high
    const { promise, resolve } = Promise.withResolvers<void>()
    const control = new ControlLog(options, resolve, target)
    if (target > 0) await Promise.race([promise, control.done])
    options.signal.throwIfAborted()
    return control
  }

  /** Calls back after every change of the state; the answer ends that. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Appends a command and answers what came of it once it is folded. */
  async append<T extends ControlEventType>(type: T, data: EventData<T>): Promise<Outcome> {
    const { log, codec, topic, signal } = this.#options
    this.#appending++
    try {
      const value = codec.encode(type, data as never)
      const [appended] = await log.append(topic, [{ key: null, value }])
      const { offset } = appended!
      const early = this.#early.get(offset)
      if (early !== undefined) return early
      signal.throwIfAborted()
      const { promise, resolve, reject } = Promise.withResolvers<Outcome>()
      this.#awaited.set(offset, resolve)
      const stop = () => reject(signal.reason)
      signal.addEventListener('abort', stop, { once: true })
      try {
        return await promise
      } finally {
        signal.removeEventListener('abort', stop)
      }
    } finally {
      if (--this.#appending === 0) this.#early.clear()
    }
  }

  async #follow(folded: () => void, target: number): Promise<void> {
    const { log, topic, signal } = this.#options
    for await (const events of log.follow(topic, { signal })) {
      for (const event of events) await this.#fold(event)
      if (this.#folded >= target) folded()
      for (const listener of this.#listeners) listener()
    }
  }

  async #fold(event: LogEvent): Promise<void> {
    const decoded = await this.#options.codec.read(event.value)
    const type = controlEvents.find(({ name }) => name === decoded.type)
    if (type === undefined) throw new Error(`Topic ${event.topic} holds a ${decoded.type} at ${event.offset}.`)
    const outcome = this.state.apply(decoded as Parameters<ControlState['apply']>[0])
    this.#folded = event.offset + 1
    const tell = this.#awaited.get(event.offset)
    this.#awaited.delete(event.offset)
    if (tell !== undefined) tell(outcome)
    else if (this.#appending > 0) this.#early.set(event.offset, outcome)
  }
}
