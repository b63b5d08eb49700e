/**
 * The worker thread that reads mails: bytes in by transfer, encoded events out in one transferred buffer. Whatever a
 * mail does to it (time, memory) it does to this thread only.
 */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { workerData } from 'node:worker_threads'
import { mailId } from '../topics/ingest.ts'
import type { KeyObservation } from '../topics/observations.ts'
import { Sender } from './authentication.ts'
import { headerText, readSignatures } from './formats/dkim-signatures.ts'
import type { Limits } from './formats/limits.ts'
import { type Delivery, EventWriter, MailEvents, type OutputTopic } from './mail-events.ts'
import { readReportMail } from './read-mail.ts'
import type { Redaction } from './redaction.ts'
import { transferring } from './transfer.ts'
import { verifySignatures } from './verify-signatures.ts'

export interface ParseWorkerData {
  readonly schemaIds: Readonly<Record<string, number>>
  readonly spoolFolder: string
  readonly limits: Limits
  readonly redaction: Redaction
  /** Names under which servers of ours write `Authentication-Results`, in lower case. */
  readonly authservIds: readonly string[]
  /**
   * One number a slot: how many mails of the task there have been begun. It tells the other side which mail a worker
   * was at when it was lost or is slow, and that waiting in a queue is no work.
   */
  readonly begun: SharedArrayBuffer
}

/** A mail to read: its bytes, or where they lie and what they must hash to. */
export interface MailToParse {
  readonly bytes: Uint8Array | null
  readonly file: { readonly path: string; readonly sha256: string } | null
  readonly delivery: Omit<Delivery, 'mailId' | 'size'>
  /** What is known of the keys that its DKIM signatures name; empty when it has none. */
  readonly keys: readonly KeyObservation[]
}

/** Some mails at once: a message to a thread costs as much as reading a small mail. */
export interface ParseTask {
  readonly slot: number
  readonly mails: readonly MailToParse[]
}

export interface ParsedEvent {
  readonly topic: OutputTopic
  readonly key: string
  /** Place in the answer's buffer. */
  readonly start: number
  readonly length: number
  /** What follows in the spool file, for events of large reports. */
  readonly spooled: { readonly start: number; readonly length: number } | null
}

/** What came of one mail, or the fault of ours that it met. */
export interface ParsedMail {
  readonly events: readonly ParsedEvent[]
  /** A file to be removed when the events are durable, or null. */
  readonly spoolFile: string | null
  readonly fault: string | null
}

export interface ParseAnswer {
  readonly mails: readonly ParsedMail[]
  readonly buffer: Uint8Array
}

const settings: ParseWorkerData = workerData
const begun = new Int32Array(settings.begun)
const writer = new EventWriter(settings.schemaIds, settings.redaction)

/** Values collected for one buffer. */
class Buffers {
  readonly #pieces: Uint8Array[] = []
  length = 0

  push(...pieces: readonly Uint8Array[]): { start: number; length: number } {
    const start = this.length
    for (const piece of pieces) {
      this.#pieces.push(piece)
      this.length += piece.length
    }
    return { start, length: this.length - start }
  }

  /** All in memory of its own, which can be transferred. */
  joined(): Uint8Array {
    const buffer = new Uint8Array(this.length)
    let at = 0
    for (const piece of this.#pieces) {
      buffer.set(piece, at)
      at += piece.length
    }
    return buffer
  }
}

export default async function parseMails({ slot, mails }: ParseTask): Promise<ParseAnswer> {
  const buffers = new Buffers()
  const parsed: ParsedMail[] = []
  for (const [index, mail] of mails.entries()) {
    Atomics.store(begun, slot, index + 1)
    parsed.push(await parseOne(mail, buffers))
  }
  const buffer = buffers.joined()
  return transferring({ mails: parsed, buffer }, buffer)
}

async function parseOne(mail: MailToParse, buffers: Buffers): Promise<ParsedMail> {
  let events: MailEvents | undefined
  try {
    const bytes = bytesOf(mail)
    const id = mail.file?.sha256 ?? mailId(bytes)
    const sender = await senderOf(bytes, mail)
    const delivery = { ...mail.delivery, mailId: id, size: bytes.length }
    events = new MailEvents(delivery, writer, settings.spoolFolder, sender)
    await readReportMail(bytes, settings.limits, events)
    return pack(events, buffers)
  } catch (error) {
    events?.spool.discard()
    return { events: [], spoolFile: null, fault: error instanceof Error ? `${error.message}` : String(error) }
  }
}

/** A signature without a key has none that could be looked up, so it is said of it what is said of no signature. */
async function senderOf(bytes: Uint8Array, { keys, delivery }: MailToParse): Promise<Sender> {
  const header = keys.length === 0 ? null : headerText(bytes)
  const checked =
    header === null ? [] : await verifySignatures(bytes, header, readSignatures(header), keys, delivery.receivedAt)
  return new Sender(checked, settings.authservIds)
}

function bytesOf({ bytes, file }: MailToParse): Uint8Array {
  if (file === null) return bytes ?? new Uint8Array()
  const read = readFileSync(file.path)
  const sha256 = createHash('sha256').update(read).digest('hex')
  if (sha256 !== file.sha256) throw new Error(`The blob ${file.sha256} does not hold the bytes that its name says.`)
  return read
}

/** Values into the common buffer; the bodies of spooled events too, unless they are in a file. */
function pack({ events, spool }: MailEvents, buffers: Buffers): ParsedMail {
  const spoolFile = spool.path
  if (spoolFile !== null) spool.flush()
  const bodies = spoolFile === null && spool.size > 0 ? Buffer.concat([...spool.read()]) : undefined
  const packed = events.map(({ topic, key, value, spooled }): ParsedEvent => {
    if (spooled === null || bodies === undefined) return { topic, key, ...buffers.push(value), spooled }
    const body = bodies.subarray(spooled.start, spooled.start + spooled.length)
    return { topic, key, ...buffers.push(value, body), spooled: null }
  })
  spool.detach()
  return { events: packed, spoolFile, fault: null }
}
