/** What is in a mail as rows for people: comma-separated values with one row per record, or one line per report. */
import { plausibleCount } from '../topics/plausible-count.ts'
import { csvText } from '../topics/printable.ts'
import type { DmarcRecord, DmarcReport, FailureReport, MailFields, Reject, TlsReport } from './formats/shapes.ts'
import { isoSeconds } from './mail-json.ts'
import type { DmarcSink, MailConsumer } from './read-mail.ts'
import type { Spool } from './spool.ts'

type Cell = string | number | null

export const csvColumns = [
  'kind', 'source', 'org_name', 'report_id', 'begin', 'end', 'policy_domain', 'p', 'source_ip', 'count', 'disposition',
  'dkim', 'spf', 'header_from', 'envelope_from', 'envelope_to', 'reasons', 'dkim_results', 'spf_results',
  'policy_type', 'successful', 'failed', 'code', 'detail',
] as const // biome-ignore format: a list of names
type CsvRow = Partial<Record<(typeof csvColumns)[number], Cell>>

/** One line of CSV (RFC 4180). */
export function csvLine(cells: readonly Cell[]): string {
  const text = cells.map((cell) => {
    if (cell === null) return ''
    return typeof cell === 'number' ? String(cell) : csvText(cell)
  })
  return `${text.join(',')}\r\n`
}

/** Rows of CSV: one per DMARC record, TLS policy, failure report, other mail or reject. */
export class MailCsv implements MailConsumer {
  readonly #source: string
  readonly #out: Spool
  readonly #newSpool: () => Spool
  #rows = 0

  constructor(source: string, out: Spool, newSpool: () => Spool) {
    this.#source = source
    this.#out = out
    this.#newSpool = newSpool
  }

  #row(row: CsvRow): void {
    this.#rows++
    const full: CsvRow = { ...row, source: this.#source }
    this.#out.write(Buffer.from(csvLine(csvColumns.map((column) => full[column] ?? null))))
  }

  dmarc(): DmarcSink {
    const waiting = this.#newSpool()
    return {
      record: (record) => waiting.writeText(`${JSON.stringify(record)}\n`),
      finish: (report) => {
        if (report.records === 0) this.#row(reportCells(report))
        for (const line of linesOf(waiting)) this.#row({ ...reportCells(report), ...recordCells(JSON.parse(line)) })
        waiting.discard()
      },
      discard: () => waiting.discard(),
    }
  }

  tls(_part: string, report: TlsReport): void {
    for (const policy of report.policies) {
      this.#row({
        kind: 'tls',
        org_name: report.org_name,
        report_id: report.report_id,
        begin: isoSeconds(report.begin),
        end: isoSeconds(report.end),
        policy_domain: policy.domain,
        policy_type: policy.type,
        successful: policy.successful,
        failed: policy.failed,
      })
    }
  }

  failure(_part: string, report: FailureReport): void {
    this.#row({
      kind: 'failure',
      policy_domain: report.reported_domain,
      source_ip: report.source_ip,
      begin: report.arrival,
      header_from: report.from,
      envelope_from: report.original_mail_from,
      envelope_to: report.original_rcpt_to,
    })
  }

  rejected(_part: string, { code, detail }: Reject): void {
    this.#row({ kind: 'rejected', code, detail })
  }

  mail(fields: MailFields): void {
    if (this.#rows === 0)
      this.#row({ kind: 'other', begin: fields.date, header_from: fields.from, detail: fields.subject })
  }
}

function reportCells(report: DmarcReport): CsvRow {
  return {
    kind: 'dmarc',
    org_name: report.org_name,
    report_id: report.report_id,
    begin: isoSeconds(report.begin),
    end: isoSeconds(report.end),
    policy_domain: report.policy.domain,
    p: report.policy.p,
  }
}

function recordCells(record: DmarcRecord): CsvRow {
  const said = (value: string | null) => value ?? ''
  return {
    source_ip: record.source_ip,
    count: record.count,
    disposition: record.disposition,
    dkim: record.dkim,
    spf: record.spf,
    header_from: record.header_from,
    envelope_from: record.envelope_from,
    envelope_to: record.envelope_to,
    reasons: record.reasons.map(({ type }) => said(type)).join(' '),
    dkim_results: record.dkim_results
      .map(({ domain, selector, result }) => `${said(domain)}/${said(selector)}=${said(result)}`)
      .join(' '),
    spf_results: record.spf_results
      .map(({ domain, scope, result }) => `${said(domain)}/${said(scope)}=${said(result)}`)
      .join(' '),
  }
}

function* linesOf(spool: Spool): Iterable<string> {
  let rest = Buffer.alloc(0)
  for (const bytes of spool.read()) {
    let at = 0
    const all = Buffer.concat([rest, bytes])
    for (let end = all.indexOf(10, at); end >= 0; end = all.indexOf(10, at)) {
      yield all.toString('utf8', at, end)
      at = end + 1
    }
    rest = all.subarray(at)
  }
}

/** One line per thing found, in columns, for a person at a terminal. */
export class MailOverview implements MailConsumer {
  readonly #source: string
  readonly #line: (cells: readonly string[]) => void
  #lines = 0

  constructor(source: string, line: (cells: readonly string[]) => void) {
    this.#source = source
    this.#line = line
  }

  #add(...cells: readonly string[]): void {
    this.#lines++
    this.#line([...cells, this.#source])
  }

  dmarc(): DmarcSink {
    let messages = 0
    let passed = 0
    return {
      record: (record) => {
        const count = plausibleCount(record.count)
        messages += count
        if (record.dkim === 'pass' || record.spf === 'pass') passed += count
      },
      finish: ({ org_name, email, policy, begin, records, warnings }) =>
        this.#add(
          'dmarc',
          isoSeconds(begin).slice(0, 10),
          policy.domain,
          org_name ?? email ?? '',
          `${records} records, ${messages} messages, ${passed} passed, p=${policy.p}${warnings.length > 0 ? `, ${warnings.length} warnings` : ''}`,
        ),
      discard: () => undefined,
    }
  }

  tls(_part: string, report: TlsReport): void {
    for (const { domain, type, successful, failed } of report.policies) {
      this.#add(
        'tls',
        isoSeconds(report.begin).slice(0, 10),
        domain,
        report.org_name ?? '',
        `${type}: ${successful} sessions, ${failed} failed`,
      )
    }
  }

  failure(_part: string, report: FailureReport): void {
    this.#add(
      'failure',
      (report.arrival ?? '').slice(0, 10),
      report.reported_domain ?? '',
      report.source_ip ?? '',
      report.subject ?? '',
    )
  }

  rejected(_part: string, { code, detail }: Reject): void {
    this.#add('rejected', '', '', code, detail)
  }

  mail({ date, from, subject }: MailFields): void {
    if (this.#lines === 0) this.#add('other', (date ?? '').slice(0, 10), '', from ?? '', subject ?? '')
  }
}
