/**
 * DMARC failure reports and other feedback: ARF (RFC 5965, RFC 6591, RFC 9991) wherever it is in a mail, and the
 * plain-text form of Exim based gateways. Other kinds of feedback (abuse, fraud …) are the same container and are kept
 * with their own feedback_type.
 */

import { readMailDate } from '../../topics/mail-date.ts'
import { MAX_PLAUSIBLE_COUNT } from '../../topics/plausible-count.ts'
import { normaliseAddress } from './addresses.ts'
import { normaliseDomain } from './domain-names.ts'
import { type HeaderFields, noHeaderFields, readAddresses, scanHeader } from './header-fields.ts'
import { MAX_NAME, MAX_TEXT } from './limits.ts'
import type { Entity } from './mime.ts'
import type { FailureReport, MailFields } from './shapes.ts'
import { cutText, excerpt } from './text-encoding.ts'
import { WarningList } from './warnings.ts'

/** A report, and the entities that belong to it (feedback part first): no other report is to be looked for in them. */
export interface FoundFailureReport {
  readonly report: FailureReport
  readonly entities: readonly Entity[]
}

/** A field block is a few hundred octets, a text form a few thousand; what is larger than this is neither. */
const MAX_FEEDBACK_BYTES = 1024 * 1024
/** Header fields of the reported mail that are looked at. */
const MAX_SAMPLE_HEADER = 256 * 1024
/** One report for each feedback part; more than these of one mail are an attack. */
const MAX_REPORTS = 100
/** Address lists and repeated fields are joined up to here. */
const MAX_JOINED = 20

/** How the reported mail is labelled: RFC 5965 knows two of the eight spellings that are met (quirk 66). */
const sampleType = /^(?:message|text)\/rfc-?822(?:-headers)?$/
const headerLine = /^[\w-]+[ \t]*:/
/** A renamed feedback part is one by its fields (quirk 67: `ATT00001`, application/octet-stream). */
const feedbackField = /^feedback-type[ \t]*:/im
const companionField = /^(?:user-agent|version|source-ip|auth-failure|arrival-date|reported-domain)[ \t]*:/im

/**
 * Finds the failure reports of a mail; none is []. The feedback part is searched by type or content anywhere in the
 * tree, its sample beside it, before or after. What is missing is null, but: feedback_type is auth-failure, incidents
 * 1 (RFC 5965 §3.2), reported_domain the domain of the sample's From, arrival the mail's date.
 */
export function readFailureReport(root: Entity, mail: MailFields): FoundFailureReport[] {
  const found: FoundFailureReport[] = []
  search([root], mail, found)
  return found
}

function search(siblings: readonly Entity[], mail: MailFields, found: FoundFailureReport[]): void {
  const feedback = new Set(siblings.filter(isFeedback))
  const used = new Set(feedback)
  for (const [index, entity] of siblings.entries()) {
    if (found.length >= MAX_REPORTS) return
    if (!feedback.has(entity)) continue
    const sample = findSample(siblings, index, feedback, used)
    if (sample !== null) used.add(sample)
    const fields = readFields(contentOf(entity))
    const report = readArf(fields, sample === null ? noHeaderFields : sampleFields(sample), mail)
    found.push({ report, entities: withDescendants(sample === null ? [entity] : [entity, sample]) })
  }
  for (const entity of siblings) {
    if (used.has(entity)) continue
    const report = readTextForm(entity, mail)
    if (report !== null && found.length < MAX_REPORTS) found.push({ report, entities: [entity] })
    else search(entity.children, mail, found)
  }
}

function isFeedback(entity: Entity): boolean {
  if (entity.children.length > 0 || entity.raw.length > MAX_FEEDBACK_BYTES) return false
  if (entity.type === 'message/feedback-report') return true
  if (entity.type !== 'text/plain' && entity.type !== 'application/octet-stream') return false
  const head = Buffer.from(contentOf(entity).subarray(0, 4096)).toString('latin1').trimStart()
  return headerLine.test(head) && feedbackField.test(head) && companionField.test(head)
}

/** Content of an entity that is small enough to have no limit of its own to pass. */
function contentOf(entity: Entity): Uint8Array {
  return entity.raw.length > MAX_FEEDBACK_BYTES ? new Uint8Array() : entity.content()
}

/** The reported mail: the nearest unused part labelled as one after the feedback, then before it, then one that looks so. */
function findSample(
  siblings: readonly Entity[],
  index: number,
  feedback: ReadonlySet<Entity>,
  used: ReadonlySet<Entity>,
): Entity | null {
  const after = siblings.slice(index + 1)
  const next = after.findIndex((entity) => feedback.has(entity))
  const own = (next === -1 ? after : after.slice(0, next)).filter((entity) => !used.has(entity))
  const others = [...siblings.slice(0, index).reverse(), ...(next === -1 ? [] : after.slice(next))]
  const candidates = [...own, ...others.filter((entity) => !used.has(entity))]
  return (
    candidates.find(isSample) ??
    own.find(holdsMail) ??
    candidates.find((entity) => entity.type.startsWith('multipart/') && entity.children.some(isSample)) ??
    null
  )
}

function isSample(entity: Entity): boolean {
  return sampleType.test(entity.type)
}

/** A part that is not called a mail but is one: attached as a file, or its headers as text. */
function holdsMail(entity: Entity): boolean {
  if (entity.type.startsWith('multipart/') || entity.type === 'text/html') return false
  const fields = sampleFields(entity)
  return fields.raw('from') !== null && (fields.raw('received') !== null || fields.raw('date') !== null)
}

/** Header fields of the reported mail, whether it was attached whole, as headers only, or under a wrong label. */
function sampleFields(entity: Entity): HeaderFields {
  const attached = entity.children[0]
  if (attached !== undefined) {
    return entity.type.startsWith('multipart/')
      ? sampleFields(entity.children.find(isSample) ?? attached)
      : attached.fields
  }
  return readFields(contentOf(entity))
}

/** Fields of a block, past blank lines in front of it or between them: field blocks have no body. */
function readFields(content: Uint8Array): HeaderFields {
  const octets = Buffer.from(content.buffer, content.byteOffset, Math.min(content.length, MAX_SAMPLE_HEADER))
  return readFieldText(octets.toString('latin1'))
}

function readFieldText(text: string): HeaderFields {
  const start = text.replace(/^(?:\xef\xbb\xbf)?(?:[ \t\r]*\n)*/, '').replace(/^>?From [^\n]*\n/, '')
  return scanHeader(start, true, () => false)?.fields ?? noHeaderFields
}

function withDescendants(entities: readonly Entity[]): Entity[] {
  return entities.flatMap((entity) => [entity, ...withDescendants(entity.children)])
}

function readArf(fields: HeaderFields, sample: HeaderFields, mail: MailFields): FailureReport {
  const warnings = new WarningList()
  const value = (name: string, most = MAX_TEXT) => cut(fields.get(name), name, most, warnings)
  const arrival = fields.get('arrival-date') || fields.get('received-date')
  return {
    feedback_type: firstWord(value('feedback-type', MAX_NAME)) ?? 'auth-failure',
    auth_failure: fields
      .all('auth-failure')
      .slice(0, MAX_JOINED)
      .flatMap((words) =>
        cutText(words, MAX_NAME)
          .toLowerCase()
          .split(/[\s,;]+/),
      )
      .filter((word) => word !== ''),
    source_ip: readSourceIp(value('source-ip', MAX_NAME), warnings),
    reported_domain: readDomain(value('reported-domain', MAX_NAME)) ?? domainOfFrom(sample),
    original_mail_from: readPath(value('original-mail-from')),
    original_rcpt_to: joined(fields, 'original-rcpt-to', warnings, (path) => readPath(path)),
    arrival: readArrival(arrival, mail.date, warnings),
    delivery_result: firstWord(value('delivery-result', MAX_NAME)),
    identity_alignment: value('identity-alignment', MAX_NAME),
    user_agent: value('user-agent'),
    incidents: readIncidents(value('incidents', MAX_NAME), warnings),
    dkim_domain: readDomain(value('dkim-domain', MAX_NAME)),
    dkim_selector: value('dkim-selector', MAX_NAME),
    spf_dns: joined(fields, 'spf-dns', warnings, (text) => text),
    ...describeSample(sample, warnings),
    message_id: cut(sample.get('message-id') || fields.get('message-id'), 'message-id', MAX_TEXT, warnings),
    warnings: warnings.list(),
  }
}

function describeSample(sample: HeaderFields, warnings: WarningList): { subject: string | null; from: string | null } {
  return {
    subject: cut(sample.get('subject'), 'subject', MAX_TEXT, warnings),
    from: cut(readAddresses(sample, 'from'), 'from', MAX_TEXT, warnings),
  }
}

/** An empty field says as little as a missing one (quirk 73). */
function cut(text: string | null, name: string, most: number, warnings: WarningList): string | null {
  if (text === null || text === '') return null
  if (text.length <= most) return text
  warnings.add('value_truncated', `${name} had ${text.length} characters.`)
  return cutText(text, most)
}

function joined(
  fields: HeaderFields,
  name: string,
  warnings: WarningList,
  read: (text: string) => string | null,
): string | null {
  const values = fields.all(name).slice(0, MAX_JOINED)
  const texts = values.map((text) => (text === '' ? null : read(text))).filter((text) => text !== null)
  return cut(texts.join(', '), name, MAX_TEXT, warnings)
}

/** The first word in lower case: comments may follow. What no standard knows (`smg-policy-action`) is kept. */
function firstWord(text: string | null): string | null {
  return /^[^\s;,(]+/.exec(text ?? '')?.[0].toLowerCase() ?? null
}

/** The address is the first token; a host name may follow (quirk 71). */
function readSourceIp(text: string | null, warnings: WarningList): string | null {
  const token = text === null ? null : (/^[^\s(;,]+/.exec(text)?.[0] ?? text)
  if (token === null) return null
  const { address, valid } = normaliseAddress(token)
  if (!valid) warnings.add('address_invalid', `The source address is "${excerpt(address, 100)}".`)
  return address
}

function readDomain(text: string | null): string | null {
  return text === null ? null : normaliseDomain(/^\S+/.exec(text)?.[0] ?? text)
}

function domainOfFrom(sample: HeaderFields): string | null {
  const from = readAddresses(sample, 'from')
  const domain = /@([^@\s,>]+)$/.exec(from?.split(', ', 1)[0] ?? '')?.[1]
  return domain === undefined ? null : normaliseDomain(cutText(domain, MAX_NAME))
}

/** A path (RFC 5321 §4.1.2) without its angle brackets; the null path `<>` stays, since that is what it says. */
function readPath(text: string | null): string | null {
  const inner = /^<([^<>]+)>/.exec(text ?? '')
  return inner === null ? text : inner[1]!.trim() || null
}

function readArrival(text: string | null, mailDate: string | null, warnings: WarningList): string | null {
  if (text === null || text === '') return mailDate
  const arrival = readMailDate(text)
  if (arrival === null) warnings.add('date_format', `The arrival date "${excerpt(text, 100)}" was not understood.`)
  return arrival ?? mailDate
}

function readIncidents(text: string | null, warnings: WarningList): number {
  if (text === null) return 1
  const count = /^\d{1,12}$/.test(text) ? Number(text) : Number.NaN
  if (count >= 1 && count <= MAX_PLAUSIBLE_COUNT) return count
  warnings.add('count_implausible', `Incidents is "${excerpt(text, 50)}"; it counts as 1.`)
  return 1
}

const textFormOpening = /a message claiming to be from you has failed the published DMARC\s+policy/i

/**
 * Exim, cPanel, Baruwa and antispamcloud write no feedback part but lines in a text (quirk 68); taken only when the
 * sentence and both the domain and the address are there. The text says alignment outright, so identity_alignment
 * lists what was aligned, as RFC 7489 §7.3 does.
 */
function readTextForm(entity: Entity, mail: MailFields): FailureReport | null {
  if (entity.type !== 'text/plain' || entity.children.length > 0 || entity.raw.length > MAX_FEEDBACK_BYTES) return null
  const text = entity.text()
  if (!textFormOpening.test(text)) return null
  const [lines = '', ...rest] = text.split(/^-{5,}[^\n]*\n/m)
  const line = (name: string) =>
    new RegExp(`^[ \\t>]*${name}[ \\t]*:[ \\t]*(\\S[^\\r\\n]*)`, 'im').exec(lines)?.[1]?.trim() ?? null
  const [domain, address] = [line('Sender Domain'), line('Sender IP Address')]
  if (domain === null || address === null) return null
  const warnings = new WarningList()
  const sample = readFieldText(Buffer.from(rest.join('').trimStart(), 'utf8').toString('latin1'))
  const isAligned = (name: string) => line(`${name} Alignment`)?.toLowerCase().startsWith('yes')
  const aligned = [isAligned('DKIM') ? 'dkim' : null, isAligned('SPF') ? 'spf' : null].filter((name) => name !== null)
  const saysAlignment = line('DKIM Alignment') !== null || line('SPF Alignment') !== null
  return {
    feedback_type: 'auth-failure',
    auth_failure: ['dmarc'],
    source_ip: readSourceIp(cutText(address, MAX_NAME), warnings),
    reported_domain: readDomain(cutText(domain, MAX_NAME)),
    original_mail_from: null,
    original_rcpt_to: null,
    arrival: readArrival(line('Received Date'), mail.date, warnings),
    delivery_result: null,
    identity_alignment: saysAlignment ? aligned.join(', ') || 'none' : null,
    user_agent: null,
    incidents: 1,
    dkim_domain: null,
    dkim_selector: null,
    spf_dns: null,
    ...describeSample(sample, warnings),
    message_id: cut(sample.get('message-id'), 'message-id', MAX_TEXT, warnings),
    warnings: warnings.list(),
  }
}
