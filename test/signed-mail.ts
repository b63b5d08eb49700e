/**
 * Mail with real DKIM signatures (RFC 6376), signed by a few lines of our own: what checks them is another program, so the
 * two must understand the standard alike.
 */
import { createHash, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { aggregateXml } from './report-mail.ts'

export interface Signer {
  readonly selector: string
  readonly domain: string
  readonly key: KeyObject
  /** What DNS says under `name`. */
  readonly name: string
  readonly record: string
}

export function makeSigner(
  domain: string,
  options: { ed25519?: boolean; bits?: number; selector?: string } = {},
): Signer {
  const { ed25519 = false, bits = 2048, selector = 's1' } = options
  const { privateKey } = ed25519 ? generateKeyPairSync('ed25519') : generateKeyPairSync('rsa', { modulusLength: bits })
  const spki = createPublicKey(privateKey).export({ type: 'spki', format: 'der' })
  // RFC 8463 §4: the 32 octets alone.
  const p = (ed25519 ? spki.subarray(-32) : spki).toString('base64')
  return {
    selector,
    domain,
    key: privateKey,
    name: `${selector}._domainkey.${domain}`,
    record: `v=DKIM1; k=${ed25519 ? 'ed25519' : 'rsa'}; p=${p}`,
  }
}

export type Canon = 'relaxed' | 'simple'

export interface SignOptions {
  readonly header?: Canon
  readonly body?: Canon
  /** More tags, such as `x=…; `, each with its semicolon. */
  readonly tags?: string
  readonly signedFields?: string
  readonly algorithm?: string
}

/** The mail (CRLF) with a signature on top. */
export function signMail(mail: string, signer: Signer, options: SignOptions = {}): string {
  const { header: h = 'relaxed', body: b = 'relaxed', tags = '', signedFields = 'from:to:subject:date' } = options
  const at = mail.indexOf('\r\n\r\n') + 2
  const fields = mail
    .slice(0, at)
    .split(/\r\n(?![ \t])/)
    .filter((field) => field !== '')
  const bodyHash = createHash('sha256')
    .update(canonicalBody(mail.slice(at + 2), b), 'latin1')
    .digest('base64')
  const isEd25519 = signer.key.asymmetricKeyType === 'ed25519'
  const algorithm = options.algorithm ?? (isEd25519 ? 'ed25519-sha256' : 'rsa-sha256')
  const unsigned =
    `DKIM-Signature: v=1; a=${algorithm}; c=${h}/${b}; d=${signer.domain}; s=${signer.selector};\r\n` +
    `\t${tags}h=${signedFields}; bh=${bodyHash};\r\n\tb=`
  const rest = [...fields].reverse()
  const chosen = signedFields.split(':').flatMap((name) => {
    const place = rest.findIndex((field) => field.toLowerCase().startsWith(`${name.toLowerCase()}:`))
    return place === -1 ? [] : rest.splice(place, 1)
  })
  const signed = `${chosen.map((field) => `${canonicalField(field, h)}\r\n`).join('')}${canonicalField(unsigned, h)}`
  const data = Buffer.from(signed, 'latin1')
  const signature = isEd25519
    ? sign(null, createHash('sha256').update(data).digest(), signer.key)
    : sign('sha256', data, signer.key)
  const folded = signature.toString('base64').replace(/.{70}/g, '$&\r\n\t')
  return `${unsigned}${folded}\r\n${mail}`
}

function canonicalField(field: string, canon: Canon): string {
  if (canon === 'simple') return field
  const colon = field.indexOf(':')
  const value = field
    .slice(colon + 1)
    .replace(/\r\n/g, '')
    .replace(/[ \t]+/g, ' ')
    .trim()
  return `${field.slice(0, colon).trim().toLowerCase()}:${value}`
}

function canonicalBody(body: string, canon: Canon): string {
  const lines = canon === 'simple' ? body : body.replace(/[ \t]+/g, ' ').replace(/ (?=\r\n)/g, '')
  const text = lines.replace(/(?:\r\n)+$/, '')
  return text === '' ? (canon === 'simple' ? '\r\n' : '') : `${text}\r\n`
}

export interface ReportMail {
  readonly from?: string
  /** The address that the report names. */
  readonly email?: string
  readonly id?: string
  readonly domain?: string
  /** Seconds since 1970 UTC. */
  readonly receivedAt?: number
  readonly more?: string
}

export const RECEIVED = Date.UTC(2026, 9, 2, 6) / 1000

/** An aggregate report of `reporter.example` as it travels, unsigned. */
export function reportMail(mail: ReportMail = {}): string {
  const {
    from = 'reports@reporter.example',
    email = 'reports@reporter.example',
    id = 'one',
    domain = 'linden.example',
  } = mail
  const at = mail.receivedAt ?? RECEIVED
  const date = new Date(at * 1000).toUTCString().replace('GMT', '+0000')
  const xml = aggregateXml({
    id,
    domain,
    begin: Math.floor(at / 86_400) * 86_400 - 86_400,
    records: [{ source_ip: '192.0.2.1', count: 3, dkim: true, spf: true }],
  }).replace('<email>reports@reporter.example</email>', email === '' ? '' : `<email>${email}</email>`)
  return [
    `From: ${from}`,
    'To: <rua@linden.example>',
    `Subject: Report Domain: ${domain}\r\n Report-ID: <${id}>`,
    `Date: ${date}`,
    'MIME-Version: 1.0',
    'Content-Type: application/xml; name="report.xml"',
    ...(mail.more === undefined ? [] : [mail.more]),
    '',
    xml.replace(/\r?\n/g, '\r\n'),
  ].join('\r\n')
}

/** As it arrives: with the trace field that tells when. */
export function received(mail: string, at: number = RECEIVED): Buffer {
  const date = new Date(at * 1000).toUTCString().replace('GMT', '+0000')
  return Buffer.from(`Received: from mail.example by mx.example.org with ESMTPS; ${date}\r\n${mail}`, 'latin1')
}
