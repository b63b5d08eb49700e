/** Content-Transfer-Encodings (RFC 2045 §6), uuencode, and character sets: octets to octets, octets to text. */
import { isUtf8 } from 'node:buffer'
import { TextDecoder } from 'node:util'

/** Values of base64 octets by RFC 4648 §4 and §5; -1 is none, -2 padding, -3 white space. */
const base64Values = new Int8Array(256).fill(-1)
for (const [value, octet] of Buffer.from(
  'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/',
  'latin1',
).entries()) {
  base64Values[octet] = value
}
base64Values[0x2d] = 62
base64Values[0x5f] = 63
base64Values[0x3d] = -2
for (const octet of [9, 10, 11, 12, 13, 32]) base64Values[octet] = -3

const isBlank = (octet: number | undefined): boolean => octet !== undefined && base64Values[octet] === -3

/**
 * Decodes base64. `repaired` says that something in it did not belong there: octets outside of the alphabet, missing
 * or misplaced padding, text after the end. Never throws; what can be decoded is decoded.
 */
export function decodeBase64(raw: Buffer): { bytes: Buffer; repaired: boolean } {
  let start = 0
  let end = raw.length
  while (start < end && isBlank(raw[start])) start++
  while (end > start && isBlank(raw[end - 1])) end--
  const expected = raw.includes(0) ? -1 : uniformLength(raw, start, end)
  if (expected !== -1) {
    const bytes = Buffer.from(raw.toString('latin1', start, end), 'base64')
    if (bytes.length === expected) return { bytes, repaired: false }
  }
  return decodeBase64Slowly(raw, start, end)
}

/**
 * Length of the decoded octets if all lines but the last are as long as the first and hold only base64; -1 when they
 * cannot be. Node passes over what does not belong, so a different length of its result tells that something was there.
 */
function uniformLength(raw: Buffer, start: number, end: number): number {
  let pads = 0
  while (pads < 2 && raw[end - 1 - pads] === 0x3d) pads++
  const newline = raw.indexOf(10, start)
  let characters = end - start
  if (newline !== -1 && newline < end) {
    const breakLength = raw[newline - 1] === 13 ? 2 : 1
    const width = newline + 1 - breakLength - start
    const lines = Math.floor(characters / (width + breakLength))
    const rest = characters - lines * (width + breakLength)
    if (rest > width) return -1
    characters = lines * width + rest
  }
  if (characters % 4 !== 0) return -1
  return (characters / 4) * 3 - pads
}

/** Octet by octet: passes over strangers, and goes on after padding only where whole lines of base64 follow. */
function decodeBase64Slowly(raw: Buffer, start: number, end: number): { bytes: Buffer; repaired: boolean } {
  const bytes = Buffer.allocUnsafe(Math.ceil(((end - start) * 3) / 4) + 3)
  let repaired = false
  let written = 0
  let bits = 0
  let held = 0
  let padded = false
  const flush = () => {
    if (held === 3) {
      bytes[written++] = bits >> 10
      bytes[written++] = (bits >> 2) & 255
    } else if (held === 2) bytes[written++] = bits >> 4
    bits = 0
    held = 0
  }
  for (let i = start; i < end; i++) {
    const value = base64Values[raw[i]!]!
    if (value >= 0) {
      if (padded) {
        repaired = true
        if (!isBase64Line(raw, i, end)) break
        padded = false
      }
      bits = (bits << 6) | value
      if (++held === 4) {
        bytes[written++] = bits >> 16
        bytes[written++] = (bits >> 8) & 255
        bytes[written++] = bits & 255
        bits = 0
        held = 0
      }
    } else if (value === -2) {
      if (!padded && held < 2) repaired = true
      flush()
      padded = true
    } else if (value === -1) repaired = true
  }
  if (held > 0) repaired = true
  flush()
  return { bytes: bytes.subarray(0, written), repaired }
}

/** The line from here on is base64 of whole groups: the beginning of a second piece, not a footer of words. */
function isBase64Line(raw: Buffer, from: number, end: number): boolean {
  const newline = raw.indexOf(10, from)
  const line = raw.toString('latin1', from, newline === -1 ? end : Math.min(newline, end)).trimEnd()
  return line.length % 4 === 0 && /^[A-Za-z0-9+/]+={0,2}$/.test(line)
}

function hexValue(octet: number | undefined): number {
  if (octet === undefined) return -1
  if (octet >= 48 && octet <= 57) return octet - 48
  const lower = octet | 32
  return lower >= 97 && lower <= 102 ? lower - 87 : -1
}

/** Decodes quoted-printable (RFC 2045 §6.7). An `=` that begins no escape stands for itself. */
export function decodeQuotedPrintable(raw: Buffer): Buffer {
  let equals = raw.indexOf(0x3d)
  if (equals === -1) return raw
  const bytes = Buffer.allocUnsafe(raw.length)
  let written = 0
  let position = 0
  while (equals !== -1) {
    written += raw.copy(bytes, written, position, equals)
    const high = hexValue(raw[equals + 1])
    const low = hexValue(raw[equals + 2])
    if (high !== -1 && low !== -1) {
      bytes[written++] = high * 16 + low
      position = equals + 3
    } else {
      position = softBreakEnd(raw, equals + 1)
      if (position === -1) {
        bytes[written++] = 0x3d
        position = equals + 1
      }
    }
    equals = raw.indexOf(0x3d, position)
  }
  written += raw.copy(bytes, written, position)
  return bytes.subarray(0, written)
}

/** Where the line after a soft line break begins; -1 when there is none at `from`. White space may follow the `=`. */
function softBreakEnd(raw: Buffer, from: number): number {
  let i = from
  while (raw[i] === 32 || raw[i] === 9 || raw[i] === 13) i++
  if (i === raw.length) return i
  if (raw[i] === 10) return i + 1
  return raw[i - 1] === 13 && i > from ? i : -1
}

export interface UuencodedFile {
  readonly name: string
  readonly bytes: Buffer
  /** Where its `begin` line stands, and where its text ends. */
  readonly start: number
  readonly end: number
}

/** A line holds at most 63 octets in 84 characters, its length, and now and then a check character. */
const MAX_UUENCODED_LINE = 90

/** Files in uuencode (POSIX `uuencode`) in a text: `begin 644 name`, lines of a length octet and data, `end`. */
export function readUuencoded(raw: Buffer): UuencodedFile[] {
  const files: UuencodedFile[] = []
  let start = raw.indexOf('begin ')
  while (start !== -1) {
    let next = start + 6
    if (start === 0 || raw[start - 1] === 10) {
      const lineEnd = raw.indexOf(10, start)
      const head = /^begin [0-7]{3,4} (\S.{0,250}?)\s*$/.exec(
        raw.toString('latin1', start, lineEnd === -1 ? start : lineEnd),
      )
      const body = head === null ? null : readUuencodedLines(raw, lineEnd + 1)
      if (body !== null) {
        files.push({ name: head![1]!, bytes: body.bytes, start, end: body.end })
        next = body.end
      }
    }
    start = raw.indexOf('begin ', next)
  }
  return files
}

/** The data lines from here to `end`; null when there is no such end or a line is none of uuencode. */
function readUuencodedLines(raw: Buffer, from: number): { bytes: Buffer; end: number } | null {
  const pieces: Buffer[] = []
  let position = from
  while (position < raw.length) {
    const newline = raw.indexOf(10, position)
    const lineEnd = newline === -1 ? raw.length : newline
    let textEnd = lineEnd
    while (textEnd > position && raw[textEnd - 1] === 13) textEnd--
    if (textEnd - position > MAX_UUENCODED_LINE) return null
    const line = raw.toString('latin1', position, textEnd)
    position = lineEnd + 1
    if (line === 'end') return { bytes: Buffer.concat(pieces), end: Math.min(position, raw.length) }
    if (line === '') continue
    const length = (line.charCodeAt(0) - 32) & 63
    if (line.charCodeAt(0) > 96) return null
    const bytes = Buffer.alloc(length)
    for (let i = 0; i < length; i++) {
      const group = 1 + Math.floor(i / 3) * 4
      const at = (offset: number) => ((line.charCodeAt(group + offset) || 32) - 32) & 63
      const within = i % 3
      bytes[i] = ((at(within) << (2 + within * 2)) | (at(within + 1) >> (4 - within * 2))) & 255
    }
    pieces.push(bytes)
  }
  return null
}

/** Decoders by label. Only labels that the runtime knows get in, so a mail cannot make it grow. */
const decoders = new Map<string, TextDecoder>()

function decoderOf(label: string): TextDecoder | null {
  const known = decoders.get(label)
  if (known !== undefined) return known
  try {
    const decoder = new TextDecoder(label)
    decoders.set(label, decoder)
    return decoder
  } catch {
    return null
  }
}

/**
 * Text of octets. Without a charset, or with one that nobody knows or that the octets deny: UTF-8 when they are valid
 * UTF-8, else windows-1252, in which every octet is a character.
 */
export function decodeText(octets: Uint8Array, charset: string | null): string {
  const label = charset?.trim().toLowerCase() ?? 'utf-8'
  if (label !== 'utf-8' && label !== 'us-ascii' && label !== 'utf8') {
    const decoder = decoderOf(label)
    if (decoder !== null) return decoder.decode(octets)
  }
  if (isUtf8(octets)) return decoderOf('utf-8')!.decode(octets)
  return decoderOf('windows-1252')!.decode(octets)
}
