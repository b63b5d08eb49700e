/** Reads mails: raw bytes → reports, the mail's own fields, and rejects with a reason. */
import { closeSync, openSync, readSync } from 'node:fs'
import { open, rm } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Blobs, BlobsUnavailable, type LocalBlob } from '../topics/blobs.ts'
import { INGEST, ingestHeader, mailId, parseBlobReference, receivedAt } from '../topics/ingest.ts'
import { isErased, type LogEvent } from '../topics/log.ts'
import { untilLogAnswers } from '../topics/log-away.ts'
import { mailIdOf } from '../topics/mail-of-event.ts'
import type { KeyObservation } from '../topics/observations.ts'
import { PRIVATE } from '../topics/private.ts'
import { REJECTS } from '../topics/rejects.ts'
import { REPORTS } from '../topics/reports.ts'
import type { RejectCode } from './formats/codes.ts'
import { headerText, keyNames, MAX_HEADER_BYTES, readSignatures } from './formats/dkim-signatures.ts'
import { type Delivery, type EventWriter, MailEvents } from './mail-events.ts'
import { isLargeMail, type ParsePool, type ParseResult, WorkerLost } from './parse-pool.ts'
import type { MailToParse } from './parse-worker.ts'
import { Outage, type Processor, type Produced, type ProducedEvent } from './processor.ts'

/** A key of DKIM on the UTC day (YYYY-MM-DD) on which a mail that names it was received. */
export interface KeyDay {
  readonly day: string
  /** SELECTOR._domainkey.DOMAIN */
  readonly name: string
}

/** The edge: answers in the order of the requests. Rejects on an outage, and when the signal aborts. */
export type ObserveKeys = (
  requests: readonly KeyDay[],
  options: { readonly epoch: number; readonly ask: boolean; readonly signal: AbortSignal },
) => Promise<readonly KeyObservation[]>

export interface KeySource {
  readonly observe: ObserveKeys
  /** Observation epoch of the generation. */
  readonly epoch: number
  /** Whether the world may be asked now: only the live generation asks. */
  readonly ask: () => boolean
}

export interface ParseMailOptions {
  readonly pool: ParsePool
  readonly writer: EventWriter
  readonly spoolFolder: string
  /** Where large mails lie; a worker opens the file itself. Null when claim checks cannot be resolved here. */
  readonly blobs: Pick<Blobs, 'fetch'> | null
  /** Where the keys of DKIM signatures come from; without it none are known. */
  readonly keys?: KeySource
  /** How long a missing blob is waited for; default ten minutes. */
  readonly blobWaitMilliseconds?: number
  /** Which mails were erased and are to be left unread. */
  readonly unread?: UnreadMails
}

export interface UnreadMails {
  /** Whether there is any: else no mail's id need be known. */
  leavesUnread(): boolean
  isUnread(mailId: string): boolean
}

const BLOB_WAIT = 10 * 60 * 1000
const BLOB_LOOK = 1000

export function parseMail(options: ParseMailOptions): Processor {
  const { pool } = options
  return {
    name: 'parse-mail',
    from: INGEST,
    to: [REPORTS, PRIVATE, REJECTS],
    concurrency: pool.capacity,
    large: {
      concurrency: pool.largeCapacity,
      isLarge: ({ value, headers }) =>
        isLargeMail(parseBlobReference(headers[ingestHeader.blob] ?? '')?.size ?? value.length),
    },

    async handle(event, signal) {
      if (isErased(event) || isUnread(options, event)) return nothing
      const produced = await handle(options, event, signal)
      // It may have been erased while it was read.
      if (!isUnread(options, event)) return produced
      await produced.release()
      return nothing
    },

    giveUp(event, error) {
      const message = error instanceof Error ? error.message : String(error)
      return rejectWhole(
        options,
        event,
        'reader_failed',
        `${message.slice(0, 500)} Keep the mail and report this as a bug, then retry.`,
      )
    },
  }
}

const nothing: Produced = { events: [], bytes: 0, release: async () => undefined }

const isUnread = ({ unread }: ParseMailOptions, event: LogEvent) =>
  unread?.leavesUnread() === true && unread.isUnread(mailIdOf(event))

async function handle(options: ParseMailOptions, event: LogEvent, signal: AbortSignal | undefined): Promise<Produced> {
  const { blobs } = options
  const delivery = deliveryOf(event)
  const claim = event.headers[ingestHeader.blob]
  if (claim === undefined) {
    const bytes = event.value
    const keys = await keysOf(options, bytes, delivery.receivedAt, signal)
    return attempt(options, event, { bytes, file: null, delivery, keys }, bytes.length)
  }
  const reference = parseBlobReference(claim)
  if (reference === null || blobs === null) {
    return rejectWhole(
      options,
      event,
      'blob_missing',
      `The claim check "${claim.slice(0, 200)}" cannot be resolved here.`,
    )
  }
  const { sha256, size } = reference
  const waits = options.blobWaitMilliseconds ?? BLOB_WAIT
  const local = await waitForBlob(() => blobs.fetch(sha256, options.spoolFolder), waits, signal)
  if (local === null) {
    const detail = `No blob ${sha256} after ${Math.round(waits / 1000)} s.`
    return rejectWhole(options, event, 'blob_missing', detail)
  }
  try {
    const file = { path: local.path, sha256 }
    const keys = await keysOf(options, await headOf(local.path), delivery.receivedAt, signal)
    return await attempt(options, event, { bytes: null, file, delivery, keys }, size)
  } finally {
    await local.release()
  }
}

function deliveryOf({ headers, timestamp, partition, offset }: LogEvent): Omit<Delivery, 'mailId' | 'size'> {
  return {
    partition,
    offset,
    receivedAt: receivedAt(headers, timestamp),
    receivedFrom: headers[ingestHeader.receivedFrom] ?? null,
    source: headers[ingestHeader.source] ?? null,
    envelopeFrom: headers[ingestHeader.envelopeFrom] ?? null,
    envelopeTo: headers[ingestHeader.envelopeTo] ?? null,
  }
}

/** What is known of the keys that the signatures of a mail name, and found out when it is not. */
async function keysOf(
  { keys }: ParseMailOptions,
  head: Uint8Array,
  receivedAt: number,
  signal: AbortSignal = NEVER,
): Promise<readonly KeyObservation[]> {
  const header = headerText(head)
  const names = header === null ? [] : keyNames(readSignatures(header))
  if (names.length === 0) return []
  if (keys === undefined) return names.map((name) => ({ name, outcome: 'not_looked_up', records: [] }))
  const day = new Date(receivedAt).toISOString().slice(0, 10)
  const requests = names.map((name) => ({ day, name }))
  try {
    const { observe, epoch, ask } = keys
    return await untilLogAnswers(() => observe(requests, { epoch, ask: ask(), signal }), { signal })
  } catch (error) {
    signal.throwIfAborted()
    throw new Outage(`The keys of signatures cannot be known: ${(error as Error).message}`, { cause: error })
  }
}

const NEVER = new AbortController().signal

/** As much of a file as a header may have. */
async function headOf(path: string): Promise<Uint8Array> {
  const file = await open(path)
  try {
    const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(MAX_HEADER_BYTES), 0, MAX_HEADER_BYTES, 0)
    return buffer.subarray(0, bytesRead)
  } finally {
    await file.close()
  }
}

async function attempt(options: ParseMailOptions, event: LogEvent, mail: MailToParse, size: number): Promise<Produced> {
  try {
    return producedFrom(await options.pool.parse(mail, size))
  } catch (error) {
    if (!(error instanceof WorkerLost)) throw error
    return rejectWhole(options, event, 'gave_up', error.message, false)
  }
}

/** A mail of which only the reject is known; made here because no worker could. */
function rejectWhole(
  options: ParseMailOptions,
  event: LogEvent,
  code: RejectCode,
  detail: string,
  deterministic = true,
): Produced {
  const claim = parseBlobReference(event.headers[ingestHeader.blob] ?? '')
  const id = claim?.sha256 ?? mailId(event.value)
  const size = claim?.size ?? event.value.length
  const events = new MailEvents({ ...deliveryOf(event), mailId: id, size }, options.writer, options.spoolFolder)
  events.rejected('', { code, detail }, deterministic)
  events.mail({ from: null, to: null, subject: null, date: null, message_id: null, size }, 'rejected', [])
  return {
    events: events.events.map(({ topic, key, value }) => ({
      topic,
      event: { key, value, timestamp: event.timestamp },
    })),
    bytes: events.events.reduce((sum, { value }) => sum + value.length, 0),
    release: async () => undefined,
  }
}

function producedFrom(result: ParseResult): Produced {
  return {
    events: eventsOf(result),
    bytes: result.events.reduce((sum, { length }) => sum + length, 0),
    async release() {
      if (result.spoolFile !== null) await rm(result.spoolFile, { force: true })
    },
  }
}

function* eventsOf({ events, buffer, spoolFile }: ParseResult): Iterable<ProducedEvent> {
  const file = spoolFile === null ? null : openSync(spoolFile, 'r')
  try {
    for (const { topic, key, start, length, spooled } of events) {
      const head = buffer.subarray(start, start + length)
      const value = spooled === null ? head : Buffer.concat([head, readPiece(file as number, spooled)])
      yield { topic, event: { key, value } }
    }
  } finally {
    if (file !== null) closeSync(file)
  }
}

function readPiece(file: number, { start, length }: { start: number; length: number }): Buffer {
  const piece = Buffer.allocUnsafe(length)
  const count = readSync(file, piece, 0, length, start)
  if (count !== length) throw new Error('The spool file is shorter than what was written to it.')
  return piece
}

/**
 * A blob may come after its event: an import copies both. Null when it has not come in time. While the store is away the
 * time stands still: that says nothing about the mail, and the store has told the operator itself.
 */
async function waitForBlob(
  fetch: () => Promise<LocalBlob | null>,
  milliseconds: number,
  signal: AbortSignal | undefined,
): Promise<LocalBlob | null> {
  for (let waited = 0; ; ) {
    try {
      const local = await fetch()
      if (local !== null || waited >= milliseconds) return local
      waited += BLOB_LOOK
    } catch (error) {
      if (!(error instanceof BlobsUnavailable)) throw error
    }
    await sleep(BLOB_LOOK, undefined, signal === undefined ? {} : { signal })
  }
}
