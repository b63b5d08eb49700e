import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Rejected, warningCodes } from '../../../processors/formats/codes.ts'
import { AggregateReader } from '../../../processors/formats/dmarc-aggregate.ts'
import { defaultLimits } from '../../../processors/formats/limits.ts'
import type { DmarcRecord } from '../../../processors/formats/shapes.ts'
import {
  authResults,
  feedback,
  identifiers,
  metadata,
  plainReport,
  policyPublished,
  recordOf,
  rowOf,
} from './aggregate-documents.ts'
import { codesOf, readAggregate, readOnce, rejectOf } from './reading.ts'

const only = (xml: string): DmarcRecord => {
  const { records } = readAggregate(xml)
  expect(records).toHaveLength(1)
  return records[0]!
}
const rowWith = (ip: string, count: string): string =>
  recordOf(rowOf(`<source_ip>${ip}</source_ip><count>${count}</count>`))
const policyWith = (content: string): string => feedback(`${metadata}<policy_published>${content}</policy_published>`)

test('a plain report gives every field and no warning', () => {
  const { report, records } = readAggregate(plainReport())
  expect(report).toEqual({
    org_name: 'Reporter',
    email: 'dmarc@reporter.example',
    extra_contact_info: null,
    report_id: 'r-1',
    begin: 1700000000,
    end: 1700086399,
    version: null,
    generator: null,
    errors: [],
    policy: {
      domain: 'example.com',
      adkim: 'r',
      aspf: 's',
      p: 'none',
      sp: 'reject',
      np: null,
      pct: 100,
      fo: null,
      testing: null,
      discovery_method: null,
    },
    records: 1,
    warnings: [],
  })
  expect(records).toEqual([
    {
      source_ip: '192.0.2.1',
      count: 3,
      disposition: 'none',
      dkim: 'pass',
      spf: 'fail',
      reasons: [],
      header_from: 'example.com',
      envelope_from: null,
      envelope_to: null,
      dkim_results: [{ domain: 'example.com', selector: 's1', result: 'pass', human_result: null }],
      spf_results: [{ domain: 'bounce.example.com', scope: 'mfrom', result: 'fail' }],
    },
  ])
})

test('a report without records is a report', () => {
  expect(readAggregate(plainReport('')).report.records).toBe(0)
})

test('records are handed over as they are read, not at the end', () => {
  const seen: number[] = []
  const reader = new AggregateReader({
    limits: defaultLimits,
    tolerant: false,
    onRecord: ({ count }) => seen.push(count!),
  })
  const head = `<feedback>${metadata}${policyPublished}`
  reader.write(Buffer.from(head))
  reader.write(Buffer.from(recordOf().repeat(2000)))
  expect(seen.length).toBeGreaterThan(1500)
  reader.write(Buffer.from('</feedback>'))
  expect(reader.end().records).toBe(2000)
  expect(seen).toHaveLength(2000)
})

describe('mandatory parts', () => {
  test.each([
    ['report_id_missing', plainReport().replace('<report_id>r-1</report_id>', '')],
    ['report_id_missing', plainReport().replace('r-1', '  ')],
    ['period_unreadable', plainReport().replace('<begin>1700000000</begin>', '')],
    ['period_unreadable', plainReport().replace('1700000000', 'yesterday')],
    ['period_unreadable', plainReport().replace('1700000000', '-5')],
    ['period_unreadable', plainReport().replace('1700086399', '4294967296')],
    ['period_unreadable', plainReport().replace('1700000000', '2024-02-31')],
    ['policy_missing', plainReport().replace('<domain>example.com</domain><adkim>', '<adkim>')],
    ['policy_missing', plainReport().replace('<p>none</p>', '')],
    ['policy_missing', plainReport().replace('<p>none</p>', '<p/>')],
    ['policy_missing', feedback(metadata + recordOf())],
    ['not_a_report', '<rss><channel/></rss>'],
    ['not_a_report', 'hello'],
  ])('a report lacking one is rejected: %s', (code, xml) => {
    expect(rejectOf(() => readAggregate(xml))).toBe(code)
  })

  test('a submitter without name stays null, and is warned about', () => {
    const { report } = readAggregate(plainReport().replace('Reporter', ''))
    expect(report.org_name).toBeNull()
    expect(codesOf(report.warnings)).toEqual(['org_name_missing'])
  })
})

describe('periods', () => {
  test.each([
    ['1700000000', 1700000000, []],
    [' 1700000000\t', 1700000000, []],
    ['1700000000.75', 1700000000, ['date_format']],
    ['1700000000123', 1700000000, ['date_format']],
    ['2023-11-14T22:13:20Z', 1700000000, ['date_format']],
    ['2023-11-14 22:13:20', 1700000000, ['date_format']],
    ['2023-11-15T00:13:20+02:00', 1700000000, ['date_format']],
    ['2023-11-14', 1699920000, ['date_format']],
    ['0', 0, []],
  ])('begin %s is %i', (text, begin, codes) => {
    const { report } = readAggregate(plainReport().replace('<begin>1700000000', `<begin>${text}`))
    expect(report.begin).toBe(begin)
    expect(codesOf(report.warnings)).toEqual(codes)
  })

  test('a reversed period is swapped', () => {
    const { report } = readAggregate(plainReport().replace('<end>1700086399', '<end>1600000000'))
    expect([report.begin, report.end, codesOf(report.warnings)]).toEqual([1600000000, 1700000000, ['period_reversed']])
  })
})

describe('counts', () => {
  test.each([
    ['1', 1, []],
    ['1000000000', 1000000000, []],
    ['0012', 12, []],
    ['12.0', 12, ['count_fraction']],
    ['7.9', 7, ['count_fraction']],
    ['0', 0, ['count_implausible']],
    ['-3', -3, ['count_implausible']],
    ['1000000001', 1000000001, ['count_implausible']],
    ['9000000000000000', 9e15, ['count_implausible']],
    ['1e3', null, ['count_implausible']],
    ['1,000', null, ['count_implausible']],
    ['1 2', null, ['count_implausible']],
    ['many', null, ['count_implausible']],
    ['', null, ['count_implausible']],
    ['9'.repeat(400), null, ['count_implausible']],
  ])('%s is kept as %s', (text, count, codes) => {
    const { report, records } = readAggregate(plainReport(rowWith('192.0.2.1', text)))
    expect(records[0]!.count).toBe(count)
    expect(codesOf(report.warnings)).toEqual(codes)
  })

  test('a record that says none of it counts nothing', () => {
    const { report, records } = readAggregate(plainReport(recordOf(rowOf('<source_ip>192.0.2.1</source_ip>'))))
    expect(records[0]!.count).toBeNull()
    expect(codesOf(report.warnings)).toEqual(['count_implausible'])
  })

  test('bytes that are dropped never make another number of it', () => {
    const bytes = Buffer.from(plainReport(rowWith('192.0.2.1', '1?0')).replace('1?0', '1\u00910'), 'latin1')
    const { report, records } = readAggregate(bytes)
    expect(records[0]!.count).toBeNull()
    expect(codesOf(report.warnings).sort()).toEqual(['bytes_invalid', 'count_implausible'])
  })
})

describe('source addresses', () => {
  test.each([
    ['192.0.2.1', '192.0.2.1'],
    ['2001:0DB8:0000:0000:0001:0000:0000:0001', '2001:db8::1:0:0:1'],
    ['::FFFF:192.0.2.9', '192.0.2.9'],
    ['::ffff:c000:209', '192.0.2.9'],
    ['[2001:db8::1]', '2001:db8::1'],
    ['1:2:3:4:5:6:7::', '1:2:3:4:5:6:7:0'],
    ['::', '::'],
  ])('%s is %s', (text, address) => {
    const { report, records } = readAggregate(plainReport(rowWith(text, '1')))
    expect(records[0]!.source_ip).toBe(address)
    expect(report.warnings).toEqual([])
  })

  test.each(['64.x.x.x', '1.2.3.256', '010.1.1.1', '1.2.3', '2001:db8::1::2', 'fe80::1%eth0', 'mail.example'])(
    '%s is no address: kept as text, and the record counts',
    (text) => {
      const { report, records } = readAggregate(plainReport(rowWith(text, '5')))
      expect(records[0]).toMatchObject({ source_ip: text, count: 5 })
      expect(codesOf(report.warnings)).toEqual(['address_invalid'])
    },
  )

  test('a record without one is left out and not counted', () => {
    const { report, records } = readAggregate(plainReport(rowWith('', '5') + recordOf()))
    expect([report.records, records.length]).toEqual([1, 1])
    expect(report.warnings).toEqual([{ code: 'record_incomplete', detail: 'record 1: no source_ip' }])
  })
})

describe('domain names', () => {
  test.each([
    ['Example.COM', 'example.com'],
    ['example.com.', 'example.com'],
    ['bücher.example', 'xn--bcher-kva.example'],
    ['BÜCHER.example.', 'xn--bcher-kva.example'],
    ['a_b.example', 'a_b.example'],
    ['not a name', 'not a name'],
    ['&lt;&gt;', null],
    ['.', null],
    [' ', null],
  ])('%s is %s', (text, domain) => {
    const xml = plainReport(
      recordOf(rowOf(), `<identifiers><header_from>${text}</header_from></identifiers><auth_results/>`),
    )
    expect(only(xml).header_from).toBe(domain)
  })
})

describe('words', () => {
  test.each([
    ['disposition', 'None', 'none', []],
    ['disposition', 'pass', 'pass', []],
    ['disposition', 'softfail', 'quarantine', ['result_unknown']],
    ['disposition', 'Discard', 'discard', ['result_unknown']],
    ['disposition', '', null, ['disposition_missing']],
    ['dkim', 'PASS', 'pass', []],
    ['dkim', 'hardfail', 'fail', ['result_unknown']],
    ['spf', 'softfail', 'softfail', ['result_unknown']],
    ['spf', '', null, ['alignment_missing']],
  ])('policy_evaluated %s %s is %s', (name, text, word, codes) => {
    const row = rowOf().replace(new RegExp(`<${name}>\\w+</${name}>`), `<${name}>${text}</${name}>`)
    const { report, records } = readAggregate(plainReport(recordOf(row)))
    expect(records[0]).toMatchObject({ [name]: word })
    expect(codesOf(report.warnings)).toEqual(codes)
  })

  test.each([
    ['dkim', 'permfail', 'permerror', 1],
    ['dkim', 'TempError', 'temperror', 0],
    ['dkim', 'broken', 'broken', 1],
    ['dkim', '', null, 0],
    ['spf', 'unknown', 'temperror', 1],
    ['spf', 'error', 'permerror', 1],
    ['spf', 'SoftFail', 'softfail', 0],
    ['spf', 'hardfail', 'fail', 1],
  ])('auth_results %s %s is %s', (method, text, result, warnings) => {
    const rest = `${identifiers}<auth_results><${method}><domain>a.example</domain><result>${text}</result></${method}></auth_results>`
    const { report, records } = readAggregate(plainReport(recordOf(rowOf(), rest)))
    expect([...records[0]!.dkim_results, ...records[0]!.spf_results]).toMatchObject([{ result }])
    expect(codesOf(report.warnings)).toEqual(new Array(warnings).fill('result_unknown'))
  })

  test('the published policy keeps words that no standard knows, and reads pct as a number', () => {
    const { report } = readAggregate(
      policyWith(
        '<domain>A.example</domain><p>Quarantine</p><sp>maybe</sp><adkim>strict</adkim><pct>ten</pct><t>y</t>',
      ),
    )
    expect(report.policy).toMatchObject({
      domain: 'a.example',
      p: 'quarantine',
      sp: 'maybe',
      adkim: 's',
      pct: null,
      testing: 'y',
    })
    expect(codesOf(report.warnings)).toEqual(['result_unknown', 'result_unknown', 'number_invalid'])
  })
})

describe('reasons', () => {
  const withReasons = (reasons: string) =>
    readAggregate(plainReport(recordOf(rowOf().replace('</policy_evaluated>', `${reasons}</policy_evaluated>`))))

  test('are read with type and comment', () => {
    const { report, records } = withReasons(
      '<reason><type>Mailing_List</type><comment lang="en">arc=pass &amp; more</comment></reason><reason><type>other</type></reason>',
    )
    expect(records[0]!.reasons).toEqual([
      { type: 'mailing_list', comment: 'arc=pass & more' },
      { type: 'other', comment: null },
    ])
    expect(report.warnings).toEqual([])
  })

  test('may be plain text', () => {
    const { report, records } = withReasons('<reason>sampled_out</reason>')
    expect(records[0]!.reasons).toEqual([{ type: 'sampled_out', comment: null }])
    expect(codesOf(report.warnings)).toEqual(['comment_as_reason'])
  })

  test.each(['<reason><type></type><comment></comment></reason>', '<reason/>', '<reason> </reason>'])(
    'that say nothing are left out: %s',
    (reason) => {
      const { report, records } = withReasons(reason)
      expect(records[0]!.reasons).toEqual([])
      expect(codesOf(report.warnings)).toEqual(['reason_empty'])
    },
  )

  test('of a kind that no standard knows are kept, and so is a comment alone', () => {
    const { report, records } = withReasons(
      '<reason><type>moon</type></reason><reason><type/><comment>why</comment></reason>',
    )
    expect(records[0]!.reasons).toEqual([
      { type: 'moon', comment: null },
      { type: null, comment: 'why' },
    ])
    expect(codesOf(report.warnings)).toEqual(['override_unknown', 'reason_type_missing'])
  })
})

describe('what a record may lack', () => {
  test('auth_results and SPF domains', () => {
    const noDomain = '<auth_results><spf><domain></domain><result>none</result></spf></auth_results>'
    const { report, records } = readAggregate(
      plainReport(recordOf(rowOf(), identifiers) + recordOf(rowOf(), identifiers + noDomain)),
    )
    expect(records[1]!.spf_results).toEqual([{ domain: null, scope: null, result: 'none' }])
    expect(report.warnings).toEqual([
      { code: 'auth_results_missing', detail: 'record 1: no auth_results' },
      { code: 'spf_domain_missing', detail: 'record 2: an SPF result without domain' },
    ])
  })

  test('the name of its identifiers', () => {
    expect(only(plainReport(recordOf().replaceAll('identifiers', 'identities'))).header_from).toBe('example.com')
  })
})

describe('documents', () => {
  test('the first of several policies wins, and the first of several values', () => {
    const second = policyPublished.replace('example.com', 'second.example').replace('<p>none', '<p>reject')
    const { report, records } = readAggregate(
      feedback(metadata + policyPublished + second + rowWith('192.0.2.1', '4</count><count>9')),
    )
    expect([report.policy.domain, report.policy.p, records[0]!.count]).toEqual(['example.com', 'none', 4])
    expect(codesOf(report.warnings)).toEqual(['field_duplicated', 'field_duplicated'])
  })

  test('the policy may follow the records', () => {
    expect(readAggregate(feedback(recordOf() + policyPublished + metadata)).report.policy.domain).toBe('example.com')
  })

  test('a namespace prefix is passed over', () => {
    const xml = plainReport()
      .replace(/<(\/?)(\w)/g, '<$1d:$2')
      .replace('<d:feedback', '<d:feedback xmlns:d="urn:x"')
    const { report, records } = readAggregate(xml)
    expect([records.length, codesOf(report.warnings)]).toEqual([1, ['namespace_prefix']])
  })

  test('elements that no standard knows hold nothing that counts', () => {
    const extra = '<x:ext xmlns:x="urn:x"><count>900</count><row><source_ip>1.1.1.1</source_ip></row></x:ext>'
    const xml = plainReport(recordOf(rowOf(), identifiers + extra + authResults) + extra)
    const { report, records } = readAggregate(xml)
    expect([records.length, records[0]!.count, report.warnings]).toEqual([1, 3, []])
  })

  test('an element inside of a value makes it missing', () => {
    const { report } = readAggregate(plainReport().replace('dmarc@reporter.example', 'a<b>c</b>'))
    expect([report.email, codesOf(report.warnings)]).toEqual([null, ['value_not_text']])
  })

  test('comments, CDATA and processing instructions may stand inside of a value', () => {
    const { report } = readAggregate(plainReport().replace('Reporter', 'Re<!-- x -->por<![CDATA[<t>&amp;]]><?pi?>er'))
    expect([report.org_name, report.warnings]).toEqual(['Repor<t>&amp;er', []])
  })

  test('stray text between elements is passed over', () => {
    const { report } = readAggregate(plainReport().replace('</sp>', '</sp>11'))
    expect(report.warnings).toEqual([{ code: 'text_stray', detail: '11' }])
  })

  test('errors, generator and version are kept', () => {
    const xml = plainReport().replace(
      '<date_range>',
      '<error>one</error><error lang="en">two</error><generator>gen 1</generator><date_range>',
    )
    const { report } = readAggregate(xml.replace('<feedback>', '<feedback><version> 1.0 </version>'))
    expect([report.errors, report.generator, report.version]).toEqual([['one', 'two'], 'gen 1', '1.0'])
  })

  test('a wrapper round the report is passed over', () => {
    const { report } = readAggregate(`<wrapper><other/>${plainReport()}</wrapper>`)
    expect([report.records, codesOf(report.warnings)]).toEqual([1, ['root_prefixed']])
  })
})

describe('encodings', () => {
  const named = plainReport().replace('Reporter', 'Société €')
  test.each([
    ['UTF-8 with a byte order mark', Buffer.from(`\ufeff${named}`), ['bom_removed']],
    ['UTF-16 LE', Buffer.from(`\ufeff${named}`, 'utf16le'), ['encoding_not_utf8']],
    ['UTF-16 BE without mark', Buffer.from(named, 'utf16le').swap16(), ['encoding_not_utf8']],
    [
      'UTF-8 that claims UTF-16',
      Buffer.from(`<?xml version="1.0" encoding="utf-16"?>${named}`),
      ['encoding_declared_wrong'],
    ],
    [
      'UTF-8 that claims ISO-8859-1',
      Buffer.from(`<?xml version="1.0" encoding="ISO-8859-1"?>${named}`),
      ['encoding_declared_wrong'],
    ],
    [
      'UTF-8 in a declared encoding nobody knows',
      Buffer.from(`<?xml version="1.0" encoding="x-moon"?>${named}`),
      ['encoding_declared_wrong'],
    ],
  ])('%s is read', (_what, bytes, codes) => {
    const { report } = readAggregate(bytes)
    expect([report.org_name, codesOf(report.warnings)]).toEqual(['Société €', codes])
  })

  test('declared windows-1252 is read as such', () => {
    const xml = `<?xml version="1.0" encoding="windows-1252"?>${plainReport().replace('Reporter', 'Soci\u00e9t\u00e9 \u0080')}`
    const { report } = readAggregate(Buffer.from(xml, 'latin1'))
    expect([report.org_name, codesOf(report.warnings)]).toEqual(['Société €', ['encoding_not_utf8']])
  })

  test('bytes that are no UTF-8 are dropped', () => {
    const { report } = readAggregate(Buffer.from(plainReport().replace('Reporter', 'bad\u0091'), 'latin1'))
    expect([report.org_name, codesOf(report.warnings)]).toEqual(['bad', ['bytes_invalid']])
  })
})

describe('a report says the same whatever was read before it', () => {
  const odd = (was: string, is: string) => plainReport(recordOf().replace(was, is))
  const foreign = odd('<selector>s1', '<selector>s\u00e9')
  test.each<[string, Uint8Array, Uint8Array]>([
    [
      'records of the same bytes in another encoding',
      Buffer.from(foreign, 'latin1'),
      Buffer.from(`<?xml version="1.0" encoding="windows-1252"?>${foreign}`, 'latin1'),
    ],
    [
      'prefixed elements',
      Buffer.from(odd('<selector>s1</selector>', '<d:selector>s1</d:selector>')),
      Buffer.from(plainReport()),
    ],
    ['text between elements', Buffer.from(odd('</row>', '</row>stray')), Buffer.from(plainReport())],
    ['a value in CDATA', Buffer.from(odd('>s1<', '><![CDATA[</record>]]><')), Buffer.from(plainReport())],
  ])('%s', (_what, one, other) => {
    const first = [readAggregate(one), readAggregate(other)]
    for (let n = 0; n < 3; n++) expect([readAggregate(one), readAggregate(other)]).toEqual(first)
    expect(first[0]).not.toEqual(first[1])
  })
})

describe('strict reading refuses what is not well formed', () => {
  test.each([
    ['a bare &', plainReport().replace('Reporter', 'AT&T')],
    ['an unknown entity', plainReport().replace('Reporter', '&nbsp;')],
    ['a reference to no character', plainReport().replace('Reporter', '&#0;')],
    ['a bare <', plainReport().replace('Reporter', 'a < b')],
    ['an e-mail address in angle brackets', plainReport().replace('Reporter', '<a@b.example>')],
    [']]> in text', plainReport().replace('Reporter', 'a ]]> b')],
    ['a wrong end tag', plainReport().replace('</org_name>', '</org>')],
    ['another case in the end tag', plainReport().replace('</org_name>', '</ORG_NAME>')],
    ['a missing end tag', plainReport().replace('</identifiers>', '')],
    ['an end tag too many', plainReport().replace('</identifiers>', '</identifiers></row>')],
    ['a missing end', plainReport().replace('</feedback>', '')],
    ['an attribute without quotes', plainReport().replace('<org_name>', '<org_name lang=en>')],
    ['an attribute twice', plainReport().replace('<org_name>', '<org_name a="1" a="2">')],
    ['attributes that touch', plainReport().replace('<org_name>', '<org_name a="1"b="2">')],
    ['< in an attribute', plainReport().replace('<org_name>', '<org_name a="<">')],
    ['an entity in an attribute', plainReport().replace('<org_name>', '<org_name a="&x;">')],
    ['two roots', plainReport() + plainReport()],
    ['text after the root', `${plainReport()}x`],
    ['a zero byte after the root', `${plainReport()}\0`],
    ['text before the root', `x${plainReport()}`],
    ['CDATA outside of the root', `${plainReport()}<![CDATA[]]>`],
    ['an XML declaration that is not first', ` <?xml version="1.0"?>${plainReport()}`],
    ['a broken XML declaration', `<?xml encoding="UTF-8"?>${plainReport()}`],
    ['-- in a comment', `<!-- a -- b -->${plainReport()}`],
    ['an open comment', `${plainReport()}<!-- a`],
    ['a control character', plainReport().replace('Reporter', 'Re\x01porter')],
    ['a name that begins with a digit', plainReport().replace('Reporter', '<1/>')],
    ['a space before a name', plainReport().replace('<org_name>', '< org_name>')],
    ['nothing', ''],
  ])('%s', (_what, xml) => {
    expect(rejectOf(() => readOnce(xml))).toBe('xml_malformed')
  })
})

describe('tolerant reading', () => {
  const repaired = (xml: string | Uint8Array) => {
    const read = readAggregate(xml)
    expect(codesOf(read.report.warnings)).toContain('xml_repaired')
    return { ...read, codes: codesOf(read.report.warnings).filter((code) => code !== 'xml_repaired') }
  }

  test.each([
    ['AT&T', 'AT&T'],
    ['a&nbsp;b', 'a&nbsp;b'],
    ['Re\x01porter', 'Reporter'],
    ['a ]]> b', 'a ]]> b'],
  ])('a text like %j is read as meant', (text, org_name) => {
    expect(repaired(plainReport().replace('Reporter', text)).report.org_name).toBe(org_name)
  })

  test.each(['bad<xml.net', '<bad-xml@bad-xml.net>', 'a < b', '<1/>', '<open>x'])(
    'a value with markup in it, %j, is missing, and the rest is read',
    (text) => {
      const { report, records, codes } = repaired(plainReport().replace('dmarc@reporter.example', text))
      expect([report.email, report.org_name, records.length, codes]).toEqual([null, 'Reporter', 1, ['value_not_text']])
    },
  )

  test.each([
    ['a glued-in schema', `<?xml version="1.0"?><xs:schema xmlns:xs="x">${plainReport()}`],
    ['text', `Dear all, here it is:\n${plainReport()}`],
    ['white space before the declaration', `\n<?xml version="1.0"?>${plainReport()}`],
    ['a broken declaration', `<?xml version="1.0">${plainReport()}`],
    ['markup without end', `<meta charset="utf-8"><p>${plainReport()}`],
  ])('%s in front of the report is passed over', (_what, xml) => {
    expect(repaired(xml).records).toHaveLength(1)
  })

  test.each([
    ['zero bytes', `${plainReport()}${'\0'.repeat(300_000)}`],
    ['text', `${plainReport()}\n-- \nfooter & more`],
    ['markup', `${plainReport()}<br></p><x`],
  ])('%s after the report is passed over', (_what, xml) => {
    const { records, codes } = repaired(xml)
    expect([records.length, codes]).toEqual([1, ['text_stray']])
  })

  test.each([
    ['auth_results', plainReport().replace('</auth_results>', '')],
    ['policy_evaluated', plainReport().replace('</policy_evaluated>', '')],
    ['the last value of a group', plainReport().replace('</pct>', '')],
    ['another case', plainReport().replace('</org_name>', '</ORG_NAME>')],
  ])('a missing end tag that leaves no doubt is supplied: %s', (_what, xml) => {
    expect(repaired(xml).records).toEqual(readAggregate(plainReport()).records)
  })

  test.each([
    ['the report is cut', plainReport().slice(0, -20)],
    ['the closing tag is missing', plainReport().replace('</feedback>', '')],
    ['a mandatory part is missing', plainReport().replace('r-1', 'a<b')],
    ['two reports stand in one document', plainReport() + plainReport()],
    ['a second report begins inside of the first', plainReport().replace('</feedback>', plainReport())],
    ['a record is not ended before the next', plainReport(recordOf().replace('</record>', '') + recordOf())],
    ['the last record is not ended', plainReport(recordOf().replace('</record>', ''))],
    ['a row is not ended', plainReport(recordOf().replace('</row>', ''))],
    ['a count is not ended', plainReport().replace('</count>', '')],
    ['the last date is not ended', plainReport().replace('</end>', '')],
    ['a count holds markup', plainReport().replace('<count>3', '<count>3<0')],
    ['an address holds markup', plainReport().replace('192.0.2.1', '192<.0.2.1')],
    ['an unknown element swallows a count', plainReport().replace('<source_ip>', '<foo><source_ip>')],
  ])('leaves no doubt, or rejects: %s', (_what, xml) => {
    expect(rejectOf(() => readAggregate(xml))).toBe('xml_malformed')
  })
})

describe('damage', () => {
  const addressed = (n: number) =>
    recordOf(rowOf(`<source_ip>192.0.2.${n}</source_ip><count>${n * 7}</count>`)).replaceAll('dkim>', 'dkim >')
  const xml = plainReport(
    [1, 2, 3].map((n) => (n === 2 ? addressed(n).replaceAll('dkim >', 'dkim>') : addressed(n))).join('\n'),
  )
  const counted = readAggregate(xml).records.map(({ source_ip, count }) => [source_ip, count])
  const exact = [...xml.matchAll(/<source_ip>.*?<\/count>/g)].map(({ index, 0: text }) => [index, index + text.length])
  const snippets = [
    ...[
      '',
      '<',
      '>',
      '&',
      '"',
      '/',
      'x',
      ' ',
      '\0',
      '</',
      '<x>',
      '</x>',
      '<x/>',
      '<!--',
      '-->',
      '<![CDATA[',
      ']]>',
      '<?',
      '?>',
    ],
    ...['record', 'row', 'identifiers', 'feedback', 'dkim', 'count'].flatMap((name) => [`<${name}>`, `</${name}>`]),
  ]

  test('changes no count and no address, or the report is rejected', () => {
    let repaired = 0
    fc.assert(
      fc.property(
        fc.integer({ min: 10, max: xml.length }),
        fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 12 })),
        fc.constantFrom(...snippets),
        (at, removed, inserted) => {
          fc.pre(exact.every(([from, to]) => at + removed <= from! || at >= to!))
          const damaged = xml.slice(0, at) + inserted + xml.slice(at + removed)
          try {
            const { report, records } = readAggregate(damaged)
            // What is still well formed says what it says.
            if (!codesOf(report.warnings).includes('xml_repaired')) return
            expect(records.map(({ source_ip, count }) => [source_ip, count])).toEqual(counted)
            repaired++
          } catch (error) {
            if (!(error instanceof Rejected)) throw error
          }
        },
      ),
      { numRuns: 5_000 },
    )
    expect(repaired).toBeGreaterThan(300)
  })
})

describe('document type declarations are never processed', () => {
  const doctype = '<!DOCTYPE feedback [<!ENTITY a "b">]>'
  test.each([
    ['at the start', doctype + plainReport()],
    ['after a byte order mark and a declaration', `\ufeff<?xml version="1.0"?>\n${doctype}${plainReport()}`],
    ['in UTF-16', Buffer.from(`\ufeff${doctype}${plainReport()}`, 'utf16le')],
    ['in lower case', doctype.toLowerCase() + plainReport()],
    ['behind the root', plainReport() + doctype],
    ['in the middle', plainReport(doctype)],
    ['an entity alone', plainReport('<!ENTITY a SYSTEM "file:///etc/passwd">')],
    ['behind text', `hello ${doctype}${plainReport()}`],
  ])('%s', (_what, xml) => {
    expect(rejectOf(() => readAggregate(xml))).toBe('xml_doctype')
    expect(rejectOf(() => readOnce(xml, { tolerant: true }))).toBe('xml_doctype')
  })

  test('a comment or CDATA may speak of them', () => {
    const xml = `<!-- ${doctype} -->${plainReport().replace('Reporter', `<![CDATA[${doctype}]]>`)}`
    expect(readAggregate(xml).report.org_name).toBe(doctype)
  })
})

describe('what is kept is bounded', () => {
  test('long values are cut, never inside of a character', () => {
    const { report, records } = readAggregate(
      plainReport(recordOf().replaceAll('bounce.example.com', 'x'.repeat(300))).replace(
        'Reporter',
        `${'a'.repeat(1023)}😀`,
      ),
    )
    expect([report.org_name!.length, records[0]!.spf_results[0]!.domain!.length]).toEqual([1023, 255])
    expect(codesOf(report.warnings)).toEqual(['value_truncated', 'value_truncated'])
  })

  test('results and reasons of one record', () => {
    const reason = '<reason><type>other</type></reason>'
    const dkim = '<dkim><domain>a.example</domain><selector>s</selector><result>pass</result></dkim>'
    const spf = '<spf><domain>a.example</domain><result>pass</result></spf>'
    const { report, records } = readAggregate(
      plainReport(
        recordOf(
          rowOf().replace('</policy_evaluated>', `${reason.repeat(25)}</policy_evaluated>`),
          `${identifiers}<auth_results>${dkim.repeat(100_000)}${spf.repeat(30)}</auth_results>`,
        ),
      ),
    )
    const [record] = records
    expect([record!.reasons.length, record!.dkim_results.length, record!.spf_results.length]).toEqual([20, 100, 20])
    expect(codesOf(report.warnings)).toEqual(['results_dropped', 'results_dropped', 'results_dropped'])
  })

  test('warnings: ten of a kind, then their number', () => {
    const { report } = readAggregate(plainReport(rowWith('x', '0').repeat(500)))
    const codes = codesOf(report.warnings)
    expect(codes.filter((code) => code === 'address_invalid')).toHaveLength(10)
    expect(codes.filter((code) => code === 'count_implausible')).toHaveLength(10)
    expect(report.warnings.at(-1)).toEqual({ code: 'more_warnings', detail: '980 more warnings are not listed.' })
  })

  test('records', () => {
    expect(rejectOf(() => readAggregate(plainReport(recordOf().repeat(11)), { limits: { records: 10 } }))).toBe(
      'records_limit',
    )
  })

  test('every warning is one line without control characters', () => {
    const nasty = '&#10;&#x9b;31m\u202e\u2028'
    const xml = plainReport(rowWith(nasty, nasty)).replace('</sp>', `</sp>${nasty}x`).replace('>100<', `>${nasty}x<`)
    const { report } = readAggregate(xml)
    expect(report.warnings.length).toBeGreaterThan(3)
    for (const { code, detail } of report.warnings) {
      expect(Object.hasOwn(warningCodes, code)).toBe(true)
      expect(detail).toMatch(/^[^\p{C}\p{Zl}\p{Zp}]*$/u)
    }
  })
})

test('a reject says where and what to do', () => {
  try {
    readOnce(plainReport().replace('Reporter', 'AT&T'))
    expect.unreachable()
  } catch (error) {
    expect(error).toBeInstanceOf(Rejected)
    expect((error as Rejected).message).toMatch(/near byte \d+.*Ask the sender/)
  }
})
