/**
 * Header fields of a mail or a part: RFC 5322 §2.2 and §4.5, encoded words (RFC 2047), addresses. Reads what is in the
 * wild, not only what is allowed: lost indentation (quirk 20), lost hyphens (quirk 21), lost blank lines.
 */
import { isUtf8 } from 'node:buffer'
import { addressParser, decodeWords } from 'postal-mime'
import { decodeText } from './transfer-encoding.ts'

/** Longer address lists are cut before they are taken apart; nobody reads the ten thousandth recipient. */
const MAX_ADDRESS_TEXT = 16_384

/** Octets of a field name: RFC 5322 allows all printable ones, real names are tokens, and XML or JSON is none. */
const nameOctets = new Uint8Array(256)
// NUL octets that crept in are passed over.
nameOctets[0] = 1
for (const octet of Buffer.from(
  "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
  'latin1',
)) {
  nameOctets[octet] = 1
}

/** Fields that tell a header from text: a line of one of them further down says that what is above is header too. */
const knownField =
  /^(?:content-?(?:type|transfer-encoding|disposition|id|description)|mime-version|from|to|subject|date|message-id|received|return-path|dkim-signature|list-id|reply-to)[ \t]*:/gim
/** A parameter that fell to the beginning of a line (Microsoft TLS mails, quirk 20). */
const strayParameter =
  /^(?:name|filename|boundary|charset|format|type|report-type|protocol|micalg|size|delsp|creation-date|modification-date)\*?\d*\*?[ \t]*=/i

/** Fields in order. Values are kept as sent, 8-bit octets as Latin-1 characters, and decoded when asked for. */
export class HeaderFields {
  readonly #names: readonly string[]
  readonly #bodies: readonly string[]

  constructor(names: readonly string[], bodies: readonly string[]) {
    this.#names = names
    this.#bodies = bodies
  }

  get size(): number {
    return this.#names.length
  }

  /** First field of that name (lower case): unfolded, encoded words and 8-bit text decoded, control characters out. */
  get(name: string): string | null {
    const raw = this.raw(name)
    return raw === null ? null : decodeField(raw)
  }

  all(name: string): string[] {
    const found: string[] = []
    for (let i = 0; i < this.#names.length; i++) {
      if (this.#names[i] === name) found.push(decodeField(unfold(this.#bodies[i]!)))
    }
    return found
  }

  /** First field of that name, unfolded but not decoded: for structured fields, whose syntax comes before words. */
  raw(name: string): string | null {
    const index = this.#names.indexOf(name)
    return index === -1 ? null : unfold(this.#bodies[index]!)
  }
}

export const noHeaderFields = new HeaderFields([], [])

function withoutNuls(text: string): string {
  return text.replaceAll('\0', '')
}

/** RFC 5322 §2.2.3: the line break goes, the white space stays; a line that lost its indentation gets a blank. */
function unfold(body: string): string {
  if (!body.includes('\n')) return body.trim()
  let text = ''
  for (const line of body.split('\n')) {
    // A loop, since a pattern that looks for CRs at the end costs their number squared.
    let end = line.length
    while (line.charCodeAt(end - 1) === 13) end--
    const isIndented = line.charCodeAt(0) === 32 || line.charCodeAt(0) === 9
    text += text === '' || isIndented ? line.slice(0, end) : ` ${line.slice(0, end)}`
  }
  return text.trim()
}

/** Text of people: controls go, since they must never reach a terminal or a log line. */
export function withoutControls(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (!/[\x00-\x1f\x7f-\x9f]/.test(text)) return text
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  return text.replace(/[\t\r\n]+/g, ' ').replace(/[\x00-\x1f\x7f-\x9f]/g, '')
}

/** Octets kept as Latin-1 characters as the text that they are. */
export function decodeOctets(text: string): string {
  if (!/[\x80-\xff]/.test(text)) return text
  const octets = Buffer.from(text, 'latin1')
  return isUtf8(octets) ? octets.toString('utf8') : decodeText(octets, 'windows-1252')
}

/** A field's text for people: 8-bit octets and encoded words decoded, no control characters. */
export function decodeField(raw: string): string {
  if (!/[^\x20-\x7e]/.test(raw) && !raw.includes('=?')) return raw.trim()
  const text = decodeOctets(raw)
  return withoutControls(text.includes('=?') ? decodeWords(text) : text).trim()
}

/** How a header block ended, and what was odd about it. */
export interface ScannedHeader {
  readonly fields: HeaderFields
  /** Where the body begins in the text; the header block is all before it. */
  readonly bodyStart: number
  /** A line was no field and was taken as part of the one above. */
  readonly malformed: boolean
  /** There was no blank line: the body began at a line that cannot be a field. */
  readonly unseparated: boolean
}

/**
 * Reads fields from the beginning of `text` (Latin-1) to the first blank line, the first line for which `isDelimiter`
 * says true, or the first line that cannot belong to a header. Returns null when that is not in `text` and
 * `complete` is false: call again with more.
 */
export function scanHeader(
  text: string,
  complete: boolean,
  isDelimiter: (lineStart: number) => boolean,
): ScannedHeader | null {
  const names: string[] = []
  const starts: number[] = []
  const ends: number[] = []
  let malformed = false
  let lastKnown = -1
  const done = (bodyStart: number, unseparated = false): ScannedHeader => {
    const bodies = starts.map((start, i) => text.slice(start, ends[i]))
    const fields = text.includes('\0')
      ? new HeaderFields(names.map(withoutNuls), bodies.map(withoutNuls))
      : new HeaderFields(names, bodies)
    return { fields, bodyStart, malformed, unseparated }
  }
  let position = 0
  while (position < text.length) {
    const first = text.charCodeAt(position)
    const nameEnd = fieldNameEnd(text, position)
    if (nameEnd === -1 && names.length === 0 && !isBlankAt(text, position)) {
      return first === 45 && isDelimiter(position) ? done(position) : done(position, true)
    }
    let lineEnd = text.indexOf('\n', position)
    if (lineEnd === -1) {
      if (!complete) return null
      lineEnd = text.length
    }
    const next = Math.min(lineEnd + 1, text.length)
    if (nameEnd !== -1) {
      names.push(text.slice(position, nameEnd).toLowerCase())
      starts.push(text.indexOf(':', nameEnd) + 1)
      ends.push(lineEnd)
    } else if (first === 10 || isBlankAt(text, position)) {
      // A line of blanks ends the header too, unless fields go on below it (RFC 5322 §4.2 allowed it inside folding).
      const folded = (first === 32 || first === 9) && names.length > 0 && fieldNameEnd(text, next) !== -1
      if (!folded) return done(next)
    } else if (first === 32 || first === 9) {
      ends[ends.length - 1] = lineEnd
    } else if (first === 45 && isDelimiter(position)) {
      return done(position)
    } else {
      if (lastKnown === -1) {
        const blank = /\n\r*\n/g
        blank.lastIndex = position
        const found = blank.exec(text)
        if (found === null && !complete) return null
        lastKnown = lastKnownField(text.slice(0, found?.index ?? text.length))
      }
      const above = text.slice(starts.at(-1), ends.at(-1)).trimEnd()
      const belongs =
        above.endsWith(';') || strayParameter.test(text.slice(position, position + 40)) || position < lastKnown
      if (!belongs) return done(position, true)
      malformed = true
      ends[ends.length - 1] = lineEnd
    }
    position = next
  }
  return complete ? done(text.length) : null
}

/** Where the name of a field that begins at `position` ends, or -1 when no field begins there. */
function fieldNameEnd(text: string, position: number): number {
  let end = position
  while (nameOctets[text.charCodeAt(end)] === 1) end++
  if (end === position) return -1
  let colon = end
  while (text.charCodeAt(colon) === 32 || text.charCodeAt(colon) === 9) colon++
  return text.charCodeAt(colon) === 58 ? end : -1
}

function isBlankAt(text: string, position: number): boolean {
  for (let i = position; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code === 10) return true
    if (code !== 13 && code !== 32 && code !== 9) return false
  }
  return true
}

function lastKnownField(header: string): number {
  let last = 0
  for (const match of header.matchAll(knownField)) last = match.index
  return last
}

/** `user@host`, alone or in angle brackets after a plain name: what nearly every From and To is. */
const plainAddress = /^[\w .'-]*<([\w.+=%~$&!#-]+@[\w.-]+)>$|^([\w.+=%~$&!#-]+@[\w.-]+)$/

/**
 * Addresses of a field such as From or To, without names, separated by `, `; the text itself when there is no address
 * in it; null when the field is missing or empty.
 */
export function readAddresses(fields: HeaderFields, name: string): string | null {
  const raw = fields.raw(name)
  if (raw === null || raw === '') return null
  const plain = plainAddress.exec(raw)
  if (plain !== null) return plain[1] ?? plain[2]!
  const text = decodeOctets(raw.slice(0, MAX_ADDRESS_TEXT))
  const found: string[] = []
  for (const entry of addressParser(text, { flatten: true }))
    if (entry.address) found.push(withoutControls(entry.address))
  return found.length > 0 ? found.join(', ') : fields.get(name) || null
}
