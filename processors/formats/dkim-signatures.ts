/**
 * The DKIM-Signature fields of a mail (RFC 6376 §3.5): who says to have signed, and where the key lies. Only what is
 * needed to ask for keys and to leave out what can prove nothing; whether a signature holds is computed elsewhere.
 */
import type { BodyForm } from './dkim-body.ts'
import { normaliseDomain } from './domain-names.ts'

/** Larger header blocks are refused by the reader of mails. */
export const MAX_HEADER_BYTES = 256 * 1024
/** Each costs a question to a name server and a check; real mails have one or two. */
export const MAX_SIGNATURES = 5
/** A signature field has 300 to 1,500 octets. */
const MAX_FIELD = 8192
/** Names in `h=`; each is looked for in all fields of the header. */
const MAX_SIGNED_FIELDS = 200

export interface DkimSignature {
  /** As compared: lower case, A-labels. */
  readonly domain: string
  /** Where its key lies, `SELECTOR._domainkey.DOMAIN`; null when there can be no such name. */
  readonly name: string | null
  readonly algorithm: string
  /** Seconds since 1970 UTC; null when not said. */
  readonly signedAt: number | null
  readonly expiresAt: number | null
  /** How the body is hashed (`c=`); null when in no way that is known. */
  readonly bodyForm: BodyForm | null
  /** SHA-256 of the body, Base64, as stated. */
  readonly bodyHash: string
  /** The body is covered up to a length only (`l=`). */
  readonly coversPart: boolean
  /** Names in `h=`, as written. */
  readonly signedFields: string
  /** Its field in the header. */
  readonly start: number
  readonly end: number
}

const LF = 10

/** The header block as Latin-1 text, the empty line left out; null when it has no end within the limit. */
export function headerText(bytes: Uint8Array): string | null {
  const octets = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.byteLength, MAX_HEADER_BYTES))
  for (let end = octets.indexOf(LF); end !== -1; end = octets.indexOf(LF, end + 1)) {
    const next = octets[end + 1]
    if (next === LF || (next === 13 && octets[end + 2] === LF)) return octets.toString('latin1', 0, end + 1)
  }
  return bytes.byteLength <= MAX_HEADER_BYTES ? octets.toString('latin1') : null
}

const FIELD = /^dkim-signature[ \t]*:/gim
const FIELD_END = /\n(?![ \t])/g

/** The first five signatures from the top of the header that can be read. */
export function readSignatures(header: string): DkimSignature[] {
  const found: DkimSignature[] = []
  FIELD.lastIndex = 0
  for (let match = FIELD.exec(header); match !== null && found.length < MAX_SIGNATURES; match = FIELD.exec(header)) {
    // `^` stands behind a lone CR as well, where no field begins.
    if (match.index > 0 && header.charCodeAt(match.index - 1) !== LF) continue
    FIELD_END.lastIndex = match.index
    const end = (FIELD_END.exec(header)?.index ?? header.length - 1) + 1
    if (end - match.index > MAX_FIELD) continue
    const signature = readSignature(header.slice(match.index + match[0].length, end), match.index, end)
    if (signature !== null) found.push(signature)
  }
  return found
}

/** Names of the keys that the signatures of a mail need, each once. */
export function keyNames(signatures: readonly DkimSignature[]): string[] {
  return [...new Set(signatures.map(({ name }) => name).filter((name) => name !== null))]
}

function readSignature(text: string, start: number, end: number): DkimSignature | null {
  const tags = readTags(text)
  const domain = normaliseDomain(unicode(tags.get('d') ?? ''))
  const selector = tags.get('s') ?? ''
  if (domain === null || selector === '') return null
  const signedFields = tags.get('h') ?? ''
  if (signedFields.split(':').length > MAX_SIGNED_FIELDS) return null
  const name = keyName(selector, domain)
  const form = (tags.get('c') ?? '').toLowerCase().split('/')[1] ?? 'simple'
  return {
    domain,
    name: isName(name) ? name : null,
    bodyForm: form === 'relaxed' || form === 'simple' ? form : null,
    bodyHash: tags.get('bh') ?? '',
    algorithm: (tags.get('a') ?? '').toLowerCase(),
    signedAt: secondsOf(tags.get('t')),
    expiresAt: secondsOf(tags.get('x')),
    coversPart: tags.has('l'),
    signedFields,
    start,
    end,
  }
}

/** `SELECTOR._domainkey.DOMAIN`: lower case, A-labels. */
export function keyName(selector: string, domain: string): string {
  return `${normaliseDomain(unicode(selector))}._domainkey.${normaliseDomain(unicode(domain))}`
}

/** A tag list (RFC 6376 §3.2), white space left out: no value that is read here may hold any. */
export function readTags(text: string): Map<string, string> {
  const tags = new Map<string, string>()
  for (const piece of text.split(';')) {
    const equals = piece.indexOf('=')
    if (equals === -1) continue
    const name = piece.slice(0, equals).trim()
    if (!tags.has(name)) tags.set(name, piece.slice(equals + 1).replace(/\s+/g, ''))
  }
  return tags
}

/** Octets kept as Latin-1 characters as the UTF-8 that they are (RFC 8616). */
function unicode(text: string): string {
  return /[\x80-\xff]/.test(text) ? Buffer.from(text, 'latin1').toString('utf8') : text
}

function secondsOf(value: string | undefined): number | null {
  return value !== undefined && /^\d{1,12}$/.test(value) ? Number(value) : null
}

const LABEL = /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/

function isName(name: string): boolean {
  return name.length <= 253 && name.split('.').every((label) => LABEL.test(label))
}
