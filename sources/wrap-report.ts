/** A bare report file as a mail, so that it can travel on `ingest` like any other. Same file, same octets. */

/** RFC 2045 §6.8: lines of base64 have at most 76 characters. */
const BASE64_LINE = 76

/**
 * Wraps a report file: one base64 part that carries the file's name. There is no date and no sender but a mark that
 * cannot be mistaken (RFC 2606 `.invalid`); the field `Mailtrail-Wrapped` says that a report is to be found in it.
 */
export function wrapReport(fileName: string, bytes: Uint8Array): Buffer {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: a line break in a name would end the field
  const name = fileName.replace(/[\x00-\x1f\x7f]/g, '')
  const header = [
    'From: mailtrail import <import@mailtrail.invalid>',
    `Subject: ${encodeWords(`Report file ${name}`)}`,
    'Mailtrail-Wrapped: report file',
    'MIME-Version: 1.0',
    'Content-Type: application/octet-stream',
    `Content-Disposition: attachment; ${fileNameParameter(name)}`,
    'Content-Transfer-Encoding: base64',
  ]
  const base64 = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')
  const lines: string[] = []
  for (let i = 0; i < base64.length; i += BASE64_LINE) lines.push(base64.slice(i, i + BASE64_LINE))
  return Buffer.from(`${header.join('\r\n')}\r\n\r\n${lines.join('\r\n')}\r\n`, 'latin1')
}

const isAscii = (text: string): boolean => /^[\x20-\x7e]*$/.test(text)

/** RFC 2047: pieces of at most 45 octets, so that no encoded word has more than 75 characters. */
function encodeWords(text: string): string {
  if (isAscii(text)) return text
  const words: string[] = []
  let piece = ''
  for (const character of text) {
    if (Buffer.byteLength(piece + character) > 45) {
      words.push(piece)
      piece = ''
    }
    piece += character
  }
  words.push(piece)
  return words.map((word) => `=?UTF-8?B?${Buffer.from(word, 'utf8').toString('base64')}?=`).join('\r\n ')
}

/** RFC 2183, and RFC 2231 §4 for names that are not ASCII. */
function fileNameParameter(name: string): string {
  if (isAscii(name)) return `filename="${name.replace(/[\\"]/g, '\\$&')}"`
  const octets = [...Buffer.from(name, 'utf8')].map((octet) => {
    const character = String.fromCharCode(octet)
    return /[\w.-]/.test(character) ? character : `%${octet.toString(16).toUpperCase().padStart(2, '0')}`
  })
  return `filename*=UTF-8''${octets.join('')}`
}

/**
 * Whether the first octets of a file are those of a report (gzip, zip, XML, JSON) and not of a mail, which begins with
 * a field name. Byte order marks and white space may stand in front.
 */
export function isReportFile(head: Uint8Array): boolean {
  const [a, b, c, d] = head
  if (a === 0x1f && b === 0x8b) return true
  // A zip begins with its first entry, or with its end when it is empty.
  if (a === 0x50 && b === 0x4b && ((c === 3 && d === 4) || (c === 5 && d === 6))) return true
  if ((a === 0xff && b === 0xfe) || (a === 0xfe && b === 0xff)) return true
  return /^(?:\xef\xbb\xbf)?\s*[<{]/.test(Buffer.from(head.subarray(0, 1024)).toString('latin1'))
}
