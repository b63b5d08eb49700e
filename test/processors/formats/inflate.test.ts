import { crc32, deflateRawSync, gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { gunzip, hold, isKnownJunk, peek, sniff } from '../../../processors/formats/inflate.ts'
import { defaultLimits } from '../../../processors/formats/limits.ts'
import type { Warning } from '../../../processors/formats/shapes.ts'
import { readZip } from '../../../processors/formats/zip.ts'
import { plainReport, recordOf } from './aggregate-documents.ts'
import { codesOf, limitsWith, rejectOf, rejectOfAsync } from './reading.ts'
import { overlappingZip, zipOf } from './zip-archive.ts'

const xml = Buffer.from(plainReport())
const held = { ...defaultLimits, heldBytes: 100_000_000 }

async function gunzipAll(bytes: Uint8Array): Promise<{ text: string; codes: string[]; streamed: boolean }> {
  const warnings: Warning[] = []
  const data = gunzip(bytes, defaultLimits, (warning) => warnings.push(warning))
  const text = Buffer.from(await hold(data, held)).toString()
  return { text, codes: codesOf(warnings), streamed: !(data instanceof Uint8Array) }
}

describe('content is told by its first bytes', () => {
  test.each<[string, Uint8Array | string, string]>([
    ['gzip', gzipSync(xml), 'gzip'],
    ['zip', zipOf({ entries: [{ name: 'a', data: xml }] }), 'zip'],
    ['an empty zip', zipOf({ entries: [] }), 'zip'],
    ['zip behind a line', zipOf({ entries: [{ name: 'a', data: xml }], before: Buffer.from('hello\r\n') }), 'zip'],
    ['xml', xml, 'xml'],
    ['xml behind white space and a byte order mark', `\ufeff\r\n  ${plainReport()}`, 'xml'],
    ['xml in UTF-16 LE', Buffer.from(`\ufeff${plainReport()}`, 'utf16le'), 'xml'],
    ['xml in UTF-16 BE without mark', Buffer.from(plainReport(), 'utf16le').swap16(), 'xml'],
    ['xml behind stray text', `report follows\n<?xml version="1.0"?>${plainReport()}`, 'xml'],
    ['a report behind stray text', `report follows\n<d:feedback >`, 'xml'],
    ['a glued-in schema', '<xs:schema xmlns:xs="x"><feedback>', 'xml'],
    ['a report behind comments', `<?xml version="1.0"?><!-- <html> --> ${plainReport()}`, 'xml'],
    ['xml behind 5,000 spaces', `${' '.repeat(5000)}${plainReport()}`, 'xml'],
    ['a document type declaration of a report', '<!DOCTYPE feedback []><feedback/>', 'xml'],
    ['html', '<html><body>report</body></html>', 'unknown'],
    ['html with a doctype', '\n<!DOCTYPE HTML PUBLIC "x"><html>', 'unknown'],
    ['xhtml', '<?xml version="1.0"?><!-- x --><!DOCTYPE html><html>', 'unknown'],
    ['a piece of html', '<div>This is a DMARC aggregate report</div>', 'unknown'],
    ['svg', '<?xml version="1.0"?><svg xmlns="x"/>', 'unknown'],
    ['json', '{"organization-name":"x"}', 'json'],
    ['json behind a byte order mark', '\ufeff\n{\n "a": 1}', 'json'],
    ['text in braces', '{hello}', 'unknown'],
    ['text', 'This is an aggregate report from x.', 'unknown'],
    ['text with an address', 'From: <a@b.example>', 'unknown'],
    ['nothing', '', 'empty'],
    ['white space', ' \r\n\t\n', 'empty'],
    ['a byte order mark alone', '\ufeff', 'empty'],
    ['junk', Buffer.from([1, 2, 3, 0xff, 0xfe]), 'unknown'],
  ])('%s', (_what, data, content) => {
    expect(sniff(typeof data === 'string' ? Buffer.from(data) : data)).toBe(content)
  })

  test('the junk of 2023 is known by its word', () => {
    expect(isKnownJunk(Buffer.from('unused'))).toBe(true)
    expect(isKnownJunk(Buffer.from('Unused\r\n'))).toBe(true)
    expect(isKnownJunk(Buffer.from('unused things'))).toBe(false)
    expect(isKnownJunk(Buffer.alloc(0))).toBe(false)
  })
})

describe('gzip', () => {
  test('small data comes whole, large data as a stream, both complete', async () => {
    expect(await gunzipAll(gzipSync(xml))).toEqual({ text: xml.toString(), codes: [], streamed: false })
    const large = plainReport(recordOf().repeat(20_000))
    expect(await gunzipAll(gzipSync(large))).toEqual({ text: large, codes: [], streamed: true })
  })

  test('any data comes back, whatever its size', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 2000 }), fc.integer({ min: 1, max: 3000 }), async (seed, times) => {
        const data = Buffer.concat(new Array(times).fill(seed))
        const read = gunzip(gzipSync(data), limitsWith({ inflateRatio: 2000 }), () => expect.unreachable())
        expect(data.equals(await hold(read, held))).toBe(true)
      }),
      { numRuns: 40 },
    )
  })

  test.each([
    ['CR LF', Buffer.from('\r\n')],
    ['zeros', Buffer.alloc(1000)],
    ['text', Buffer.from('-- \r\nSent by x')],
  ])('bytes after the end are passed over: %s', async (_what, after) => {
    const read = await gunzipAll(Buffer.concat([gzipSync(xml), after]))
    expect(read).toMatchObject({ text: xml.toString(), codes: ['gzip_trailing_bytes'] })
  })

  test('several members are one', async () => {
    const members = [xml.subarray(0, 100), xml.subarray(100, 101), Buffer.alloc(0), xml.subarray(101)]
    expect(await gunzipAll(Buffer.concat(members.map((part) => gzipSync(part))))).toMatchObject({
      text: xml.toString(),
      codes: [],
    })
  })

  test('a header with every field is skipped', async () => {
    const header = Buffer.from([0x1f, 0x8b, 8, 0x1e, 0, 0, 0, 0, 0, 3, 4, 0, 1, 2, 3, 4, 97, 0, 98, 99, 0, 0, 0])
    const trailer = Buffer.alloc(8)
    trailer.writeUInt32LE(crc32(xml), 0)
    trailer.writeUInt32LE(xml.length, 4)
    const read = await gunzipAll(Buffer.concat([header, deflateRawSync(xml), trailer]))
    expect(read).toMatchObject({ text: xml.toString(), codes: [] })
  })

  test.each([0, 4])(
    'a wrong checksum or length of complete data is a warning (byte %i of the trailer)',
    async (byte) => {
      for (const data of [xml, Buffer.from(plainReport(recordOf().repeat(20_000)))]) {
        const packed = gzipSync(data)
        packed[packed.length - 8 + byte]! ^= 1
        expect(await gunzipAll(packed)).toMatchObject({ text: data.toString(), codes: ['gzip_checksum'] })
      }
    },
  )

  test('a missing checksum of complete data is a warning', async () => {
    expect(await gunzipAll(gzipSync(xml).subarray(0, -5))).toMatchObject({
      text: xml.toString(),
      codes: ['gzip_checksum'],
    })
  })

  test('data that ends early is damaged, wherever it ends', async () => {
    const packed = gzipSync(xml)
    const deflated = packed.length - 8
    for (let length = 2; length < deflated; length += 7) {
      expect(await rejectOfAsync(() => gunzipAll(packed.subarray(0, length)))).toBe('gzip_damaged')
    }
    const large = gzipSync(plainReport(recordOf().repeat(20_000)))
    expect(await rejectOfAsync(() => gunzipAll(large.subarray(0, large.length >> 1)))).toBe('gzip_damaged')
  })

  test('data that is no deflate stream is damaged', async () => {
    const packed = gzipSync(xml)
    packed.fill(0xff, 10, 20)
    expect(await rejectOfAsync(() => gunzipAll(packed))).toBe('gzip_damaged')
  })
})

describe('peek', () => {
  test('gives the beginning, and all of it again', async () => {
    const large = plainReport(recordOf().repeat(20_000))
    for (const text of [large, plainReport()]) {
      const { head, bytes } = await peek(gunzip(gzipSync(text), defaultLimits, () => expect.unreachable()))
      expect(sniff(head)).toBe('xml')
      expect(Buffer.from(await hold(bytes, held)).toString()).toBe(text)
    }
  })

  test('a stream that nobody reads to its end is closed', async () => {
    let closed = false
    async function* chunks() {
      try {
        for (;;) yield Buffer.alloc(8192, 0x20)
      } finally {
        closed = true
      }
    }
    const { bytes } = await peek(chunks())
    expect(await rejectOfAsync(() => hold(bytes, limitsWith({ heldBytes: 50_000 })))).toBe('inflate_limit')
    expect(closed).toBe(true)
  })
})

describe('zip', () => {
  async function unzip(bytes: Uint8Array) {
    const warnings: Warning[] = []
    const entries = readZip(bytes, defaultLimits, (warning) => warnings.push(warning))
    const read: [string, string][] = []
    for (const entry of entries) {
      read.push([entry.name, Buffer.from(await hold(entry.open(), held)).toString()])
    }
    return { read, codes: codesOf(warnings) }
  }
  const one = { name: 'a.xml', data: xml }
  const two = { name: 'dir/b.xml', data: Buffer.from('second') }
  const both = {
    read: [
      ['a.xml', xml.toString()],
      ['dir/b.xml', 'second'],
    ],
    codes: [],
  }

  test.each([
    ['deflated', { entries: [one, two] }],
    [
      'stored',
      {
        entries: [
          { ...one, method: 0 },
          { ...two, method: 0 },
        ],
      },
    ],
    [
      'with data descriptors',
      {
        entries: [
          { ...one, descriptor: true },
          { ...two, descriptor: true, method: 0 },
        ],
      },
    ],
    [
      'zip64',
      {
        entries: [
          { ...one, zip64: true },
          { ...two, zip64: true, method: 0 },
        ],
        zip64End: true,
      },
    ],
    ['behind other bytes', { entries: [one, two], before: Buffer.from('MZ\x90\x00 program PK\x03') }],
    ['before other bytes', { entries: [one, two], after: Buffer.from('\r\n-- footer') }],
    ['without directory', { entries: [one, two], directory: false }],
    [
      'without directory, with data descriptors',
      {
        entries: [
          { ...one, descriptor: true },
          { ...two, descriptor: true, method: 0 },
        ],
        directory: false,
      },
    ],
    [
      'with folders and what others hide in it',
      {
        entries: [
          { name: 'dir/', data: Buffer.alloc(0), method: 0 },
          one,
          { name: '__MACOSX/._a.xml', data: Buffer.from('x') },
          { name: 'dir/.DS_Store', data: Buffer.from('x') },
          two,
        ],
      },
    ],
  ])('is read: %s', async (_what, archive) => {
    expect(await unzip(zipOf(archive))).toEqual(both)
  })

  test('a large entry is a stream', async () => {
    const data = Buffer.from(plainReport(recordOf().repeat(20_000)))
    const [entry] = readZip(zipOf({ entries: [{ name: 'a', data }] }), defaultLimits, () => expect.unreachable())
    const bytes = entry!.open()
    expect(bytes).not.toBeInstanceOf(Uint8Array)
    expect(data.equals(await hold(bytes, held))).toBe(true)
  })

  test.each([
    ['its length', { size: 5 }],
    ['its checksum', { crc: 1 }],
  ])('an entry that lies about %s is read with a warning', async (_what, claim) => {
    expect(await unzip(zipOf({ entries: [{ ...one, claim }] }))).toEqual({
      read: [['a.xml', xml.toString()]],
      codes: ['zip_checksum'],
    })
  })

  test.each([
    ['no archive at all', Buffer.from('PK\x03\x04 this is no archive', 'latin1')],
    ['a signature alone', Buffer.from('PK\x03\x04', 'latin1')],
    ['an entry that claims more than there is', zipOf({ entries: [{ ...one, claim: { packed: 1_000_000 } }] })],
    ['an entry that reaches into the next', zipOf({ entries: [{ ...one, claim: { packed: 500 } }, two] })],
    ['entries that overlap', overlappingZip(xml, 50)],
  ])('is damaged: %s', (_what, bytes) => {
    expect(rejectOf(() => readZip(bytes, defaultLimits, () => {}))).toBe('zip_damaged')
  })

  test('an archive that is cut inside of an entry is damaged', async () => {
    const bytes = zipOf({ entries: [one] }).subarray(0, 100)
    expect(await rejectOfAsync(() => unzip(bytes))).toBe('zip_damaged')
  })

  test('an encrypted entry is refused when it is opened, its neighbour is read', () => {
    const entries = readZip(zipOf({ entries: [{ ...one, flags: 1 }, two] }), defaultLimits, () => {})
    expect(rejectOf(() => entries[0]!.open())).toBe('encrypted')
    expect(Buffer.from(entries[1]!.open() as Uint8Array).toString()).toBe('second')
  })

  test('a method other than store and deflate is unknown', () => {
    const [entry] = readZip(zipOf({ entries: [{ ...one, method: 93 }] }), defaultLimits, () => {})
    expect(rejectOf(() => entry!.open())).toBe('container_unknown')
  })
})
