import fc from 'fast-check'
import { expect, test } from 'vitest'
import { AggregateReader } from '../../../processors/formats/dmarc-aggregate.ts'
import { defaultLimits } from '../../../processors/formats/limits.ts'
import { type DmarcRecordRest, MEMO_FROM_RECORDS } from '../../../processors/formats/record-memo.ts'
import type { DmarcRecord } from '../../../processors/formats/shapes.ts'

const tail = (spf: string) =>
  `<policy_evaluated><disposition>none</disposition><dkim>pass</dkim><spf>${spf}</spf></policy_evaluated></row><identifiers><header_from>d.example</header_from></identifiers><auth_results><dkim><domain>D.example</domain><result>pass</result></dkim></auth_results>`
const row = (ip: string, count: string, rest: string) =>
  `<row><source_ip>${ip}</source_ip><count>${count}</count>${rest}`

/** So many records that the next ones are looked up in the memo. */
const before = Array.from({ length: MEMO_FROM_RECORDS }, (_, i) => row(`192.0.2.${i}`, '1', tail('fail')))

function document(said: readonly string[]): Buffer {
  const records = [...before, ...said]
  return Buffer.from(
    `<feedback><report_metadata><org_name>a.example</org_name><email>x@a.example</email><report_id>1</report_id><date_range><begin>1767225600</begin><end>1767311999</end></date_range></report_metadata><policy_published><domain>d.example</domain><p>none</p></policy_published>${records.map((record) => `<record>${record}</record>`).join('\n')}</feedback>`,
  )
}

function read(bytes: Buffer, tolerant: boolean, step = bytes.length) {
  const records: DmarcRecord[] = []
  const rests: (DmarcRecordRest | null)[] = []
  const reader = new AggregateReader({
    limits: defaultLimits,
    tolerant,
    onRecord: (record, rest) => {
      records.push(record)
      rests.push(rest)
    },
  })
  for (let at = 0; at < bytes.length; at += step) reader.write(bytes.subarray(at, at + step))
  const report = reader.end()
  const warnings = report.warnings.filter(({ detail }) => !before.some((_, i) => detail.startsWith(`record ${i + 1}:`)))
  return { records: records.slice(before.length), rests: rests.slice(before.length), report: { ...report, warnings } }
}

/** Tolerant reading reads every record in full: it is the measure for what the memo gives. */
function expectSameAsInFull(records: readonly string[], step?: number): void {
  const bytes = document(records)
  const remembered = read(bytes, false, step)
  const inFull = read(bytes, true, step)
  expect(remembered.records).toEqual(inFull.records)
  expect(remembered.report.records).toBe(inFull.report.records)
  const codes = (warnings: readonly { code: string; detail: string }[]) =>
    warnings.filter(({ code }) => code !== 'xml_repaired')
  expect(codes(remembered.report.warnings)).toEqual(codes(inFull.report.warnings))
}

test('records that differ in address and count only are told to have the rest in common', () => {
  const { records, rests } = read(
    document(['1.2.3.4', '1.2.3.5', '1.2.3.6'].map((ip, i) => row(ip, String(i + 1), tail('fail')))),
    false,
  )
  expect(records.map(({ source_ip, count }) => [source_ip, count])).toEqual([
    ['1.2.3.4', 1],
    ['1.2.3.5', 2],
    ['1.2.3.6', 3],
  ])
  expect(rests[0]).not.toBeNull()
  expect(rests[1]).toBe(rests[0])
  expect(rests[2]).toBe(rests[0])
})

test('a record with a warning is read in full every time, and warned of every time', () => {
  const odd = row('1.2.3.4', '5', tail('sometimes'))
  const { report, rests } = read(document([odd, odd]), false)
  expect(report.warnings.filter(({ code }) => code === 'result_unknown')).toHaveLength(2)
  expect(rests).toEqual([null, null])
})

test('a record with a second count is warned of every time, whatever was read before it', () => {
  const twice = `${row('1.2.3.4', '7', '')}<count>8</count>${tail('pass')}`
  const { records, report, rests } = read(document([row('1.2.3.4', '3', tail('pass')), twice, twice]), false)
  expect(records.map(({ count }) => count)).toEqual([3, 7, 7])
  expect(report.warnings.map(({ code }) => code)).toEqual(['field_duplicated', 'field_duplicated'])
  expect(rests.slice(1)).toEqual([null, null])
})

test.each([
  ['an address that is none', row('64.x.x.x', '5', tail('pass'))],
  ['no address', row('', '5', tail('pass'))],
  ['a count of 0', row('1.2.3.4', '0', tail('pass'))],
  ['a negative count', row('1.2.3.4', '-3', tail('pass'))],
  ['a count of words', row('1.2.3.4', 'many', tail('pass'))],
  ['a count with white space', row('1.2.3.4', ' 7 ', tail('pass'))],
  [
    'a comment between address and count',
    `<row><source_ip>1.2.3.4</source_ip><!-- x --><count>3</count>${tail('pass')}`,
  ],
  ['count before address', `<row><count>3</count><source_ip>1.2.3.4</source_ip>${tail('pass')}`],
  ['an entity in the address', row('1.2.3&#46;4', '3', tail('pass'))],
  ['a record end inside a comment', `${row('1.2.3.4', '3', '')}<!-- </record> -->${tail('pass')}`],
  ['an IPv4-mapped address', row('::ffff:1.2.3.4', '3', tail('pass'))],
])('after an ordinary record, %s is read as if there were no memo', (_what, odd) => {
  const plain = row('1.2.3.4', '3', tail('pass'))
  expectSameAsInFull([plain, odd, plain, odd])
})

test('any mixture of records, cut anywhere, is read as if there were no memo', () => {
  const address = fc.constantFrom('1.2.3.4', '2001:db8::1', '::ffff:9.8.7.6', '64.x.x.x', ' 5.6.7.8 ', '')
  const count = fc.constantFrom('1', '12', '0', '-1', '3.0', 'x', '99999999999', ' 4')
  const rest = fc.constantFrom(tail('pass'), tail('fail'), tail('odd'), `\n${tail('pass')}`)
  const record = fc
    .tuple(address, count, rest, fc.constantFrom('', '\n  '))
    .map(([ip, n, end, space]) => `${space}<row>${space}<source_ip>${ip}</source_ip>${space}<count>${n}</count>${end}`)
  fc.assert(
    fc.property(
      fc.array(record, { minLength: 1, maxLength: 12 }),
      fc.integer({ min: 20, max: 4000 }),
      (records, step) => expectSameAsInFull(records, step),
    ),
    { numRuns: 200 },
  )
})
