/**
 * Who sent the mail that a report came in: whether the domain of the submitter vouches for it, and why that is said.
 * Every outcome and reason, once, each with a sentence for people. The lists are closed.
 */
import type { AvroField } from './avro.ts'

/**
 * pass: the submitter's domain vouches for the mail. fail: something was checked and it does not. none: nothing could be
 * checked, which says nothing about the mail.
 */
export const authenticationOutcomes = ['pass', 'fail', 'none'] as const
export type AuthenticationOutcome = (typeof authenticationOutcomes)[number]

interface Reason {
  readonly outcome: AuthenticationOutcome
  readonly text: string
}

export const authenticationReasons = {
  signature_aligned: { outcome: 'pass', text: 'A DKIM signature of the domain of the submitter is valid.' },
  trusted_header: {
    outcome: 'pass',
    text: 'Our own mail server says so in its Authentication-Results (MAILTRAIL_AUTHSERV_ID).',
  },
  algorithm_unusable: {
    outcome: 'fail',
    text: 'The signature uses an algorithm that proves nothing any more, or none that is known.',
  },
  body_changed: { outcome: 'fail', text: 'The body of the mail is not the one that was signed.' },
  body_partly_signed: {
    outcome: 'fail',
    text: 'The signature covers the beginning of the body only (l=): anyone may have added the report.',
  },
  key_unusable: { outcome: 'fail', text: 'The key in DNS was withdrawn, is too short, damaged, or for other uses.' },
  signature_expired: { outcome: 'fail', text: 'The signature did not hold when the mail was received (t=, x=).' },
  signature_invalid: { outcome: 'fail', text: 'The signature does not fit the header of the mail and the key.' },
  signature_unreadable: { outcome: 'fail', text: 'The signature breaks the rules of DKIM (RFC 6376).' },
  signed_by_other: {
    outcome: 'fail',
    text: 'A signature is valid, but it is of another domain than the one that the report names as its submitter.',
  },
  trusted_header_fails: {
    outcome: 'fail',
    text: 'Our own mail server says in its Authentication-Results that the check failed.',
  },
  key_for_testing: { outcome: 'none', text: 'The key in DNS is marked as being tested (t=y), which proves nothing.' },
  key_missing: {
    outcome: 'none',
    text: 'There is no such key in DNS. Keys of old mail are gone, and who forges may name any.',
  },
  key_unanswered: { outcome: 'none', text: 'No name server said what the key is, in time.' },
  keys_not_looked_up: {
    outcome: 'none',
    text: 'Nobody was asked for the key: look-ups are off, or a replay found no answer. See `mailtrail re-observe`.',
  },
  not_checked: {
    outcome: 'none',
    text: 'The mail could not be read, or was read before mailtrail checked signatures; replay from ingest.',
  },
  not_signed: { outcome: 'none', text: 'The mail has no DKIM signature.' },
  submitter_unknown: {
    outcome: 'none',
    text: 'Neither the report nor the From of the mail names one domain that could vouch for it.',
  },
} as const satisfies Readonly<Record<string, Reason>>
export type AuthenticationReason = keyof typeof authenticationReasons

/** What is said of a mail, or of a report in it. */
export interface Authentication {
  readonly authenticated: AuthenticationOutcome
  readonly authentication_reason: AuthenticationReason
  /** Whose signature is valid, or whom our own server vouches for; null when nobody's. */
  readonly authenticated_domain: string | null
}

export function authenticationOf(reason: AuthenticationReason, domain: string | null): Authentication {
  const { outcome } = authenticationReasons[reason]
  return { authenticated: outcome, authentication_reason: reason, authenticated_domain: domain }
}

export const NOT_CHECKED: Authentication = authenticationOf('not_checked', null)

/** The same as last fields of an event. Events of versions that did not check have the defaults. */
export const authenticationFields = [
  { name: 'authenticated', type: 'string', default: 'none', doc: authenticationOutcomes.join(', ') },
  {
    name: 'authentication_reason',
    type: 'string',
    default: 'not_checked',
    doc: 'why; codes are listed in `topics/authentication.ts`',
  },
  {
    name: 'authenticated_domain',
    type: ['null', 'string'],
    default: null,
    doc: 'whose signature is valid, or whom our own server vouches for, be it not the submitter',
  },
] as const satisfies readonly AvroField[]
