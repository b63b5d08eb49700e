/** The organisational domain by the public suffix list (RFC 7489 §3.2), its private section included. */
import { getDomain } from 'tldts'

const options = { allowPrivateDomains: true, detectIp: false, validateHostname: false, extractHostname: false } as const

/** Of a name that is itself a public suffix, or none at all, the name. */
export function organisationalDomain(domain: string): string {
  return getDomain(domain, options) ?? domain
}
