/**
 * TNEF (`winmail.dat`, application/ms-tnef): what Exchange makes of a mail that a user forwards as rich text. Only the
 * attachments are read. Layout: [MS-OXTNEF] §2.1.3; a stream of attributes, each of level (1 octet), id (4), length
 * (4), data, checksum (2), little-endian.
 */
export interface TnefAttachment {
  readonly name: string | null
  readonly bytes: Uint8Array
}

const SIGNATURE = 0x223e9f78
const LEVEL_ATTACHMENT = 2
/** Lower half of the attribute ids: attAttachRendData begins an attachment. */
const ATTACH_REND_DATA = 0x9002
const ATTACH_TITLE = 0x8010
const ATTACH_DATA = 0x800f
const ATTACH_PROPERTIES = 0x9005
/** PidTagAttachLongFilename, [MS-OXPROPS] §2.595. */
const LONG_FILE_NAME = 0x3707
/** Attachments that are taken out of one stream. */
const MAX_ATTACHMENTS = 100
/** Properties of one attachment that are looked through. */
const MAX_PROPERTIES = 1000

export function isTnef(content: Uint8Array): boolean {
  return content.length >= 6 && view(content).readUInt32LE(0) === SIGNATURE
}

/** Attachments in order; a stream that ends early gives those that are complete. */
export function readTnef(content: Uint8Array): TnefAttachment[] {
  const bytes = view(content)
  const found: { name: string | null; longName: string | null; bytes: Uint8Array }[] = []
  let position = 6
  while (position + 9 <= bytes.length) {
    const level = bytes[position]
    const id = bytes.readUInt16LE(position + 1)
    const start = position + 9
    const end = start + bytes.readUInt32LE(position + 5)
    if (end > bytes.length) break
    position = end + 2
    if (level !== LEVEL_ATTACHMENT) continue
    if (id === ATTACH_REND_DATA) {
      if (found.length === MAX_ATTACHMENTS) break
      found.push({ name: null, longName: null, bytes: new Uint8Array() })
    }
    const attachment = found.at(-1)
    if (attachment === undefined) continue
    const data = bytes.subarray(start, end)
    if (id === ATTACH_TITLE) attachment.name = textUntilNul(data.toString('latin1'))
    else if (id === ATTACH_DATA) attachment.bytes = data
    else if (id === ATTACH_PROPERTIES) attachment.longName = readLongFileName(data)
  }
  return found
    .filter((attachment) => attachment.bytes.length > 0)
    .map(({ name, longName, bytes: data }) => ({ name: longName ?? name, bytes: data }))
}

function view(content: Uint8Array): Buffer {
  return Buffer.from(content.buffer, content.byteOffset, content.byteLength)
}

function textUntilNul(text: string): string | null {
  return text.split('\0', 1)[0]! || null
}

/** Octets of one value by its MAPI type ([MS-OXCDATA] §2.11.1); variable ones say their length in front. */
const fixedSizes: Readonly<Record<number, number>> = {
  2: 4,
  3: 4,
  4: 4,
  5: 8,
  6: 8,
  7: 8,
  10: 4,
  11: 4,
  20: 8,
  64: 8,
  72: 16,
}
const STRING_8 = 0x1e
const UNICODE = 0x1f
const MULTI_VALUED = 0x1000

/** The long file name in a list of MAPI properties; null when there is none, or the list is not understood up to it. */
function readLongFileName(data: Buffer): string | null {
  let position = 4
  const readLength = (): number => {
    const value = position + 4 <= data.length ? data.readUInt32LE(position) : Number.NaN
    position += 4
    return value
  }
  const count = Math.min(data.length >= 4 ? data.readUInt32LE(0) : 0, MAX_PROPERTIES)
  for (let i = 0; i < count && position + 4 <= data.length; i++) {
    const type = data.readUInt16LE(position)
    const id = data.readUInt16LE(position + 2)
    position += 4
    if (id >= 0x8000) {
      position += 16
      const isNamedByText = readLength() === 1
      const nameLength = readLength()
      if (isNamedByText) position += Math.ceil(nameLength / 4) * 4
    }
    const fixed = fixedSizes[type & ~MULTI_VALUED]
    const isCounted = fixed === undefined || (type & MULTI_VALUED) !== 0
    const values = isCounted ? readLength() : 1
    for (let n = 0; n < values; n++) {
      const length = fixed ?? readLength()
      if (!(position + length <= data.length)) return null
      const value = data.subarray(position, position + length)
      if (id === LONG_FILE_NAME && type === UNICODE) return textUntilNul(value.toString('utf16le'))
      if (id === LONG_FILE_NAME && type === STRING_8) return textUntilNul(value.toString('latin1'))
      position += Math.ceil(length / 4) * 4
    }
  }
  return null
}
