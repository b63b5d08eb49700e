import { crc32, deflateRawSync, gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { gunzip, hold, sniff } from '../../processors/formats/inflate.ts'
import { defaultLimits, type Limits } from '../../processors/formats/limits.ts'
import { readZip } from '../../processors/formats/zip.ts'
import { plainReport } from '../processors/formats/aggregate-documents.ts'
import { limitsWith, rejectOf, rejectOfAsync } from '../processors/formats/reading.ts'
import { type Entry, overlappingZip, zipOf } from '../processors/formats/zip-archive.ts'
import { bounded, usual } from './bounded.ts'

const MB = 1024 * 1024
const ignore = () => {}

/** Reads everything and keeps nothing; returns the number of bytes. */
async function drain(bytes: Uint8Array | AsyncIterable<Uint8Array>): Promise<number> {
  if (bytes instanceof Uint8Array) return bytes.length
  let size = 0
  for await (const chunk of bytes) {
    expect(chunk.length).toBeLessThanOrEqual(256 * 1024)
    size += chunk.length
  }
  return size
}
const drainGzip = (bytes: Uint8Array, limits: Limits = defaultLimits) => drain(gunzip(bytes, limits, ignore))
const drainEntry = (archive: Uint8Array, limits: Limits = defaultLimits) =>
  drain(readZip(archive, limits, ignore)[0]!.open())

/** One megabyte of a byte as raw deflate data that more data may follow: full flush, no final block. */
const openBlock = deflateRawSync(Buffer.alloc(MB, 0x20), { finishFlush: 3 })

/** Gzip of `megabytes` MB of spaces, in about a thousandth of the size and of the time. */
function spacesGzip(megabytes: number): Buffer {
  const block = Buffer.alloc(MB, 0x20)
  let crc = 0
  const blocks: Buffer[] = []
  for (let n = 0; n < megabytes; n++) {
    // Nobody reads the larger ones to their checksum.
    if (n < 600) crc = crc32(block, crc)
    blocks.push(openBlock)
  }
  const trailer = Buffer.alloc(8)
  trailer.writeUInt32LE(crc >>> 0, 0)
  trailer.writeUInt32LE((megabytes * MB) % 2 ** 32, 4)
  return Buffer.concat([Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]), ...blocks, Buffer.from([3, 0]), trailer])
}

describe('gzip', () => {
  test('500 MB of spaces stop at the ratio', async () => {
    const bomb = spacesGzip(500)
    expect(await bounded(() => rejectOfAsync(() => drainGzip(bomb)))).toBe('inflate_limit')
  })

  test('500 MB that do not look like a bomb are streamed in constant memory, and no further than the limit', async () => {
    const limits = limitsWith({ inflateRatio: 5000 })
    const data = spacesGzip(500)
    const size = await bounded(() => drainGzip(data, limits), { ms: 20_000, memory: 100 * MB })
    expect(size).toBe(500 * MB)
    const less = limitsWith({ inflateRatio: 5000, inflatedBytes: 100 * MB })
    expect(await bounded(() => rejectOfAsync(() => drainGzip(data, less)))).toBe('inflate_limit')
  })

  test('10 GB through nested gzip: the layer that explodes is stopped', async () => {
    const outer = gzipSync(spacesGzip(10_000))
    const inner = await bounded(async () => hold(gunzip(outer, defaultLimits, ignore), defaultLimits))
    expect(sniff(inner)).toBe('gzip')
    expect(await bounded(() => rejectOfAsync(() => drainGzip(inner)))).toBe('inflate_limit')
  })

  test('members that are each small add up', async () => {
    const member = gzipSync(Buffer.alloc(MB))
    const bomb = Buffer.concat(new Array(2000).fill(member))
    expect(await bounded(() => rejectOfAsync(() => drainGzip(bomb)))).toBe('inflate_limit')
  })

  test('a million empty members cost no time', async () => {
    const bomb = Buffer.concat(new Array(1_000_000).fill(gzipSync(Buffer.alloc(0))))
    expect(await bounded(() => rejectOfAsync(() => drainGzip(bomb)), { ...usual, ms: 15_000 })).toBe('inflate_limit')
  })

  test.each([0, 5, 2 ** 31, 2 ** 32 - 1])('a length that lies (%i) reserves no memory', async (length) => {
    const bytes = gzipSync(plainReport())
    bytes.writeUInt32LE(length, bytes.length - 4)
    expect(await bounded(() => drainGzip(bytes), { ...usual, memory: 50 * MB })).toBe(plainReport().length)
  })

  test('a stream that is not read on holds no more than a piece', async () => {
    const bytes = gunzip(spacesGzip(500), limitsWith({ inflateRatio: 5000 }), ignore) as AsyncIterable<Uint8Array>
    await bounded(
      async () => {
        for await (const chunk of bytes) {
          expect(chunk.length).toBeGreaterThan(0)
          await new Promise((resolve) => setTimeout(resolve, 100))
          break
        }
      },
      { ms: 5000, memory: 30 * MB },
    )
  })
})

describe('zip', () => {
  const entry = (name: string, data: Uint8Array = Buffer.from(plainReport())): Entry => ({ name, data })

  test('10,000 entries', async () => {
    const entries = Array.from({ length: 10_000 }, (_, n) => entry(`${n}.xml`, Buffer.from('x')))
    for (const directory of [true, false]) {
      const archive = zipOf({ entries, directory })
      expect(await bounded(() => rejectOf(() => readZip(archive, defaultLimits, ignore)))).toBe('zip_limit')
    }
  })

  test('as many as are allowed are read', () => {
    const entries = Array.from({ length: 100 }, (_, n) => entry(`${n}.xml`))
    expect(readZip(zipOf({ entries }), defaultLimits, ignore)).toHaveLength(100)
  })

  test('an entry of 500 MB of spaces stops at the ratio', async () => {
    const data = Buffer.alloc(500 * MB, 0x20)
    const archive = zipOf({ entries: [entry('a.xml', data)] })
    expect(await bounded(() => rejectOfAsync(() => drainEntry(archive)))).toBe('inflate_limit')
  }, 20_000)

  test('42.zip: archives in archives, each layer within its limits', async () => {
    const leaf = zipOf({ entries: [entry('0.dll', Buffer.alloc(64 * MB))] })
    const layer = zipOf({ entries: Array.from({ length: 16 }, (_, n) => entry(`${n}.zip`, leaf)) })
    const entries = readZip(layer, defaultLimits, ignore)
    expect(entries).toHaveLength(16)
    const inner = await bounded(() => hold(entries[0]!.open(), defaultLimits))
    expect(sniff(inner)).toBe('zip')
    expect(await bounded(() => rejectOfAsync(() => drainEntry(inner)))).toBe('inflate_limit')
  })

  test('one kernel listed a hundred times is refused', async () => {
    const archive = overlappingZip(Buffer.alloc(5 * MB), 100)
    expect(await bounded(() => rejectOf(() => readZip(archive, defaultLimits, ignore)))).toBe('zip_damaged')
  })

  test('an archive that lists itself through its neighbour is refused', () => {
    const archive = zipOf({ entries: [entry('a.xml'), entry('b.xml')] })
    const directory = archive.indexOf('PK\x01\x02', 0, 'latin1')
    const second = archive.indexOf('PK\x01\x02', directory + 4, 'latin1')
    archive.writeUInt32LE(0, second + 42)
    expect(rejectOf(() => readZip(archive, defaultLimits, ignore))).toBe('zip_damaged')
  })

  test.each([
    ['sizes of 4 GB', { size: 0xffff_fff0, packed: 0xffff_fff0 }],
    ['a size of nothing', { size: 0 }],
    ['packed data of nothing', { packed: 0 }],
  ])('lying sizes reserve no memory: %s', async (_what, claim) => {
    const archive = zipOf({ entries: [{ ...entry('a.xml'), claim }] })
    await bounded(
      () => {
        try {
          const [first] = readZip(archive, defaultLimits, ignore)
          expect((first!.open() as Uint8Array).length).toBe(plainReport().length)
        } catch (error) {
          expect(error).toMatchObject({ code: 'zip_damaged' })
        }
      },
      { ...usual, memory: 50 * MB },
    )
  })

  test.each([
    ['encrypted', { flags: 1 }],
    ['encrypted', { flags: 0x41 }],
    ['container_unknown', { method: 99 }],
    ['container_unknown', { method: 14 }],
  ])('an entry that cannot be opened is %s', (code, changes) => {
    const archive = zipOf({ entries: [{ ...entry('a.xml'), ...changes }] })
    expect(rejectOf(() => readZip(archive, defaultLimits, ignore)[0]!.open())).toBe(code)
  })

  test('any damage is a reject or a reading, never a crash or a stall', async () => {
    const archive = zipOf({
      entries: [entry('a.xml'), { ...entry('b.xml'), descriptor: true, zip64: true }],
      zip64End: true,
    })
    await bounded(
      async () => {
        for (let at = 0; at < archive.length; at++) {
          for (const value of [0, 0xff, archive[at]! ^ 1]) {
            const damaged = Buffer.from(archive)
            damaged[at] = value
            try {
              for (const found of readZip(damaged, defaultLimits, ignore)) await drain(found.open())
            } catch (error) {
              expect(error).toMatchObject({
                code: expect.stringMatching(/^(zip_damaged|zip_limit|encrypted|container_unknown|inflate_limit)$/),
              })
            }
          }
        }
      },
      { ms: 30_000, memory: 200 * MB },
    )
  }, 40_000)

  test('an archive of nothing but signatures is soon given up', async () => {
    const archive = Buffer.alloc(20 * MB, 'PK\x03\x04', 'latin1')
    expect(await bounded(() => rejectOf(() => readZip(archive, defaultLimits, ignore)))).toMatch(/^zip_/)
  })
})
