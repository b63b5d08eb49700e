/**
 * SMTP TLS reports (RFC 8460): a JSON document to facts. Names are the standard's; those of its drafts and the forms that
 * the wild writes are read as what they became (reference: tlsrpt §7, §8).
 */
import { MAX_PLAUSIBLE_COUNT } from '../../topics/plausible-count.ts'
import { normaliseAddress } from './addresses.ts'
import { Rejected, type WarningCode } from './codes.ts'
import { normaliseDomain } from './domain-names.ts'
import { surveyJson } from './json-members.ts'
import { type Limits, MAX_NAME, MAX_TEXT } from './limits.ts'
import { readDateTime, readSeconds } from './report-dates.ts'
import type { TlsFailureDetail, TlsPolicy, TlsReport } from './shapes.ts'
import { cutText, decodeUtf8, excerpt, showEncoding } from './text-encoding.ts'
import { WarningList } from './warnings.ts'

export interface TlsContext {
  /** The `TLS-Report-Domain` header field of the mail, for a policy that does not name its domain. */
  readonly reportDomain: string | null
}

/** Lines of a policy, and MX patterns, that are kept of one policy. */
export const MAX_POLICY_STRINGS = 100

type Members = Readonly<Record<string, unknown>>

/**
 * Reads one report.
 * @param bytes the JSON document, UTF-8 (or UTF-16), at most `limits.heldBytes`
 * Throws `Rejected`: `json_malformed`, `json_limit`, `not_a_report`, `tls_report_incomplete`, `period_unreadable`,
 * `records_limit`.
 */
export function readTlsReport(bytes: Uint8Array, context: TlsContext, limits: Limits): TlsReport {
  return new TlsReader(context, limits).read(bytes)
}

class TlsReader {
  readonly #context: TlsContext
  readonly #limits: Limits
  readonly #warnings = new WarningList()
  #details = 0

  constructor(context: TlsContext, limits: Limits) {
    this.#context = context
    this.#limits = limits
  }

  read(bytes: Uint8Array): TlsReport {
    const report = this.#parse(bytes)
    const listed = member(report, 'policies', 'policy')
    const report_id = this.#text(member(report, 'report-id'), 'report-id')
    const range = member(report, 'date-range')
    if (listed === undefined && (report_id === null || range === undefined)) {
      throw new Rejected('not_a_report', 'The JSON is no TLS report: it has no policies.')
    }
    if (report_id === null) throw incomplete('no report-id')
    const { begin, end } = this.#period(range)
    const policies = this.#policies(listed)
    const org_name = this.#text(member(report, 'organization-name'), 'organization-name')
    if (org_name === null) this.#warnings.add('org_name_missing', 'organization-name is empty or missing')
    const contact = this.#text(member(report, 'contact-info'), 'contact-info')
    return { org_name, contact, report_id, begin, end, policies, warnings: this.#warnings.list() }
  }

  #parse(bytes: Uint8Array): Members {
    if (bytes.length > this.#limits.heldBytes) {
      throw new Rejected('json_limit', `The JSON is larger than ${this.#limits.heldBytes} bytes.`)
    }
    const text = this.#decode(bytes)
    // An object a detail; object, policy, summary and two lists a policy; and whatever else a report may hold.
    const most = this.#limits.tlsDetails + 6 * this.#limits.tlsPolicies + 1000
    const { depth, containers, duplicate } = surveyJson(text, { depth: this.#limits.jsonDepth, containers: most })
    if (depth > this.#limits.jsonDepth) {
      throw new Rejected('json_limit', `The JSON is nested more than ${this.#limits.jsonDepth} deep.`)
    }
    if (containers > most) throw new Rejected('records_limit', `The JSON holds more than ${most} objects and lists.`)
    const value = parseJson(text)
    if (duplicate !== null) this.#warnings.add('json_duplicate_member', excerpt(duplicate))
    if (!isMembers(value)) throw new Rejected('not_a_report', 'The JSON is no object.')
    return value
  }

  #decode(bytes: Uint8Array): string {
    const { encoding, mark } = showEncoding(bytes)
    const body = bytes.subarray(mark)
    if (encoding !== 'utf-8') {
      this.#warnings.add('encoding_not_utf8', encoding)
      return withoutPadding(new TextDecoder(encoding).decode(body))
    }
    if (mark > 0) this.#warnings.add('bom_removed', 'UTF-8')
    const { text, dropped } = decodeUtf8(body)
    if (dropped) this.#warnings.add('bytes_invalid', 'in the JSON')
    return withoutPadding(text)
  }

  #period(range: unknown): { begin: number; end: number } {
    if (!isMembers(range)) throw incomplete('no date-range')
    const begin = this.#date(member(range, 'start-datetime'), 'start-datetime')
    const end = this.#date(member(range, 'end-datetime'), 'end-datetime')
    if (begin <= end) return { begin, end }
    this.#warnings.add('period_reversed', `start ${begin}, end ${end}`)
    return { begin: end, end: begin }
  }

  #date(value: unknown, what: string): number {
    if (value === undefined || value === null || value === '') throw incomplete(`no ${what}`)
    const text = String(value).trim()
    const date = readDateTime(text)
    const seconds = date ?? readSeconds(text)
    if (seconds === null) {
      throw new Rejected('period_unreadable', `${what} cannot be read or is out of range: ${excerpt(text)}`)
    }
    if (date === null || !date.standard) this.#warnings.add('date_format', `${what}: ${excerpt(text)}`)
    return seconds.seconds
  }

  #policies(listed: unknown): TlsPolicy[] {
    if (listed === undefined || listed === null) throw incomplete('no policies')
    const entries = Array.isArray(listed) ? listed : [listed]
    if (!Array.isArray(listed)) this.#warnings.add('tls_draft_names', 'policies is a single object')
    if (entries.length === 0) this.#warnings.add('tls_policies_empty', 'policies is an empty list')
    if (entries.length > this.#limits.tlsPolicies) {
      throw new Rejected('records_limit', `The TLS report has more than ${this.#limits.tlsPolicies} policies.`)
    }
    const read = entries.map((entry: unknown, index) => this.#policy(entry, `policy ${index + 1}`))
    const domains = this.#domains(read.map(({ domain }) => domain))
    const hosts = receivingHosts(read)
    return read.map((policy, index) => {
      const domain = domains[index]!
      return { ...policy, domain, host_level: isHostLevel(policy.type, domain, hosts) }
    })
  }

  /** The policy domains; a missing one is that of the mail, or the only one that the other policies name. */
  #domains(named: readonly (string | null)[]): string[] {
    const others = [...new Set(named.filter((domain) => domain !== null))]
    const substitute =
      (this.#context.reportDomain === null ? null : normaliseDomain(this.#context.reportDomain)) ??
      (others.length === 1 ? others[0]! : null)
    return named.map((domain, index) => {
      if (domain !== null) return domain
      if (substitute === null) throw incomplete(`policy ${index + 1} does not name its domain, nor does the mail`)
      this.#warnings.add('policy_domain_missing', `policy ${index + 1}: ${substitute} was taken`)
      return substitute
    })
  }

  #policy(entry: unknown, where: string): Omit<TlsPolicy, 'domain' | 'host_level'> & { domain: string | null } {
    const outer = isMembers(entry) ? entry : {}
    const inner = member(outer, 'policy')
    const policy = isMembers(inner) ? inner : outer
    const summary = member(outer, 'summary')
    const type = this.#text(member(policy, 'policy-type'), `${where} policy-type`)?.toLowerCase() ?? null
    const domain = this.#text(member(policy, 'policy-domain'), `${where} policy-domain`, MAX_NAME)
    return {
      type,
      domain: domain === null ? null : normaliseDomain(domain),
      policy_string: this.#strings(member(policy, 'policy-string'), type, `${where} policy-string`),
      mx_host: this.#mxHosts(member(policy, 'mx-host', 'mx-host-pattern'), `${where} mx-host`),
      successful: this.#sessions(summary, 'total-successful-session-count', 'success-aggregate', where),
      failed: this.#sessions(summary, 'total-failure-session-count', 'failure-aggregate', where),
      details: this.#failureDetails(member(outer, 'failure-details'), where),
    }
  }

  #mxHosts(value: unknown, where: string): string[] {
    return this.#strings(value, null, where)
      .map((host) => normaliseDomain(host.replace(/^mx:\s*/i, '')))
      .filter((host) => host !== null)
  }

  /** A list of strings; or one string that holds lines, records between semicolons, or a JSON array of strings. */
  #strings(value: unknown, type: string | null, where: string): string[] {
    if (value === undefined || value === null) return []
    const list: unknown[] = Array.isArray(value) ? value : [value]
    if (!Array.isArray(value) && value !== '') this.#warnings.add('policy_string_form', where)
    const strings = list.flatMap((entry) => {
      if (typeof entry !== 'string') {
        if (entry !== null) this.#warnings.add('policy_string_form', where)
        return typeof entry === 'number' || typeof entry === 'boolean' ? [String(entry)] : []
      }
      const unwrapped = unwrapStrings(entry, type, !Array.isArray(value))
      if (unwrapped.length > 1 || unwrapped[0] !== entry.trim()) {
        if (entry.trim() !== '') this.#warnings.add('policy_string_form', where)
      }
      return unwrapped
    })
    if (strings.length > MAX_POLICY_STRINGS) {
      this.#warnings.add('results_dropped', `${where}: more than ${MAX_POLICY_STRINGS} strings`)
    }
    return strings.slice(0, MAX_POLICY_STRINGS).map((string) => this.#cut(string, MAX_TEXT, where))
  }

  /** Sessions of a summary. What no total could hold counts as 0, and the warning says what was sent. */
  #sessions(summary: unknown, name: string, draftName: string, where: string): number {
    const members = isMembers(summary) ? summary : {}
    if (members[name] === undefined && members[draftName] !== undefined)
      this.#warnings.add('tls_draft_names', draftName)
    const value = member(members, name, draftName)
    if (value === undefined || value === null) {
      this.#warnings.add('summary_missing', `${where}: no ${name}`)
      return 0
    }
    const count = this.#number(value, `${where} ${name}`)
    if (count !== null && count >= 0 && count <= MAX_PLAUSIBLE_COUNT) return count
    this.#warnings.add('count_implausible', `${where} ${name}: ${show(value)}`)
    return 0
  }

  /** A whole number as sent, or null. */
  #number(value: unknown, where: string): number | null {
    const number = typeof value === 'string' && /^\s*-?[0-9]+(\.[0-9]+)?\s*$/.test(value) ? Number(value) : value
    if (typeof number !== 'number' || !Number.isFinite(number)) return null
    if (typeof value === 'string') this.#warnings.add('number_repaired', `${where}: ${show(value)}`)
    if (!Number.isInteger(number)) this.#warnings.add('count_fraction', `${where}: ${show(value)}`)
    return Math.trunc(number) || 0
  }

  #failureDetails(value: unknown, where: string): TlsFailureDetail[] {
    if (value === undefined || value === null) return []
    const list: unknown[] = Array.isArray(value) ? value : [value]
    if (!Array.isArray(value)) this.#warnings.add('tls_draft_names', 'failure-details is a single object')
    this.#details += list.length
    if (this.#details > this.#limits.tlsDetails) {
      throw new Rejected('records_limit', `The TLS report has more than ${this.#limits.tlsDetails} failure details.`)
    }
    return list.filter(isMembers).map((detail) => this.#failureDetail(detail, where))
  }

  #failureDetail(detail: Members, where: string): TlsFailureDetail {
    const text = (most: number, ...names: string[]) =>
      this.#text(member(detail, ...names), `${where} ${names[0]}`, most)
    if (detail['failed-session-count'] === undefined && detail['session-count'] !== undefined) {
      this.#warnings.add('tls_draft_names', 'session-count')
    }
    const hostname = text(MAX_NAME, 'receiving-mx-hostname')
    const sent = member(detail, 'failed-session-count', 'session-count')
    const count = this.#number(sent, `${where} failed-session-count`)
    if (count === null || count < 1 || count > MAX_PLAUSIBLE_COUNT) {
      this.#warnings.add('count_implausible', `${where} failed-session-count: ${show(sent)}`)
    }
    return {
      result_type: text(MAX_NAME, 'result-type')?.toLowerCase() ?? null,
      sending_mta_ip: this.#address(text(MAX_NAME, 'sending-mta-ip'), where),
      receiving_mx_hostname: hostname === null ? null : normaliseDomain(hostname),
      receiving_mx_helo: text(MAX_NAME, 'receiving-mx-helo'),
      receiving_ip: this.#address(text(MAX_NAME, 'receiving-ip'), where),
      count,
      additional_information: text(MAX_TEXT, 'additional-information', 'additional-info-uri'),
      reason_code: text(MAX_TEXT, 'failure-reason-code', 'failure-error-code'),
    }
  }

  #address(text: string | null, where: string): string | null {
    if (text === null) return null
    const { address, valid } = normaliseAddress(text)
    if (!valid) this.#warnings.add('address_invalid', `${where}: ${excerpt(text)}`)
    return address
  }

  /** A trimmed string that is not empty, or null; other JSON values are no text. */
  #text(value: unknown, where: string, most = MAX_TEXT): string | null {
    const text = typeof value === 'number' ? String(value) : typeof value === 'string' ? value.trim() : ''
    return text === '' ? null : this.#cut(text, most, where)
  }

  #cut(text: string, most: number, where: string): string {
    if (text.length <= most) return text
    this.#warn('value_truncated', `${where}: cut after ${most} characters`)
    return cutText(text, most)
  }

  #warn(code: WarningCode, detail: string): void {
    this.#warnings.add(code, detail)
  }
}

const incomplete = (what: string): Rejected =>
  new Rejected('tls_report_incomplete', `The TLS report is incomplete: ${what}.`)

const isMembers = (value: unknown): value is Members =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** The member of the first name that the object itself has, and not by its prototype. */
function member(members: Members, ...names: string[]): unknown {
  const name = names.find((candidate) => Object.hasOwn(members, candidate))
  return name === undefined ? undefined : members[name]
}

/** Zero bytes and the DOS end of file behind the document are padding; nothing can stand there in JSON. */
function withoutPadding(text: string): string {
  let end = text.length
  while (end > 0 && isPadding(text.charCodeAt(end - 1))) end--
  return text.slice(0, end)
}

const isPadding = (c: number): boolean => c === 0 || c === 0x1a || c === 0x20 || (c >= 0x09 && c <= 0x0d)

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    throw new Rejected('json_malformed', `The JSON cannot be read: ${excerpt(error.message, 200)}`)
  }
}

function unwrapStrings(text: string, type: string | null, alone: boolean): string[] {
  const trimmed = text.trim()
  if (trimmed === '') return []
  if (trimmed.startsWith('[')) {
    const inner = readStringArray(trimmed)
    if (inner !== null) return inner.map((string) => string.trim()).filter((string) => string !== '')
  }
  const pieces = trimmed.split(alone && type === 'tlsa' ? /[\r\n;]+/ : /[\r\n]+/)
  return pieces.map((piece) => piece.trim()).filter((piece) => piece !== '')
}

/** The strings of a JSON array that travels as text (Microsoft, tlsa), or null when the text is none. */
function readStringArray(text: string): string[] | null {
  try {
    const value: unknown = JSON.parse(text)
    return Array.isArray(value) && value.every((entry) => typeof entry === 'string') ? value : null
  } catch {
    // Not JSON: the text is the value itself.
    return null
  }
}

/** Hosts that the report shows receiving mail: MX hosts of policies, and of details. */
function receivingHosts(policies: readonly { mx_host: readonly string[]; details: readonly TlsFailureDetail[] }[]) {
  const hosts = new Set<string>()
  for (const { mx_host, details } of policies) {
    for (const host of mx_host) hosts.add(host)
    for (const { receiving_mx_hostname } of details)
      if (receiving_mx_hostname !== null) hosts.add(receiving_mx_hostname)
  }
  return hosts
}

/** Only DANE is about hosts: the policy domain of MTA-STS is always the recipient domain (RFC 8460 §4.4). */
function isHostLevel(type: string | null, domain: string, hosts: ReadonlySet<string>): boolean {
  if (type === 'sts') return false
  const dot = domain.indexOf('.')
  return hosts.has(domain) || (type === 'tlsa' && dot !== -1 && hosts.has(`*${domain.slice(dot)}`))
}

const show = (value: unknown): string => excerpt(JSON.stringify(value) ?? 'nothing')
