/**
 * Reads one mail: finds the reports in it, wherever they are (parts, attached mails, archives in archives), and hands
 * each over when it was read to its end. Decides by content, never by names or declared types, which lie.
 */
import type { RejectCode } from './formats/codes.ts'
import { Rejected } from './formats/codes.ts'
import { AggregateReader } from './formats/dmarc-aggregate.ts'
import { readFailureReport } from './formats/failure-report.ts'
import type { HeaderFields } from './formats/header-fields.ts'
import { type Bytes, gunzip, isKnownJunk, sniff } from './formats/inflate.ts'
import type { Limits } from './formats/limits.ts'
import { type Entity, leaves, readMail } from './formats/mime.ts'
import type { DmarcRecordRest } from './formats/record-memo.ts'
import type {
  DmarcRecord,
  DmarcReport,
  FailureReport,
  MailFields,
  Reject,
  TlsReport,
  Warning,
} from './formats/shapes.ts'
import { readTlsReport } from './formats/tls-report.ts'
import { readZip } from './formats/zip.ts'

export type MailKind = 'dmarc' | 'tls' | 'failure' | 'other' | 'rejected'

/** Takes the records of a report that is being read. Nothing of it may count before `finish`. */
export interface DmarcSink {
  /** Records with the same `rest` (by identity) differ in address and count only; null says nothing. */
  record(record: DmarcRecord, rest: DmarcRecordRest | null): void
  finish(report: DmarcReport): void
  /** The report turned out unreadable, or is read again from its beginning into another sink. */
  discard(): void
}

/** Takes what is found in a mail, in order. `part` says where: MIME numbers, then `!` and the entry of each container. */
export interface MailConsumer {
  /** The header of the mail, before anything that is in it. Not called when the mail cannot be read. */
  header?(fields: HeaderFields): void
  dmarc(part: string): DmarcSink
  tls(part: string, report: TlsReport): void
  failure(part: string, report: FailureReport): void
  /** A part (or, with part '', the whole mail) that cannot be read. */
  rejected(part: string, reject: Reject): void
  /** Always last, once. */
  mail(fields: MailFields, kind: MailKind, warnings: readonly Warning[]): void
}

/** Faults that only say "this is no report": in ordinary mail that is no reject. */
const notOurs: ReadonlySet<RejectCode> = new Set(['not_a_report', 'container_unknown'])

/** What a sender of reports writes: the subject of RFC 7489 §7.2.1.1 / RFC 8460 §5.3, or the file name. */
const reportSubject = /report[- ]?domain\s*:/i
const reportFileName = /^[^!]*![^!]+!\d{6,}!\d{6,}/

interface Source {
  readonly part: string
  readonly depth: number
  /** Gives the bytes from the beginning, as often as asked. */
  open(): Bytes
}

/** Reads a mail and tells the consumer all that is in it. Throws only when there is a fault in the reader itself. */
export async function readReportMail(bytes: Uint8Array, limits: Limits, consumer: MailConsumer): Promise<void> {
  await new MailReading(limits, consumer).read(bytes)
}

class MailReading {
  readonly #limits: Limits
  readonly #consumer: MailConsumer
  readonly #warnings: Warning[] = []
  readonly #found = { dmarc: 0, tls: 0, failure: 0 }
  #rejects = 0
  /** Parts that are no report; they become rejects when the mail says that it carries one. */
  readonly #strangers: { part: string; reject: Reject }[] = []
  #claimsReport = false
  #reportDomain: string | null = null

  constructor(limits: Limits, consumer: MailConsumer) {
    this.#limits = limits
    this.#consumer = consumer
  }

  async read(bytes: Uint8Array): Promise<void> {
    let mail: ReturnType<typeof readMail>
    try {
      if (bytes.length > this.#limits.mailBytes) {
        throw new Rejected(
          'mail_too_large',
          `The mail has ${bytes.length} bytes; ${this.#limits.mailBytes} are allowed.`,
        )
      }
      mail = readMail(bytes, this.#limits)
    } catch (error) {
      this.#reject('', asReject(error))
      this.#consumer.mail({ ...noFields, size: bytes.length }, 'rejected', [])
      return
    }
    this.#consumer.header?.(mail.root.fields)
    this.#reportDomain = mail.root.fields.get('tls-report-domain')
    this.#claimsReport = claimsReport(mail.root, mail.fields)
    const consumed = new Set<Entity>()
    for (const { report, entities } of readFailureReport(mail.root, mail.fields)) {
      for (const entity of entities) for (const leaf of leaves(entity)) consumed.add(leaf)
      this.#found.failure++
      this.#consumer.failure(partOf(entities[0] ?? mail.root), report)
    }
    for (const leaf of leaves(mail.root)) if (!consumed.has(leaf)) await this.#readLeaf(leaf)
    const found = this.#found.dmarc + this.#found.tls + this.#found.failure
    if (found === 0 && this.#claimsReport) for (const { part, reject } of this.#strangers) this.#reject(part, reject)
    const kind =
      this.#found.dmarc > 0
        ? 'dmarc'
        : this.#found.tls > 0
          ? 'tls'
          : this.#found.failure > 0
            ? 'failure'
            : this.#rejects > 0
              ? 'rejected'
              : 'other'
    // Reading the parts adds to the warnings of the mail: a repaired encoding is known only then.
    this.#consumer.mail(mail.fields, kind, [...mail.warnings, ...this.#warnings])
  }

  #reject(part: string, reject: Reject): void {
    this.#rejects++
    this.#consumer.rejected(part, reject)
  }

  async #readLeaf(leaf: Entity): Promise<void> {
    if (leaf.type === 'text/html') return
    const part = partOf(leaf)
    try {
      const content = leaf.content()
      if (leaf.fileName !== null && reportFileName.test(leaf.fileName)) this.#claimsReport = true
      if (leaf.type.startsWith('application/tlsrpt')) this.#claimsReport = true
      const attached = leaf.type !== 'text/plain' || leaf.fileName !== null
      if (attached && sniff(content) === 'empty') return this.#strange(part, 'The attachment is empty.')
      await this.#readSource({ part, depth: 0, open: () => content }, attached)
    } catch (error) {
      this.#fault(part, error)
    }
  }

  /** Reads a source by what its first bytes say. `attached`: it is meant to be opened, not to be read by people. */
  async #readSource(source: Source, attached: boolean): Promise<void> {
    const bytes = source.open()
    const whole = bytes instanceof Uint8Array ? bytes : undefined
    const peeked = whole === undefined ? await peek(bytes as AsyncIterable<Uint8Array>) : undefined
    const kind = sniff(whole ?? peeked!.first)
    const rest: Bytes = whole ?? peeked!.all
    if (kind === 'xml') return this.#readAggregate(source, rest)
    if (kind === 'json') return this.#readTls(source, await hold(rest, this.#limits))
    if (kind === 'gzip' || kind === 'zip') return this.#readContainer(source, kind, await hold(rest, this.#limits))
    const content = whole ?? (await hold(rest, this.#limits))
    if (isKnownJunk(content)) throw new Rejected('known_junk', 'The attachment holds only the word "unused".')
    if (attached)
      this.#strange(source.part, `The first bytes of this part (${showStart(content)}) are of no kind of report.`)
  }

  #strange(part: string, detail: string): void {
    this.#strangers.push({ part, reject: { code: 'not_a_report', detail } })
  }

  async #readContainer(source: Source, kind: 'gzip' | 'zip', content: Uint8Array): Promise<void> {
    if (source.depth >= this.#limits.containerDepth) {
      throw new Rejected('container_depth', `Archives are nested more than ${this.#limits.containerDepth} deep.`)
    }
    const depth = source.depth + 1
    const seen = new Set<string>()
    const warn = (warning: Warning) => {
      if (!seen.has(warning.code)) this.#warnings.push(warning)
      seen.add(warning.code)
    }
    if (kind === 'gzip') {
      return this.#readSource(
        { part: `${source.part}!1`, depth, open: () => gunzip(content, this.#limits, warn) },
        true,
      )
    }
    const entries = readZip(content, this.#limits, warn)
    for (const [index, entry] of entries.entries()) {
      const part = `${source.part}!${index + 1}`
      try {
        await this.#readSource({ part, depth, open: () => entry.open() }, true)
      } catch (error) {
        this.#fault(part, error)
      }
    }
    if (entries.length === 0) this.#strange(source.part, 'The zip archive is empty.')
  }

  async #readAggregate(source: Source, bytes: Bytes): Promise<void> {
    try {
      await this.#readAggregateOnce(source.part, bytes, false)
    } catch (error) {
      if (!(error instanceof Rejected && error.code === 'xml_malformed')) throw error
      await this.#readAggregateOnce(source.part, source.open(), true)
    }
    this.#found.dmarc++
  }

  async #readAggregateOnce(part: string, bytes: Bytes, tolerant: boolean): Promise<void> {
    const sink = this.#consumer.dmarc(part)
    try {
      const reader = new AggregateReader({
        limits: this.#limits,
        tolerant,
        onRecord: (record, rest) => sink.record(record, rest),
      })
      if (bytes instanceof Uint8Array) reader.write(bytes)
      else for await (const chunk of bytes) reader.write(chunk)
      sink.finish(reader.end())
    } catch (error) {
      sink.discard()
      throw error
    }
  }

  #readTls(source: Source, content: Uint8Array): void {
    const report = readTlsReport(content, { reportDomain: this.#reportDomain }, this.#limits)
    this.#consumer.tls(source.part, report)
    this.#found.tls++
  }

  #fault(part: string, error: unknown): void {
    const reject = asReject(error)
    if (notOurs.has(reject.code)) this.#strangers.push({ part, reject })
    else this.#reject(part, reject)
  }
}

const noFields: MailFields = { from: null, to: null, subject: null, date: null, message_id: null, size: 0 }

/** The reject that a decoder threw; whatever else it threw is a fault of ours and goes on. */
function asReject(error: unknown): Reject {
  if (error instanceof Rejected) return { code: error.code, detail: error.message }
  throw error
}

/** A mail whose only entity is its root has its content in part 1, as IMAP counts (RFC 9051 §6.4.5.1). */
function partOf(entity: Entity): string {
  return entity.path === '' ? '1' : entity.path
}

function claimsReport(root: Entity, fields: MailFields): boolean {
  return (
    (fields.subject !== null && reportSubject.test(fields.subject)) ||
    root.fields.get('tls-report-domain') !== null ||
    root.fields.get('mailtrail-wrapped') !== null
  )
}

/** The first chunk of a stream that says something, and the stream with that chunk in front again. */
async function peek(chunks: AsyncIterable<Uint8Array>): Promise<{ first: Uint8Array; all: AsyncIterable<Uint8Array> }> {
  const iterator = chunks[Symbol.asyncIterator]()
  let head = await iterator.next()
  while (!head.done && head.value.length === 0) head = await iterator.next()
  const first: Uint8Array = head.done ? new Uint8Array() : head.value
  async function* again(): AsyncIterable<Uint8Array> {
    try {
      yield first
      for (let next = await iterator.next(); !next.done; next = await iterator.next()) yield next.value
    } finally {
      await iterator.return?.()
    }
  }
  return { first, all: again() }
}

/** The whole of a source in memory, up to what may be held. */
async function hold(bytes: Bytes, limits: Limits): Promise<Uint8Array> {
  if (bytes instanceof Uint8Array) return bytes
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of bytes) {
    size += chunk.length
    if (size > limits.heldBytes) {
      throw new Rejected(
        'inflate_limit',
        `The unpacked data has more than ${limits.heldBytes} bytes and is no XML report.`,
      )
    }
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

function showStart(content: Uint8Array): string {
  return Buffer.from(content.subarray(0, 8)).toString('hex')
}
