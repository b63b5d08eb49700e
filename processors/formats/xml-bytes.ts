/** What single bytes and short texts mean in XML 1.0: tables and functions that the scanner is built from. */
import type { TextDecoder } from 'node:util'
import { decodeUtf8, findDecoder } from './text-encoding.ts'

/** Kinds of bytes in character data, as bits, so that one loop finds the end of a run and all that is odd in it. */
export const SPACE = 1
export const CARRIAGE_RETURN = 2
export const AMPERSAND = 4
export const BRACKET = 8
export const CONTROL = 16
export const HIGH = 32
/** Any other byte: nothing odd. */
export const PLAIN = 64
/** The byte `<`: larger than all the others together. */
export const STOP = 128

export const textKinds = new Uint8Array(256)
textKinds.fill(PLAIN)
textKinds.fill(CONTROL, 0, 0x20)
textKinds.fill(HIGH, 0x80)
textKinds[0x09] = SPACE
textKinds[0x0a] = SPACE
textKinds[0x20] = SPACE
textKinds[0x0d] = SPACE | CARRIAGE_RETURN
textKinds[0x26] = AMPERSAND
textKinds[0x5d] = BRACKET
textKinds[0x3c] = STOP

/** Bits: 1 may stand in a name, 2 may begin one, 4 is a colon (production 4; of bytes above 7F every one passes). */
export const nameKinds = new Uint8Array(256)
for (const [from, to, kind] of [
  [0x61, 0x7a, 3],
  [0x41, 0x5a, 3],
  [0x5f, 0x5f, 3],
  [0x3a, 0x3a, 7],
  [0x80, 0xff, 3],
  [0x30, 0x39, 1],
  [0x2d, 0x2e, 1],
] as const) {
  nameKinds.fill(kind, from, to + 1)
}

const named: Readonly<Record<string, string>> = { lt: '<', gt: '>', amp: '&', apos: "'", quot: '"' }

/** Production 2: characters that may stand in a document. */
const isXmlChar = (c: number): boolean =>
  c === 9 ||
  c === 10 ||
  c === 13 ||
  (c >= 0x20 && c < 0xd800) ||
  (c >= 0xe000 && c < 0xfffe) ||
  (c >= 0x10000 && c < 0x110000)

/**
 * Replaces the five predefined entities and character references (XML 1.0 §4.1, §4.6). Others are never looked up:
 * they, and a bare `&`, stay as they are, and `malformed` says so.
 */
export function decodeEntities(text: string): { text: string; malformed: boolean } {
  let malformed = false
  const decoded = text.replace(
    /&(?:#x([0-9a-f]{1,8});|#([0-9]{1,10});|(lt|gt|amp|apos|quot);)?/gi,
    (whole, hex, decimal, name) => {
      if (name !== undefined && named[name] !== undefined) return named[name]
      const code = hex !== undefined ? Number.parseInt(hex, 16) : decimal !== undefined ? Number(decimal) : -1
      if (isXmlChar(code) && !whole.startsWith('&#X')) return String.fromCodePoint(code)
      malformed = true
      return whole
    },
  )
  return { text: decoded, malformed }
}

/**
 * Decodes values byte run by byte run, because declarations lie: what is valid UTF-8 is UTF-8; else the declared
 * single-byte or ASCII-extending encoding is tried; under UTF-8 itself invalid bytes are dropped.
 */
export class ValueDecoder {
  #declared: TextDecoder | null = null
  /** The encoding that the document declares. */
  label = 'utf-8'
  /** A value was not UTF-8 and was read in the declared encoding. */
  foreign = false
  /** The declaration names an encoding that the bytes are not in, or that nobody knows. */
  declaredWrong = false
  /** Bytes were dropped somewhere in the document. */
  dropped = false

  /** Takes the label of the XML declaration; `utf16` says that the bytes were shown to be UTF-16. */
  declare(label: string, utf16: boolean): void {
    this.label = label.toLowerCase()
    const names16 = /^(utf-?16|ucs-?2|iso-10646-ucs-2|unicode)/.test(this.label)
    if (utf16 !== names16) this.declaredWrong = true
    if (utf16 || names16 || /^(utf-?8|us-ascii|ascii)$/.test(this.label)) return
    this.#declared = findDecoder(label)
    if (this.#declared === null) {
      this.declaredWrong = true
      this.#declared = findDecoder('windows-1252')
    }
  }

  decode(bytes: Uint8Array): { text: string; dropped: boolean } {
    const decoded = decodeUtf8(bytes)
    if (!decoded.dropped) {
      if (this.#declared !== null) this.declaredWrong = true
      return decoded
    }
    if (this.#declared === null) {
      this.dropped = true
      return decoded
    }
    this.foreign = true
    return { text: this.#declared.decode(bytes), dropped: false }
  }
}
