/** Mail in files and folders: single mails, mbox, Maildir, bare reports, one mail on stdin. Nothing is written. */
import { closeSync, createReadStream, fstatSync, openSync, read, readSync } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { basename } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { promisify } from 'node:util'
import { readMailDate } from '../topics/mail-date.ts'
import { findMoved, isMaildir, isMaildirFolder, listMaildir, type MaildirFile, maildirDate } from './maildir.ts'
import { findMboxStart, readMbox } from './mbox.ts'
import { isReportFile, wrapReport } from './wrap-report.ts'

export interface FoundMail {
  /** The path as given (below a folder: with the names that lead to it); `#n`, from 1, for the n-th mail of an mbox. */
  readonly source: string
  /** The mail; empty for an empty file and for an oversized mail. */
  readonly bytes: Uint8Array
  /** ISO 8601 UTC; null when neither the mail nor where it lay says when it was received. */
  readonly receivedAt: string | null
  readonly receivedFrom: 'received' | 'mbox' | 'maildir' | 'import'
  /** The file was a bare report; `bytes` is the mail that was made of it. */
  readonly wrapped: boolean
  /** Size in bytes of a mail above `maxMailBytes`, which was not read; else null. */
  readonly oversized: number | null
}

export interface FindOptions {
  readonly stdin: NodeJS.ReadableStream
  readonly maxMailBytes: number
  /** Stops the search; it then throws the signal's reason. */
  readonly signal?: AbortSignal
  /** Told of an input that could not be opened or read; the search goes on. */
  readonly onError: (source: string, error: Error) => void
  /** Told once, before the first mail, how much there is. Only then the folders are gone through twice. */
  readonly onTotal?: (files: number, bytes: number) => void
}

/** What is seen of a file before it is decided how to read it. */
const HEAD_BYTES = 8192
/** Files up to this size are read in one go: a thread pool takes ten times as long for them. */
const SMALL_FILE = 256 * 1024
/** Mails after which the event loop gets a turn. */
const MAILS_PER_TURN = 32
/** Tries to find a Maildir file that is renamed again and again. */
const MAX_RENAMES = 5

const readAt = promisify(read)

interface InputFile {
  readonly path: string
  readonly maildir: MaildirFile | null
  /** A pipe or device, whose length nobody knows. */
  readonly isStream: boolean
}

/**
 * Finds the mails in files and folders, in the order of the paths, folders sorted by name. Dot files and `*.tmp` below
 * folders are passed over. What a file is, its content says; a file in a Maildir is always one mail.
 */
export async function* findMails(paths: readonly string[], options: FindOptions): AsyncGenerator<FoundMail> {
  if (options.onTotal !== undefined) options.onTotal(...(await countFiles(paths)))
  let mails = 0
  for (const path of paths) {
    for await (const mail of findIn(path, options)) {
      options.signal?.throwIfAborted()
      yield mail
      if (++mails % MAILS_PER_TURN === 0) await setImmediate()
    }
  }
}

async function countFiles(paths: readonly string[]): Promise<[files: number, bytes: number]> {
  let files = 0
  let bytes = 0
  // What cannot be opened is told when it is its turn.
  const passOver = () => {}
  for (const path of paths) {
    if (path === '-') files++
    else
      for await (const file of listFiles(path, passOver)) {
        files++
        bytes += await stat(file.path).then(
          (status) => status.size,
          () => 0,
        )
      }
  }
  return [files, bytes]
}

async function* findIn(path: string, options: FindOptions): AsyncGenerator<FoundMail> {
  if (path === '-') return yield await readOne(path, options.stdin, options)
  for await (const file of listFiles(path, options.onError)) {
    options.signal?.throwIfAborted()
    try {
      if (file.maildir !== null) yield* readMaildirFile(file.maildir, options)
      else if (file.isStream) yield await readOne(file.path, createReadStream(file.path), options)
      else yield* readFile(file.path, options)
    } catch (error) {
      if (!isSystemError(error)) throw error
      options.onError(file.path, error)
    }
  }
}

function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && 'code' in error && 'syscall' in error
}

async function* listFiles(path: string, onError: FindOptions['onError']): AsyncGenerator<InputFile> {
  try {
    const status = await stat(path)
    if (!status.isDirectory()) yield { path, maildir: null, isStream: !status.isFile() }
    else yield* listFolder(path.replace(/(?<=.)\/+$/, ''), new Set(), onError)
  } catch (error) {
    if (!isSystemError(error)) throw error
    onError(path, error)
  }
}

/** `met` holds the folders on the way, so that links that lead in a circle end. */
async function* listFolder(
  folder: string,
  met: Set<string>,
  onError: FindOptions['onError'],
): AsyncGenerator<InputFile> {
  try {
    const { dev, ino } = await stat(folder)
    if (met.has(`${dev}:${ino}`)) return
    met.add(`${dev}:${ino}`)
    const entries = await readdir(folder, { withFileTypes: true })
    entries.sort((a, b) => (a.name < b.name ? -1 : 1))
    const isMailFolder = isMaildir(entries)
    if (isMailFolder)
      for await (const file of listMaildir(folder)) yield { path: file.path, maildir: file, isStream: false }
    for (const entry of entries) {
      const path = folder === '/' ? `/${entry.name}` : `${folder}/${entry.name}`
      const kind = entry.isSymbolicLink() ? await statLink(path) : entry
      if (kind?.isDirectory()) {
        if (isMailFolder ? isMaildirFolder(entry.name) : !entry.name.startsWith('.'))
          yield* listFolder(path, met, onError)
      } else if (!isMailFolder && (kind === null || kind.isFile()) && !/^\.|\.tmp$/i.test(entry.name)) {
        yield { path, maildir: null, isStream: false }
      }
    }
  } catch (error) {
    if (!isSystemError(error)) throw error
    onError(folder, error)
  }
}

/** null for a link that leads nowhere: opening it tells why. */
async function statLink(path: string) {
  return stat(path).catch((error: unknown) => {
    if (isSystemError(error)) return null
    throw error
  })
}

async function* readMaildirFile(listed: MaildirFile, options: FindOptions): AsyncGenerator<FoundMail> {
  let file = listed
  for (let tries = 1; ; tries++) {
    try {
      const { head, bytes, size } = await readWhole(file.path, options.maxMailBytes)
      yield found(file.path, head, bytes, size, maildirDate(basename(file.path)), 'maildir')
      return
    } catch (error) {
      if (!isSystemError(error) || error.code !== 'ENOENT' || tries === MAX_RENAMES) throw error
    }
    const moved = await findMoved(listed)
    // Deleted since the folder was listed: then it is no longer an input.
    if (moved === null) return
    file = moved
  }
}

/** Reads a file that is no Maildir file: one mail, an mbox, or a bare report. */
async function* readFile(path: string, options: FindOptions): AsyncGenerator<FoundMail> {
  const { head, bytes, size } = await readWhole(path, options.maxMailBytes, true)
  const start = findMboxStart(head)
  if (start !== -1) return yield* readMboxFile(path, start, options)
  yield foundFile(path, head, bytes, size, options)
}

function foundFile(
  path: string,
  head: Uint8Array,
  bytes: Uint8Array | null,
  size: number,
  options: FindOptions,
): FoundMail {
  if (!isReportFile(head)) return found(path, head, bytes, size, null, 'import')
  const mail = bytes === null ? null : wrapReport(path === '-' ? 'stdin' : basename(path), bytes)
  const isOversized = mail === null || mail.length > options.maxMailBytes
  return {
    source: path,
    bytes: isOversized ? new Uint8Array() : mail,
    receivedAt: null,
    receivedFrom: 'import',
    wrapped: true,
    oversized: isOversized ? (mail?.length ?? size) : null,
  }
}

function found(
  source: string,
  head: Uint8Array,
  bytes: Uint8Array | null,
  size: number,
  date: string | null,
  dateFrom: 'mbox' | 'maildir' | 'import',
): FoundMail {
  const received = receivedDate(head)
  return {
    source,
    bytes: bytes ?? new Uint8Array(),
    receivedAt: received ?? date,
    receivedFrom: received !== null ? 'received' : date !== null ? dateFrom : 'import',
    wrapped: false,
    oversized: bytes === null ? size : null,
  }
}

async function* readMboxFile(path: string, start: number, options: FindOptions): AsyncGenerator<FoundMail> {
  const file = openSync(path, 'r')
  try {
    let number = 0
    let first: FoundMail | null = null
    for await (const mail of readMbox(file, start, options.maxMailBytes)) {
      options.signal?.throwIfAborted()
      number++
      const bytes = mail.oversized === null ? mail.bytes : null
      const size = mail.oversized ?? mail.bytes.length
      const next = found(`${path}#${number}`, mail.bytes, bytes, size, mail.envelopeDate, 'mbox')
      if (number === 1 && /\.eml$/i.test(path)) first = next
      else {
        if (first !== null) yield first
        first = null
        yield next
      }
    }
    // A single mail in a file that calls itself one is that file, octet for octet, `From ` line included (quirk 13).
    if (first !== null) {
      const { bytes, size } = await readWhole(path, options.maxMailBytes)
      yield { ...first, source: path, bytes: bytes ?? new Uint8Array(), oversized: bytes === null ? size : null }
    }
  } finally {
    closeSync(file)
  }
}

interface WholeFile {
  readonly head: Uint8Array
  /** null when there are more than `most`, or it is an mbox and that was to be left alone. */
  readonly bytes: Uint8Array | null
  readonly size: number
}

/** Reads a file as far as it is there now: it may grow or shrink meanwhile. */
async function readWhole(path: string, most: number, exceptMbox = false): Promise<WholeFile> {
  const file = openSync(path, 'r')
  try {
    const { size } = fstatSync(file)
    if (size <= Math.min(SMALL_FILE, most)) {
      const bytes = Buffer.allocUnsafeSlow(size)
      const whole = bytes.subarray(0, size === 0 ? 0 : readSync(file, bytes, 0, size, 0))
      return { head: whole.subarray(0, HEAD_BYTES), bytes: whole, size }
    }
    const head = Buffer.alloc(Math.min(HEAD_BYTES, size))
    const headLength = readSync(file, head, 0, head.length, 0)
    if (size > most || (exceptMbox && findMboxStart(head) !== -1)) {
      return { head: head.subarray(0, headLength), bytes: null, size }
    }
    const bytes = Buffer.allocUnsafe(size)
    let length = 0
    for (;;) {
      const { bytesRead } = await readAt(file, bytes, length, size - length, length)
      length += bytesRead
      if (bytesRead === 0 || length === size) break
    }
    return { head: bytes.subarray(0, HEAD_BYTES), bytes: bytes.subarray(0, length), size }
  } finally {
    closeSync(file)
  }
}

/** One mail from a stream, to its end: a line of a lone dot ends nothing. What is too much is read and let go. */
async function readOne(source: string, stream: NodeJS.ReadableStream, options: FindOptions): Promise<FoundMail> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of stream) {
    options.signal?.throwIfAborted()
    const octets = typeof chunk === 'string' ? Buffer.from(chunk, 'utf8') : chunk
    if (size <= options.maxMailBytes) chunks.push(octets)
    size += octets.length
  }
  const bytes = Buffer.concat(chunks)
  const isOversized = size > options.maxMailBytes
  return foundFile(source, bytes.subarray(0, HEAD_BYTES), isOversized ? null : bytes, size, options)
}

/** Date of the topmost Received field (RFC 5321 §4.4): what follows its last semicolon. */
function receivedDate(head: Uint8Array): string | null {
  const text = Buffer.from(head.subarray(0, HEAD_BYTES)).toString('latin1').trimStart()
  const end = text.search(/\n\r?\n/)
  const header = end === -1 ? text : text.slice(0, end)
  const received = /^received[ \t]*:([^\n]*(?:\n[ \t][^\n]*)*)/im.exec(header)?.[1] ?? ''
  const semicolon = received.lastIndexOf(';')
  return semicolon === -1 ? null : readMailDate(received.slice(semicolon + 1).replace(/\s+/g, ' '))
}
