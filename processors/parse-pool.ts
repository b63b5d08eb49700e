/**
 * The worker threads that read mails. A worker that takes too long or too much memory is ended, and takes one mail with
 * it: that mail is tried once more, alone and with three times the time, and then given up. The mails that shared its
 * task are read again as if nothing had been.
 */
import { availableParallelism } from 'node:os'
import { extname } from 'node:path'
import { Piscina } from 'piscina'
import type { Limits } from './formats/limits.ts'
import type { MailToParse, ParseAnswer, ParsedEvent, ParseTask, ParseWorkerData } from './parse-worker.ts'
import type { Redaction } from './redaction.ts'

export interface ParsePoolOptions {
  readonly schemaIds: Readonly<Record<string, number>>
  /** Must exist; large reports wait here. */
  readonly spoolFolder: string
  readonly limits: Limits
  /** What is left out of events; default: nothing. */
  readonly redaction?: Redaction
  /** Names under which servers of ours write `Authentication-Results`; default none. */
  readonly authservIds?: readonly string[]
  /** Worker threads; default one a core. */
  readonly workers?: number
  /** Time for one mail, plus the time per MB; default 60 s and 6 s. */
  readonly milliseconds?: number
  readonly millisecondsPerMegabyte?: number
  /** Heap of one worker; default 512 MB. */
  readonly heapMegabytes?: number
  /** Threads for large mails, beside the others; default half as many. They start with the first large mail. */
  readonly largeWorkers?: number
}

/** The worker was ended by time or memory while it read this mail: an accident, not a finding about the mail. */
export class WorkerLost extends Error {}
/** The reader threw: a fault of ours. */
export class ReaderFailed extends Error {}

/** What came of one mail. `buffer` holds the values of `events`. */
export interface ParseResult {
  readonly events: readonly ParsedEvent[]
  readonly buffer: Uint8Array
  readonly spoolFile: string | null
}

export interface ParsePool {
  /** Mails that it makes sense to have waiting here; more only take memory. */
  readonly capacity: number
  /** The same of large mails, which have threads of their own. */
  readonly largeCapacity: number
  /** Rejects with `WorkerLost` after the second accident, with `ReaderFailed` on a fault in the reader. */
  parse(mail: MailToParse, bytes: number): Promise<ParseResult>
  close(): Promise<void>
}

/** Tasks sent ahead to each worker, so that it never waits for the main thread. */
const TASKS_PER_WORKER = 2
/** A task is sent when a worker has room; what waits then goes together, up to this. */
const TASK_MAILS = 96
const TASK_BYTES = 512 * 1024
const WATCH_MILLISECONDS = 250
/**
 * A mail above this has a lane of its own: it may hold a million records and keep a thread for ten seconds, and whoever
 * sends twenty of them must not hold up the small ones.
 */
const LARGE_MAIL_BYTES = 1024 * 1024
/** Threads of the large lane end when there was nothing large for so long: each takes 100 MB. */
const LARGE_IDLE_MILLISECONDS = 10_000

/** Whether a mail of this size goes through the large lane. */
export const isLargeMail = (bytes: number): boolean => bytes > LARGE_MAIL_BYTES
/** Records die young: 128 MB would save a twentieth of an import's CPU, but take 60 MB more for each worker. */
const YOUNG_MEGABYTES = 48

interface Waiting {
  readonly mail: MailToParse
  readonly bytes: number
  readonly resolve: (result: ParseResult) => void
  readonly reject: (error: Error) => void
}

/** A task under way, as the watch sees it. */
interface Running {
  readonly waiting: readonly Waiting[]
  readonly controller: AbortController
  readonly budgetFactor: number
  begun: number
  since: number
}

/** Two lanes: a small mail never waits for a thread that reads a large one. */
export function openParsePool(options: ParsePoolOptions): ParsePool {
  const workers = options.workers ?? availableParallelism()
  const small = new Lane({ ...options, workers, minWorkers: workers })
  const large = new Lane({
    ...options,
    workers: options.largeWorkers ?? Math.max(1, Math.floor(workers / 2)),
    minWorkers: 0,
  })
  return {
    capacity: small.capacity,
    largeCapacity: large.slots,
    parse: (mail, bytes) => (isLargeMail(bytes) ? large : small).parse(mail, bytes),
    close: async () => {
      await Promise.all([small.close(), large.close()])
    },
  }
}

interface LaneOptions extends ParsePoolOptions {
  readonly workers: number
  /** Threads that are kept although there is nothing to do. */
  readonly minWorkers: number
}

class Lane {
  readonly capacity: number
  readonly slots: number
  readonly #options: LaneOptions
  readonly #pool: Piscina<ParseTask, ParseAnswer>
  readonly #begun: Int32Array
  readonly #freeSlots: number[]
  readonly #running = new Map<number, Running>()
  readonly #watch: NodeJS.Timeout
  readonly #aloneSlot: number
  #queue: Waiting[] = []
  #alone: Promise<unknown> = Promise.resolve()

  constructor(options: LaneOptions) {
    this.#options = options
    const { workers } = options
    const slots = workers * TASKS_PER_WORKER
    this.slots = slots
    this.capacity = slots * TASK_MAILS
    this.#aloneSlot = slots
    this.#freeSlots = Array.from({ length: slots }, (_, slot) => slot)
    const begun = new SharedArrayBuffer(4 * (slots + 1))
    this.#begun = new Int32Array(begun)
    const { schemaIds, spoolFolder, limits, redaction = [], authservIds = [] } = options
    const data: ParseWorkerData = { schemaIds, spoolFolder, limits, redaction, authservIds, begun }
    this.#pool = new Piscina({
      filename: new URL(`./parse-worker${extname(import.meta.url)}`, import.meta.url).href,
      minThreads: options.minWorkers,
      maxThreads: workers,
      idleTimeout: LARGE_IDLE_MILLISECONDS,
      concurrentTasksPerWorker: 1,
      workerData: data,
      resourceLimits: {
        maxOldGenerationSizeMb: options.heapMegabytes ?? 512,
        maxYoungGenerationSizeMb: YOUNG_MEGABYTES,
      },
    })
    this.#watch = setInterval(() => this.#endSlow(), WATCH_MILLISECONDS)
    this.#watch.unref()
  }

  parse(mail: MailToParse, bytes: number): Promise<ParseResult> {
    return new Promise((resolve, reject) => {
      this.#queue.push({ mail, bytes, resolve, reject })
      // Mails that arrive in this turn go together.
      if (this.#queue.length === 1) setImmediate(() => this.#send())
    })
  }

  async close(): Promise<void> {
    clearInterval(this.#watch)
    await this.#pool.destroy()
  }

  #send(): void {
    while (this.#queue.length > 0 && this.#freeSlots.length > 0) {
      const task: Waiting[] = []
      let bytes = 0
      while (
        task.length < TASK_MAILS &&
        this.#queue.length > 0 &&
        (task.length === 0 || bytes + this.#queue[0]!.bytes <= TASK_BYTES)
      ) {
        const next = this.#queue.shift()!
        bytes += next.bytes
        task.push(next)
      }
      const slot = this.#freeSlots.pop()!
      void this.#runTask(task, slot).finally(() => {
        this.#freeSlots.push(slot)
        this.#send()
      })
    }
  }

  /** Settles every mail of the task; never rejects. */
  async #runTask(task: readonly Waiting[], slot: number): Promise<void> {
    try {
      this.#settle(task, await this.#run(task, slot, 1))
    } catch (error) {
      if (!isAccident(error)) {
        for (const { reject } of task) reject(error as Error)
        return
      }
      // The mail that was being read when the worker was lost; none when the task still waited.
      const culprit = task[Atomics.load(this.#begun, slot) - 1]
      for (const waiting of task) if (waiting !== culprit) this.#queue.push(waiting)
      if (culprit !== undefined) this.#tryAlone(culprit)
    }
  }

  /** The second try: nothing else beside it in its task, one such try at a time, three times the time. */
  #tryAlone(waiting: Waiting): void {
    this.#alone = this.#alone.then(async () => {
      try {
        this.#settle([waiting], await this.#run([waiting], this.#aloneSlot, 3))
      } catch (error) {
        const what = `Reading the mail was ended twice, by its limit of ${Math.round((this.#budgetOf(waiting) * 3) / 1000)} s or of memory.`
        waiting.reject(isAccident(error) ? new WorkerLost(what) : (error as Error))
      }
    })
  }

  async #run(waiting: readonly Waiting[], slot: number, budgetFactor: number): Promise<ParseAnswer> {
    const controller = new AbortController()
    Atomics.store(this.#begun, slot, 0)
    this.#running.set(slot, { waiting, controller, budgetFactor, begun: 0, since: 0 })
    // A view may share its buffer with the rest of a batch, and cloning a view clones all of its buffer.
    const mails = waiting.map(({ mail }) => ({
      ...mail,
      bytes: mail.bytes === null ? null : new Uint8Array(mail.bytes),
    }))
    const transferList = mails.flatMap(({ bytes }) => (bytes === null ? [] : [bytes.buffer]))
    try {
      return await this.#pool.run({ slot, mails }, { signal: controller.signal, transferList })
    } finally {
      this.#running.delete(slot)
    }
  }

  #settle(task: readonly Waiting[], { mails, buffer }: ParseAnswer): void {
    for (const [index, { events, spoolFile, fault }] of mails.entries()) {
      if (fault === null) task[index]!.resolve({ events, buffer, spoolFile })
      else task[index]!.reject(new ReaderFailed(fault))
    }
  }

  #budgetOf({ bytes }: Waiting): number {
    const { milliseconds = 60_000, millisecondsPerMegabyte = 6_000 } = this.#options
    return milliseconds + (bytes / 1048576) * millisecondsPerMegabyte
  }

  /** Ends workers that have been at one mail for longer than it may take. */
  #endSlow(): void {
    const now = performance.now()
    for (const [slot, task] of this.#running) {
      const begun = Atomics.load(this.#begun, slot)
      if (begun !== task.begun) {
        task.begun = begun
        task.since = now
      }
      const mail = task.waiting[begun - 1]
      if (mail !== undefined && now - task.since > this.#budgetOf(mail) * task.budgetFactor) task.controller.abort()
    }
  }
}

/** Ended by our timer, or by V8 because its heap was full. */
function isAccident(error: unknown): boolean {
  const { name, code } = error as { name?: string; code?: string }
  return name === 'AbortError' || code === 'ERR_WORKER_OUT_OF_MEMORY'
}
