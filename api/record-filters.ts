/** Filters on the records of aggregate reports, shared by the list of records and by the sources of a domain. */
import ipaddr from 'ipaddr.js'
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
}

type Values = readonly string[] | undefined

export function reportConditions(asked: { domain?: Values; org?: Values }): Condition[] {
  return [
    ...oneOf('domain', 'policy_domain', asked.domain, domainName),
    ...oneOf('org', 'org', asked.org, (org) => org.toLowerCase()),
  ]
}

export function recordConditions(asked: {
  ip?: Values
  disposition?: Values
  dkim?: Values
  spf?: Values
  header_from?: Values
  selector?: Values
}): Condition[] {
  return [
    ...anyCondition(asked.ip, addressCondition),
    ...anyCondition(asked.disposition, dispositionCondition),
    ...anyCondition(asked.dkim, alignmentCondition('dkim')),
    ...anyCondition(asked.spf, alignmentCondition('spf')),
    ...oneOf('header_from', 'header_from', asked.header_from, domainName),
    ...anyEntry('selector', 'dkim_selector', asked.selector),
  ]
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
