import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Rejected } from '../../../processors/formats/codes.ts'
import { sniff } from '../../../processors/formats/inflate.ts'
import { decodeUtf8 } from '../../../processors/formats/text-encoding.ts'
import { arbitraryReport } from './aggregate-documents.ts'
import { corpusFiles, hasCorpus, type ReadAggregate, readOnce, unpack } from './reading.ts'
import { readSecondly } from './second-reader.ts'

function factsOf({ report, records }: ReadAggregate) {
  const { warnings: _warnings, ...facts } = report
  return { report: facts, records }
}

function readStrictly(bytes: Uint8Array): ReadAggregate | null {
  try {
    return readOnce(bytes)
  } catch (error) {
    if (error instanceof Rejected && error.code === 'xml_malformed') return null
    throw error
  }
}

describe.skipIf(!hasCorpus)('every well-formed report of the corpus', () => {
  const files = corpusFiles().filter(({ expected }) => expected[0]?.kind === 'aggregate')
  test('is read, and all but two of the samples are well formed', async () => {
    const malformed: string[] = []
    for (const { name, bytes } of files) {
      for (const document of await unpack(bytes)) {
        if (sniff(document) === 'xml' && readStrictly(document) === null) malformed.push(name)
      }
    }
    expect(malformed.map((name) => name.replace(/.*\//, '')).sort()).toEqual([
      'ikea.com!example.de!1538690400!1538776800.xml',
      'invalid_xml.xml',
    ])
  })
  test.each(files)('$name says the same to a second reader', async ({ bytes }) => {
    for (const document of await unpack(bytes)) {
      const read = readStrictly(document)
      if (read !== null) expect(factsOf(read)).toEqual(readSecondly(decodeUtf8(document).text))
    }
  })
})

describe('any well-formed report', () => {
  test('says the same to a second reader, in every field', () => {
    fc.assert(
      fc.property(arbitraryReport, (xml) => {
        expect(factsOf(readOnce(xml))).toEqual(readSecondly(xml))
      }),
      { numRuns: 1000 },
    )
  })

  test('says the same however it is cut into pieces', () => {
    fc.assert(
      fc.property(
        arbitraryReport,
        fc.array(fc.integer({ min: 1, max: 600 }), { minLength: 1, maxLength: 8 }),
        (xml, pieces) => {
          const whole = readOnce(xml)
          // Spaces in front bring the end of the reader's own buffer to any place of the document.
          const shifted = ' '.repeat(8192 - (pieces[0]! % 700)) + xml.replace(/^<\?xml[^>]*>/, '')
          expect(readOnce(xml, { pieces })).toEqual(whole)
          expect(readOnce(shifted, { pieces: [10, 8192, ...pieces] })).toEqual(whole)
        },
      ),
      { numRuns: 300 },
    )
  })

  test('says the same in UTF-16 of either order, with and without a byte order mark', () => {
    fc.assert(
      fc.property(arbitraryReport, fc.boolean(), fc.boolean(), (xml, mark, big) => {
        const bare = xml.replace(/^<\?xml[^>]*>\s*/, '').trimStart()
        fc.pre(bare.charCodeAt(1) < 128)
        const bytes = Buffer.from((mark ? '\ufeff' : '') + bare, 'utf16le')
        expect(factsOf(readOnce(big ? bytes.swap16() : bytes))).toEqual(factsOf(readOnce(bare)))
      }),
      { numRuns: 200 },
    )
  })
})
