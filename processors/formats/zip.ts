/**
 * Zip archives (PKWARE APPNOTE 6.3) as reporters send them: by the central directory when there is one, else by the local
 * headers. Sizes may lie and archives may carry bytes before and after; entries that overlap are refused, because one
 * kernel of data listed a million times is a bomb.
 */
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
import type { Bytes, Warn } from './inflate.ts'
import type { Limits } from './limits.ts'
import { excerpt } from './text-encoding.ts'

export interface ZipEntry {
  readonly name: string
  /** Unpacks the entry. Throws `Rejected`: `encrypted`, `container_unknown`, `zip_damaged`, `inflate_limit`. */
  open(): Bytes
}

const LOCAL = 'PK\x03\x04'
const CENTRAL = 'PK\x01\x02'
const DESCRIPTOR = 'PK\x07\x08'
const END = 'PK\x05\x06'
const END64 = 'PK\x06\x06'
const LOCATOR64 = 'PK\x06\x07'

/** An entry as its header describes it. `data` is where its packed bytes begin. */
interface Header {
  readonly name: string
  readonly flags: number
  readonly method: number
  readonly crc: number
  readonly packed: number
  readonly size: number
  readonly start: number
  readonly data: number
  /** The first byte that cannot belong to it. */
  readonly bound: number
  /** Sizes and checksum are known: they come from the central directory, or no data descriptor follows. */
  readonly sized: boolean
}

/**
 * Lists the entries that may hold a report: no folders, no `__MACOSX`, no dot files.
 * Throws `Rejected`: `zip_damaged` (no archive, overlapping entries), `zip_limit` (too many entries).
 */
export function readZip(bytes: Uint8Array, limits: Limits, warn: Warn): ZipEntry[] {
  const archive = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  const headers = readCentralDirectory(archive, limits) ?? readLocalHeaders(archive, limits)
  if (headers === null) throw damaged('The data is no zip archive, or its headers are damaged.')
  refuseOverlaps(headers)
  return headers
    .filter(({ name }) => !name.endsWith('/') && !/(^|[\\/])(__MACOSX[\\/]|\.[^\\/]*$)/.test(name))
    .map((header) => ({ name: header.name, open: () => open(archive, header, limits, warn) }))
}

const damaged = (what: string): Rejected => new Rejected('zip_damaged', what)

const tooMany = (limits: Limits): Rejected =>
  new Rejected('zip_limit', `The zip archive has more than ${limits.zipEntries} entries.`)

/** Null when there is no usable central directory. */
function readCentralDirectory(archive: Buffer, limits: Limits): Header[] | null {
  const directory = findDirectory(archive)
  if (directory === null) return null
  const { start, end, count, shift } = directory
  if (count > limits.zipEntries) throw tooMany(limits)
  const headers: Header[] = []
  let at = start
  while (at + 46 <= end && archive.toString('latin1', at, at + 4) === CENTRAL) {
    if (headers.length >= limits.zipEntries) throw tooMany(limits)
    const nameLength = archive.readUInt16LE(at + 28)
    const extraLength = archive.readUInt16LE(at + 30)
    const header = readCentralHeader(archive, at, nameLength, extraLength, shift)
    if (header === null) return null
    headers.push(header)
    at += 46 + nameLength + extraLength + archive.readUInt16LE(at + 32)
  }
  if (headers.length === 0) return count === 0 ? [] : null
  headers.sort((a, b) => a.start - b.start)
  return headers.map((header, index) => ({ ...header, bound: headers[index + 1]?.start ?? start }))
}

/** End of central directory record, searched from the back; its zip64 form when a field is all ones. */
function findDirectory(archive: Buffer): { start: number; end: number; count: number; shift: number } | null {
  const at = archive.lastIndexOf(END, undefined, 'latin1')
  if (at === -1 || at + 22 > archive.length) return null
  let count = archive.readUInt16LE(at + 10)
  let size = archive.readUInt32LE(at + 12)
  let offset = archive.readUInt32LE(at + 16)
  let end = at
  if (at >= 20 && archive.toString('latin1', at - 20, at - 16) === LOCATOR64) {
    const at64 = archive.lastIndexOf(END64, at - 20, 'latin1')
    if (at64 !== -1 && at64 + 56 <= archive.length) {
      count = Number(archive.readBigUInt64LE(at64 + 32))
      size = Number(archive.readBigUInt64LE(at64 + 40))
      offset = Number(archive.readBigUInt64LE(at64 + 48))
      end = at64
    }
  }
  const start = end - size
  if (start < 0 || (size > 0 && archive.toString('latin1', start, start + 4) !== CENTRAL)) return null
  // Bytes before the archive shift everything that its offsets say.
  return { start, end, count, shift: start - offset }
}

function readCentralHeader(
  archive: Buffer,
  at: number,
  nameLength: number,
  extraLength: number,
  shift: number,
): Header | null {
  const sizes = readSizes(archive, at + 46 + nameLength, extraLength, [
    archive.readUInt32LE(at + 24),
    archive.readUInt32LE(at + 20),
    archive.readUInt32LE(at + 42),
  ])
  const start = sizes[2]! + shift
  if (start < 0 || start + 30 > archive.length || archive.toString('latin1', start, start + 4) !== LOCAL) return null
  return {
    name: archive.toString('utf8', at + 46, at + 46 + nameLength),
    flags: archive.readUInt16LE(at + 8) | archive.readUInt16LE(start + 6),
    method: archive.readUInt16LE(at + 10),
    crc: archive.readUInt32LE(at + 16),
    packed: sizes[1]!,
    size: sizes[0]!,
    start,
    data: start + 30 + archive.readUInt16LE(start + 26) + archive.readUInt16LE(start + 28),
    bound: archive.length,
    sized: true,
  }
}

/** Replaces sizes that are all ones by those of the zip64 extra field, where they stand in this order (APPNOTE 4.5.3). */
function readSizes(archive: Buffer, at: number, length: number, sizes: number[]): number[] {
  const end = Math.min(at + length, archive.length)
  for (let field = at; field + 4 <= end; ) {
    const fieldLength = archive.readUInt16LE(field + 2)
    if (archive.readUInt16LE(field) === 1) {
      let value = field + 4
      return sizes.map((size) => {
        if (size !== 0xffff_ffff || value + 8 > Math.min(end, field + 4 + fieldLength)) return size
        value += 8
        return Number(archive.readBigUInt64LE(value - 8))
      })
    }
    field += 4 + fieldLength
  }
  return sizes
}

/** Walks the local headers of an archive whose central directory is missing or damaged. Null when there is none. */
function readLocalHeaders(archive: Buffer, limits: Limits): Header[] | null {
  const headers: Header[] = []
  let at = archive.indexOf(LOCAL, 0, 'latin1')
  while (at !== -1) {
    const header = readLocalHeader(archive, at)
    if (header === null) break
    if (headers.length >= limits.zipEntries) throw tooMany(limits)
    const next = nextHeader(archive, header)
    headers.push({ ...header, bound: next === -1 ? archive.length : next })
    at = next !== -1 && archive.toString('latin1', next, next + 4) === LOCAL ? next : -1
  }
  return headers.length === 0 ? null : headers
}

function readLocalHeader(archive: Buffer, at: number): Header | null {
  if (at + 30 > archive.length) return null
  const nameLength = archive.readUInt16LE(at + 26)
  const extraLength = archive.readUInt16LE(at + 28)
  const data = at + 30 + nameLength + extraLength
  if (data > archive.length) return null
  const flags = archive.readUInt16LE(at + 6)
  const [size, packed] = readSizes(archive, at + 30 + nameLength, extraLength, [
    archive.readUInt32LE(at + 22),
    archive.readUInt32LE(at + 18),
  ])
  return {
    name: archive.toString('utf8', at + 30, at + 30 + nameLength),
    flags,
    method: archive.readUInt16LE(at + 8),
    crc: archive.readUInt32LE(at + 14),
    packed: packed!,
    size: size!,
    start: at,
    data,
    bound: archive.length,
    sized: (flags & 8) === 0,
  }
}

/** Where the header after an entry's data stands: after its size when that is right, else at the next signature. */
function nextHeader(archive: Buffer, { data, packed, sized }: Header): number {
  const expected = data + packed
  const signature = archive.toString('latin1', expected, expected + 4)
  if (sized && (signature === LOCAL || signature === CENTRAL)) return expected
  const local = archive.indexOf(LOCAL, data, 'latin1')
  const central = archive.subarray(0, local === -1 ? undefined : local).indexOf(CENTRAL, data, 'latin1')
  return central === -1 ? local : central
}

/** Headers are in the order of their place. An entry reaches as far as its header claims, when that is known. */
function refuseOverlaps(headers: readonly Header[]): void {
  for (const { start, data, packed, sized, bound } of headers) {
    if (start === bound || data > bound || (sized && data + packed > bound)) {
      throw damaged('Entries of the zip archive overlap, or claim more data than there is.')
    }
  }
}

function open(archive: Buffer, header: Header, limits: Limits, warn: Warn): Bytes {
  if ((header.flags & 0x41) !== 0) {
    throw new Rejected('encrypted', `The zip entry ${shown(header)} is encrypted. Ask the sender for a plain one.`)
  }
  if (header.method === 0) return openStored(archive, header, limits, warn)
  if (header.method !== 8) {
    throw new Rejected('container_unknown', `The zip entry ${shown(header)} is packed by method ${header.method}.`)
  }
  const packed = archive.subarray(header.data, header.bound)
  if (packed.length <= WHOLE_PACKED_BYTES) {
    const most = Math.min(WHOLE_BYTES, limits.inflatedBytes)
    const inflated = inflateWhole(packed, most, Math.min(header.size, most), 'zip_damaged')
    if (inflated !== null) {
      const { data, used } = inflated
      guardInflation(data.length, packed.length, limits)
      check(archive, header, used, { size: data.length, crc: crc32(data) }, warn)
      return data
    }
  }
  return openStream(archive, header, packed, limits, warn)
}

async function* openStream(
  archive: Buffer,
  header: Header,
  packed: Uint8Array,
  limits: Limits,
  warn: Warn,
): AsyncGenerator<Uint8Array> {
  const sum: Checksum = { size: 0, crc: 0 }
  const used = yield* inflateChunks(packed, sum, limits, 'zip_damaged')
  check(archive, header, used, sum, warn)
}

function openStored(archive: Buffer, header: Header, limits: Limits, warn: Warn): Uint8Array {
  const length = header.sized ? header.packed : describedLength(archive, header)
  const data = archive.subarray(header.data, header.data + length)
  guardInflation(data.length, data.length, limits)
  check(archive, header, length, { size: data.length, crc: crc32(data) }, warn)
  return data
}

/** Length of stored data that only a data descriptor tells: up to the descriptor's signature. */
function describedLength(archive: Buffer, { data, bound }: Header): number {
  const at = archive.subarray(0, bound).indexOf(DESCRIPTOR, data, 'latin1')
  return (at === -1 ? bound : at) - data
}

/** Compares what came out with what the header, or the data descriptor behind the data, says. */
function check(archive: Buffer, header: Header, used: number, sum: Checksum, warn: Warn): void {
  let { crc, size } = header
  if (!header.sized) {
    let at = header.data + used
    if (archive.toString('latin1', at, at + 4) === DESCRIPTOR) at += 4
    if (at + 4 > header.bound) return
    crc = archive.readUInt32LE(at)
    size = sum.size
  }
  if (crc !== sum.crc >>> 0 || size !== sum.size) {
    warn({ code: 'zip_checksum', detail: `The checksum or length of ${shown(header)} is wrong.` })
  }
}

const shown = ({ name }: Header): string => `"${excerpt(name, 100)}"`
