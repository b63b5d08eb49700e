/**
 * Erases mails that `control` says are erased. What is said there is the truth: the work is done again at every start
 * until `MailErasureFinished` is on `control`, and doing a step again changes nothing.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { deleteMails } from '../projections/erase.ts'
import { isTableMissing } from '../projections/schema.ts'
import { type Store, StoreDamaged } from '../projections/store.ts'
import { type Blobs, BlobsUnavailable } from '../topics/blobs.ts'
import { MailErasureFinished } from '../topics/control.ts'
import type { ControlLog } from '../topics/control-log.ts'
import { INGEST } from '../topics/ingest.ts'
import type { Log, LogEvent, Position } from '../topics/log.ts'
import { mailIdOf } from '../topics/mail-of-event.ts'
import { PRIVATE } from '../topics/private.ts'
import { REJECTS } from '../topics/rejects.ts'
import { eventsOfTopic } from './events-of-topic.ts'

export interface ErasuresOptions {
  readonly log: Log
  readonly store: Store
  readonly blobs: Blobs
  readonly control: ControlLog
  readonly topicPrefix: string
  readonly now: () => number
  readonly signal: AbortSignal
  readonly onProblem: (message: string) => void
}

/** Other processes have heard of an erasure by then, and what they were writing is in the tables. */
const HEARD_MILLISECONDS = 5_000
/** Blobs removed at once. */
const BLOBS_AT_ONCE = 8

const placeOf = ({ partition, offset }: LogEvent): Position => ({ partition, offset })

export class Erasures {
  readonly #options: ErasuresOptions

  constructor(options: ErasuresOptions) {
    this.#options = options
  }

  pending(): boolean {
    return this.#options.control.state.unfinishedErasures().length > 0
  }

  /**
   * Does what is to be done. `rest` resolves when nothing in this process reads the log or writes to the store any more:
   * what a loop has in its hands would come back. Where the log cannot erase, other processes do the same work, and the
   * mails are passed over by all of them instead.
   */
  async finish(rest: () => Promise<void>, surely: <T>(work: () => Promise<T>) => Promise<T>): Promise<void> {
    const { control, log, now, signal, onProblem } = this.#options
    const pending = control.state.unfinishedErasures()
    const mailIds = [...new Set(pending.flatMap((one) => one.mailIds))]
    try {
      await this.#removeBlobs(mailIds)
    } catch (error) {
      if (!(error instanceof BlobsUnavailable)) throw error
      onProblem(`Erasing mails waits for the blob store: ${error.message}`)
      return
    }
    if (log.canErase) {
      await rest()
      await this.#eraseFromLog(pending)
    } else await sleep(HEARD_MILLISECONDS, undefined, { signal }).catch(() => undefined)
    if (signal.aborted) return
    if (!(await surely(() => this.#deleteRows(mailIds)))) {
      onProblem('Erasing mails waits for the store: it is being rebuilt, or a query still reads what they were in.')
      return
    }
    for (const { erasure } of pending) await control.append(MailErasureFinished, { at: now(), erasure: erasure.number })
  }

  /** False when it must be done again. */
  async #deleteRows(mailIds: readonly string[]): Promise<boolean> {
    const { store, control } = this.#options
    const kept = control.state.kept().map(({ generation }) => generation)
    try {
      return await deleteMails(store, kept, mailIds)
    } catch (error) {
      if (error instanceof StoreDamaged || isTableMissing(error)) return false
      throw error
    }
  }

  async #removeBlobs(mailIds: readonly string[]): Promise<void> {
    const { blobs } = this.#options
    for (let at = 0; at < mailIds.length; at += BLOBS_AT_ONCE)
      await Promise.all(mailIds.slice(at, at + BLOBS_AT_ONCE).map((id) => blobs.remove(id)))
  }

  /** A mail that stays blocked keeps its once-id, so that the log takes it no second time. */
  async #eraseFromLog(pending: ReturnType<ControlLog['state']['unfinishedErasures']>): Promise<void> {
    const { log, control, topicPrefix } = this.#options
    const isBlocked = new Map<string, boolean>()
    for (const { erasure, mailIds } of pending)
      for (const id of mailIds) isBlocked.set(id, erasure.block || isBlocked.get(id) === true)
    const ofMails = new RegExp(`^(?:${PRIVATE}|${REJECTS})\\.g\\d+$`)
    const derived = (await log.topics()).filter(
      (name) => name.startsWith(topicPrefix) && ofMails.test(name.slice(topicPrefix.length)),
    )
    for (const topic of derived) {
      const found = await this.#places(topic, ({ key }) => key !== null && isBlocked.has(key))
      await log.erase(topic, found)
    }
    const ingest = control.state.live()!.generation.topics[INGEST]
    const blocked: Position[] = []
    const forgotten = await this.#places(ingest, (event) => {
      const block = isBlocked.get(mailIdOf(event))
      if (block === true) blocked.push(placeOf(event))
      return block === false
    })
    await log.erase(ingest, forgotten)
    await log.erase(ingest, blocked, { keepOnceIds: true })
    await log.scrub()
  }

  async #places(topic: string, isWanted: (event: LogEvent) => boolean): Promise<Position[]> {
    const { log, signal } = this.#options
    const places: Position[] = []
    for await (const event of eventsOfTopic(log, topic, signal)) {
      if (isWanted(event)) places.push(placeOf(event))
    }
    signal.throwIfAborted()
    return places
  }
}
