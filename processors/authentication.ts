/**
 * Who sent the mail that a report came in: DKIM signatures that hold, and what a mail server of ours found, compared with
 * the domain that the report names as its submitter. A report says of itself whose it is, and anyone can write one.
 */
import { organisationalDomain } from '../rules/org-domain.ts'
import { type Authentication, type AuthenticationReason, authenticationOf } from '../topics/authentication.ts'
import {
  type AuthenticationResults,
  domainOfProperty,
  type MethodResult,
  readAuthenticationResults,
} from './formats/authentication-results.ts'
import { normaliseDomain } from './formats/domain-names.ts'
import { type HeaderFields, readAddresses } from './formats/header-fields.ts'
import type { CheckedSignature } from './verify-signatures.ts'

/** What is being vouched for: TLS reports may be signed with keys that are for them alone. */
export type Vouched = 'dmarc' | 'tls' | 'failure' | 'mail'

export class Sender {
  readonly #signatures: readonly CheckedSignature[]
  readonly #authservIds: readonly string[]
  #from: string | null = null
  #trusted: readonly AuthenticationResults[] = []

  /** `authservIds`: names under which servers of ours write `Authentication-Results`, in lower case. */
  constructor(signatures: readonly CheckedSignature[], authservIds: readonly string[]) {
    this.#signatures = signatures
    this.#authservIds = authservIds
  }

  /** To be called once, with the header of the mail, before anything is asked. */
  readHeader(fields: HeaderFields): void {
    this.#from = fromDomain(fields)
    if (this.#authservIds.length > 0) this.#trusted = trustedResults(fields, this.#authservIds)
  }

  /** `address`: the one that the report names; without one, or when it is none, the From of the mail is asked. */
  authenticate(address: string | null, what: Vouched): Authentication {
    const submitter = domainOfAddress(address) ?? this.#from
    const own = this.#bySignature(submitter, what)
    if (own.authenticated === 'pass' || submitter === null) return own
    return this.#byServer(submitter, own.authenticated === 'none') ?? own
  }

  /**
   * What is known best decides: a valid signature of the submitter; then, that one of theirs could not be checked; then
   * why one of theirs does not hold; then the same of signatures of others.
   */
  #bySignature(submitter: string | null, what: Vouched): Authentication {
    let best: { rank: number; reason: AuthenticationReason; domain: string | null } | undefined
    for (const { domain, reason: found, onlyTls } of this.#signatures) {
      const reason = onlyTls && what !== 'tls' && found === 'signature_aligned' ? 'key_unusable' : found
      const aligned = submitter !== null && isAligned(domain, submitter)
      const isValid = reason === 'signature_aligned'
      const isOpen = authenticationOf(reason, null).authenticated === 'none'
      const rank = aligned ? (isValid ? 6 : isOpen ? 5 : 4) : isValid ? 3 : isOpen ? 2 : 1
      if (best !== undefined && best.rank >= rank) continue
      const other: AuthenticationReason = submitter === null ? 'submitter_unknown' : 'signed_by_other'
      best = { rank, reason: isValid && !aligned ? other : reason, domain: isValid ? domain : null }
    }
    return authenticationOf(best?.reason ?? 'not_signed', best?.domain ?? null)
  }

  /** What a server of ours says of the submitter's domain; null when it says nothing that is of use. */
  #byServer(submitter: string, mayFail: boolean): Authentication | null {
    const about = this.#trusted
      .flatMap(({ results }) => results)
      .map((result) => ({ result: result.result, domain: domainOf(result) }))
      .filter(({ domain }) => domain !== null && isAligned(domain, submitter))
    const passed = about.find(({ result }) => result === 'pass')
    if (passed !== undefined) return authenticationOf('trusted_header', passed.domain)
    const failed = mayFail && about.some(({ result }) => result === 'fail')
    return failed ? authenticationOf('trusted_header_fails', null) : null
  }
}

/** Whom a result is about: the signer (DKIM), the domain of From (DMARC). SPF says nothing about what a mail holds. */
function domainOf({ method, properties }: MethodResult): string | null {
  if (method === 'dkim') return domainOfProperty(properties.get('header.d') ?? properties.get('header.i'))
  return method === 'dmarc' ? domainOfProperty(properties.get('header.from')) : null
}

/** Relaxed, as DMARC compares (RFC 7489 §3.1.1). A public suffix is aligned with itself only. */
function isAligned(domain: string, submitter: string): boolean {
  return domain === submitter || organisationalDomain(domain) === organisationalDomain(submitter)
}

/** The domain of a single address; null when it is none, or several. */
function domainOfAddress(address: string | null): string | null {
  if (address === null || address.includes(',')) return null
  const at = address.lastIndexOf('@')
  const domain = at < 1 ? null : normaliseDomain(address.slice(at + 1).replace(/[>\s]+$/, ''))
  return domain?.includes('.') === true ? domain : null
}

/** A mail with two From fields, or two authors, has nobody who could vouch for all of it. */
function fromDomain(fields: HeaderFields): string | null {
  return fields.all('from').length === 1 ? domainOfAddress(readAddresses(fields, 'from')) : null
}

/**
 * Of each server of ours the topmost field: a mail server writes above what it was given, and what is below may be the
 * sender's own.
 */
function trustedResults(fields: HeaderFields, authservIds: readonly string[]): AuthenticationResults[] {
  const found = new Map<string, AuthenticationResults>()
  for (const text of fields.all('authentication-results').slice(0, MAX_RESULTS_FIELDS)) {
    const results = readAuthenticationResults(text)
    if (results === null || !authservIds.includes(results.authservId) || found.has(results.authservId)) continue
    found.set(results.authservId, results)
  }
  return [...found.values()]
}

const MAX_RESULTS_FIELDS = 50
