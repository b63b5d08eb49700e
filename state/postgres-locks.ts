/**
 * Locks as advisory locks of Postgres: each is held by a connection of its own and ends with it, however that ends.
 *
 * A holder that is cut off must know before the server gives the lock to another. So it asks every few seconds whether it
 * still holds the lock, and takes it for lost when there was no yes for 8 s; the server ends a session that has said
 * nothing for 15 s. What stops the whole process for longer than that (a suspended machine) can still make two of them
 * act for an instant, so what a lock guards should stand being done twice.
 *
 * Through a pooler that hands out connections by transaction, such locks do not work; the question above finds that out.
 */
import { createHash } from 'node:crypto'
import { openLocalLocks } from './local-locks.ts'
import type { Locks } from './locks.ts'
import { isOutage, Postgres, type PostgresOptions, type Session } from './postgres.ts'

const BEAT_MILLISECONDS = 2500
/** From the last question that was answered with yes. */
const LOST_AFTER_MILLISECONDS = 8000
const SERVER_GIVES_UP_AFTER = '15s'
/** Who waits asks again after this, so that a connection that is silently dead is not waited on for ever. */
const WAIT = '5s'
const ANSWER_MILLISECONDS = 8000

/** Of the session, on the server: when a holder counts as dead. Keep-alive: 5 s + 3 probes every 3 s. */
const SESSION_SETTINGS = {
  idle_session_timeout: SERVER_GIVES_UP_AFTER,
  tcp_keepalives_idle: '5',
  tcp_keepalives_interval: '3',
  tcp_keepalives_count: '3',
  tcp_user_timeout: '10s',
  statement_timeout: WAIT,
}

export interface PostgresLocksOptions extends PostgresOptions {
  /** Installations in one database are kept apart by it; the topic prefix. */
  readonly scope?: string
}

/** The key of an advisory lock: a signed number of 64 bits, as decimal digits. */
export function lockKey(scope: string, name: string): string {
  return createHash('sha256')
    .update(JSON.stringify(['mailtrail', scope, name]))
    .digest()
    .readBigInt64BE()
    .toString()
}

/** Connects when a lock is first wanted, and waits then for a server that is not there. */
export function openPostgresLocks({ scope = '', ...options }: PostgresLocksOptions): Locks {
  return new PostgresLocks(new Postgres(options), scope)
}

class PostgresLocks implements Locks {
  readonly #server: Postgres
  readonly #scope: string
  /** Those of this process wait here, so that only the first of them needs a connection. */
  readonly #queue = openLocalLocks()

  constructor(server: Postgres, scope: string) {
    this.#server = server
    this.#scope = scope
  }

  hold<T>(name: string, work: (held: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T> {
    return this.#queue.hold(name, (wanted) => this.#holdOnServer(lockKey(this.#scope, name), work, wanted), signal)
  }

  async #holdOnServer<T>(key: string, work: (held: AbortSignal) => Promise<T>, wanted: AbortSignal): Promise<T> {
    const session = await this.#server.patiently(() => this.#acquire(key, wanted), wanted)
    const watch = watchLock(session, key)
    try {
      return await work(AbortSignal.any([wanted, watch.lost]))
    } finally {
      await watch.stop()
      if (watch.lost.aborted) await session.end()
      else await giveUp(session)
    }
  }

  /** A session that holds the lock. Rejects when the server is away, or the signal aborts. */
  async #acquire(key: string, wanted: AbortSignal): Promise<Session> {
    const session = await this.#server.session(SESSION_SETTINGS, ANSWER_MILLISECONDS)
    // Ending the connection is what takes us out of the server's queue.
    const abort = () => void session.end()
    wanted.addEventListener('abort', abort, { once: true })
    try {
      for (;;) {
        wanted.throwIfAborted()
        if (await waitForLock(session, key)) return session
      }
    } catch (error) {
      await session.end()
      throw error
    } finally {
      wanted.removeEventListener('abort', abort)
    }
  }

  async close(): Promise<void> {
    await this.#queue.close()
    await this.#server.close(new Error('The locks are closed.'))
  }
}

/**
 * False when the time of the statement was over. The lock may have been got just then and is kept, for it belongs to the
 * session: asking again then gives it at once.
 */
async function waitForLock(session: Session, key: string): Promise<boolean> {
  try {
    await session.query('SELECT pg_advisory_lock($1)', [key])
    return true
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === '57014') return false
    throw error
  }
}

/** A key of 64 bits stands in `pg_locks` as its two halves. */
const STILL_HELD = `
  SELECT EXISTS (
    SELECT FROM pg_locks
    WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND pid = pg_backend_pid()
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND (classid::bigint << 32) | objid::bigint = $1::bigint
  ) AS held`

interface Watch {
  /** Aborts when the lock is not ours any more, or may not be. */
  readonly lost: AbortSignal
  /** Resolves when no question is under way. */
  stop(): Promise<void>
}

function watchLock(session: Session, key: string): Watch {
  const lost = new AbortController()
  let isOver = false
  let nextBeat: NodeJS.Timeout | undefined
  let deadline: NodeJS.Timeout | undefined
  const end = () => {
    isOver = true
    clearTimeout(nextBeat)
    clearTimeout(deadline)
  }
  const lose = (reason: string) => {
    if (isOver) return
    end()
    lost.abort(new Error(`The lock was lost: ${reason}`))
  }
  const confirm = (asked: number) => {
    clearTimeout(deadline)
    const left = LOST_AFTER_MILLISECONDS - (performance.now() - asked)
    deadline = setTimeout(lose, left, 'Postgres did not answer in time.')
  }
  const beat = async () => {
    const asked = performance.now()
    const answer = await session.query(STILL_HELD, [key]).catch((error: Error) => error)
    if (isOver) return
    if (answer instanceof Error) return lose(answer.message)
    if (answer[0]!.held !== true) return lose('the server does not know of it. Is a pooler between it and mailtrail?')
    confirm(asked)
    nextBeat = setTimeout(() => {
      beating = beat()
    }, BEAT_MILLISECONDS)
  }
  session.onEnd((error) => lose(error.message))
  confirm(performance.now())
  let beating = beat()
  const stop = () => {
    end()
    return lost.signal.aborted ? Promise.resolve() : beating
  }
  return { lost: lost.signal, stop }
}

async function giveUp(session: Session): Promise<void> {
  try {
    await session.query('SELECT pg_advisory_unlock_all()')
  } catch (error) {
    // The connection is gone, and the lock with it.
    if (!isOutage(error)) throw error
  } finally {
    await session.end()
  }
}
