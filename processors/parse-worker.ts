/**
 * The worker thread that reads mails: bytes in by transfer, encoded events out in one transferred buffer. Whatever a
 * mail does to it (time, memory) it does to this thread only.
 */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { workerData } from 'node:worker_threads'
import { mailId } from '../topics/ingest.ts'
import type { Limits } from './formats/limits.ts'
import { type Delivery, type EncodedEvent, EventWriter, MailEvents, type OutputTopic } from './mail-events.ts'
import { readReportMail } from './read-mail.ts'
import { transferring } from './transfer.ts'

export interface ParseWorkerData {
  readonly schemaIds: Readonly<Record<string, number>>
  readonly spoolFolder: string
  readonly limits: Limits
  /** One slot a task under way: the worker writes 1 when it begins, so that waiting in a queue is not counted as work. */
  readonly started: SharedArrayBuffer
}

/** A mail to read: its bytes, or where they lie and what they must hash to. */
export interface ParseTask {
  readonly bytes: Uint8Array | null
  readonly file: { readonly path: string; readonly sha256: string } | null
  readonly delivery: Omit<Delivery, 'mailId'>
  readonly slot: number
}

export interface ParsedEvent {
  readonly topic: OutputTopic
  readonly key: string
  /** Place in `buffer`. */
  readonly start: number
  readonly length: number
  /** What follows in the spool file, for events of large reports. */
  readonly spooled: { readonly start: number; readonly length: number } | null
}

export interface ParseResult {
  readonly events: readonly ParsedEvent[]
  readonly buffer: Uint8Array
  /** A file to be removed when the events are durable, or null. */
  readonly spoolFile: string | null
}

const settings: ParseWorkerData = workerData
const started = new Int32Array(settings.started)
let writer: EventWriter | undefined

function bytesOf(task: ParseTask): Uint8Array {
  if (task.file === null) return task.bytes ?? new Uint8Array()
  const bytes = readFileSync(task.file.path)
  const sha256 = createHash('sha256').update(bytes).digest('hex')
  if (sha256 !== task.file.sha256)
    throw new Error(`The blob ${task.file.sha256} does not hold the bytes that its name says.`)
  return bytes
}

export default async function parseMail(task: ParseTask): Promise<ParseResult> {
  Atomics.store(started, task.slot, 1)
  writer ??= new EventWriter(settings.schemaIds)
  const bytes = bytesOf(task)
  const id = task.file?.sha256 ?? mailId(bytes)
  const events = new MailEvents({ ...task.delivery, mailId: id }, writer, settings.spoolFolder)
  try {
    await readReportMail(bytes, settings.limits, events)
    const result = pack(events)
    return transferring(result, result.buffer)
  } catch (error) {
    events.spool.discard()
    throw error
  }
}

/** All values in one buffer; the bodies of spooled events too, unless they are in a file. */
function pack(events: MailEvents): ParseResult {
  const { spool } = events
  const spoolFile = spool.path
  if (spoolFile !== null) spool.flush()
  const bodies = spoolFile === null ? Buffer.concat([...spool.read()]) : undefined
  const piecesOf = ({ value, spooled }: EncodedEvent): readonly Uint8Array[] =>
    spooled === null || bodies === undefined
      ? [value]
      : [value, bodies.subarray(spooled.start, spooled.start + spooled.length)]
  const pieces: Uint8Array[] = []
  const packed: ParsedEvent[] = []
  let start = 0
  for (const event of events.events) {
    const value = piecesOf(event)
    const length = value.reduce((sum, piece) => sum + piece.length, 0)
    pieces.push(...value)
    packed.push({
      topic: event.topic,
      key: event.key,
      start,
      length,
      spooled: spoolFile === null ? null : event.spooled,
    })
    start += length
  }
  spool.detach()
  const buffer = new Uint8Array(start)
  let at = 0
  for (const piece of pieces) {
    buffer.set(piece, at)
    at += piece.length
  }
  return { events: packed, buffer, spoolFile }
}
