/** Zip archives as bytes, right and wrong in every way that a test asks for. */
import { crc32, deflateRawSync } from 'node:zlib'

export interface Entry {
  name: string
  data: Uint8Array
  method?: number
  flags?: number
  /** Sizes and checksum follow the data, as streaming writers do it. */
  descriptor?: boolean
  zip64?: boolean
  /** What the headers claim, if not the truth. */
  claim?: { size?: number; packed?: number; crc?: number }
}

export interface Archive {
  entries: readonly Entry[]
  before?: Uint8Array
  after?: Uint8Array
  directory?: boolean
  zip64End?: boolean
}

interface Written {
  local: Buffer
  body: Buffer
  central: (offset: number) => Buffer
}

function writeEntry({
  name,
  data,
  method = 8,
  flags = 0,
  descriptor = false,
  zip64 = false,
  claim = {},
}: Entry): Written {
  const file = Buffer.from(name)
  const packed = method === 8 ? deflateRawSync(data) : Buffer.from(data)
  const crc = claim.crc ?? crc32(data)
  const size = claim.size ?? data.length
  const length = claim.packed ?? packed.length
  const bits = flags | (descriptor ? 8 : 0)
  const extra = Buffer.alloc(zip64 ? 20 : 0)
  if (zip64) {
    extra.writeUInt16LE(1, 0)
    extra.writeUInt16LE(16, 2)
    extra.writeBigUInt64LE(BigInt(size), 4)
    extra.writeBigUInt64LE(BigInt(length), 12)
  }
  const sizes = (header: Buffer, at: number, hidden: boolean) => {
    header.writeUInt32LE(hidden ? 0 : crc, at)
    header.writeUInt32LE(hidden ? 0 : zip64 ? 0xffff_ffff : length, at + 4)
    header.writeUInt32LE(hidden ? 0 : zip64 ? 0xffff_ffff : size, at + 8)
  }
  const local = Buffer.alloc(30)
  local.write('PK\x03\x04', 'latin1')
  local.writeUInt16LE(20, 4)
  local.writeUInt16LE(bits, 6)
  local.writeUInt16LE(method, 8)
  sizes(local, 14, descriptor)
  local.writeUInt16LE(file.length, 26)
  local.writeUInt16LE(extra.length, 28)
  const trailer = Buffer.alloc(descriptor ? 16 : 0)
  if (descriptor) {
    trailer.write('PK\x07\x08', 'latin1')
    trailer.writeUInt32LE(crc, 4)
    trailer.writeUInt32LE(length, 8)
    trailer.writeUInt32LE(size, 12)
  }
  const central = (offset: number): Buffer => {
    const header = Buffer.alloc(46)
    header.write('PK\x01\x02', 'latin1')
    header.writeUInt16LE(bits, 8)
    header.writeUInt16LE(method, 10)
    sizes(header, 16, false)
    header.writeUInt16LE(file.length, 28)
    header.writeUInt16LE(extra.length, 30)
    header.writeUInt32LE(offset, 42)
    return Buffer.concat([header, file, extra])
  }
  return { local: Buffer.concat([local, file, extra]), body: Buffer.concat([packed, trailer]), central }
}

function endOf(count: number, size: number, offset: number, zip64: boolean): Buffer {
  const end = Buffer.alloc(22)
  end.write('PK\x05\x06', 'latin1')
  end.writeUInt16LE(zip64 ? 0xffff : count, 8)
  end.writeUInt16LE(zip64 ? 0xffff : count, 10)
  end.writeUInt32LE(zip64 ? 0xffff_ffff : size, 12)
  end.writeUInt32LE(zip64 ? 0xffff_ffff : offset, 16)
  if (!zip64) return end
  const end64 = Buffer.alloc(56)
  end64.write('PK\x06\x06', 'latin1')
  end64.writeBigUInt64LE(44n, 4)
  end64.writeBigUInt64LE(BigInt(count), 24)
  end64.writeBigUInt64LE(BigInt(count), 32)
  end64.writeBigUInt64LE(BigInt(size), 40)
  end64.writeBigUInt64LE(BigInt(offset), 48)
  const locator = Buffer.alloc(20)
  locator.write('PK\x06\x07', 'latin1')
  locator.writeBigUInt64LE(BigInt(offset + size), 8)
  return Buffer.concat([end64, locator, end])
}

export function zipOf({ entries, before, after, directory = true, zip64End = false }: Archive): Buffer {
  const written = entries.map(writeEntry)
  const centrals: Buffer[] = []
  const bodies: Buffer[] = []
  let offset = 0
  for (const { local, body, central } of written) {
    centrals.push(central(offset))
    bodies.push(local, body)
    offset += local.length + body.length
  }
  const central = Buffer.concat(centrals)
  const tail = directory ? [central, endOf(entries.length, central.length, offset, zip64End)] : []
  return Buffer.concat([before ?? Buffer.alloc(0), ...bodies, ...tail, after ?? Buffer.alloc(0)])
}

/** An archive whose directory lists one packed kernel `count` times: the bomb of overlapping entries. */
export function overlappingZip(data: Uint8Array, count: number): Buffer {
  const { local, body, central } = writeEntry({ name: 'a.xml', data })
  const directory = Buffer.concat(Array.from({ length: count }, () => central(0)))
  return Buffer.concat([local, body, directory, endOf(count, directory.length, local.length + body.length, false)])
}
