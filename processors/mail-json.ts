/**
 * What is in a mail as lines of JSON (`mailtrail parse`, shapes in the contract). The records of a report wait in a
 * spool until the report has been read to its end, so that a million records are never held as one string.
 */
import { printableJson } from '../topics/printable.ts'
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
import type { DmarcSink, MailConsumer, MailKind } from './read-mail.ts'
import type { Spool } from './spool.ts'

/** Seconds since 1970 as ISO 8601 UTC with Z. */
export function isoSeconds(seconds: number): string {
  return new Date(seconds * 1000).toISOString().replace('.000Z', 'Z')
}

/** Text of records collected before it goes to the spool. */
const BLOCK_CHARACTERS = 64 * 1024

/** A piece of the output: bytes, or what lies in a spool, which whoever writes it out discards. */
export type JsonPart = Uint8Array | Spool

export class MailJson implements MailConsumer {
  readonly #out: JsonPart[]
  readonly #source: string
  readonly #newSpool: () => Spool
  #lines = 0

  /** Adds a line of JSON per thing found to `out`. `newSpool` gives a place for the records of one report. */
  constructor(source: string, out: JsonPart[], newSpool: () => Spool) {
    this.#source = source
    this.#out = out
    this.#newSpool = newSpool
  }

  #line(value: object): void {
    this.#lines++
    this.#out.push(Buffer.from(`${printableJson(JSON.stringify(value))}\n`))
  }

  dmarc(): DmarcSink {
    const waiting = this.#newSpool()
    let block = ''
    let separator = ''
    // What records have in common, as JSON without its opening brace: made when a second record has it.
    const said = new Map<DmarcRecordRest, string | null>()
    const jsonOf = (record: DmarcRecord, rest: DmarcRecordRest | null): string => {
      const known = rest === null ? undefined : said.get(rest)
      if (typeof known === 'string') {
        return `{"source_ip":${JSON.stringify(record.source_ip)},"count":${record.count},${known}`
      }
      if (rest !== null) said.set(rest, known === undefined ? null : JSON.stringify(rest).slice(1))
      return JSON.stringify(record)
    }
    return {
      record: (record: DmarcRecord, rest: DmarcRecordRest | null) => {
        block += separator + jsonOf(record, rest)
        separator = ','
        if (block.length > BLOCK_CHARACTERS) {
          waiting.writeText(printableJson(block))
          block = ''
        }
      },
      finish: (report) => {
        const [head, tail] = aroundRecords(this.#source, report)
        const rest = printableJson(`${block}${tail}\n`)
        if (waiting.size === 0) this.#out.push(Buffer.from(`${head}${rest}`))
        else this.#out.push(Buffer.from(head), waiting, Buffer.from(rest))
        this.#lines++
      },
      discard: () => waiting.discard(),
    }
  }

  tls(_part: string, { policies, warnings, ...report }: TlsReport): void {
    this.#line({
      kind: 'tls',
      source: this.#source,
      report: {
        org_name: report.org_name,
        contact: report.contact,
        report_id: report.report_id,
        begin: isoSeconds(report.begin),
        end: isoSeconds(report.end),
      },
      policies: policies.map(({ host_level, ...policy }) => policy),
      warnings,
    })
  }

  failure(_part: string, { warnings, ...report }: FailureReport): void {
    this.#line({ kind: 'failure', source: this.#source, report, warnings })
  }

  rejected(_part: string, { code, detail }: Reject): void {
    this.#line({ kind: 'rejected', source: this.#source, code, detail })
  }

  mail(fields: MailFields, _kind: MailKind, _warnings: readonly Warning[]): void {
    if (this.#lines === 0) this.#line({ kind: 'other', source: this.#source, mail: fields })
  }
}

/** The line of an aggregate report before and after its records. */
function aroundRecords(
  source: string,
  { policy, warnings, records: _records, ...report }: DmarcReport,
): [string, string] {
  const said = {
    org_name: report.org_name,
    email: report.email,
    extra_contact_info: report.extra_contact_info,
    report_id: report.report_id,
    begin: isoSeconds(report.begin),
    end: isoSeconds(report.end),
    version: report.version,
    generator: report.generator,
    errors: report.errors,
  }
  const head = printableJson(JSON.stringify({ kind: 'dmarc', source, report: said, policy }))
  return [`${head.slice(0, -1)},"records":[`, `],"warnings":${JSON.stringify(warnings)}}`]
}
