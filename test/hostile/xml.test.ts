import { describe, expect, test } from 'vitest'
import { AggregateReader } from '../../processors/formats/dmarc-aggregate.ts'
import { defaultLimits } from '../../processors/formats/limits.ts'
import {
  feedback,
  identifiers,
  metadata,
  plainReport,
  policyPublished,
  recordOf,
  rowOf,
} from '../processors/formats/aggregate-documents.ts'
import { codesOf, readAggregate, readOnce, rejectOf } from '../processors/formats/reading.ts'
import { bounded, repeat, retained, usual } from './bounded.ts'

const head = `<feedback>${metadata}${policyPublished}`

/** Reads a document that is made while it is read, and counts its records. */
function stream(pieces: readonly (string | Iterable<Uint8Array>)[], tolerant = false) {
  let records = 0
  let messages = 0
  const onRecord = ({ count }: { count: number | null }) => {
    records++
    messages += count ?? 0
  }
  const reader = new AggregateReader({ limits: defaultLimits, tolerant, onRecord })
  for (const piece of pieces) {
    if (typeof piece === 'string') reader.write(Buffer.from(piece))
    else for (const chunk of piece) reader.write(chunk)
  }
  return { report: reader.end(), records, messages }
}

describe('entities', () => {
  const laughs = Array.from({ length: 9 }, (_, n) => `<!ENTITY l${n + 1} "${`&l${n};`.repeat(10)}">`).join('')
  test.each([
    ['a billion laughs', `<!DOCTYPE f [<!ENTITY l0 "ha">${laughs}]>${plainReport().replace('Reporter', '&l9;')}`],
    [
      'an external entity',
      `<!DOCTYPE f [<!ENTITY x SYSTEM "file:///etc/passwd">]>${plainReport().replace('Reporter', '&x;')}`,
    ],
    ['an external DTD', `<!DOCTYPE feedback SYSTEM "http://127.0.0.1:1/x.dtd">${plainReport()}`],
    ['a parameter entity', `<!DOCTYPE f [<!ENTITY % p SYSTEM "http://127.0.0.1:1/"> %p;]>${plainReport()}`],
  ])('%s: no declaration is processed', async (_what, xml) => {
    expect(await bounded(() => rejectOf(() => readAggregate(xml)))).toBe('xml_doctype')
  })

  test('a long text of references is decoded once', async () => {
    const { report } = await bounded(() => readAggregate(plainReport().replace('Reporter', '&amp;lt;'.repeat(10_000))))
    expect(report.org_name).toBe('&lt;'.repeat(256))
  })
})

describe('size', () => {
  test.each(['a', '<a>', 'a:b>'])('nesting of 100,000 elements %j', async (name) => {
    const xml = head + `<${name}>`.repeat(100_000)
    expect(await bounded(() => rejectOf(() => readOnce(xml)))).toMatch(/^xml_(limit|malformed)$/)
    expect(await bounded(() => rejectOf(() => readOnce(xml, { tolerant: true })))).toMatch(/^xml_(limit|malformed)$/)
  })

  test('nesting up to the limit is read', () => {
    const deep = (n: number) => plainReport(recordOf() + '<x>'.repeat(n) + '</x>'.repeat(n))
    expect(readOnce(deep(31)).report.records).toBe(1)
    expect(rejectOf(() => readOnce(deep(32)))).toBe('xml_limit')
  })

  test.each<[string, string, string, number, string]>([
    ['one text of 100 MB', '<error>', 'x', 100_000_000, '</error>'],
    ['one text of 100 MB in pieces', '<error>', 'xxxxxxxxxxxxxxxx<!---->', 5_000_000, '</error>'],
    ['one attribute of 10 MB', '<error a="', 'x', 10_000_000, '"/>'],
    ['a million attributes', '<error', ' a="b"', 1_000_000, '/>'],
    ['a name of 10 MB', '<', 'x', 10_000_000, '/>'],
    ['an end tag of 10 MB', '<a></a', ' ', 10_000_000, '>'],
    ['a comment of 10 MB', '<!--', 'x', 10_000_000, '-->'],
    ['an instruction of 10 MB', '<?a ', 'x', 10_000_000, '?>'],
    ['CDATA of 10 MB', '<error><![CDATA[', 'x', 10_000_000, ']]></error>'],
  ])('%s is too long, in either reading', async (_what, before, piece, times, after) => {
    for (const tolerant of [false, true]) {
      const read = () => stream([head + before, repeat(piece, times), `${after}</feedback>`], tolerant)
      expect(await bounded(() => rejectOf(read))).toBe('xml_limit')
    }
  })

  test('a text at the limit is read, one above it is not', () => {
    const long = (n: number) => plainReport().replace('Reporter', 'x'.repeat(n))
    expect(readOnce(long(defaultLimits.xmlTextBytes)).report.org_name).toHaveLength(1024)
    expect(rejectOf(() => readOnce(long(defaultLimits.xmlTextBytes + 1)))).toBe('xml_limit')
  })

  test('100 MB of white space is nothing', async () => {
    const spaces = () => repeat(' \n\t\r', 25_000_000)
    const { records } = await bounded(() => stream([spaces(), head, spaces(), recordOf(), '</feedback>']))
    expect(records).toBe(1)
  })

  test('10 million empty records are more than are read', async () => {
    const read = () => stream([head, repeat('<record/>', 10_000_000), '</feedback>'])
    expect(await bounded(() => rejectOf(read), { ...usual, ms: 20_000 })).toBe('records_limit')
  })

  test('100,000 DKIM results in a record', async () => {
    const dkim = '<dkim><domain>a.example</domain><selector>s</selector><result>pass</result></dkim>'
    const rest = `${identifiers}<auth_results>${dkim.repeat(100_000)}</auth_results>`
    const { records, report } = await bounded(() => readAggregate(plainReport(recordOf(rowOf(), rest))))
    expect(records[0]!.dkim_results).toHaveLength(100)
    expect(codesOf(report.warnings)).toEqual(['results_dropped'])
  })

  test('100,000 error elements', async () => {
    const errors = `<error>${'x'.repeat(500)}</error>`.repeat(100_000)
    const { report } = await bounded(() =>
      readAggregate(plainReport().replace('<date_range>', `${errors}<date_range>`)),
    )
    expect(report.errors).toHaveLength(100)
  })

  test('a million oddities are ten warnings and a number', async () => {
    const odd = '<record><row><source_ip>x</source_ip><count>0</count></row>stray</record>'
    const { report, records } = await bounded(() => stream([head, repeat(odd, 200_000), '</feedback>']), {
      ...usual,
      ms: 15_000,
    })
    expect([records, report.warnings.length <= 100, report.warnings.at(-1)!.code]).toEqual([
      200_000,
      true,
      'more_warnings',
    ])
  })

  test('memory stays flat over 200,000 records, each with texts of its own', async () => {
    const samples: number[] = []
    function* records(): Generator<Uint8Array> {
      for (let block = 0; block < 200; block++) {
        let text = ''
        for (let n = 0; n < 1000; n++) {
          text += recordOf(
            rowOf(`<source_ip>10.${block % 256}.${n % 256}.${block % 7}</source_ip><count>2</count>`),
            `<identifiers><header_from>a-rather-long-name-${block}-${n}.example.com</header_from></identifiers><auth_results/>`,
          )
        }
        yield Buffer.from(text)
        if (block % 50 === 49) samples.push(retained())
      }
    }
    const read = await bounded(() => stream([head, records(), '</feedback>']), { ...usual, ms: 20_000 })
    expect([read.records, read.messages]).toEqual([200_000, 400_000])
    expect(samples.at(-1)! - samples[0]!).toBeLessThan(2_000_000)
  })
})

describe('time: what looks like markup cannot make tolerant reading quadratic', () => {
  test.each([
    ['<', 1_200_000],
    ['</', 750_000],
    ['</>', 600_000],
    ['<?', 750_000],
    ['<?x>', 450_000],
    ['<!', 750_000],
    ['<!>', 600_000],
    ['<a', 750_000],
    ['<a "', 450_000],
    ["<a b='", 300_000],
    ['<a></b>', 300_000],
    ['&', 1_200_000],
    ['&#', 750_000],
    [']]>', 600_000],
    ['\0', 1_200_000],
    ['\u0080', 750_000],
    ['<x a="&amp;"/>', 200_000],
    ['</record>', 200_000],
    ['</feedback', 200_000],
    ['>', 1_200_000],
  ])('%j × %i', async (piece, times) => {
    for (const [before, after] of [
      ['', plainReport()],
      [head, `${recordOf()}</feedback>`],
      [plainReport(), ''],
      [`${head}<error>`, '</error></feedback>'],
    ]) {
      await bounded(
        () => {
          try {
            const { records } = stream([before!, repeat(piece, times), '>', after!], true)
            expect(records).toBeLessThanOrEqual(1)
          } catch (error) {
            expect(error).toMatchObject({
              code: expect.stringMatching(/^(xml_(limit|malformed|doctype)|not_a_report)$/),
            })
          }
        },
        { ...usual, ms: 10_000 },
      )
    }
  })

  test('white space at the end of an end tag', async () => {
    const xml = plainReport().replace('</email>', `</email${' '.repeat(200_000)}x>`)
    await bounded(() => expect(rejectOf(() => readOnce(xml))).toBe('xml_malformed'))
  })

  test('bytes written one at a time', async () => {
    const pieces = [1]
    const xml = feedback(metadata + policyPublished + recordOf().repeat(1000))
    expect((await bounded(() => readOnce(xml, { pieces }))).records).toHaveLength(1000)
  })
})

describe('text stays text', () => {
  test.each(['=HYPERLINK("http://x","y")', '&lt;script&gt;alert(1)&lt;/script&gt;', "'; DROP TABLE records; --"])(
    '%s',
    (text) => {
      const { report } = readAggregate(plainReport().replace('Reporter', text))
      expect(report.org_name).toBe(text.replaceAll('&lt;', '<').replaceAll('&gt;', '>'))
    },
  )

  test.each(['__proto__', 'constructor', 'toString', 'hasOwnProperty'])(
    'the name and the word %s mean nothing',
    (name) => {
      const row = rowOf().replace('<disposition>none', `<disposition>${name}`)
      const { report, records } = readAggregate(plainReport(recordOf(`${row}<${name}>1</${name}>`)))
      expect([records[0]!.disposition, codesOf(report.warnings)]).toEqual([name.toLowerCase(), ['result_unknown']])
    },
  )
})
