/** Filters on the records of aggregate reports, shared by the list of records and by the sources of a domain. */
import ipaddr from 'ipaddr.js'
import { verdictNames } from '../topics/verdicts.ts'
import { ApiError } from './errors.ts'
import { anyCondition, anyEntry, type Condition, domainName, oneOf } from './filters.ts'
import { filter } from './schemas.ts'

/** Filters that all deliveries of a report answer alike, so that they may narrow the choice of winners. */
export const reportFilters = {
  domain: filter('policy domain'),
  org: filter('submitter'),
}
export const recordFilters = {
  ip: filter('source address, or a network such as 192.0.2.0/24'),
  disposition: filter('none (delivered: pass and missing too), quarantine, reject, or the word as sent'),
  dkim: filter('pass (aligned), fail (all others), or the word as sent'),
  spf: filter('pass (aligned), fail (all others), or the word as sent'),
  header_from: filter('domain of the From field'),
  selector: filter('DKIM selector'),
  sender: filter('id of the sender that the rules name, none for no sender'),
  verdict: filter(verdictNames.join(', ')),
  ptr: filter('forward-confirmed name of the source, or a domain that it is below; none for no name'),
  asn: filter('autonomous system of the source: 15169 or AS15169; none for not known'),
  country: filter('country of the source (ISO 3166-1 alpha-2); none for not known'),
}
/** What the filters above take, as a request gives it. */
export type RecordFilters = Readonly<Partial<Record<keyof typeof recordFilters, readonly string[]>>>

type Values = readonly string[] | undefined

export function reportConditions(asked: { domain?: Values; org?: Values }): Condition[] {
  return [
    ...oneOf('domain', 'policy_domain', asked.domain, domainName),
    ...oneOf('org', 'org', asked.org, (org) => org.toLowerCase()),
  ]
}

/** Conditions on what the reports say and what was observed; those on verdicts are in `verdictConditions`. */
export function recordConditions(asked: RecordFilters): Condition[] {
  return [
    ...anyCondition(asked.ip, addressCondition),
    ...anyCondition(asked.disposition, dispositionCondition),
    ...anyCondition(asked.dkim, alignmentCondition('dkim')),
    ...anyCondition(asked.spf, alignmentCondition('spf')),
    ...oneOf('header_from', 'header_from', asked.header_from, domainName),
    ...anyEntry('selector', 'dkim_selector', asked.selector),
    ...anyCondition(asked.ptr, ptrCondition),
    ...oneOf('asn', 'toString(asn)', asked.asn, asnOf),
    ...oneOf('country', 'country', asked.country, (country) => noneAs('', country.toUpperCase())),
  ]
}

/** Conditions on what the rules say. */
export function verdictConditions(asked: Pick<RecordFilters, 'sender' | 'verdict'>): Condition[] {
  return [
    ...oneOf('sender', 'sender', asked.sender, (sender) => noneAs('', sender)),
    ...oneOf('verdict', 'verdict', asked.verdict, verdictOf),
  ]
}

/** What the table of verdicts says of a record as well, so that a filter on it needs no facts. */
const knownToVerdicts: Readonly<Record<'disposition' | 'dkim' | 'spf', readonly string[]>> = {
  disposition: ['none', 'quarantine', 'reject'],
  dkim: ['pass', 'fail'],
  spf: ['pass', 'fail'],
}

/** Whether the filters ask for anything that only the table of facts says. */
export function needFacts(asked: RecordFilters): boolean {
  const { header_from, selector, ptr, asn, country } = asked
  if ([header_from, selector, ptr, asn, country].some((values) => values !== undefined)) return true
  return (['disposition', 'dkim', 'spf'] as const).some((field) =>
    asked[field]?.some((value) => !knownToVerdicts[field].includes(value.replace(/^!/, ''))),
  )
}

const noneAs = (empty: string, value: string) => (value.toLowerCase() === 'none' ? empty : value)

function verdictOf(value: string): string {
  if ((verdictNames as readonly string[]).includes(value)) return value
  const message = `There is no verdict ${JSON.stringify(value)}; the verdicts are ${verdictNames.join(', ')}.`
  throw new ApiError('parameter_invalid', { field: 'verdict', message })
}

function asnOf(value: string): string {
  if (value.toLowerCase() === 'none') return '0'
  const digits = /^(?:as)?(\d{1,10})$/i.exec(value)?.[1]
  if (digits !== undefined) return String(Number(digits))
  const message = `${JSON.stringify(value)} is no autonomous system; write 15169 or AS15169.`
  throw new ApiError('parameter_invalid', { field: 'asn', message })
}

/** Equal to the name or below it. */
function ptrCondition(value: string, index: number): Condition {
  const name = `ptr_${index}`
  const sql = `ptr = {${name}:String} OR ({${name}:String} != '' AND endsWith(ptr, concat('.', {${name}:String})))`
  return { sql, parameters: { [name]: noneAs('', domainName(value)) } }
}

/** What sums count as none is found as none: everything but quarantine and reject. */
function dispositionCondition(value: string, index: number): Condition {
  if (value === 'none') return { sql: "disposition NOT IN ('quarantine', 'reject')", parameters: {} }
  return { sql: `disposition = {disposition_${index}:String}`, parameters: { [`disposition_${index}`]: value } }
}

/** A missing result is a fail (semantics). */
const alignmentCondition =
  (field: 'dkim' | 'spf') =>
  (value: string, index: number): Condition => {
    if (value === 'pass') return { sql: `${field}_aligned`, parameters: {} }
    if (value === 'fail') return { sql: `NOT ${field}_aligned`, parameters: {} }
    return { sql: `${field} = {${field}_${index}:String}`, parameters: { [`${field}_${index}`]: value } }
  }

/** An address or a network; anything else is compared with what was sent in place of an address. */
function addressCondition(value: string, index: number): Condition {
  const [first, last] = [`ip_${index}_first`, `ip_${index}_last`]
  const bounds = addressBounds(value)
  if (bounds === null) return { sql: `source_text = {${first}:String}`, parameters: { [first]: value } }
  const sql = `source_text = '' AND source_ip BETWEEN toIPv6({${first}:String}) AND toIPv6({${last}:String})`
  return { sql, parameters: { [first]: bounds.first, [last]: bounds.last } }
}

/** First and last address, as IPv6; null when the text is no address. Throws `parameter_invalid` for a bad network. */
function addressBounds(value: string): { first: string; last: string } | null {
  const [text, length, ...rest] = value.split('/')
  if (
    text === undefined ||
    !ipaddr.isValid(text) ||
    (ipaddr.IPv4.isValid(text) && !ipaddr.IPv4.isValidFourPartDecimal(text))
  ) {
    return null
  }
  const address = ipaddr.parse(text)
  const bytes = address.toByteArray()
  const bits = length === undefined ? bytes.length * 8 : /^\d{1,3}$/.test(length) ? Number(length) : Number.NaN
  if (rest.length > 0 || !(bits <= bytes.length * 8)) {
    throw new ApiError('parameter_invalid', { field: 'ip', message: `${value} is no network; write 192.0.2.0/24.` })
  }
  return { first: asIPv6(masked(bytes, bits, 0)), last: asIPv6(masked(bytes, bits, 255)) }
}

/** The bytes with all bits after the prefix set to those of `fill`. */
function masked(bytes: readonly number[], bits: number, fill: 0 | 255): number[] {
  return bytes.map((byte, i) => {
    const kept = Math.min(8, Math.max(0, bits - i * 8))
    const mask = (0xff << (8 - kept)) & 0xff
    return (byte & mask) | (fill & ~mask & 0xff)
  })
}

function asIPv6(bytes: number[]): string {
  const address = ipaddr.fromByteArray(bytes)
  return address.kind() === 'ipv4' ? `::ffff:${address.toString()}` : address.toNormalizedString()
}
