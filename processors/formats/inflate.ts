/** What an attachment holds by its first bytes, and gzip (RFC 1952) as reporters send it. */
import { crc32 } from 'node:zlib'
import { Rejected } from './codes.ts'
import {
  type Checksum,
  guardInflation,
  inflateChunks,
  inflateWhole,
  WHOLE_BYTES,
  WHOLE_PACKED_BYTES,
} from './deflate.ts'
import type { Limits } from './limits.ts'
import type { Warning } from './shapes.ts'
import { showEncoding } from './text-encoding.ts'

export type Content = 'gzip' | 'zip' | 'xml' | 'json' | 'empty' | 'unknown'
/** Unpacked data: whole when it is small, else in pieces, of which only one is held. */
export type Bytes = Uint8Array | AsyncIterable<Uint8Array>
export type Warn = (warning: Warning) => void

/** Members of one gzip file; a file of a million empty ones is an attack on time. */
const MAX_MEMBERS = 10_000
const SNIFFED_BYTES = 4096

/**
 * Says by its content what data is; names and media types lie. `xml` is everything that begins with `<` after a byte order
 * mark, white space, declarations and comments, but HTML and SVG; `json` is an object. The first 4 KB behind white space are enough.
 */
export function sniff(bytes: Uint8Array): Content {
  let blank = 0
  while (blank < bytes.length && isBlank(bytes[blank]!)) blank++
  if (blank === bytes.length) return 'empty'
  const body = blank > SNIFFED_BYTES ? bytes.subarray(blank) : bytes
  if (body[0] === 0x1f && body[1] === 0x8b) return 'gzip'
  const head = Buffer.from(body.buffer, body.byteOffset, Math.min(body.length, 2 * SNIFFED_BYTES))
  if (isZipAt(head, 0)) return 'zip'
  const { encoding, mark } = showEncoding(head)
  const text = encoding === 'utf-8' ? head.toString('latin1', mark) : new TextDecoder(encoding).decode(head)
  const start = text.replace(/^[\s\ufeff\0]+/, '')
  if (start === '') return 'empty'
  if (/^\{\s*(["}]|$)/.test(start)) return 'json'
  if (start.startsWith('<')) return isHtml(start) ? 'unknown' : 'xml'
  if (/<([\w.-]+:)?feedback[\s>]|<\?xml\s/.test(text.slice(0, 1024))) return 'xml'
  return hasZipInside(bytes, head) ? 'zip' : 'unknown'
}

const isBlank = (c: number): boolean => c === 0x20 || (c >= 0x09 && c <= 0x0d)

function isHtml(start: string): boolean {
  const first = start.replace(/^(\s|<\?[^>]*>|<!--[\s\S]*?-->)+/, '')
  return /^<(!doctype\s+(html|svg)|(html|head|body|title|meta|style|script|link|base|div|span|p|br|hr|b|i|u|a|em|strong|font|center|table|tbody|tr|td|ul|ol|li|dl|pre|img|h[1-6]|blockquote|o:p|svg|svg:svg)[\s/>])/i.test(
    first,
  )
}

function isZipAt(bytes: Uint8Array, at: number): boolean {
  if (bytes[at] !== 0x50 || bytes[at + 1] !== 0x4b) return false
  const kind = (bytes[at + 2] ?? 0) * 256 + (bytes[at + 3] ?? 0)
  // Local header, end of an empty archive, marker of a split one.
  return kind === 0x0304 || kind === 0x0506 || kind === 0x0708 || kind === 0x3030
}

/** A zip may stand behind other bytes (a self-extracting program, a stray line): then both its ends must be there. */
function hasZipInside(bytes: Uint8Array, head: Buffer): boolean {
  const start = head.indexOf('PK\x03\x04', 0, 'latin1')
  if (start === -1) return false
  const tail = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).subarray(-66_000)
  return tail.includes('PK\x05\x06', 0, 'latin1')
}

/** The content that Yahoo and AOL sent by mistake in 2023: nothing but the word `unused`. */
export function isKnownJunk(bytes: Uint8Array): boolean {
  return bytes.length < 64 && Buffer.from(bytes).toString('latin1').trim().toLowerCase() === 'unused'
}

/**
 * Unpacks gzip: small data whole, larger data as a stream that is read only as fast as it is asked for. Trailing bytes and
 * a wrong checksum are warnings, several members are read as one. Throws `Rejected` (`gzip_damaged`, `inflate_limit`), for
 * a stream while it is read; warnings of a stream come at its end.
 */
export function gunzip(bytes: Uint8Array, limits: Limits, warn: Warn): Bytes {
  const hint = bytes.length >= 18 ? sizeField(bytes, bytes.length - 4) : 0
  if (bytes.length <= WHOLE_PACKED_BYTES && (hint <= WHOLE_BYTES || hint > limits.inflatedBytes)) {
    const whole = gunzipWhole(bytes, Math.min(hint, WHOLE_BYTES), limits, warn)
    if (whole !== null) return whole
  }
  return gunzipStream(bytes, limits, warn)
}

function gunzipWhole(bytes: Uint8Array, hint: number, limits: Limits, warn: Warn): Uint8Array | null {
  const parts: Uint8Array[] = []
  const warnings: Warning[] = []
  let size = 0
  let at = 0
  do {
    const start = skipHeader(bytes, at)
    const most = Math.min(WHOLE_BYTES, limits.inflatedBytes) - size
    const inflated =
      most <= 0 ? null : inflateWhole(bytes.subarray(start), most, parts.length === 0 ? hint : 0, 'gzip_damaged')
    if (inflated === null) return null
    const { data, used } = inflated
    parts.push(data)
    size += data.length
    guardInflation(size, bytes.length, limits)
    at = checkTrailer(bytes, start + used, { size: data.length, crc: crc32(data) }, (warning) => warnings.push(warning))
  } while (hasMember(bytes, at, parts.length))
  warnTrailing(bytes, at, (warning) => warnings.push(warning))
  warnings.forEach(warn)
  return parts.length === 1 ? parts[0]! : Buffer.concat(parts)
}

async function* gunzipStream(bytes: Uint8Array, limits: Limits, warn: Warn): AsyncGenerator<Uint8Array> {
  let at = 0
  let total = 0
  let members = 0
  do {
    const start = skipHeader(bytes, at)
    const sum: Checksum = { size: 0, crc: 0 }
    const chunks = inflateChunks(bytes.subarray(start), sum, limits, 'gzip_damaged')
    let step = await chunks.next()
    try {
      for (; !step.done; step = await chunks.next()) {
        guardInflation(total + sum.size, bytes.length, limits)
        yield step.value
      }
    } finally {
      if (!step.done) await chunks.return(0)
    }
    members++
    total += sum.size
    at = checkTrailer(bytes, start + step.value, sum, warn)
  } while (hasMember(bytes, at, members))
  warnTrailing(bytes, at, warn)
}

const sizeField = (bytes: Uint8Array, at: number): number =>
  (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0

/** Index of the first byte of deflate data of the member at `at` (RFC 1952 §2.3). */
function skipHeader(bytes: Uint8Array, at: number): number {
  const flags = bytes[at + 3] ?? 0
  if (bytes[at] !== 0x1f || bytes[at + 1] !== 0x8b || bytes[at + 2] !== 8 || (flags & 0xe0) !== 0) {
    throw new Rejected('gzip_damaged', 'The gzip header is damaged.')
  }
  let i = at + 10
  if ((flags & 4) !== 0) i += 2 + (bytes[i] ?? 0) + (bytes[i + 1] ?? 0) * 256
  for (const field of [8, 16]) {
    if ((flags & field) !== 0) {
      const end = bytes.indexOf(0, i)
      i = end === -1 ? bytes.length : end + 1
    }
  }
  if ((flags & 2) !== 0) i += 2
  if (i >= bytes.length) throw new Rejected('gzip_damaged', 'The gzip data ends in its header.')
  return i
}

/** Compares checksum and length with the eight bytes at `at`; returns where the member ends. */
function checkTrailer(bytes: Uint8Array, at: number, sum: Checksum, warn: Warn): number {
  if (at + 8 > bytes.length) {
    warn({ code: 'gzip_checksum', detail: 'The checksum at the end is missing.' })
    return bytes.length
  }
  if (sizeField(bytes, at) !== sum.crc >>> 0) warn({ code: 'gzip_checksum', detail: 'The CRC-32 is wrong.' })
  else if (sizeField(bytes, at + 4) !== sum.size >>> 0) warn({ code: 'gzip_checksum', detail: 'The length is wrong.' })
  return at + 8
}

function hasMember(bytes: Uint8Array, at: number, members: number): boolean {
  if (bytes[at] !== 0x1f || bytes[at + 1] !== 0x8b || bytes[at + 2] !== 8) return false
  if (members >= MAX_MEMBERS) throw new Rejected('inflate_limit', `The gzip file has more than ${MAX_MEMBERS} members.`)
  return true
}

function warnTrailing(bytes: Uint8Array, at: number, warn: Warn): void {
  if (at >= bytes.length) return
  warn({ code: 'gzip_trailing_bytes', detail: `${bytes.length - at} bytes follow the gzip data.` })
}

/** The first bytes (4 KB, or all when there are fewer) and the data again from its start. */
export async function peek(bytes: Bytes): Promise<{ head: Uint8Array; bytes: Bytes }> {
  if (bytes instanceof Uint8Array) return { head: bytes.subarray(0, SNIFFED_BYTES), bytes }
  const iterator = bytes[Symbol.asyncIterator]()
  const chunks: Uint8Array[] = []
  let size = 0
  while (size < SNIFFED_BYTES) {
    const step = await iterator.next()
    if (step.done) return { head: Buffer.concat(chunks), bytes: Buffer.concat(chunks) }
    chunks.push(step.value)
    size += step.value.length
  }
  return { head: Buffer.concat(chunks).subarray(0, SNIFFED_BYTES), bytes: resume(chunks, iterator) }
}

async function* resume(chunks: Uint8Array[], iterator: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  let done = false
  try {
    yield* chunks
    for (;;) {
      const step = await iterator.next()
      if (step.done) {
        done = true
        return
      }
      yield step.value
    }
  } finally {
    if (!done) await iterator.return?.()
  }
}

/** All of the data in memory, for what cannot be read in pieces. Throws `inflate_limit` above `limits.heldBytes`. */
export async function hold(bytes: Bytes, limits: Limits): Promise<Uint8Array> {
  const tooLarge = () => new Rejected('inflate_limit', `The unpacked data is larger than ${limits.heldBytes} bytes.`)
  if (bytes instanceof Uint8Array) {
    if (bytes.length > limits.heldBytes) throw tooLarge()
    return bytes
  }
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of bytes) {
    size += chunk.length
    if (size > limits.heldBytes) throw tooLarge()
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}
