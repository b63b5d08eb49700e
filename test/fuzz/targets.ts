/** What is fuzzed, and what must hold of every input: a result within its invariants or a reject with a known code. */
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Rejected, rejectCodes, warningCodes } from '../../processors/formats/codes.ts'
import { AggregateReader } from '../../processors/formats/dmarc-aggregate.ts'
import { type Bytes, gunzip, hold } from '../../processors/formats/inflate.ts'
import { defaultLimits } from '../../processors/formats/limits.ts'
import { leaves, readMail } from '../../processors/formats/mime.ts'
import type { DmarcRecord, DmarcReport, TlsReport, Warning } from '../../processors/formats/shapes.ts'
import { readTlsReport } from '../../processors/formats/tls-report.ts'
import { isTnef, readTnef } from '../../processors/formats/tnef.ts'
import { readZip } from '../../processors/formats/zip.ts'
import { type Delivery, EventWriter, MailEvents } from '../../processors/mail-events.ts'
import { MailJson } from '../../processors/mail-json.ts'
import { type MailConsumer, readReportMail } from '../../processors/read-mail.ts'
import { Spool } from '../../processors/spool.ts'
import { compileRules } from '../../rules/compile.ts'
import { Conditions } from '../../rules/condition.ts'
import { names } from '../../rules/names.ts'
import { readRules } from '../../rules/read.ts'
import { findMboxStart, readMbox } from '../../sources/mbox.ts'
import { eventTypes } from '../../topics/all.ts'
import { compile } from '../../topics/avro.ts'
import { mailId } from '../../topics/ingest.ts'
import { makeChunk } from '../rules/chunks.ts'

export const targetNames = ['mail', 'mime', 'gzip', 'zip', 'tnef', 'xml', 'json', 'mbox', 'rules', 'condition'] as const
export type TargetName = (typeof targetNames)[number]

/** What must hold and does not. */
export class Broken extends Error {}
function check(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Broken(what)
}

/** Runs something that may reject its input; any other error is a finding. */
async function orRejected(run: () => unknown): Promise<boolean> {
  try {
    await run()
    return true
  } catch (error) {
    if (!(error instanceof Rejected)) throw error
    checkReject(error.code, error.message)
    return false
  }
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/

function checkReject(code: string, detail: string): void {
  check(code in rejectCodes, `the reject ${code} is none`)
  check(detail.length > 5 && detail.length <= 1100, `the detail of ${code} says nothing, or too much`)
  check(!CONTROL.test(detail), `the detail of ${code} has control characters`)
}

function checkWarnings(warnings: readonly Warning[]): void {
  check(warnings.length <= 101, `${warnings.length} warnings`)
  for (const { code, detail } of warnings) {
    check(code in warningCodes, `the warning ${code} is none`)
    check(detail.length <= 1100 && !CONTROL.test(detail), `the detail of ${code} is too long or has control characters`)
  }
}

/** Texts are never empty and never longer than what is kept. */
function checkTexts(value: unknown, where = ''): void {
  if (typeof value === 'string')
    check(value !== '' && value.length <= 1024, `${where} is empty or has ${value.length} characters`)
  else if (typeof value === 'number') check(!Number.isNaN(value), `${where} is NaN`)
  else if (value !== null && typeof value === 'object')
    for (const [name, inner] of Object.entries(value)) if (name !== 'warnings') checkTexts(inner, `${where}.${name}`)
}

const EPOCH_END = Date.UTC(2107, 0, 1) / 1000
function checkPeriod({ begin, end }: { begin: number; end: number }): void {
  check(Number.isInteger(begin) && Number.isInteger(end), 'a time is no whole second')
  check(begin >= 0 && begin <= end && end < EPOCH_END, `the period ${begin} to ${end}`)
}

function checkRecord(record: DmarcRecord): void {
  check(record.source_ip !== '', 'a record without source')
  check(
    record.dkim_results.length <= 100 && record.spf_results.length <= 20 && record.reasons.length <= 20,
    'too many results',
  )
  checkTexts(record, 'record')
}

function checkDmarc(report: DmarcReport, records: number): void {
  check(report.records === records, `${report.records} records are said, ${records} came`)
  check(report.report_id !== '' && report.policy.domain !== '', 'a mandatory part is missing')
  checkPeriod(report)
  checkTexts(report, 'report')
  checkWarnings(report.warnings)
}

function checkTls(report: TlsReport): void {
  checkPeriod(report)
  checkTexts(report, 'report')
  checkWarnings(report.warnings)
  for (const { successful, failed } of report.policies)
    check(
      Number.isSafeInteger(successful) && successful >= 0 && Number.isSafeInteger(failed) && failed >= 0,
      'sessions',
    )
}

async function drain(bytes: Bytes): Promise<number> {
  if (bytes instanceof Uint8Array) return bytes.length
  let size = 0
  for await (const chunk of bytes) size += chunk.length
  return size
}

function readXml(bytes: Uint8Array, tolerant: boolean, piece: number): string {
  const records: DmarcRecord[] = []
  const reader = new AggregateReader({
    limits: defaultLimits,
    tolerant,
    onRecord(record) {
      checkRecord(record)
      records.push(record)
    },
  })
  try {
    for (let at = 0; at < bytes.length; at += piece) reader.write(bytes.subarray(at, at + piece))
    const report = reader.end()
    checkDmarc(report, records.length)
    return JSON.stringify([report, records])
  } catch (error) {
    if (!(error instanceof Rejected)) throw error
    checkReject(error.code, error.message)
    return error.code
  }
}

const ids = Object.fromEntries(eventTypes.map(({ name }, index) => [name, index + 1]))
const writer = new EventWriter(ids)
const typesById = new Map(eventTypes.map(({ name, schema }) => [ids[name], { name, type: compile(schema) }]))
let serial = 0

/** Reads a mail to events, and says what was called in a wrong order. */
async function readToEvents(bytes: Uint8Array, folder: string): Promise<string> {
  const delivery: Delivery = {
    mailId: mailId(bytes), size: bytes.length, partition: 0, offset: 0, receivedAt: 1_790_000_000_000, receivedFrom: 'http',
    source: null, envelopeFrom: null, envelopeTo: null,
  } // biome-ignore format: three lines
  const events = new MailEvents(delivery, writer, folder)
  let ended = 0
  let reports = 0
  let rejects = 0
  const consumer: MailConsumer = {
    dmarc(part) {
      check(ended === 0, 'a report after the end of its mail')
      const sink = events.dmarc(part)
      let records = 0
      let isOpen = true
      return {
        record(record, rest) {
          check(isOpen, 'a record after the end of its report')
          checkRecord(record)
          records++
          sink.record(record, rest)
        },
        finish(report) {
          check(isOpen, 'a report that ends twice')
          isOpen = false
          reports++
          checkDmarc(report, records)
          sink.finish(report)
        },
        discard() {
          isOpen = false
          sink.discard()
        },
      }
    },
    tls(part, report) {
      reports++
      checkTls(report)
      events.tls(part, report)
    },
    failure(part, report) {
      reports++
      checkTexts(report, 'failure')
      checkWarnings(report.warnings)
      events.failure(part, report)
    },
    rejected(part, reject) {
      rejects++
      checkReject(reject.code, reject.detail)
      events.rejected(part, reject)
    },
    mail(fields, kind, warnings) {
      ended++
      checkTexts(fields, 'mail')
      check(fields.size === bytes.length, 'the size of the mail')
      check((kind === 'other') === (reports + rejects === 0), `${kind} with ${reports} reports and ${rejects} rejects`)
      check(
        (kind === 'rejected') === (reports === 0 && rejects > 0),
        `${kind} with ${reports} reports and ${rejects} rejects`,
      )
      events.mail(fields, kind, warnings)
    },
  }
  try {
    await readReportMail(bytes, defaultLimits, consumer)
    check(ended === 1, `the mail ended ${ended} times`)
    if (events.spool.path !== null) return 'spooled'
    const bodies = Buffer.concat([...events.spool.read()])
    return events.events
      .map(({ topic, key, value, spooled }) => describeEvent(topic, key, value, spooled, bodies))
      .join('\n')
  } finally {
    events.spool.discard()
  }
}

function describeEvent(
  topic: string,
  key: string,
  value: Uint8Array,
  spooled: { readonly start: number; readonly length: number } | null,
  bodies: Buffer,
): string {
  const whole =
    spooled === null
      ? Buffer.from(value)
      : Buffer.concat([value, bodies.subarray(spooled.start, spooled.start + spooled.length)])
  check(whole.length <= 1024 * 1024, `an event of ${whole.length} bytes on ${topic}`)
  check(key !== '', `an event without key on ${topic}`)
  const { name, type } = typesById.get(whole.readUInt32BE(1))!
  const data = type.fromBuffer(whole.subarray(5)) as Record<string, unknown>
  if (name === 'DmarcReportRead') {
    const { messages, passed, full_pass, dkim_only, spf_only, failed } = data.totals as Record<string, number>
    check(full_pass! + dkim_only! + spf_only! + failed! === messages, 'the sums of a report')
    check(passed! + failed! === messages && Number.isSafeInteger(messages), 'the sums of a report')
  }
  return `${topic} ${key} ${name} ${JSON.stringify(data)}`
}

/** The lines that `parse` prints. */
async function readToJson(bytes: Uint8Array, folder: string): Promise<void> {
  const parts: (Uint8Array | Spool)[] = []
  await readReportMail(bytes, defaultLimits, new MailJson('a', parts, () => new Spool(folder, `${serial++}.spool`)))
  const pieces = parts.flatMap((part) =>
    part instanceof Spool ? [...part.read()].map((piece) => Buffer.from(piece)) : [part],
  )
  for (const part of parts) if (part instanceof Spool) part.discard()
  const lines = Buffer.concat(pieces).toString().trimEnd().split('\n')
  for (const line of lines)
    check(typeof (JSON.parse(line) as { kind?: unknown }).kind === 'string', 'a line without kind')
}

const view = Object.fromEntries(
  Object.entries(names).map(([name, { type }]) => [
    name,
    { string: 'a.example', int: 64496n, bool: true, strings: ['a.example'], dkimResults: [], spfResults: [] }[type],
  ]),
)
const conditions = new Conditions({
  office: { kind: 'ranges', values: ['192.0.2.0/24'] },
  partners: { kind: 'domains', values: ['p.example'] },
})
const chunk = makeChunk([
  {},
  { dkim: 'pass', dkim_results: [['a.example', 's', 'pass']] },
  { observed: { ptr: [['a.b.example', true]], asn: 64496 } },
])

export function openTargets(): {
  targets: Readonly<Record<TargetName, (bytes: Uint8Array) => Promise<void>>>
  close: () => void
} {
  const folder = mkdtempSync(join(tmpdir(), 'mailtrail-fuzz-'))
  const targets: Record<TargetName, (bytes: Uint8Array) => Promise<void>> = {
    async mail(bytes) {
      const said = await readToEvents(bytes, folder)
      if (bytes.length % 4 === 0)
        check(said === (await readToEvents(bytes, folder)), 'the same mail is read in two ways')
      await readToJson(bytes, folder)
    },
    async mime(bytes) {
      await orRejected(() => {
        const mail = readMail(bytes, defaultLimits)
        checkWarnings(mail.warnings.slice(0, 100))
        let parts = 0
        for (const leaf of leaves(mail.root)) {
          leaf.content()
          parts++
        }
        check(parts >= 1 && parts <= defaultLimits.mimeParts, `${parts} parts`)
      })
    },
    gzip: async (bytes) =>
      void (await orRejected(async () => drain(gunzip(bytes, defaultLimits, (warning) => checkWarnings([warning]))))),
    async zip(bytes) {
      await orRejected(async () => {
        const entries = readZip(bytes, defaultLimits, (warning) => checkWarnings([warning]))
        check(entries.length <= defaultLimits.zipEntries, `${entries.length} entries`)
        for (const entry of entries) await orRejected(async () => hold(entry.open(), defaultLimits))
      })
    },
    async tnef(bytes) {
      if (!isTnef(bytes)) return
      const attachments = readTnef(bytes)
      check(attachments.length <= 100, `${attachments.length} attachments`)
      check(
        attachments.reduce((sum, { bytes: content }) => sum + content.length, 0) <= bytes.length,
        'more octets than there are',
      )
    },
    async xml(bytes) {
      for (const tolerant of [false, true]) {
        const whole = readXml(bytes, tolerant, Math.max(1, bytes.length))
        const piece = 1 + (bytes.length % 97)
        const same = readXml(bytes, tolerant, piece)
        check(whole === same, `read otherwise in pieces of ${piece}${tolerant ? ', tolerantly' : ''}`)
      }
    },
    json: async (bytes) =>
      void (await orRejected(() => checkTls(readTlsReport(bytes, { reportDomain: null }, defaultLimits)))),
    async mbox(bytes) {
      const start = findMboxStart(bytes.subarray(0, 8192))
      if (start < 0) return
      const path = join(folder, 'mbox')
      writeFileSync(path, bytes)
      const file = openSync(path, 'r')
      try {
        let size = 0
        for await (const mail of readMbox(file, start, 100_000)) size += mail.oversized ?? mail.bytes.length
        check(size <= bytes.length, `${size} octets of mail in ${bytes.length}`)
      } finally {
        closeSync(file)
      }
    },
    async rules(bytes) {
      const { ruleSet, problems } = readRules(Buffer.from(bytes).toString())
      for (const { message, line, column } of problems)
        check(message !== '' && line >= 1 && column >= 1, `a problem at ${line}:${column} without place or words`)
      if (ruleSet === null)
        check(
          problems.some(({ severity }) => severity === 'error'),
          'no rules, and no reason',
        )
      else check(JSON.stringify(compileRules(ruleSet).evaluate(chunk)).length > 10, 'no verdict')
    },
    async condition(bytes) {
      const read = conditions.read(Buffer.from(bytes).toString())
      if (!('text' in read)) check(read.length > 0, 'refused without a reason')
      else
        check(
          typeof read.holds({ ...view, lists: conditions.reader.lists } as never) === 'boolean',
          'neither true nor false',
        )
    },
  }
  return { targets, close: () => rmSync(folder, { recursive: true, force: true }) }
}
