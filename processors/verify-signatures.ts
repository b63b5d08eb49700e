/**
 * Whether DKIM signatures hold (RFC 6376, RFC 8301, RFC 8463), computed from the mail and the keys alone: nobody is
 * asked, and what is too old is measured by when the mail was received. The one file that knows `mailauth`.
 */
import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import type { AuthenticationReason } from '../topics/authentication.ts'
import type { KeyObservation } from '../topics/observations.ts'
import { canonicalBody } from './formats/dkim-body.ts'
import { type DkimSignature, keyName, readTags } from './formats/dkim-signatures.ts'

export interface CheckedSignature {
  readonly domain: string
  /** `signature_aligned` stands for: valid. Whose domain it should be is the caller's question. */
  readonly reason: AuthenticationReason
  /** The key is for TLS reports only (`s=tlsrpt`, RFC 8460 §3). */
  readonly onlyTls: boolean
}

/** RFC 8301 §3.1 and RFC 8463; SHA-1 proves nothing. */
const ALGORITHMS: ReadonlySet<string> = new Set(['rsa-sha256', 'ed25519-sha256'])
/** RFC 8301 §3.2 */
const LEAST_RSA_BITS = 1024
/** Clocks differ; a mail cannot be signed a day after it came. */
const CLOCK_SECONDS = 86_400
/** Fields of a header; each is compared with each name in `h=`. */
const MAX_FIELDS = 2000

interface Mail {
  readonly fields: readonly Field[]
  readonly body: Uint8Array
}

interface Candidate {
  readonly signature: DkimSignature
  readonly place: number
  readonly record: string
  readonly onlyTls: boolean
}

/**
 * What is to be said of each signature, in their order. `header` is the header block as Latin-1 text, in which the
 * signatures were found. `receivedAt` in milliseconds since 1970 UTC.
 */
export async function verifySignatures(
  bytes: Uint8Array,
  header: string,
  signatures: readonly DkimSignature[],
  keys: readonly KeyObservation[],
  receivedAt: number,
): Promise<CheckedSignature[]> {
  const keyOf = new Map(keys.map((key) => [key.name, key]))
  const checked: CheckedSignature[] = []
  const candidates: Candidate[] = []
  for (const [place, signature] of signatures.entries()) {
    const key = signature.name === null ? undefined : keyOf.get(signature.name)
    const reason = reasonBefore(signature, key, receivedAt)
    const { record, onlyTls } = recordOf(key)
    checked.push({ domain: signature.domain, reason: reason ?? 'signature_unreadable', onlyTls })
    if (reason === null) candidates.push({ signature, place, record, onlyTls })
  }
  const fields = candidates.length === 0 ? [] : fieldsOf(header)
  if (fields.length === 0 || fields.length > MAX_FIELDS) return checked
  const reasons = await compute({ fields, body: bodyOf(bytes, header) }, candidates, receivedAt)
  for (const [i, { place }] of candidates.entries()) checked[place] = { ...checked[place]!, reason: reasons[i]! }
  return checked
}

/** What can be said without computing anything; null when it must be computed. */
function reasonBefore(
  { name, algorithm, bodyForm, coversPart, signedAt, expiresAt }: DkimSignature,
  key: KeyObservation | undefined,
  receivedAt: number,
): AuthenticationReason | null {
  if (key?.outcome === 'not_looked_up' || (name !== null && key === undefined)) return 'keys_not_looked_up'
  if (!ALGORITHMS.has(algorithm)) return 'algorithm_unusable'
  if (bodyForm === null) return 'signature_unreadable'
  if (coversPart) return 'body_partly_signed'
  const received = receivedAt / 1000
  if ((expiresAt !== null && expiresAt < received) || (signedAt !== null && signedAt > received + CLOCK_SECONDS))
    return 'signature_expired'
  if (name === null || key === undefined) return 'key_missing'
  if (key.outcome !== 'answered') return 'key_unanswered'
  return key.records.length === 0 ? 'key_missing' : null
}

/** The record that holds the key; of several the first that has one (RFC 6376 §3.6.2.2 leaves it open). */
function recordOf(key: KeyObservation | undefined): { record: string; onlyTls: boolean } {
  const records = key?.records ?? []
  const record = records.find((text) => readTags(text).has('p')) ?? records[0] ?? ''
  const services = readTags(record).get('s')?.toLowerCase().split(':') ?? ['*']
  const onlyTls = services.includes('tlsrpt') && !services.includes('*') && !services.includes('email')
  if (!onlyTls) return { record, onlyTls }
  const others = record.split(';').filter((piece) => !/^\s*s\s*=/.test(piece))
  return { record: others.join(';'), onlyTls }
}

type Verify = typeof import('mailauth/lib/dkim/verify.js')['dkimVerify']
let verify: Verify | undefined

/**
 * Reasons for the candidates, in their order. The library gets the body in its canonical form, which stays the same when
 * it is made canonical again: of any other body it makes one in time that grows with the square of its blanks.
 */
async function compute(
  { fields, body }: Mail,
  candidates: readonly Candidate[],
  receivedAt: number,
): Promise<AuthenticationReason[]> {
  const reasons = candidates.map((): AuthenticationReason => 'body_changed')
  for (const form of ['relaxed', 'simple'] as const) {
    const ofForm = candidates.filter(({ signature }) => signature.bodyForm === form)
    if (ofForm.length === 0) continue
    const canonical = canonicalBody(body, form)
    const bodyHash = createHash('sha256').update(canonical).digest('base64')
    const open = ofForm.filter(({ signature }) => signature.bodyHash === bodyHash)
    if (open.length === 0) continue
    const results = await verifyHeaders(fields, canonical, open, receivedAt)
    for (const [i, candidate] of open.entries()) reasons[candidates.indexOf(candidate)] = results[i]!
  }
  return reasons
}

async function verifyHeaders(
  fields: readonly Field[],
  body: Uint8Array,
  candidates: readonly Candidate[],
  receivedAt: number,
): Promise<AuthenticationReason[]> {
  // Loading it takes a tenth of a second, and many installations never see a key.
  verify ??= (await import('mailauth/lib/dkim/verify.js')).dkimVerify
  const records = new Map(candidates.map(({ signature, record }) => [signature.name, record]))
  // In two pieces: of one buffer it makes many, and a long line in many pieces costs their number squared.
  const mail = Readable.from([Buffer.concat([headerOf(fields, candidates), CRLF]), body])
  const { results } = await verify(mail, {
    strict: true,
    minBitLength: LEAST_RSA_BITS,
    curTime: new Date(receivedAt),
    resolver: async (name: string) => {
      const record = records.get(name.toLowerCase())
      return record === undefined ? [] : [[record]]
    },
  } as Parameters<Verify>[1])
  return candidates.map(({ signature }, i): AuthenticationReason => {
    const result = results[i] as Result | undefined
    // The library must have seen the signatures that were found here, and no other: each result is about one of them.
    const isOfThis =
      results.length === candidates.length &&
      signature.name === keyName(result?.selector ?? '', result?.signingDomain ?? '')
    return isOfThis ? reasonOf(result!.status) : 'signature_unreadable'
  })
}

/** Of a result, what is read here. */
interface Result {
  readonly signingDomain?: string
  readonly selector?: string
  readonly status: { readonly result: string; readonly comment?: string | false; readonly testing?: boolean }
}

/** What mailauth says of keys that it cannot use. */
const KEY_COMMENTS: ReadonlySet<string> = new Set([
  'inappropriate hash algorithm',
  'inappropriate key algorithm',
  'invalid public key',
  'key not for email',
  'unknown key type',
  'unknown key version',
])

function reasonOf({ result, comment, testing }: Result['status']): AuthenticationReason {
  if (result === 'pass') return testing === true ? 'key_for_testing' : 'signature_aligned'
  if (result === 'fail') return comment === 'body hash did not verify' ? 'body_changed' : 'signature_invalid'
  if (result === 'policy') return 'key_unusable'
  if (comment === 'expired') return 'signature_expired'
  return KEY_COMMENTS.has(comment || '') ? 'key_unusable' : 'signature_unreadable'
}

interface Field {
  readonly start: number
  /** With its line ends. */
  readonly text: string
}

/** The fields of a header block, each with the lines that continue it. */
function fieldsOf(header: string): Field[] {
  const fields: Field[] = []
  const ends = /\n(?![ \t])/g
  for (let start = 0; start < header.length; ) {
    ends.lastIndex = start
    const end = (ends.exec(header)?.index ?? header.length - 1) + 1
    fields.push({ start, text: header.slice(start, end) })
    start = end
  }
  return fields
}

const SPARE = /^(dkim-signature|arc-[a-z-]+)[ \t]*:/i
const CRLF = Buffer.from('\r\n')

/**
 * The header with the candidates' signatures only, and without what else would cost time and proves nothing: other
 * signatures and chains of ARC, unless a candidate covers them. An mbox line in front is no field.
 */
function headerOf(fields: readonly Field[], candidates: readonly Candidate[]): Buffer {
  const starts = new Set(candidates.map(({ signature }) => signature.start))
  const signed = new Set(candidates.flatMap(({ signature }) => signature.signedFields.toLowerCase().split(':')))
  const kept = fields.filter(({ start, text }) => {
    if (start === 0 && /^>?From /.test(text)) return false
    const name = SPARE.exec(text)?.[1]?.toLowerCase()
    if (name === undefined || starts.has(start)) return true
    return name !== 'dkim-signature' && signed.has(name)
  })
  const text = kept.map((field) => field.text.replace(/\r?\n/g, '\r\n')).join('')
  return Buffer.from(text.endsWith('\n') ? text : `${text}\r\n`, 'latin1')
}

/** What follows the header block and its empty line. */
function bodyOf(bytes: Uint8Array, header: string): Uint8Array {
  const start = bytes[header.length] === CR ? header.length + 2 : header.length + 1
  return bytes.subarray(Math.min(start, bytes.length))
}

const CR = 13
