/** Rows as the projections write them, made by hand: what is not said takes a plain default. */
import type { Store } from '../../projections/store.ts'
import { hashOf } from '../../topics/cause.ts'
import { firstGeneration, type Generation, type TableName } from '../../topics/generation.ts'
import {
  OUTCOME_DKIM_ALIGNED,
  OUTCOME_QUARANTINE,
  OUTCOME_REJECT,
  OUTCOME_SPF_ALIGNED,
  type Verdict,
  verdictNames,
} from '../../topics/verdicts.ts'

/** Columns of what was read without looking at who sent it. */
const notChecked = { authentication: 'none', authentication_reason: 'not_checked', authentication_domain: '' }

export const generation = firstGeneration('')
/** The same tables under rules. */
export const judgedGeneration: Generation = firstGeneration('', 'd0'.repeat(32))

/** A FixedString, given in hex. */
interface Hex {
  readonly hex: string
}
type Value = string | number | boolean | null | Hex | readonly (string | Hex)[]
export type Row = Readonly<Record<string, Value>>

const hex = (digits: string): Hex => ({ hex: digits })
/** 64 hex digits that stand for a name. */
export const idOf = (name: string) => hashOf(name)
export const variantOf = (name: string) => hashOf('variant', name).slice(0, 32)
const instant = (iso: string) => iso.replace('T', ' ').replace('Z', '')

interface RecordTotals {
  readonly messages: number
  readonly full_pass: number
  readonly dkim_only: number
  readonly spf_only: number
  readonly failed: number
}

export interface ReportGiven {
  readonly domain: string
  readonly day: string
  /** Stands for the whole identity of the report. */
  readonly name: string
  readonly variant?: string
  readonly mail?: string
  readonly received_at?: string
  readonly org?: string
  readonly end?: number
  readonly policy?: { p?: string; sp?: string; np?: string; pct?: number | null }
  readonly totals?: Partial<RecordTotals> & { none?: number; quarantine?: number; reject?: number }
  readonly records?: number
  readonly warnings?: readonly (readonly [code: string, detail: string])[]
}

export function dmarcReport(given: ReportGiven): Row {
  const { totals = {}, policy = {}, day, warnings = [] } = given
  const sum = { full_pass: 0, dkim_only: 0, spf_only: 0, failed: 0, ...totals }
  const passed = sum.full_pass + sum.dkim_only + sum.spf_only
  const messages = totals.messages ?? passed + sum.failed
  const begin = Date.parse(`${day}T00:00:00Z`) / 1000
  const org = given.org ?? 'Example Org'
  return {
    policy_domain: given.domain,
    day,
    report_key: hex(idOf(given.name)),
    variant: hex(variantOf(given.variant ?? 'first')),
    received_at: instant(given.received_at ?? `${day}T23:00:00.000Z`),
    mail_id: hex(idOf(given.mail ?? `mail of ${given.name}`)),
    part: '2',
    org: org.toLowerCase(),
    org_name: org,
    email: 'reports@example.org',
    extra_contact_info: '',
    report_id: given.name,
    begin,
    end: given.end ?? begin + 86399,
    span_days: 1,
    implausible_period: false,
    version: '1.0',
    generator: '',
    errors: [],
    adkim: 'r',
    aspf: 'r',
    p: policy.p ?? 'none',
    sp: policy.sp ?? '',
    np: policy.np ?? '',
    pct: policy.pct === undefined ? 100 : policy.pct,
    fo: '',
    testing: '',
    discovery_method: '',
    records: given.records ?? 1,
    messages,
    passed,
    full_pass: sum.full_pass,
    dkim_only: sum.dkim_only,
    spf_only: sum.spf_only,
    failed: sum.failed,
    none: totals.none ?? messages,
    quarantine: totals.quarantine ?? 0,
    reject: totals.reject ?? 0,
    warning_code: warnings.map(([code]) => code),
    warning_detail: warnings.map(([, detail]) => detail),
    parser_version: 'test',
    ...notChecked,
  }
}

export interface RecordGiven {
  readonly ip: string
  readonly count?: number | null
  readonly dkim?: string
  readonly spf?: string
  readonly disposition?: string
  readonly header_from?: string
  readonly selector?: string
  /** First confirmed name. */
  readonly ptr?: string
  readonly asn?: number
  readonly country?: string
  readonly sender?: string
  readonly verdict?: Verdict
  readonly excluded?: string
}

/** A record row of the report; the address may be one that is none. */
export function dmarcRecord(report: ReportGiven, index: number, given: RecordGiven): Row {
  const count = given.count === undefined ? 1 : given.count
  const isAddress = /^[0-9a-f:.]+$/i.test(given.ip)
  const dkim = given.dkim ?? 'pass'
  const spf = given.spf ?? 'pass'
  return {
    policy_domain: report.domain,
    day: report.day,
    report_key: hex(idOf(report.name)),
    variant: hex(variantOf(report.variant ?? 'first')),
    record_index: index,
    org: (report.org ?? 'Example Org').toLowerCase(),
    source_ip: isAddress ? given.ip : '::',
    source_text: isAddress ? '' : given.ip,
    count,
    messages: count !== null && count >= 1 && count <= 1e9 ? Math.trunc(count) : 0,
    disposition: given.disposition ?? 'none',
    dkim,
    spf,
    dkim_aligned: dkim === 'pass',
    spf_aligned: spf === 'pass',
    header_from: given.header_from ?? report.domain,
    envelope_from: '',
    envelope_to: '',
    reason_type: [],
    reason_comment: [],
    dkim_domain: given.selector === undefined ? [] : [report.domain],
    dkim_selector: given.selector === undefined ? [] : [given.selector],
    dkim_result: given.selector === undefined ? [] : [dkim],
    dkim_human_result: given.selector === undefined ? [] : [''],
    spf_domain: [report.domain],
    spf_scope: [''],
    spf_result: [spf],
    observed: given.ptr !== undefined,
    ptr: given.ptr ?? '',
    ptr_names: given.ptr === undefined ? [] : [given.ptr],
    asn: given.asn ?? 0,
    as_name: given.asn === undefined ? '' : `Network ${given.asn}`,
    country: given.country ?? '',
  }
}

/** What the rules say of the same record. */
export function recordVerdict(report: ReportGiven, index: number, given: RecordGiven): Row {
  const facts = dmarcRecord(report, index, given)
  const { policy_domain, day, report_key, variant, record_index, source_ip, source_text, messages } = facts
  const outcome =
    (facts.dkim_aligned === true ? OUTCOME_DKIM_ALIGNED : 0) |
    (facts.spf_aligned === true ? OUTCOME_SPF_ALIGNED : 0) |
    (facts.disposition === 'quarantine' ? OUTCOME_QUARANTINE : 0) |
    (facts.disposition === 'reject' ? OUTCOME_REJECT : 0)
  return {
    ...({ policy_domain, day, report_key, variant, record_index, source_ip, source_text, messages } as Row),
    outcome,
    sender: given.sender ?? '',
    verdict: given.verdict ?? 'unknown',
    rule: `rule-${given.verdict ?? 'unknown'}`,
    excluded: given.excluded ?? '',
  }
}

/** The sums of a chunk of records by verdict. */
export function reportVerdict(report: ReportGiven, records: readonly RecordGiven[], chunk = 0): Row {
  const sums = Object.fromEntries(verdictNames.map((verdict) => [verdict, 0])) as Record<Verdict, number>
  for (const record of records) {
    const { verdict, messages } = recordVerdict(report, 0, record)
    sums[verdict as Verdict] += messages as number
  }
  return {
    policy_domain: report.domain,
    day: report.day,
    report_key: hex(idOf(report.name)),
    variant: hex(variantOf(report.variant ?? 'first')),
    chunk,
    records: records.length,
    ...sums,
  }
}

export interface JudgedReport {
  readonly facts: readonly Row[]
  readonly report: Row
  readonly verdicts: readonly Row[]
  readonly sums: Row
}

/** All rows that one delivery of a report leaves in the tables, in one chunk. */
export function judgedReport(report: ReportGiven, records: readonly RecordGiven[]): JudgedReport {
  const facts = records.map((record, index) => dmarcRecord(report, index, record))
  const sum = (counts: (row: Row) => boolean) =>
    facts.filter(counts).reduce((total, row) => total + (row.messages as number), 0)
  const totals = {
    full_pass: sum((row) => row.dkim_aligned === true && row.spf_aligned === true),
    dkim_only: sum((row) => row.dkim_aligned === true && row.spf_aligned === false),
    spf_only: sum((row) => row.dkim_aligned === false && row.spf_aligned === true),
    failed: sum((row) => row.dkim_aligned === false && row.spf_aligned === false),
  }
  return {
    facts,
    report: dmarcReport({ ...report, records: records.length, totals }),
    verdicts: records.map((record, index) => recordVerdict(report, index, record)),
    sums: reportVerdict(report, records),
  }
}

export interface TlsReportGiven {
  readonly day: string
  readonly name: string
  readonly variant?: string
  readonly mail?: string
  readonly received_at?: string
  readonly org?: string
  readonly domains: readonly string[]
  readonly successful?: number
  readonly failed?: number
}

export function tlsReport(given: TlsReportGiven): Row {
  const begin = Date.parse(`${given.day}T00:00:00Z`) / 1000
  const org = given.org ?? 'Tls Org'
  return {
    day: given.day,
    report_key: hex(idOf(given.name)),
    variant: hex(variantOf(given.variant ?? 'first')),
    received_at: instant(given.received_at ?? `${given.day}T23:30:00.000Z`),
    mail_id: hex(idOf(given.mail ?? `mail of ${given.name}`)),
    part: '2',
    org: org.toLowerCase(),
    org_name: org,
    contact: '',
    report_id: given.name,
    begin,
    end: begin + 86399,
    span_days: 1,
    implausible_period: false,
    domains: given.domains,
    policies: given.domains.length,
    details: 0,
    successful: given.successful ?? 0,
    failed: given.failed ?? 0,
    warning_code: [],
    warning_detail: [],
    parser_version: 'test',
    ...notChecked,
  }
}

export function tlsPolicy(
  report: TlsReportGiven,
  index: number,
  policy: { domain: string; type?: string; successful: number; failed: number; mx?: string[]; host_level?: boolean },
): Row {
  return {
    policy_domain: policy.domain,
    day: report.day,
    report_key: hex(idOf(report.name)),
    variant: hex(variantOf(report.variant ?? 'first')),
    policy_index: index,
    org: (report.org ?? 'Tls Org').toLowerCase(),
    type: policy.type ?? 'sts',
    host_level: policy.host_level ?? false,
    policy_string: ['version: STSv1'],
    mx_host: policy.mx ?? [],
    successful: policy.successful,
    failed: policy.failed,
  }
}

export function tlsFailure(
  report: TlsReportGiven,
  index: number,
  failure: { domain: string; result_type: string; count: number | null; mx?: string },
): Row {
  return {
    policy_domain: failure.domain,
    day: report.day,
    report_key: hex(idOf(report.name)),
    variant: hex(variantOf(report.variant ?? 'first')),
    policy_index: 0,
    detail_index: index,
    org: (report.org ?? 'Tls Org').toLowerCase(),
    result_type: failure.result_type,
    sending_mta_ip: '192.0.2.1',
    receiving_mx_hostname: failure.mx ?? '',
    receiving_mx_helo: '',
    receiving_ip: '',
    count: failure.count,
    additional_information: '',
    reason_code: '',
  }
}

export function failureReport(given: {
  name: string
  domain: string
  received_at: string
  mail?: string
  subject?: string
}): Row {
  const day = given.received_at.slice(0, 10)
  return {
    reported_domain: given.domain,
    day,
    failure_id: hex(idOf(given.name)),
    received_at: instant(given.received_at),
    mail_id: hex(idOf(given.mail ?? `mail of ${given.name}`)),
    part: '2',
    failure_index: 0,
    feedback_type: 'auth-failure',
    auth_failure: ['dmarc'],
    source_ip: '192.0.2.7',
    original_mail_from: 'bounce@spoof.example',
    original_rcpt_to: '',
    arrival: given.received_at,
    delivery_result: 'reject',
    identity_alignment: 'none',
    user_agent: '',
    incidents: 1,
    dkim_domain: '',
    dkim_selector: '',
    spf_dns: '',
    subject: given.subject ?? 'hello',
    message_id: '',
    from: '',
    warning_code: [],
    warning_detail: [],
    parser_version: 'test',
    ...notChecked,
  }
}

export function mailRow(given: {
  id: string
  received_at: string
  kind?: string
  rejected?: number
  offset?: number
  partition?: number
  parser_version?: string
  subject?: string
  found?: readonly (readonly [kind: string, part: string, key: string])[]
}): Row {
  const found = given.found ?? []
  return {
    mail_id: hex(given.id),
    received_at: instant(given.received_at),
    parser_version: given.parser_version ?? 'test',
    ...notChecked,
    kind: given.kind ?? 'other',
    rejected: given.rejected ?? 0,
    received_from: 'http',
    source: 'http',
    envelope_from: '',
    envelope_to: '',
    ingest_partition: given.partition ?? 0,
    ingest_offset: given.offset ?? 0,
    from: 'a@example.org',
    to: 'b@example.org',
    subject: given.subject ?? 'a mail',
    date: '',
    message_id: '',
    size: 100,
    found_kind: found.map(([kind]) => kind),
    found_part: found.map(([, part]) => part),
    found_key: found.map(([, , key]) => hex(key)),
    warning_code: [],
    warning_detail: [],
  }
}

export function rejectRow(given: {
  id: string
  received_at: string
  code?: string
  part?: string
  detail?: string
  partition?: number
  offset?: number
}): Row {
  return {
    mail_id: hex(given.id),
    part: given.part ?? '',
    code: given.code ?? 'xml_malformed',
    received_at: instant(given.received_at),
    parser_version: 'test',
    stage: 'parse-mail',
    detail: given.detail ?? 'The XML cannot be read.',
    deterministic: true,
    ingest_partition: given.partition ?? 0,
    ingest_offset: given.offset ?? 0,
    size: 100,
  }
}

function literal(value: Value): string {
  if (value === null) return 'NULL'
  if (typeof value === 'string') return `'${value.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
  if (typeof value === 'number' || typeof value === 'boolean') return String(value)
  if ('hex' in value) return `unhex('${value.hex}')`
  return `[${value.map(literal).join(', ')}]`
}

export async function insertRows(store: Store, table: TableName, rows: readonly Row[]): Promise<void> {
  const [first] = rows
  if (first === undefined) return
  const values = rows.map((row) => `(${Object.values(row).map(literal).join(', ')})`).join(', ')
  await store.command(`INSERT INTO ${generation.tables[table]} (${Object.keys(first).join(', ')}) VALUES ${values}`)
}
