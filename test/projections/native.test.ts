import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { EmbeddedStore } from '../../projections/embedded-store.ts'
import {
  array,
  bool,
  type Column,
  date,
  dateTime64,
  encodeBlock,
  fixedHex,
  float64,
  int32,
  int64,
  ipv6,
  lowCardinality,
  nullableFloat64,
  nullableInt32,
  Offsets,
  pushTexts,
  string,
  uint8,
  uint16,
  uint32,
  uint64,
} from '../../projections/native.ts'
import { parseAddress } from '../../projections/values.ts'
import { openStore, removeFolder, temporaryFolder } from './projecting.ts'

let folder: string
let store: EmbeddedStore
beforeAll(async () => {
  folder = await temporaryFolder()
  store = await openStore(folder)
})
afterAll(async () => {
  await store.close()
  await removeFolder(folder)
})

/** Writes the columns to a table of their types and reads them back, in order. */
async function roundTrip(columns: Record<string, Column>): Promise<Record<string, unknown>[]> {
  const structure = ['row UInt32', ...Object.entries(columns).map(([name, column]) => `\`${name}\` ${column.type}`)]
  await store.command('DROP TABLE IF EXISTS native_test SYNC')
  await store.command(`CREATE TABLE native_test (${structure}) ENGINE = MergeTree ORDER BY row`)
  const row = uint32()
  for (let index = 0; index < Object.values(columns)[0]!.length; index++) row.push(index)
  await store.insert('native_test', encodeBlock({ row, ...columns }))
  return store.query('SELECT * EXCEPT (row) FROM native_test ORDER BY row')
}

const hard = ['', 'plain', "quote ' and \\ backslash", 'tab\tline\nreturn\r', 'nul\0inside', 'ümläut 😀 ', '\u202e‮']

describe('a Native block arrives in the store as it was written', () => {
  test('numbers up to their bounds', async () => {
    const columns = {
      u8: uint8(),
      u16: uint16(),
      u32: uint32(),
      u64: uint64(),
      i32: int32(),
      i64: int64(),
      f64: float64(),
      yes: bool(),
    }
    const rows = [
      { u8: 0, u16: 0, u32: 0, u64: 0, i32: -2147483648, i64: -9007199254740991, f64: -1.5, yes: false },
      {
        u8: 255,
        u16: 65535,
        u32: 4294967295,
        u64: 9007199254740991,
        i32: 2147483647,
        i64: 4294967296,
        f64: 9e15,
        yes: true,
      },
      { u8: 1, u16: 2, u32: 3, u64: 4294967296, i32: -1, i64: -1, f64: 0.1, yes: true },
    ]
    for (const row of rows)
      for (const [name, column] of Object.entries(columns)) column.push(Number(row[name as keyof typeof row]))
    expect(await roundTrip(columns)).toEqual(rows)
  })

  test('days, instants and what may be null', async () => {
    const columns = { day: date(), at: dateTime64(), count: nullableFloat64(), pct: nullableInt32() }
    columns.day.push(0)
    columns.at.push(0)
    columns.count.push(null)
    columns.pct.push(null)
    columns.day.push(20_000)
    columns.at.push(1_790_000_000_123)
    columns.count.push(0)
    columns.pct.push(-7)
    expect(await roundTrip(columns)).toEqual([
      { day: '1970-01-01', at: '1970-01-01T00:00:00.000Z', count: null, pct: null },
      { day: '2024-10-04', at: '2026-09-21T14:13:20.123Z', count: 0, pct: -7 },
    ])
  })

  test('texts of every kind, with lone surrogates as U+FFFD', async () => {
    const columns = { text: string(), low: lowCardinality() }
    for (const text of [...hard, 'lone \ud800 high', 'lone \udc00 low']) {
      columns.text.push(text)
      columns.low.push(text)
    }
    const shown = [...hard, 'lone \ufffd high', 'lone \ufffd low'].map((text) => ({ text, low: text }))
    expect(await roundTrip(columns)).toEqual(shown)
  })

  test('two texts that become the same one', async () => {
    const low = lowCardinality()
    for (const text of ['\ud800', '\udbff', 'a']) low.push(text)
    expect(await roundTrip({ low })).toEqual([{ low: '\ufffd' }, { low: '\ufffd' }, { low: 'a' }])
  })

  test('hashes from hex, and addresses', async () => {
    const columns = { key: fixedHex(32), variant: fixedHex(16), address: ipv6() }
    const bytes = new Uint8Array(16)
    columns.key.pushHex('ab'.repeat(32), 3)
    columns.variant.pushHex('0F'.repeat(16), 3)
    for (const address of ['192.0.2.1', '2001:db8::1', '::']) {
      parseAddress(address, bytes, 0)
      columns.address.pushBytes(bytes)
    }
    const rows = await roundTrip(columns)
    expect(rows.map(({ address }) => address)).toEqual(['::ffff:192.0.2.1', '2001:db8::1', '::'])
    const [row] = await store.query('SELECT hex(key) AS key, hex(variant) AS variant FROM native_test WHERE row = 2')
    expect(row).toEqual({ key: 'AB'.repeat(32), variant: '0F'.repeat(16) })
  })

  test('lists, empty ones and lists that share their lengths', async () => {
    const lengths = new Offsets()
    const columns = {
      texts: array(string()),
      lows: array(lowCardinality(), lengths),
      more: array(lowCardinality(), lengths),
      keys: array(fixedHex(32)),
    }
    for (const texts of [[], ['a', ''], [], hard]) pushTexts(columns.texts, texts)
    lengths.pushAll([0, 2, 1, 0])
    columns.lows.items.pushMapped(['', 'x', 'y'], [1, 2, 1])
    columns.more.items.pushMapped(['', 'z'], [0, 1, 0])
    for (const count of [1, 0, 0, 0]) columns.keys.offsets.push(count)
    columns.keys.items.pushHex('00'.repeat(32))
    const rows = await roundTrip(columns)
    expect(rows.map(({ texts, lows, more }) => ({ texts, lows, more }))).toEqual([
      { texts: [], lows: [], more: [] },
      { texts: ['a', ''], lows: ['x', 'y'], more: ['', 'z'] },
      { texts: [], lows: ['x'], more: [''] },
      { texts: hard, lows: [], more: [] },
    ])
  })

  test('lists that are all empty', async () => {
    const columns = { texts: array(string()), lows: array(lowCardinality()), keys: array(fixedHex(32)) }
    for (let row = 0; row < 3; row++) for (const column of Object.values(columns)) column.offsets.push(0)
    expect(await roundTrip(columns)).toEqual(Array(3).fill({ texts: [], lows: [], keys: [] }))
  })

  test.each([255, 256, 257, 65_535, 65_536, 65_537])('a dictionary of %i texts', async (entries) => {
    const columns = { low: lowCardinality(), lows: array(lowCardinality()) }
    for (let row = 0; row < entries; row++) {
      columns.low.push(`text ${row}`)
      pushTexts(columns.lows, [`text ${row}`, 'again'])
    }
    const rows = await roundTrip(columns)
    expect(rows).toHaveLength(entries)
    expect(rows.every((row, index) => row.low === `text ${index}`)).toBe(true)
    expect(rows.at(-1)).toEqual({ low: `text ${entries - 1}`, lows: [`text ${entries - 1}`, 'again'] })
  })

  test('no rows at all', async () => {
    expect(await roundTrip({ low: lowCardinality(), text: string(), lows: array(lowCardinality()) })).toEqual([])
  })

  test('the next block after a clear holds nothing of the one before', async () => {
    const columns = { low: lowCardinality(), lows: array(lowCardinality()), text: string(), count: nullableFloat64() }
    const fill = (text: string) => {
      columns.low.fill(text, 2)
      for (let row = 0; row < 2; row++) {
        pushTexts(columns.lows, [text])
        columns.text.push(text)
        columns.count.push(row === 0 ? null : 1)
      }
    }
    fill('before')
    encodeBlock(columns)
    for (const column of Object.values(columns)) column.clear()
    fill('after')
    const rows = await roundTrip(columns)
    expect(rows).toEqual([
      { low: 'after', lows: ['after'], text: 'after', count: null },
      { low: 'after', lows: ['after'], text: 'after', count: 1 },
    ])
  })
})

test('columns of different lengths are refused, naming the column', () => {
  const columns = { first: uint8(), second: string() }
  columns.first.push(1)
  expect(() => encodeBlock(columns)).toThrow('Column second has 0 rows')
})

test('a hash of the wrong length is refused', () => {
  expect(() => fixedHex(16).pushHex('abcd')).toThrow('Expected 16 bytes')
  expect(() => fixedHex(16).pushHex('zz'.repeat(16))).toThrow('Expected 16 bytes')
})
