/**
 * The structure of a mail: MIME (RFC 2045, RFC 2046) over RFC 5322, read in one pass over its octets. Reads what a
 * human would still read, says so in warnings, and refuses by number what is built to exhaust a reader.
 */
import { readMailDate } from '../../topics/mail-date.ts'
import { Rejected, type WarningCode } from './codes.ts'
import { type Delimiter, guessBoundary, MAX_BOUNDARY, Region } from './delimiters.ts'
import { type Entity, Part, type PartContext } from './entity.ts'
import { type HeaderFields, noHeaderFields, readAddresses, scanHeader } from './header-fields.ts'
import { type Limits, MAX_TEXT } from './limits.ts'
import { parseStructured, type StructuredField } from './parameters.ts'
import type { MailFields, Warning } from './shapes.ts'
import { cutText } from './text-encoding.ts'
import { isTnef, readTnef } from './tnef.ts'
import { readUuencoded } from './transfer-encoding.ts'

export type { Entity } from './entity.ts'

/** `warnings` grows while contents are decoded: look at it last. */
export interface Mail {
  readonly root: Entity
  readonly fields: MailFields
  readonly warnings: Warning[]
}

/** Warnings kept of the structure of one mail. */
const MAX_MIME_WARNINGS = 50
/** First look at a header block; most are shorter. It is read again, larger, when it does not end there. */
const HEADER_WINDOW = 4096
const [TAB, LF, CR, SPACE] = [9, 10, 13, 32]

/**
 * Reads the structure of a mail. Contents are decoded when asked for, except those of attached mails that are encoded.
 * Octets that do not begin with a header are a mail without one: a single text part with all of it.
 * Throws Rejected: `mail_empty`, `mail_too_large`, `mime_limit`.
 */
export function readMail(bytes: Uint8Array, limits: Limits): Mail {
  if (bytes.length > limits.mailBytes) {
    throw new Rejected('mail_too_large', `The mail has ${bytes.length} bytes; ${limits.mailBytes} are allowed.`)
  }
  const reader = new MailReader(limits)
  const octets = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (isBlank(octets)) throw new Rejected('mail_empty', 'The mail is empty. Look at what delivered it.')
  const root = reader.readAttached(withLineFeeds(octets), '', 0)
  const cut = (name: string, text: string | null): string | null => {
    if (text === null || text === '') return null
    if (text.length <= MAX_TEXT) return text
    reader.warn('value_truncated', `The field ${name} had ${text.length} characters.`)
    return cutText(text, MAX_TEXT)
  }
  const fields: MailFields = {
    from: cut('from', readAddresses(root.fields, 'from')),
    to: cut('to', readAddresses(root.fields, 'to')),
    subject: cut('subject', root.fields.get('subject')),
    date: readMailDate(root.fields.raw('date') ?? ''),
    message_id: cut('message-id', root.fields.get('message-id')),
    size: bytes.length,
  }
  return { root, fields, warnings: reader.warnings }
}

/** The entities that hold content, in order: all without parts, and texts with uuencoded files in them. */
export function* leaves(root: Entity): Iterable<Entity> {
  if (root.children.length === 0 || root.type.startsWith('text/')) yield root
  for (const child of root.children) yield* leaves(child)
}

function isFromLine(octets: Buffer, position: number): boolean {
  const start = octets[position] === 0x3e ? position + 1 : position
  return octets[start] === 0x46 && octets.toString('latin1', start, start + 5) === 'From '
}

function isBlank(octets: Buffer): boolean {
  return octets.every((octet) => octet === 0 || octet === SPACE || (octet >= TAB && octet <= CR))
}

/** Mail whose lines end in a lone CR (old Macs): CR becomes LF, in a copy. All other mail stays as it is. */
function withLineFeeds(octets: Buffer): Buffer {
  const cr = octets.indexOf(CR)
  if (cr === -1) return octets
  let after = cr
  while (octets[after] === CR) after++
  const lf = octets.indexOf(LF)
  if (lf !== -1 && lf <= after) return octets
  const copy = Buffer.from(octets)
  for (let i = cr; i !== -1; i = copy.indexOf(CR, i + 1)) if (copy[i + 1] !== LF) copy[i] = LF
  return copy
}

const mailTypes: ReadonlySet<string> = new Set(['message/rfc822', 'message/rfc-822', 'message/global', 'message/news'])
const noContentType: StructuredField = { value: 'text/plain', parameters: new Map() }
const mediaType = /^[\w!#$&^.+-]+\/[\w!#$&^.+-]+$/
/** How the header of a mail begins: one of the fields that mail has and that text does not begin with. */
const mailStart =
  /^\s*(?:>?From [^\n]*\n)?(?:received|return-path|from|to|subject|date|message-id|mime-version|delivered-to|x-[\w-]+|dkim-signature|arc-[\w-]+|authentication-results|content-type|sender|reply-to)[ \t]*:/i
const mailFileName = /\.(?:eml|msg|mht|rfc822)$/i

class MailReader {
  readonly warnings: Warning[] = []
  readonly #limits: Limits
  readonly #partContext: PartContext
  #parts = 0

  constructor(limits: Limits) {
    this.#limits = limits
    this.#partContext = { heldBytes: limits.heldBytes, warn: (code, detail) => this.warn(code, detail) }
  }

  warn(code: WarningCode, detail: string): void {
    if (this.warnings.length >= MAX_MIME_WARNINGS) return
    if (this.warnings.some((warning) => warning.code === code && warning.detail === detail)) return
    this.warnings.push({ code, detail })
  }

  /** Reads octets that are a mail of their own: the whole mail, or an attached one that was decoded. */
  readAttached(octets: Buffer, path: string, depth: number): Part {
    return this.#readEntity(new Region(octets), 0, path, depth, true, noContentType)
  }

  #readEntity(
    region: Region,
    start: number,
    path: string,
    depth: number,
    isMail: boolean,
    defaultType: StructuredField,
  ): Part {
    this.#count(depth)
    const { fields, bodyStart } = this.#readHeader(region, start, path, isMail)
    const contentType = this.#contentType(fields, path) ?? defaultType
    const part = new Part(this.#partContext, path, fields, contentType)
    if (contentType.value.startsWith('multipart/')) this.#readMultipart(region, bodyStart, part, depth)
    else if (mailTypes.has(contentType.value) && part.isIdentity) this.#readMessage(region, bodyStart, part, depth)
    else {
      const { bodyEnd } = region.findDelimiter(bodyStart)
      part.raw = region.octets.subarray(bodyStart, Math.max(bodyStart, bodyEnd))
      this.#readInside(part, depth)
    }
    return part
  }

  #count(depth: number): void {
    if (++this.#parts > this.#limits.mimeParts) {
      throw new Rejected('mime_limit', `The mail has more than ${this.#limits.mimeParts} parts.`)
    }
    if (depth > this.#limits.mimeDepth) {
      throw new Rejected('mime_limit', `The parts of the mail are nested more than ${this.#limits.mimeDepth} deep.`)
    }
  }

  #readHeader(
    region: Region,
    start: number,
    path: string,
    isMail: boolean,
  ): { fields: HeaderFields; bodyStart: number } {
    const { octets } = region
    const from = isMail ? this.#skipEnvelope(octets, start) : start
    const { headerBytes } = this.#limits
    for (let size = HEADER_WINDOW; ; size = Math.min(size * 8, headerBytes + 1)) {
      const text = octets.toString('latin1', from, Math.min(octets.length, from + size))
      const complete = from + size >= octets.length
      const header = scanHeader(text, complete, (at) => {
        return region.delimiterAt(from + at, from) !== null
      })
      if (header !== null && header.bodyStart <= headerBytes) {
        const where = path === '' ? 'the mail' : `part ${path}`
        if (header.malformed) this.warn('header_malformed', `The header of ${where} has a line that is no field.`)
        if (header.fields.size === 0)
          return { fields: noHeaderFields, bodyStart: header.unseparated ? start : from + header.bodyStart }
        if (header.unseparated) this.warn('mime_repaired', `No blank line ends the header of ${where}.`)
        return { fields: header.fields, bodyStart: from + header.bodyStart }
      }
      if (size > headerBytes) {
        throw new Rejected('mime_limit', `A header in the mail is larger than ${headerBytes} bytes.`)
      }
    }
  }

  /** Steps over what stands before a mail's header: a byte order mark, blank lines, the envelope line of mbox. */
  #skipEnvelope(octets: Buffer, start: number): number {
    let position = start
    if (octets[position] === 0xef && octets[position + 1] === 0xbb && octets[position + 2] === 0xbf) {
      this.warn('bom_removed', 'The mail began with a byte order mark.')
      position += 3
    }
    for (;;) {
      let i = position
      while (octets[i] === SPACE || octets[i] === TAB || octets[i] === CR || octets[i] === 0) i++
      if (octets[i] === LF) position = i + 1
      else if (isFromLine(octets, position)) {
        const newline = octets.indexOf(LF, position)
        if (newline === -1) return position
        position = newline + 1
      } else return position
    }
  }

  #contentType(fields: HeaderFields, path: string): StructuredField | null {
    let raw = fields.raw('content-type')
    if (raw === null) {
      raw = fields.raw('contenttype')
      if (raw === null) return null
      this.warn('header_malformed', 'The field Content-Type is written without its hyphen.')
    }
    const contentType = parseStructured(raw)
    if (mediaType.test(contentType.value)) return contentType
    if (contentType.value === '' && contentType.parameters.size === 0) return null
    this.warn('header_malformed', `The media type of part ${path || '1'} is none.`)
    const value = contentType.parameters.has('boundary') ? 'multipart/mixed' : 'application/octet-stream'
    return { value, parameters: contentType.parameters }
  }

  #readMultipart(region: Region, bodyStart: number, part: Part, depth: number): void {
    const own = region.boundaries.length
    let hit = this.#openMultipart(region, bodyStart, part)
    if (hit === null) {
      const { bodyEnd } = region.findDelimiter(bodyStart)
      part.raw = region.octets.subarray(bodyStart, Math.max(bodyStart, bodyEnd))
      if (!part.isIdentity) this.#readEncodedMultipart(part, depth)
      return
    }
    const defaultType = part.type === 'multipart/digest' ? { ...noContentType, value: 'message/rfc822' } : noContentType
    let closed = false
    while (hit.boundary === own) {
      if (hit.closing) {
        closed = true
        hit = region.findDelimiter(hit.next)
        continue
      }
      if (closed) this.warn('mime_repaired', 'Parts follow the end of a multipart; they were read.')
      const path = childPath(part, part.children.length + 1)
      part.children.push(this.#readEntity(region, hit.next, path, depth + 1, false, defaultType))
      hit = region.hit
    }
    if (!closed) this.warn('mime_repaired', 'A multipart does not end; the mail may be cut.')
    region.boundaries.pop()
    part.raw = region.octets.subarray(bodyStart, Math.max(bodyStart, hit.bodyEnd))
  }

  /** Opens a multipart at its first delimiter. Without one, guesses it; null when there is nothing like one. */
  #openMultipart(region: Region, bodyStart: number, part: Part): Delimiter | null {
    const own = region.boundaries.length
    const boundary = part.parameters.get('boundary')?.trimEnd() ?? ''
    if (boundary !== '' && boundary.length <= MAX_BOUNDARY) {
      region.boundaries.push(Buffer.from(boundary, 'utf8'))
      const hit = region.findDelimiter(bodyStart)
      if (hit.boundary === own) return hit
      region.boundaries.pop()
    }
    const end = region.findDelimiter(bodyStart).lineStart
    const guess = guessBoundary(region.octets, bodyStart, end)
    if (guess === null) {
      this.warn('mime_repaired', `Part ${part.path || '1'} says it is a multipart but has no parts.`)
      return null
    }
    this.warn('mime_repaired', 'The boundary of a multipart is missing or wrong; its first delimiter was taken.')
    region.boundaries.push(guess)
    return region.findDelimiter(bodyStart)
  }

  /** A multipart may not be encoded (RFC 2045 §6.4) but some are. */
  #readEncodedMultipart(part: Part, depth: number): void {
    const header = Buffer.from(`Content-Type: ${part.fields.raw('content-type') ?? part.type}\n\n`, 'latin1')
    const decoded = this.readAttached(Buffer.concat([header, part.content()]), part.path, depth)
    part.children.push(...decoded.children)
  }

  #readMessage(region: Region, bodyStart: number, part: Part, depth: number): void {
    part.children.push(this.#readEntity(region, bodyStart, childPath(part, 1), depth + 1, true, noContentType))
    part.raw = region.octets.subarray(bodyStart, Math.max(bodyStart, region.hit.bodyEnd))
  }

  /** Looks into a part that is no multipart: encoded attached mails, TNEF, uuencoded files in text. */
  #readInside(part: Part, depth: number): void {
    if (part.raw.length === 0) return
    const isMailType = mailTypes.has(part.type)
    if (isMailType || (part.type.startsWith('application/') && mailFileName.test(part.fileName ?? ''))) {
      const content = part.content()
      const isReadable = mailStart.test(content.toString('latin1', 0, 2000))
      if (isReadable || isMailType) {
        const octets = isReadable || !mailStart.test(part.raw.toString('latin1', 0, 2000)) ? content : part.raw
        if (isMailType) this.warn('mime_repaired', `The attached mail in part ${part.path || '1'} is encoded.`)
        part.children.push(this.readAttached(withLineFeeds(octets), childPath(part, 1), depth + 1))
      }
    } else if (
      part.type.endsWith('/ms-tnef') ||
      part.type.endsWith('/vnd.ms-tnef') ||
      part.fileName === 'winmail.dat'
    ) {
      const content = part.content()
      if (isTnef(content)) for (const { name, bytes } of readTnef(content)) this.#addFile(part, depth, name, bytes)
    } else if (part.type.startsWith('text/') && part.isIdentity && part.raw.length <= this.#limits.heldBytes) {
      for (const { name, bytes } of readUuencoded(part.raw)) this.#addFile(part, depth, name, bytes)
    }
  }

  #addFile(part: Part, depth: number, name: string | null, bytes: Uint8Array): void {
    this.#count(depth + 1)
    const type = { value: 'application/octet-stream', parameters: new Map(name === null ? [] : [['name', name]]) }
    const file = new Part(this.#partContext, childPath(part, part.children.length + 1), noHeaderFields, type)
    file.raw = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    part.children.push(file)
  }
}

function childPath(part: Entity, number: number): string {
  return part.path === '' ? `${number}` : `${part.path}.${number}`
}
