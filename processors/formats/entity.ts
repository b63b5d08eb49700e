/** One entity of a mail: its fields, and its content without transfer encoding (RFC 2045 §6). */
import { Rejected, type WarningCode } from './codes.ts'
import type { HeaderFields } from './header-fields.ts'
import { parseStructured, type StructuredField } from './parameters.ts'
import { decodeBase64, decodeQuotedPrintable, decodeText, readUuencoded } from './transfer-encoding.ts'

/** A mail or a part of one: header fields and either content or parts. */
export interface Entity {
  /**
   * Where it is: '' the mail, '1', '2.1' the parts of multiparts, numbered as IMAP does (RFC 9051 §6.4.5.1). The mail
   * in a message/rfc822 part `2` is `2.1`, and its parts are `2.1.1` …: one level more than IMAP, so that no two
   * entities share a path. Attachments inside TNEF or uuencoded text are numbered below their part.
   */
  readonly path: string
  readonly fields: HeaderFields
  /** Media type in lower case; text/plain when there is none, application/octet-stream when it is none. */
  readonly type: string
  /** Parameters of Content-Type, names in lower case. */
  readonly parameters: ReadonlyMap<string, string>
  readonly fileName: string | null
  readonly charset: string | null
  /** First word of Content-Disposition in lower case. */
  readonly disposition: string | null
  readonly children: readonly Entity[]
  /** The body as sent, still encoded: a view of the mail's octets, or of the decoded mail that it was found in. */
  readonly raw: Uint8Array
  /**
   * The body without its transfer encoding, decoded once. What had to be repaired is added to the mail's warnings.
   * Throws Rejected(mime_limit) when a quoted-printable or uuencoded body is larger than `heldBytes`.
   */
  content(): Uint8Array
  /** The content as text. Throws Rejected(mime_limit) when it is larger than `heldBytes`. */
  text(): string
}

/** What the parts of one mail share. */
export interface PartContext {
  /** Bytes of anything that is held in memory whole. */
  readonly heldBytes: number
  warn(code: WarningCode, detail: string): void
}

const [TAB, CR, SPACE] = [9, 13, 32]
const uuencodings: ReadonlySet<string> = new Set(['x-uuencode', 'uuencode', 'x-uue', 'uue'])
const identities: ReadonlySet<string> = new Set(['', '7bit', '8bit', 'binary', '7-bit', '8-bit', 'none'])

export class Part implements Entity {
  readonly path: string
  readonly fields: HeaderFields
  readonly type: string
  readonly parameters: ReadonlyMap<string, string>
  readonly children: Part[] = []
  raw: Buffer = Buffer.alloc(0)
  readonly #context: PartContext
  #encoding: string | null = null
  #disposition: StructuredField | null = null
  #content: Buffer | null = null

  constructor(context: PartContext, path: string, fields: HeaderFields, contentType: StructuredField) {
    this.#context = context
    this.path = path
    this.fields = fields
    this.type = contentType.value
    this.parameters = contentType.parameters
  }

  get charset(): string | null {
    return this.parameters.get('charset')?.toLowerCase() || null
  }

  get disposition(): string | null {
    return this.#contentDisposition().value || null
  }

  get fileName(): string | null {
    return this.#contentDisposition().parameters.get('filename') || this.parameters.get('name') || null
  }

  get isIdentity(): boolean {
    return identities.has(this.#transferEncoding())
  }

  content(): Buffer {
    this.#content ??= this.#decode()
    return this.#content
  }

  text(): string {
    const content = this.content()
    this.#hold(content)
    return decodeText(content, this.charset)
  }

  #contentDisposition(): StructuredField {
    this.#disposition ??= parseStructured(
      this.fields.raw('content-disposition') ?? this.fields.raw('contentdisposition') ?? '',
    )
    return this.#disposition
  }

  #transferEncoding(): string {
    this.#encoding ??=
      /[\w-]+/
        .exec(this.fields.raw('content-transfer-encoding') ?? this.fields.raw('contenttransferencoding') ?? '')?.[0]
        .toLowerCase() ?? ''
    return this.#encoding
  }

  #decode(): Buffer {
    const encoding = this.#transferEncoding()
    const where = `Part ${this.path || '1'}`
    if (encoding === 'base64') {
      if (!isPlainFile(this.raw)) return this.#decodeBase64(where)
      this.#context.warn('mime_repaired', `${where} is called base64 but is not; it was taken as it is.`)
      return this.raw
    }
    if (encoding === 'quoted-printable') {
      this.#hold(this.raw)
      return decodeQuotedPrintable(this.raw)
    }
    if (uuencodings.has(encoding)) {
      this.#hold(this.raw)
      const file = readUuencoded(this.raw)[0]
      if (file !== undefined) return file.bytes
      this.#context.warn('mime_repaired', `${where} is called uuencoded but is not; it was taken as it is.`)
      return this.raw
    }
    if (!identities.has(encoding)) {
      this.#context.warn(
        'mime_repaired',
        `${where} has the unknown transfer encoding ${encoding}; it was taken as it is.`,
      )
    }
    if (this.type.startsWith('text/') || !/^\s*(?:H4sI|UEsDB)/.test(this.raw.toString('latin1', 0, 20))) return this.raw
    this.#context.warn('mime_repaired', `${where} does not say that it is base64.`)
    return this.#decodeBase64(where)
  }

  #decodeBase64(where: string): Buffer {
    const { bytes, repaired } = decodeBase64(this.raw)
    if (repaired) this.#context.warn('base64_repaired', `${where} has characters or padding that do not belong there.`)
    return bytes
  }

  #hold(octets: Buffer): void {
    if (octets.length <= this.#context.heldBytes) return
    throw new Rejected(
      'mime_limit',
      `Part ${this.path || '1'} is larger than the ${this.#context.heldBytes} bytes that are held in memory at once.`,
    )
  }
}

/** Octets that begin as gzip, zip, XML or JSON do, which base64 text cannot (`<`, `{`) or does not (control octets). */
function isPlainFile(octets: Buffer): boolean {
  if ((octets[0] === 0x1f && octets[1] === 0x8b) || octets.toString('latin1', 0, 4) === 'PK\x03\x04') return true
  let i = 0
  while (octets[i] === SPACE || (octets[i]! >= TAB && octets[i]! <= CR)) i++
  return octets[i] === 0x3c || octets[i] === 0x7b
}
