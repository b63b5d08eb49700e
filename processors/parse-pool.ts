/**
 * The worker threads that read mails. A worker that takes too long or too much memory is ended, and takes one mail with
 * it: that mail is tried once more, alone and with three times the time, and then rejected.
 */
import { availableParallelism } from 'node:os'
import { extname } from 'node:path'
import { Piscina } from 'piscina'
import type { Limits } from './formats/limits.ts'
import type { ParseResult, ParseTask, ParseWorkerData } from './parse-worker.ts'

export interface ParsePoolOptions {
  readonly schemaIds: Readonly<Record<string, number>>
  /** Must exist; large reports wait here. */
  readonly spoolFolder: string
  readonly limits: Limits
  /** Worker threads; default one a core. */
  readonly workers?: number
  /** Time for one mail, plus the time per MB; default 60 s and 6 s. */
  readonly milliseconds?: number
  readonly millisecondsPerMegabyte?: number
  /** Heap of one worker; default 512 MB. */
  readonly heapMegabytes?: number
}

/** The worker was ended by time or memory while it read this mail: an accident, not a finding about the mail. */
export class WorkerLost extends Error {}

export interface ParsePool {
  /** Mails that may be under way at once; `parse` waits beyond it. */
  readonly capacity: number
  /** Rejects with `WorkerLost` after the second accident; any other error is a fault in the reader. */
  parse(task: Omit<ParseTask, 'slot'>, bytes: number): Promise<ParseResult>
  close(): Promise<void>
}

const QUEUED_PER_WORKER = 4
const WATCH_MILLISECONDS = 250

interface Running {
  begun: number | null
  readonly budget: number
  readonly controller: AbortController
}

export function openParsePool(options: ParsePoolOptions): ParsePool {
  const workers = options.workers ?? availableParallelism()
  const capacity = workers * QUEUED_PER_WORKER
  const started = new SharedArrayBuffer(4 * (capacity + 1))
  const flags = new Int32Array(started)
  const running = new Map<number, Running>()
  const freeSlots = Array.from({ length: capacity }, (_, slot) => slot)
  const waiting: ((slot: number) => void)[] = []
  const { schemaIds, spoolFolder, limits } = options
  const data: ParseWorkerData = { schemaIds, spoolFolder, limits, started }
  const heap = options.heapMegabytes ?? 512
  const pool = new Piscina<ParseTask, ParseResult>({
    filename: new URL(`./parse-worker${extname(import.meta.url)}`, import.meta.url).href,
    minThreads: workers,
    maxThreads: workers,
    concurrentTasksPerWorker: 1,
    workerData: data,
    resourceLimits: { maxOldGenerationSizeMb: heap },
  })
  let alone: Promise<unknown> = Promise.resolve()

  const watch = setInterval(() => {
    for (const [slot, task] of running) {
      if (Atomics.load(flags, slot) === 0) continue
      task.begun ??= performance.now()
      if (performance.now() - task.begun > task.budget) task.controller.abort()
    }
  }, WATCH_MILLISECONDS)
  watch.unref()

  const takeSlot = async () => freeSlots.pop() ?? (await new Promise<number>((resolve) => waiting.push(resolve)))
  const giveSlot = (slot: number) => {
    const next = waiting.shift()
    if (next === undefined) freeSlots.push(slot)
    else next(slot)
  }

  const runOnce = async (task: Omit<ParseTask, 'slot'>, slot: number, budget: number): Promise<ParseResult> => {
    const controller = new AbortController()
    Atomics.store(flags, slot, 0)
    running.set(slot, { begun: null, budget, controller })
    try {
      // A view may share its buffer with the rest of a batch, and cloning a view clones all of its buffer.
      const bytes = task.bytes === null ? null : new Uint8Array(task.bytes)
      const transferList = bytes === null ? [] : [bytes.buffer]
      return await pool.run({ ...task, bytes, slot }, { signal: controller.signal, transferList })
    } catch (error) {
      if (isAccident(error))
        throw new WorkerLost(`The worker was ended after ${Math.round(budget / 1000)} s or by its memory limit.`)
      throw error
    } finally {
      running.delete(slot)
    }
  }

  return {
    capacity,
    async parse(task, bytes) {
      const megabytes = bytes / 1048576
      const budget = (options.milliseconds ?? 60_000) + megabytes * (options.millisecondsPerMegabyte ?? 6_000)
      const slot = await takeSlot()
      try {
        return await runOnce(task, slot, budget)
      } catch (error) {
        if (!(error instanceof WorkerLost)) throw error
      } finally {
        giveSlot(slot)
      }
      const again = alone.then(() => runOnce(task, capacity, budget * 3))
      alone = again.catch(() => undefined)
      return again
    },
    async close() {
      clearInterval(watch)
      await pool.destroy()
    },
  }
}

/** Ended by our timer, or by V8 because its heap was full. */
function isAccident(error: unknown): boolean {
  const { name, code } = error as { name?: string; code?: string }
  return name === 'AbortError' || code === 'ERR_WORKER_OUT_OF_MEMORY'
}
