import { createHash } from 'node:crypto'
import { expect, test } from 'vitest'
import type { DmarcRecord } from '../../processors/formats/shapes.ts'
import { columnsType, MAX_CHUNK_RECORDS, RecordColumns } from '../../processors/record-columns.ts'

const record = (change: Partial<DmarcRecord> = {}): DmarcRecord => ({
  source_ip: '192.0.2.1',
  count: 3,
  disposition: 'none',
  dkim: 'pass',
  spf: null,
  reasons: [{ type: 'forwarded', comment: null }],
  header_from: 'd.example',
  envelope_from: null,
  envelope_to: null,
  dkim_results: [{ domain: 'd.example', selector: 's1', result: 'pass', human_result: null }],
  spf_results: [
    { domain: 'x.example', scope: 'mfrom', result: 'fail' },
    { domain: null, scope: 'helo', result: 'none' },
  ],
  ...change,
})

function encode(records: readonly DmarcRecord[]): { hash: string; bytes: Buffer } {
  const columns = new RecordColumns()
  const hash = createHash('sha256')
  for (const one of records) columns.add(one, null)
  const bytes = columns.take(hash)
  return { hash: hash.digest('hex'), bytes }
}

test('columns hold each value once and say how the flattened lists belong to records', () => {
  const { bytes } = encode([record(), record({ source_ip: '192.0.2.2', count: null, reasons: [], dkim_results: [] })])
  const columns = columnsType.fromBuffer(bytes)
  expect(columns.dict).toEqual([
    '',
    '192.0.2.1',
    'none',
    'pass',
    'd.example',
    'forwarded',
    's1',
    'x.example',
    'mfrom',
    'fail',
    'helo',
    '192.0.2.2',
  ])
  expect(columns.count).toEqual([3, null])
  expect(columns.reasons).toEqual([1, 0])
  expect(columns.dkim_results).toEqual([1, 0])
  expect(columns.spf_results).toEqual([2, 2])
  expect(columns.spf_domain.map((index: number) => columns.dict[index])).toEqual(['x.example', '', 'x.example', ''])
})

test('a chunk is full at 500 records, and far earlier when records are large', () => {
  const small = new RecordColumns()
  for (let i = 0; i < MAX_CHUNK_RECORDS; i++) {
    expect(small.full).toBe(false)
    small.add(record(), null)
  }
  expect(small.full).toBe(true)
  const large = new RecordColumns()
  let added = 0
  for (; !large.full; added++) {
    const reasons = Array.from({ length: 20 }, (_, i) => ({
      type: 'other',
      comment: `${added}-${i}-`.padEnd(1024, 'x'),
    }))
    large.add(record({ reasons }), null)
  }
  expect(added).toBeLessThan(10)
  expect(large.take(createHash('sha256')).length).toBeLessThan(256 * 1024)
})

test.each([
  ['an address', { source_ip: '192.0.2.9' }],
  ['a count', { count: 4 }],
  ['a count that is missing', { count: null }],
  ['a null that becomes a word', { spf: 'fail' }],
  ['a reason', { reasons: [] }],
  ['a selector', { dkim_results: [{ domain: 'd.example', selector: null, result: 'pass', human_result: null }] }],
  ['the place of a word', { envelope_from: 'd.example', header_from: null }],
] as const)('records that differ in %s have another hash', (_what, change) => {
  expect(encode([record(change)]).hash).not.toBe(encode([record()]).hash)
  expect(encode([record()]).hash).toBe(encode([record()]).hash)
})

test('records that share their rest are encoded like records that do not', () => {
  const { source_ip: _ip, count: _count, ...rest } = record()
  const columns = new RecordColumns()
  const hash = createHash('sha256')
  for (const source_ip of ['192.0.2.1', '192.0.2.2']) columns.add(record({ source_ip }), rest)
  const shared = columns.take(hash)
  const alone = encode([record(), record({ source_ip: '192.0.2.2' })])
  expect(columnsType.fromBuffer(shared).dkim_domain).toEqual(columnsType.fromBuffer(alone.bytes).dkim_domain)
  expect(shared.equals(alone.bytes)).toBe(true)
})
