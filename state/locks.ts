/**
 * Locks between the processes that share one installation. A port: advisory locks of Postgres, or, where one process owns
 * everything, its own memory.
 */
export interface Locks {
  /**
   * Waits for the lock, does the work while holding it, and gives it up. `held` aborts when the lock is lost midway (the
   * connection ended) or the signal aborts: the work must then stop changing what the lock guards. Rejects when the signal
   * aborts before the lock was got, and with what the work rejects with.
   *
   * Who waits in this process gets it in turn. Work that asks again for the lock that it holds waits for itself for ever.
   */
  hold<T>(name: string, work: (held: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T>
  /** Aborts what is held, and resolves when that work has ended. Who waits is refused. */
  close(): Promise<void>
}
