/** Domain names in rules, and looking them up by suffix. */
import { domainToASCII } from 'node:url'

const MAX_NAME = 253

/** Lower case, A-labels, no trailing dot; null when it is no domain name. */
export function readDomain(text: string): string | null {
  const lower = text.trim().toLowerCase().replace(/\.$/, '')
  const name = /^\p{ASCII}*$/u.test(lower) ? lower : domainToASCII(lower)
  if (name.length > MAX_NAME) return null
  return name.split('.').every((label) => /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/.test(label)) ? name : null
}

/** Equal to the domain or below it. Both in the stored form; nothing is below the empty name. */
export function isBelow(name: string, domain: string): boolean {
  if (domain === '' || !name.endsWith(domain)) return false
  return name.length === domain.length || name.charCodeAt(name.length - domain.length - 1) === 0x2e
}

/** Calls `visit` with what is kept under the name and under each domain above it, the nearest first. */
export function visitAncestors<T>(kept: ReadonlyMap<string, T>, name: string, visit: (value: T) => void): void {
  for (let at = 0; ; ) {
    const value = kept.get(at === 0 ? name : name.slice(at))
    if (value !== undefined) visit(value)
    const dot = name.indexOf('.', at)
    if (dot < 0) return
    at = dot + 1
  }
}

/** What is kept under the name, else under the nearest domain above it. */
export function nearestAncestor<T>(kept: ReadonlyMap<string, T>, name: string): T | undefined {
  for (let at = 0; ; ) {
    const value = kept.get(at === 0 ? name : name.slice(at))
    if (value !== undefined) return value
    const dot = name.indexOf('.', at)
    if (dot < 0) return undefined
    at = dot + 1
  }
}

/** A set of domains that holds them and all that is below them. */
export class DomainSet {
  readonly #domains: ReadonlyMap<string, true>

  constructor(domains: Iterable<string>) {
    this.#domains = new Map([...domains].map((domain) => [domain, true]))
  }

  contains(name: string): boolean {
    return name !== '' && nearestAncestor(this.#domains, name) === true
  }
}
