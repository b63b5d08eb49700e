/** Finds the mails that are to be forgotten, and says how far that is. What erases them is `erasures.ts`. */
import type { ErasureStatus, ForgetRequest, Forgetting, FoundMail, Place } from '../api/forgetting.ts'
import { mailBytes } from '../api/raw-mail.ts'
import type { Replays } from '../api/replays.ts'
import type { Store } from '../projections/store.ts'
import { shownMail } from '../projections/winners.ts'
import type { Blobs } from '../topics/blobs.ts'
import { MailErased } from '../topics/control.ts'
import type { ControlLog } from '../topics/control-log.ts'
import type { Erasure } from '../topics/control-state.ts'
import type { Generation } from '../topics/generation.ts'
import { INGEST, ingestHeader } from '../topics/ingest.ts'
import { isErased, type Log } from '../topics/log.ts'
import { mailIdOf } from '../topics/mail-of-event.ts'
import { holdsAddress } from './address-in-text.ts'
import { eventsOfTopic } from './events-of-topic.ts'

export interface ForgettingOptions {
  readonly log: Log
  readonly store: Store
  readonly blobs: Blobs
  readonly control: Pick<ControlLog, 'state' | 'append'>
  readonly replays: Pick<Replays, 'start'>
  /** How long raw mail is kept, in milliseconds; null = for ever. */
  readonly retentionIngest: number | null
  readonly now: () => number
}

/** Ids in one event on `control`, which takes 1 MB. */
const IDS_OF_AN_ERASURE = 10_000
/** Ids in one question: they travel in the address of the request. */
const IDS_AT_ONCE = 5_000

export function openForgetting(options: ForgettingOptions): Forgetting {
  return new ForgettingService(options)
}

type Places = Map<string, Set<Place>>

class ForgettingService implements Forgetting {
  readonly #options: ForgettingOptions

  constructor(options: ForgettingOptions) {
    this.#options = options
  }

  async find({ address, mailIds, scan }: ForgetRequest, signal: AbortSignal): Promise<readonly FoundMail[]> {
    const places: Places = new Map()
    for (const id of mailIds) add(places, id, 'mail_id')
    if (address !== null) {
      for (const generation of this.#kept()) await this.#inTables(places, generation, address, signal)
      if (scan) await this.#inBytes(places, address, signal)
    }
    return this.#described(places, signal)
  }

  async begin(
    mailIds: readonly string[],
    { reason, block }: { readonly reason: string; readonly block: boolean },
  ): Promise<ErasureStatus> {
    const { control, log, now } = this.#options
    let number = control.state.erasures().length
    for (let from = 0; from < mailIds.length; from += IDS_OF_AN_ERASURE) {
      const mail_ids = mailIds.slice(from, from + IDS_OF_AN_ERASURE)
      // A log that keeps the mail cannot tell a new delivery from the old one.
      await control.append(MailErased, { at: now(), mail_ids, reason, block: block || !log.canErase })
      number = control.state.erasures().length
    }
    if (!log.canErase) await this.#rebuild(number)
    return this.status(number)!
  }

  status(number: number): ErasureStatus | null {
    const { control, log, retentionIngest } = this.#options
    const erasure = control.state.erasures()[number - 1]
    if (erasure === undefined) return null
    const { at, finishedAt, mails, block } = erasure
    const isKept = !log.canErase
    return {
      erasure: number,
      state: finishedAt === null ? 'erasing' : isKept ? 'unreadable' : 'erased',
      mails,
      block,
      begun_at: new Date(at).toISOString(),
      finished_at: finishedAt === null ? null : new Date(finishedAt).toISOString(),
      raw_until: isKept && retentionIngest !== null ? new Date(at + retentionIngest).toISOString() : null,
      raw_for_ever: isKept && retentionIngest === null,
      rebuilt_by: isKept ? (this.#builtAfter(erasure)?.name ?? null) : null,
    }
  }

  /** `private` and `rejects` of the generations of now hold the mails as long as these are kept. */
  async #rebuild(number: number): Promise<void> {
    const { control, replays } = this.#options
    if (this.#builtAfter(control.state.erasures()[number - 1]!) !== null) return
    await replays.start(control.state.live()!.generation.ruleSet!, 'ingest')
  }

  #builtAfter({ generations }: Erasure): Generation | null {
    const kept = this.#options.control.state.kept()
    return (
      kept.find(({ generation }) => generation.from === 'ingest' && generation.number > generations)?.generation ?? null
    )
  }

  /** Those whose tables of mail are their own: the others share them. */
  #kept(): readonly Generation[] {
    const kept = this.#options.control.state.kept().map(({ generation }) => generation)
    return kept.filter(({ from }) => from === 'ingest')
  }

  async #inTables(places: Places, { tables }: Generation, address: string, signal: AbortSignal): Promise<void> {
    const { store } = this.#options
    // Case apart, which is looked at here: few rows come near.
    const near = (columns: string) =>
      `positionCaseInsensitive(concatWithSeparator('\\n', ${columns}), {address:String}) > 0`
    const options = { parameters: { address }, signal, timeout: 600 }
    const fields = ['from', 'to', 'envelope_from', 'envelope_to'] as const
    const mails = store.stream<{ id: string } & Record<(typeof fields)[number], string>>(
      `SELECT lower(hex(mail_id)) AS id, ${fields.join(', ')} FROM ${tables.mail} WHERE ${near(fields.join(', '))}`,
      options,
    )
    for await (const rows of mails)
      for (const row of rows)
        for (const field of fields) if (holdsAddress(row[field], address)) add(places, row.id, field)
    const named = 'original_mail_from, original_rcpt_to, from'
    const failures = store.stream<{ id: string; text: string }>(
      `SELECT lower(hex(mail_id)) AS id, concatWithSeparator('\\n', ${named}) AS text FROM ${tables.failure_reports} WHERE ${near(named)}`,
      options,
    )
    for await (const rows of failures)
      for (const { id, text } of rows) if (holdsAddress(text, address)) add(places, id, 'failure_report')
  }

  async #inBytes(places: Places, address: string, signal: AbortSignal): Promise<void> {
    const { log, control, blobs } = this.#options
    const ingest = control.state.live()!.generation.topics[INGEST]
    for await (const event of eventsOfTopic(log, ingest, signal)) {
      if (isErased(event)) continue
      const bytes = await mailBytes(event, blobs)
      const envelope = `${event.headers[ingestHeader.envelopeFrom] ?? ''}\n${event.headers[ingestHeader.envelopeTo] ?? ''}`
      const text = bytes === null ? '' : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1')
      if (holdsAddress(text, address) || holdsAddress(envelope, address)) add(places, mailIdOf(event), 'bytes')
    }
    signal.throwIfAborted()
  }

  /** What the live generation knows of them, in the order of their ids. */
  async #described(places: Places, signal: AbortSignal): Promise<FoundMail[]> {
    const { control, store } = this.#options
    const { tables } = control.state.live()!.generation
    const ids = [...places.keys()].filter((id) => !control.state.isUnread(id)).sort()
    const known = new Map<string, Omit<FoundMail, 'id' | 'found_in'>>()
    for (let from = 0; from < ids.length; from += IDS_AT_ONCE) {
      const some = 'mail_id IN (SELECT toFixedString(unhex(arrayJoin({ids:Array(String)})), 32))'
      const rows = await store.query<Omit<FoundMail, 'found_in'>>(
        `SELECT lower(hex(mail_id)) AS id, received_at, kind, nullIf(subject, '') AS subject,
           countEqual(found_kind, 'dmarc') + countEqual(found_kind, 'tls') AS reports,
           countEqual(found_kind, 'failure') AS failure_reports, rejected AS rejects
         FROM (${shownMail(tables, some)})`,
        { parameters: { ids: ids.slice(from, from + IDS_AT_ONCE) }, signal },
      )
      for (const { id, ...row } of rows) known.set(id, row)
    }
    const unknown = { received_at: null, kind: null, subject: null, reports: 0, failure_reports: 0, rejects: 0 }
    return ids.map((id) => ({ id, found_in: [...places.get(id)!], ...(known.get(id) ?? unknown) }))
  }
}

function add(places: Places, id: string, place: Place): void {
  const found = places.get(id)
  if (found === undefined) places.set(id, new Set([place]))
  else found.add(place)
}
