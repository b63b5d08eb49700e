/** Locks within one process, for an installation that has no other. */
import type { Locks } from './locks.ts'
import { unlessAborted } from './unless-aborted.ts'

export function openLocalLocks(): Locks {
  return new LocalLocks()
}

class LocalLocks implements Locks {
  /** For each name the end of the last one in the queue. */
  readonly #last = new Map<string, Promise<void>>()
  readonly #closing = new AbortController()
  readonly #running = new Set<Promise<void>>()

  async hold<T>(name: string, work: (held: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T> {
    const held = AbortSignal.any([this.#closing.signal, signal])
    held.throwIfAborted()
    const before = this.#last.get(name)
    const { promise: end, resolve: leave } = Promise.withResolvers<void>()
    // Who gives up keeps its place, empty, until those before it are through.
    const last = before === undefined ? end : Promise.all([before, end]).then(() => undefined)
    this.#last.set(name, last)
    this.#running.add(end)
    try {
      if (before !== undefined) await unlessAborted(before, held)
      held.throwIfAborted()
      return await work(held)
    } finally {
      leave()
      this.#running.delete(end)
      void last.then(() => {
        if (this.#last.get(name) === last) this.#last.delete(name)
      })
    }
  }

  async close(): Promise<void> {
    this.#closing.abort(new Error('The locks are closed.'))
    await Promise.all(this.#running)
  }
}
