/**
 * mbox in its four variants (mboxo, mboxrd, mboxcl, mboxcl2) and MMDF, with LF or CRLF. Reads through a window that
 * grows to one mail, never the whole file. A file that grows meanwhile is read to the end that is met.
 */
import { read } from 'node:fs'
import { promisify } from 'node:util'
import { readMailDate } from '../topics/mail-date.ts'

export interface MboxMail {
  /** The mail without its `From ` line; empty when it is oversized. */
  readonly bytes: Uint8Array
  /** Date of the `From ` line, ISO 8601 UTC. */
  readonly envelopeDate: string | null
  /** Its size in bytes, when that is more than was asked for; the mail was then passed over, not held. */
  readonly oversized: number | null
}

const readAt = promisify(read)

const CHUNK = 1024 * 1024
const MAX_CHUNK = 8 * CHUNK
/** A `From ` line longer than this is text. */
const MAX_FROM_LINE = 1000
/** What must be seen after a candidate to tell: its line and the beginning of the next. */
const LOOK_AHEAD = MAX_FROM_LINE + 200
/** Content-Length is looked for in a header up to this size. */
const MAX_HEADER = 256 * 1024
const [LF, CR] = [10, 13]
const FROM = Buffer.from('\nFrom ')
const MMDF = Buffer.from('\x01\x01\x01\x01')

/** `From sender Thu Nov 21 00:00:00 2026`: a time, at most a few words (zone), a year, at most a zone after it. */
const fromLine =
  /^From (?:.*\s)?\d{1,2}:\d{2}(?::\d{2})?(?:\s+[A-Z+-]\S{0,9}){0,2}\s+\d{2}(?:\d{2})?(?:\s+(?:[+-]\d{4}|[A-Z]{1,5}))?(?:\s+remote from \S+)?\s*$/i
const fromLineDate =
  /(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*,?\s+)?(?:[a-z]{3}\s+\d{1,2}|\d{1,2}\s+[a-z]{3})\s.*\d:\d.*$/i
const headerLine = /^(?:[!-9;-~]+[ \t]*:|>From )/

/** Where an mbox begins in the first octets of a file (blank lines may stand in front), or -1 when it is none. */
export function findMboxStart(head: Uint8Array): number {
  const octets = Buffer.from(head.buffer, head.byteOffset, head.byteLength)
  let start = octets[0] === 0xef && octets[1] === 0xbb && octets[2] === 0xbf ? 3 : 0
  while (octets[start] === LF || octets[start] === CR) start++
  if (MMDF.equals(octets.subarray(start, start + 4))) return start
  return isFromLine(octets, start) ? start : -1
}

/** Reads the mails of an mbox that is open for reading. `start` is what `findMboxStart` said. */
export async function* readMbox(file: number, start: number, maxMailBytes: number): AsyncGenerator<MboxMail> {
  const window = new Window(file, start)
  await window.fill()
  if (MMDF.equals(window.bytes.subarray(0, 4))) yield* readMmdf(window, maxMailBytes)
  else yield* readFromLines(window, maxMailBytes)
}

/** The octets of a file from an offset on that moves forward only. */
class Window {
  readonly #file: number
  #offset: number
  bytes: Buffer = Buffer.alloc(0)
  ended = false

  constructor(file: number, offset: number) {
    this.#file = file
    this.#offset = offset
  }

  /** Reads on: as much again as is held, so that long mails are not copied often. */
  async fill(): Promise<void> {
    const length = Math.min(Math.max(CHUNK, this.bytes.length), MAX_CHUNK)
    const more = await this.#readAt(this.#offset + this.bytes.length, length)
    if (more.length === 0) this.ended = true
    else this.bytes = this.bytes.length === 0 ? more : Buffer.concat([this.bytes, more])
  }

  async fillTo(length: number): Promise<void> {
    while (this.bytes.length < length && !this.ended) await this.fill()
  }

  /** Octets ahead of the window, without moving it. */
  async peek(at: number, length: number): Promise<Buffer> {
    if (at + length <= this.bytes.length) return this.bytes.subarray(at, at + length)
    return this.#readAt(this.#offset + at, length)
  }

  drop(length: number): void {
    this.#offset += length
    this.bytes = length <= this.bytes.length ? this.bytes.subarray(length) : Buffer.alloc(0)
  }

  async #readAt(position: number, length: number): Promise<Buffer> {
    const buffer = Buffer.allocUnsafe(length)
    const { bytesRead } = await readAt(this.#file, buffer, 0, length, position)
    return buffer.subarray(0, bytesRead)
  }
}

async function* readFromLines(window: Window, maxMailBytes: number): AsyncGenerator<MboxMail> {
  let first = true
  for (;;) {
    await window.fillTo(LOOK_AHEAD)
    if (window.bytes.length === 0) return
    const newline = window.bytes.indexOf(LF)
    const lineEnd = newline === -1 ? window.bytes.length : newline + 1
    const envelopeDate = readEnvelopeDate(window.bytes.toString('latin1', 0, Math.min(lineEnd, MAX_FROM_LINE)))
    const length = await statedLength(window, lineEnd)
    // With a length that holds nothing was quoted (mboxcl2); without one, quoting is what kept the mails apart.
    const collected =
      length === null
        ? await collect(window, lineEnd, findFromLine, maxMailBytes)
        : await take(window, lineEnd, length, maxMailBytes)
    const bytes = length === null && collected.bytes !== null ? unquote(collected.bytes) : collected.bytes
    const isLastLine = collected.size === 0 && window.ended && window.bytes.length === 0
    const isInternal = first && bytes !== null && isFolderData(bytes)
    first = false
    if (isLastLine || isInternal) continue
    yield bytes === null
      ? { bytes: Buffer.alloc(0), envelopeDate, oversized: collected.size }
      : { bytes, envelopeDate, oversized: null }
  }
}

function readEnvelopeDate(line: string): string | null {
  const date = fromLineDate.exec(line.trimEnd())?.[0].replace(/\s+remote from \S+$/, '')
  return date === undefined ? null : readMailDate(date)
}

/**
 * Length of the mail after its `From ` line by Content-Length; null unless a `From ` line or the end of the file stands
 * exactly there, for mails bring foreign Content-Length fields with them.
 */
async function statedLength(window: Window, start: number): Promise<number | null> {
  let bodyStart = findBodyStart(window.bytes, start)
  while (bodyStart === -1 && !window.ended && window.bytes.length < start + MAX_HEADER) {
    await window.fill()
    bodyStart = findBodyStart(window.bytes, start)
  }
  if (bodyStart === -1) return null
  const header = window.bytes.toString('latin1', start, Math.min(bodyStart, start + MAX_HEADER))
  const stated = /^content-length[ \t]*:[ \t]*(\d{1,12})[ \t]*\r?$/im.exec(header)
  if (stated === null) return null
  const end = bodyStart + Number(stated[1])
  const after = await window.peek(end, LOOK_AHEAD)
  const last = end > 0 ? (await window.peek(end - 1, 1))[0] : undefined
  if (last === undefined) return null
  const blank = /^\r?\n/.exec(after.toString('latin1', 0, 2))?.[0].length ?? 0
  const isEnd = after.length === blank
  return isEnd || ((blank > 0 || last === LF) && isFromLine(after, blank)) ? end - start : null
}

/** Where the body begins, behind the first blank line at or after `start`; -1 when there is none yet. */
function findBodyStart(bytes: Buffer, start: number): number {
  const most = start + MAX_HEADER
  for (let line = start; line < most; ) {
    const newline = bytes.indexOf(LF, line)
    if (newline === -1) return -1
    if (newline === line || (newline === line + 1 && bytes[line] === CR)) return newline + 1
    line = newline + 1
  }
  return -1
}

interface Collected {
  /** null when there were too many. */
  readonly bytes: Buffer | null
  readonly size: number
}

/** Takes `length` octets and steps over the blank line behind them. */
async function take(window: Window, start: number, length: number, most: number): Promise<Collected> {
  const blank = /^\r?\n/.exec((await window.peek(start + length, 2)).toString('latin1'))?.[0].length ?? 0
  let bytes: Buffer | null = null
  if (length <= most) {
    await window.fillTo(start + length)
    bytes = Buffer.from(window.bytes.subarray(start, start + length))
  }
  window.drop(start + length + blank)
  return { bytes, size: length }
}

interface MailEnd {
  /** Where the mail ends and where what follows it begins, in the window. */
  readonly end: number
  readonly next: number
}
/** Finds the end of a mail at or after `from`; a number says from where to look again when there is more. */
type FindEnd = (bytes: Buffer, from: number, ended: boolean) => MailEnd | number

/** Collects a mail up to its end and moves the window behind it. Of a mail that is too large only the size is kept. */
async function collect(window: Window, start: number, findEnd: FindEnd, most: number): Promise<Collected> {
  let begin = start
  let from = Math.max(0, start - 1)
  let dropped = 0
  for (;;) {
    const found = findEnd(window.bytes, from, window.ended)
    if (typeof found !== 'number') {
      const size = dropped + Math.max(0, found.end - begin)
      const bytes = size > most ? null : Buffer.from(window.bytes.subarray(begin, begin + size))
      window.drop(found.next)
      return { bytes, size }
    }
    from = found
    if (from - begin > most) {
      // Some octets in front stay: whether the line before a `From ` line is blank is seen in them.
      const passed = Math.max(0, from - 16)
      dropped += Math.max(0, passed - begin)
      begin = Math.max(0, begin - passed)
      from -= passed
      window.drop(passed)
    }
    await window.fill()
  }
}

/** The end of a mail in front of the next `From ` line: the blank line before that line is not part of the mail. */
function findFromLine(bytes: Buffer, from: number, ended: boolean): MailEnd | number {
  let newline = bytes.indexOf(FROM, from)
  while (newline !== -1) {
    if (!ended && newline + LOOK_AHEAD > bytes.length) return newline
    const blank = blankLineBefore(bytes, newline)
    if (blank > 0 && isFromLine(bytes, newline + 1)) return { end: newline + 1 - blank, next: newline + 1 }
    newline = bytes.indexOf(FROM, newline + 1)
  }
  if (!ended) return Math.max(from, bytes.length - FROM.length)
  return { end: bytes.length - blankLineBefore(bytes, bytes.length - 1), next: bytes.length }
}

/** Length of the blank line that the LF at `newline` ends, 0 when that line is not blank. */
function blankLineBefore(bytes: Buffer, newline: number): number {
  if (bytes[newline] !== LF) return 0
  if (bytes[newline - 1] === LF) return 1
  return bytes[newline - 1] === CR && bytes[newline - 2] === LF ? 2 : 0
}

function isFromLine(bytes: Buffer, start: number): boolean {
  if (bytes.toString('latin1', start, start + 5) !== 'From ') return false
  const newline = bytes.indexOf(LF, start)
  const lineEnd = newline === -1 ? bytes.length : newline
  if (lineEnd - start > MAX_FROM_LINE || !fromLine.test(bytes.toString('latin1', start, lineEnd))) return false
  // Nothing behind it: a mail whose writing has just begun.
  const next = bytes.toString('latin1', lineEnd + 1, lineEnd + 100)
  return next === '' || headerLine.test(next)
}

/** Takes one `>` off quoted `From ` lines: right for mboxrd, harmless for mboxo. */
function unquote(bytes: Buffer): Buffer {
  if (bytes.indexOf('>From ', 0, 'latin1') === -1) return bytes
  return Buffer.from(bytes.toString('latin1').replace(/(^|\n)>(>*From )/g, '$1$2'), 'latin1')
}

/** UW-IMAP and pine keep their own notes in a first mail that is none. */
function isFolderData(bytes: Buffer): boolean {
  return /^subject:.*FOLDER INTERNAL DATA/im.test(bytes.toString('latin1', 0, 2000))
}

/** MMDF: every mail stands between lines of four Ctrl-A, which open and close it. */
async function* readMmdf(window: Window, maxMailBytes: number): AsyncGenerator<MboxMail> {
  for (;;) {
    await window.fillTo(LOOK_AHEAD)
    if (window.bytes.length === 0) return
    const lineEnd = window.bytes.indexOf(LF)
    if (lineEnd === -1) return
    const { bytes, size } = await collect(window, lineEnd + 1, findMmdfLine, maxMailBytes)
    if (size === 0) continue
    const envelope = bytes === null ? null : /^From [^\n]*\n/.exec(bytes.toString('latin1', 0, MAX_FROM_LINE))?.[0]
    const envelopeDate = envelope ? readEnvelopeDate(envelope) : null
    yield bytes === null
      ? { bytes: Buffer.alloc(0), envelopeDate, oversized: size }
      : { bytes: bytes.subarray(envelope?.length ?? 0), envelopeDate, oversized: null }
  }
}

const MMDF_LINE = Buffer.concat([Buffer.from('\n'), MMDF])

function findMmdfLine(bytes: Buffer, from: number, ended: boolean): MailEnd | number {
  const newline = bytes.indexOf(MMDF_LINE, from)
  if (newline !== -1) return { end: newline + 1, next: newline + 1 }
  return ended ? { end: bytes.length, next: bytes.length } : Math.max(from, bytes.length - MMDF_LINE.length)
}
