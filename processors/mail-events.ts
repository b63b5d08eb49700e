/**
 * Turns what is found in a mail into encoded events. Runs in a worker thread: bytes go in, encoded events come out, and
 * chunks of a large report wait in a file until the report has been read to its end.
 */

import { createHash, type Hash } from 'node:crypto'
import { NOT_CHECKED } from '../topics/authentication.ts'
import { type AvroType, compile, frame } from '../topics/avro.ts'
import { eventId } from '../topics/cause.ts'
import { plausibleCount } from '../topics/plausible-count.ts'
import { FailureReportRead, MailRead, PRIVATE } from '../topics/private.ts'
import { MailRejected, REJECTS } from '../topics/rejects.ts'
import { DmarcRecordsRead, DmarcReportRead, REPORTS, TlsPoliciesRead, TlsReportRead } from '../topics/reports.ts'
import type { Sender, Vouched } from './authentication.ts'
import type { HeaderFields } from './formats/header-fields.ts'
import type {
  DmarcRecord,
  DmarcReport,
  FailureReport,
  MailFields,
  Reject,
  TlsFailureDetail,
  TlsPolicy,
  TlsReport,
  Warning,
} from './formats/shapes.ts'
import type { DmarcSink, MailConsumer, MailKind } from './read-mail.ts'
import { RecordColumns } from './record-columns.ts'
import { type Redaction, Redactor } from './redaction.ts'
import { dmarcReportKey, placePeriod, submitter, tlsDomains, tlsReportKey } from './report-identity.ts'
import { Spool } from './spool.ts'

/** What the log says of a delivery. `receivedAt` in milliseconds. */
export interface Delivery {
  readonly mailId: string
  /** Bytes of the mail. */
  readonly size: number
  readonly partition: number
  readonly offset: number
  readonly receivedAt: number
  readonly receivedFrom: string | null
  readonly source: string | null
  readonly envelopeFrom: string | null
  readonly envelopeTo: string | null
}

export type OutputTopic = typeof REPORTS | typeof PRIVATE | typeof REJECTS

/** An encoded event; `body` goes on in the spool file when the report was large. */
export interface EncodedEvent {
  readonly topic: OutputTopic
  readonly key: string
  readonly value: Uint8Array
  readonly spooled: { readonly start: number; readonly length: number } | null
}

/** Codecs of the events that a worker writes, with the schema ids of the registry in use. */
export class EventWriter {
  readonly redactor: Redactor
  readonly #ids: Readonly<Record<string, number>>
  readonly #types = new Map<string, AvroType>()

  constructor(ids: Readonly<Record<string, number>>, redaction: Redaction = []) {
    this.#ids = ids
    this.redactor = new Redactor(redaction)
    const { fields, ...rest } = DmarcRecordsRead.schema
    // The columns of a chunk are encoded before its report is known to be whole. In Avro a record is its fields one
    // after the other, so the leading fields can be encoded later and put in front.
    this.#types.set('DmarcRecordsRead', compile({ ...rest, fields: fields.slice(0, -1) }))
    for (const { name, schema } of [
      DmarcReportRead,
      TlsPoliciesRead,
      TlsReportRead,
      MailRead,
      FailureReportRead,
      MailRejected,
    ]) {
      this.#types.set(name, compile(schema))
    }
  }

  write(name: string, data: object): Buffer {
    return frame(this.#ids[name]!, this.#types.get(name)!.toBuffer(data))
  }
}

type Totals = Record<
  'messages' | 'passed' | 'full_pass' | 'dkim_only' | 'spf_only' | 'failed' | 'none' | 'quarantine' | 'reject',
  number
>

const noTotals = (): Totals => ({
  messages: 0,
  passed: 0,
  full_pass: 0,
  dkim_only: 0,
  spf_only: 0,
  failed: 0,
  none: 0,
  quarantine: 0,
  reject: 0,
})

/** Adds a record to its report's totals (semantics: Counting). */
function addTo(totals: Totals, record: DmarcRecord): void {
  const messages = plausibleCount(record.count)
  const dkim = record.dkim === 'pass'
  const spf = record.spf === 'pass'
  totals.messages += messages
  if (dkim || spf) totals.passed += messages
  if (dkim && spf) totals.full_pass += messages
  else if (dkim) totals.dkim_only += messages
  else if (spf) totals.spf_only += messages
  else totals.failed += messages
  if (record.disposition === 'quarantine') totals.quarantine += messages
  else if (record.disposition === 'reject') totals.reject += messages
  else totals.none += messages
}

/** Policies and details travel in chunks of so many, and of about so much text. */
const MAX_CHUNK_ITEMS = 500
const MAX_CHUNK_TEXT = 128 * 1024

export class MailEvents implements MailConsumer {
  readonly events: EncodedEvent[] = []
  readonly spool: Spool
  readonly #delivery: Delivery
  readonly #writer: EventWriter
  readonly #spoolFolder: string
  readonly #found: { kind: string; part: string; key: string }[] = []
  readonly #sender: Sender | null
  #hasHeader = false
  #rejected = 0
  #failures = 0
  #sinks = 0

  /**
   * `spoolFolder` must exist. The spool is to be discarded when the events have been handed over. `sender` null: it was
   * not looked at who sent the mail.
   */
  constructor(delivery: Delivery, writer: EventWriter, spoolFolder: string, sender: Sender | null = null) {
    this.#sender = sender
    this.#delivery = delivery
    this.#writer = writer
    this.#spoolFolder = spoolFolder
    this.spool = new Spool(spoolFolder, this.#spoolName('all'))
  }

  #spoolName(what: string | number): string {
    const { mailId, partition, offset } = this.#delivery
    return `${mailId}-${partition}-${offset}-${what}.spool`
  }

  #cause(part: string, type: string, index: number) {
    const { mailId, receivedAt } = this.#delivery
    return {
      id: eventId(mailId, part, type, index),
      mail_id: mailId,
      part,
      received_at: receivedAt,
      parser_version: this.#writer.redactor.version,
    }
  }

  #emit(topic: OutputTopic, key: string, name: string, data: object): void {
    this.events.push({ topic, key, value: this.#writer.write(name, data), spooled: null })
  }

  header(fields: HeaderFields): void {
    this.#hasHeader = true
    this.#sender?.readHeader(fields)
  }

  #authenticate(address: string | null, what: Vouched) {
    return this.#sender?.authenticate(address, what) ?? NOT_CHECKED
  }

  dmarc(part: string): DmarcSink {
    const columns = new RecordColumns()
    const chunks: { start: number; length: number; first: number }[] = []
    const waiting = new Spool(this.#spoolFolder, this.#spoolName(++this.#sinks))
    const facts: Hash = createHash('sha256')
    const totals = noTotals()
    let records = 0
    let first = 0
    const takeChunk = () => {
      if (columns.length === 0) return
      chunks.push({ ...waiting.write(columns.take(facts)), first })
      first = records
    }
    return {
      record: (record, rest) => {
        if (columns.full) takeChunk()
        columns.add(record, rest)
        addTo(totals, record)
        records++
      },
      finish: (report) => {
        takeChunk()
        const { records: _records, warnings: _warnings, ...said } = report
        const variant = facts.update(JSON.stringify(said)).digest('hex').slice(0, 32)
        this.#closeDmarc(part, report, variant, chunks, waiting, totals)
        waiting.discard()
      },
      discard: () => waiting.discard(),
    }
  }

  #closeDmarc(
    part: string,
    report: DmarcReport,
    variant: string,
    chunks: readonly { length: number; first: number }[],
    waiting: Spool,
    totals: Totals,
  ): void {
    const org = submitter(report.org_name, report.email)
    const report_key = dmarcReportKey(org, report)
    const { day, span_days, implausible_period } = placePeriod(report.begin, report.end, this.#delivery.receivedAt)
    const { domain, ...policy } = report.policy
    const reference = { report_key, variant, policy_domain: domain, org, day, implausible_period }
    let index = 0
    for (const body of piecesOf(waiting, chunks)) {
      const head = this.#writer.write('DmarcRecordsRead', {
        ...this.#cause(part, 'DmarcRecordsRead', index),
        ...reference,
        p: policy.p,
        sp: policy.sp,
        np: policy.np,
        chunk: index,
        first: chunks[index]!.first,
      })
      this.events.push({ topic: REPORTS, key: report_key, value: head, spooled: this.spool.write(body) })
      index++
    }
    this.#emit(REPORTS, report_key, 'DmarcReportRead', {
      ...this.#cause(part, 'DmarcReportRead', 0),
      ...reference,
      org_name: report.org_name,
      email: report.email,
      extra_contact_info: report.extra_contact_info,
      report_id: report.report_id,
      begin: report.begin,
      end: report.end,
      span_days,
      version: report.version,
      generator: report.generator,
      errors: report.errors,
      ...policy,
      chunks: chunks.length,
      records: report.records,
      totals,
      warnings: withPeriod(report.warnings, implausible_period, day),
      ...this.#authenticate(report.email, 'dmarc'),
    })
    this.#found.push({ kind: 'dmarc', part, key: report_key })
  }

  tls(part: string, report: TlsReport): void {
    const org = submitter(report.org_name, report.contact)
    const report_key = tlsReportKey(org, report)
    const { warnings, ...said } = report
    const variant = createHash('sha256').update(JSON.stringify(said)).digest('hex').slice(0, 32)
    const { day, span_days, implausible_period } = placePeriod(report.begin, report.end, this.#delivery.receivedAt)
    const reference = { report_key, variant, org, day, implausible_period }
    const chunks = tlsChunks(report.policies)
    for (const [chunk, content] of chunks.entries()) {
      this.#emit(REPORTS, report_key, 'TlsPoliciesRead', {
        ...this.#cause(part, 'TlsPoliciesRead', chunk),
        ...reference,
        chunk,
        ...content,
      })
    }
    this.#emit(REPORTS, report_key, 'TlsReportRead', {
      ...this.#cause(part, 'TlsReportRead', 0),
      ...reference,
      org_name: report.org_name,
      contact: report.contact,
      report_id: report.report_id,
      begin: report.begin,
      end: report.end,
      span_days,
      domains: tlsDomains(report).slice(0, MAX_CHUNK_ITEMS),
      chunks: chunks.length,
      policies: report.policies.length,
      details: report.policies.reduce((sum, policy) => sum + policy.details.length, 0),
      successful: report.policies.reduce((sum, policy) => sum + policy.successful, 0),
      failed: report.policies.reduce((sum, policy) => sum + policy.failed, 0),
      warnings: withPeriod(warnings, implausible_period, day),
      ...this.#authenticate(report.contact, 'tls'),
    })
    this.#found.push({ kind: 'tls', part, key: report_key })
  }

  failure(part: string, report: FailureReport): void {
    const index = this.#failures++
    const cause = this.#cause(part, 'FailureReportRead', index)
    this.#emit(PRIVATE, this.#delivery.mailId, 'FailureReportRead', {
      ...cause,
      index,
      ...this.#writer.redactor.failure(report),
      ...this.#authenticate(null, 'failure'),
    })
    this.#found.push({ kind: 'failure', part, key: cause.id })
  }

  rejected(part: string, reject: Reject, deterministic = true): void {
    const { mailId, size, partition, offset } = this.#delivery
    this.#emit(REJECTS, mailId, 'MailRejected', {
      ...this.#cause(part, 'MailRejected', this.#rejected++),
      stage: 'parse-mail',
      code: reject.code,
      detail: this.#writer.redactor.detail(reject.detail),
      deterministic,
      ingest_partition: partition,
      ingest_offset: offset,
      size,
    })
  }

  mail(fields: MailFields, kind: MailKind, warnings: readonly Warning[]): void {
    const { mailId, partition, offset, receivedFrom, source, envelopeFrom, envelopeTo } = this.#delivery
    const { redactor } = this.#writer
    this.#emit(PRIVATE, mailId, 'MailRead', {
      ...this.#cause('', 'MailRead', 0),
      received_from: receivedFrom,
      source,
      envelope_from: redactor.addresses(envelopeFrom),
      envelope_to: redactor.addresses(envelopeTo),
      ingest_partition: partition,
      ingest_offset: offset,
      ...redactor.mail(fields),
      kind,
      found: this.#found.slice(0, MAX_CHUNK_ITEMS),
      rejected: this.#rejected,
      warnings: redactor.warnings(warnings),
      ...(this.#hasHeader ? this.#authenticate(null, 'mail') : NOT_CHECKED),
    })
  }
}

/** The chunks of a spool, each as it was written. */
function* piecesOf(spool: Spool, chunks: readonly { length: number }[]): Iterable<Uint8Array> {
  let rest: Uint8Array = new Uint8Array()
  let next = 0
  for (const bytes of spool.read()) {
    rest = Buffer.concat([rest, bytes])
    while (next < chunks.length && rest.length >= chunks[next]!.length) {
      const { length } = chunks[next++]!
      yield rest.subarray(0, length)
      rest = rest.subarray(length)
    }
  }
  if (next < chunks.length || rest.length > 0) throw new Error('The spool does not hold the chunks that were written.')
}

function withPeriod(warnings: readonly Warning[], implausible: boolean, day: string): readonly Warning[] {
  if (!implausible) return warnings
  return [
    ...warnings,
    { code: 'implausible_period', detail: `The report is about ${day}, far from when it was received.` },
  ]
}

interface TlsChunk {
  policies: (Omit<TlsPolicy, 'details'> & { policy_index: number })[]
  details: (TlsFailureDetail & { policy_index: number; detail_index: number; domain: string })[]
}

/** Policies and details in order, as few chunks as their limits allow. */
function tlsChunks(policies: readonly TlsPolicy[]): TlsChunk[] {
  const chunks: TlsChunk[] = []
  let room = 0
  let text = 0
  const place = (item: object): TlsChunk => {
    text += JSON.stringify(item).length
    if (room === 0 || text > MAX_CHUNK_TEXT) {
      chunks.push({ policies: [], details: [] })
      room = MAX_CHUNK_ITEMS
      text = 0
    }
    room--
    return chunks.at(-1)!
  }
  for (const [policy_index, { details, ...policy }] of policies.entries()) {
    place(policy).policies.push({ policy_index, ...policy })
    for (const [detail_index, detail] of details.entries()) {
      place(detail).details.push({ policy_index, detail_index, domain: policy.domain, ...detail })
    }
  }
  return chunks
}
