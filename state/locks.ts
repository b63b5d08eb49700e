/**
 * Locks between the processes that share one installation. A port: advisory locks of Postgres, or, where one process owns
 * everything, its own memory.
 */
export interface Locks {
  /**
   * Waits for the lock, does the work while holding it, and gives it up. `held` aborts when the lock is lost midway (the
   * connection ended) or the signal aborts: the work must then stop changing what the lock guards. Rejects when the signal
   * aborts before the lock was got, and with what the work rejects with.
   */
  hold<T>(name: string, work: (held: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T>
  close(): Promise<void>
}
