/**
 * The address data as it is searched, and as it lies in a file: reading 45 MB of text and a tree of 8 MB takes a second
 * or two, reading this file some 10 ms.
 *
 * Layout: `MTAD`, CRC-32 of all that follows, length of the header, header (JSON: version and the lengths of the arrays
 * in words), padding to four bytes, then the arrays, little-endian.
 */
import { endianness } from 'node:os'
import { crc32 } from 'node:zlib'
import type { RangeTable } from './range-table.ts'

export interface AddressTables {
  readonly version: string
  /** Values are indexes into `numbers` and `names`. */
  readonly networks4: RangeTable
  readonly networks6: RangeTable
  /** Values are two ASCII letters, the first in the higher byte. */
  readonly countries4: RangeTable
  readonly countries6: RangeTable
  /** Number of each autonomous system; entry 0 stands for none. */
  readonly numbers: Uint32Array
  /** Where the name of each ends in `names`; it begins where the one before ends. */
  readonly nameEnds: Uint32Array
  /** UTF-8 */
  readonly names: Uint8Array
}

const MAGIC = 0x4441544d
const PREAMBLE = 12
/** Changes with the layout, so that a file of another layout is never read as this one. */
const LAYOUT = 1

interface Header {
  readonly layout: number
  readonly version: string
  readonly words: readonly number[]
  readonly nameBytes: number
}

const arraysOf = (tables: AddressTables): readonly Uint32Array[] => [
  tables.networks4.starts,
  tables.networks4.values,
  tables.networks6.starts,
  tables.networks6.values,
  tables.countries4.starts,
  tables.countries4.values,
  tables.countries6.starts,
  tables.countries6.values,
  tables.numbers,
  tables.nameEnds,
]

/** Typed arrays are in the order of the machine, and the file is for this machine only. */
function assertLittleEndian(): void {
  if (endianness() !== 'LE') throw new Error('Address data needs a little-endian machine.')
}

export function encodeTables(tables: AddressTables): Buffer {
  assertLittleEndian()
  const arrays = arraysOf(tables)
  const header: Header = {
    layout: LAYOUT,
    version: tables.version,
    words: arrays.map(({ length }) => length),
    nameBytes: tables.names.length,
  }
  const json = Buffer.from(JSON.stringify(header))
  const start = PREAMBLE + Math.ceil(json.length / 4) * 4
  const file = Buffer.alloc(arrays.reduce((sum, array) => sum + array.byteLength, start + tables.names.length))
  json.copy(file, PREAMBLE)
  let at = start
  for (const array of [...arrays, tables.names]) {
    file.set(new Uint8Array(array.buffer, array.byteOffset, array.byteLength), at)
    at += array.byteLength
  }
  file.writeUInt32LE(MAGIC, 0)
  file.writeUInt32LE(json.length, 8)
  file.writeUInt32LE(crc32(file.subarray(8)), 4)
  return file
}

/** The tables in the file, as views of it; null when it is damaged, or of another version or layout. */
export function decodeTables(file: Buffer, version: string): AddressTables | null {
  assertLittleEndian()
  if (file.length < PREAMBLE || file.readUInt32LE(0) !== MAGIC) return null
  if (file.readUInt32LE(4) !== crc32(file.subarray(8))) return null
  const headerBytes = file.readUInt32LE(8)
  const header = JSON.parse(file.toString('utf8', PREAMBLE, PREAMBLE + headerBytes)) as Header
  if (header.layout !== LAYOUT || header.version !== version) return null
  const start = PREAMBLE + Math.ceil(headerBytes / 4) * 4
  // A view must begin at a multiple of four; a file of this size lies in a buffer of its own, which does.
  const bytes = file.byteOffset % 4 === 0 ? file : Buffer.from(new Uint8Array(file))
  let at = bytes.byteOffset + start
  const [starts4, values4, starts6, values6, cStarts4, cValues4, cStarts6, cValues6, numbers, nameEnds] =
    header.words.map((words) => {
      const array = new Uint32Array(bytes.buffer, at, words)
      at += array.byteLength
      return array
    })
  return {
    version,
    networks4: { width: 1, starts: starts4!, values: values4! },
    networks6: { width: 4, starts: starts6!, values: values6! },
    countries4: { width: 1, starts: cStarts4!, values: cValues4! },
    countries6: { width: 4, starts: cStarts6!, values: cValues6! },
    numbers: numbers!,
    nameEnds: nameEnds!,
    names: new Uint8Array(bytes.buffer, at, header.nameBytes),
  }
}
