import {
  closeSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { isIP } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { isGlobal, readAddress } from '../../edges/address-words.ts'
import { type AddressData, openAddressData } from '../../edges/addresses.ts'
import { RangeTableBuilder, upperHalves, valueOfIPv4, valueOfIPv6 } from '../../edges/range-table.ts'
import { normaliseAddress } from '../../processors/formats/addresses.ts'

const nothing = { asn: null, asName: null, country: null }
const words = new Uint32Array(4)

describe('the data packages', () => {
  let folder: string
  let data: AddressData
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'mailtrail-addresses-'))
    data = await openAddressData({ folder, installed: folder })
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  test('networks and countries of well-known addresses', () => {
    expect(data.find('8.8.8.8')).toEqual({ asn: 15169, asName: 'Google LLC', country: 'US' })
    expect(data.find('2001:4860:4860::8888')).toEqual({ asn: 15169, asName: 'Google LLC', country: 'US' })
    expect(data.find('193.0.6.139')).toMatchObject({ asn: 3333, country: 'NL' })
    expect(data.find('2001:67c:2e8:22::c100:68b')).toMatchObject({ asn: 3333, country: 'NL' })
  })

  test('IPv4-mapped IPv6 is the IPv4 address', () => {
    expect(data.find('::ffff:8.8.8.8')).toEqual(data.find('8.8.8.8'))
    expect(data.find('::ffff:808:808')).toEqual(data.find('8.8.8.8'))
  })

  test.each([
    [
      '10.1.2.3',
      '127.0.0.1',
      '169.254.1.1',
      '172.31.255.255',
      '192.168.1.1',
      '100.64.0.1',
      '0.0.0.0',
      '255.255.255.255',
    ],
    ['192.0.2.1', '198.51.100.1', '203.0.113.1', '198.19.255.255', '224.0.0.1', '240.0.0.1'],
    ['::', '::1', 'fe80::1', 'fd00::1', 'ff02::1', '2001:db8::1', '3fff::1', '64:ff9b::808:808'],
    ['', 'x', '64.x.x.x', '8.8.8', '8.8.8.8.8', '08.8.8.8', '8.8.8.256', 'fe80::1%eth0', ':::', '1::2::3'],
  ])('nothing is said of what is not of the public internet, or no address: %s …', (...addresses) => {
    for (const address of addresses) expect(data.find(address), address).toEqual(nothing)
  })

  test('the version names both packages', () => {
    expect(data.version).toMatch(/^asn \d+\.\d+\.\d+, country \d+\.\d+\.\d+$/)
  })

  test('the tables are kept, and made anew when their file is damaged or cut', async () => {
    const [name, ...others] = readdirSync(folder)
    expect(others).toEqual([])
    const path = join(folder, name!)
    const { mtimeMs, size } = statSync(path)
    expect((await openAddressData({ folder, installed: folder })).find('8.8.8.8')).toEqual(data.find('8.8.8.8'))
    expect(statSync(path).mtimeMs).toBe(mtimeMs)

    const file = openSync(path, 'r+')
    writeSync(file, Buffer.from([1, 2, 3, 4]), 0, 4, size - 1000)
    closeSync(file)
    expect((await openAddressData({ folder, installed: folder })).find('8.8.8.8')).toEqual(data.find('8.8.8.8'))
    expect(statSync(path).size).toBe(size)

    truncateSync(path, 5)
    expect((await openAddressData({ folder, installed: folder })).find('8.8.8.8')).toEqual(data.find('8.8.8.8'))
    expect(statSync(path).size).toBe(size)
    expect(readdirSync(folder)).toEqual([name])
  })
})

test('an installation that cannot be written leaves the tables to the data folder', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'mailtrail-addresses-'))
  // No folder can be made below a file, whoever asks.
  const installed = join(folder, 'a-file')
  writeFileSync(installed, '')
  const data = await openAddressData({ folder, installed: join(installed, 'cache') })
  expect(data.find('8.8.8.8').asn).toBe(15169)
  expect(readdirSync(folder).some((name) => name.startsWith('addresses-'))).toBe(true)
  rmSync(folder, { recursive: true, force: true })
})

describe('addresses as numbers', () => {
  const reads = (text: string) => {
    const version = readAddress(text, words)
    return version === 4 ? [words[0]] : version === 6 ? [...words] : null
  }

  test('both versions', () => {
    expect(reads('1.2.3.4')).toEqual([0x01020304])
    expect(reads('255.255.255.255')).toEqual([0xffffffff])
    expect(reads('2001:db8::1')).toEqual([0x20010db8, 0, 0, 1])
    expect(reads('1:2:3:4:5:6:7:8')).toEqual([0x00010002, 0x00030004, 0x00050006, 0x00070008])
    expect(reads('64:ff9b::192.0.2.1')).toEqual([0x0064ff9b, 0, 0, 0xc0000201])
    expect(reads('::ffff:1.2.3.4')).toEqual([0x01020304])
  })

  test('what Node takes for an address is one, and nothing else', () => {
    const piece = fc.oneof(
      fc.constantFrom(':', '::', '.', '0', 'ffff', '1.2.3.4', '256', '01', 'g', ''),
      fc.nat(70_000).map((n) => n.toString(16)),
    )
    const text = fc.oneof(
      fc.ipV4(),
      fc.ipV6(),
      fc.array(piece, { maxLength: 12 }).map((pieces) => pieces.join('')),
      fc.array(piece, { maxLength: 9 }).map((pieces) => pieces.join(':')),
    )
    fc.assert(
      fc.property(text, (one) => (readAddress(one, words) !== 0) === (isIP(one) !== 0)),
      { numRuns: 3000 },
    )
  })

  test('however it is written, an address is the same number', () => {
    fc.assert(
      fc.property(fc.ipV6(), (text) => {
        const { address } = normaliseAddress(text)
        expect(reads(text)).toEqual(reads(address))
      }),
    )
  })

  test('an address next to a range that is not global is', () => {
    for (const text of ['9.255.255.255', '11.0.0.0', '172.15.255.255', '172.32.0.0', '223.255.255.255', '2001:db9::'])
      expect(isGlobal(readAddress(text, words) as 4 | 6, words), text).toBe(true)
  })
})

describe('tables of ranges', () => {
  test('an IPv4 address is found in the range that holds it, at both its ends', () => {
    const builder = new RangeTableBuilder(1)
    const ranges = [[10, 1], [20, 0], [30, 2], [0x00050000, 3], [0x00060000, 4], [0xffffffff, 5]] as const // biome-ignore format: pairs
    for (const [start, value] of ranges) builder.from(Uint32Array.of(start), value)
    const table = builder.build()
    const upper = upperHalves(table)
    const find = (...addresses: readonly number[]) => addresses.map((at) => valueOfIPv4(table, upper, at))
    expect(find(0, 9, 10, 19, 20, 29, 30, 0x4ffff)).toEqual([0, 0, 1, 1, 0, 0, 2, 2])
    expect(find(0x50000, 0x5ffff, 0x60000, 0x70000, 0xfffffffe, 0xffffffff)).toEqual([3, 3, 4, 4, 4, 5])
  })

  test('any IPv4 address is found where reading all ranges finds it', () => {
    const address = fc.oneof(fc.nat(0xffffffff), fc.nat(0x30000))
    fc.assert(
      fc.property(fc.uniqueArray(address, { maxLength: 50 }), fc.array(address), (unordered, asked) => {
        const starts = unordered.toSorted((a, b) => a - b)
        const builder = new RangeTableBuilder(1)
        for (const [i, start] of starts.entries()) builder.from(Uint32Array.of(start), i + 1)
        const table = builder.build()
        const upper = upperHalves(table)
        for (const at of [...asked, ...starts])
          expect(valueOfIPv4(table, upper, at)).toBe(starts.filter((start) => start <= at).length)
      }),
    )
  })

  test('an IPv6 address is found in the range that holds it', () => {
    const builder = new RangeTableBuilder(4)
    builder.from(Uint32Array.of(0x20010db8, 0, 0, 0), 1)
    builder.from(Uint32Array.of(0x20010db8, 1, 0, 0), 2)
    const table = builder.build()
    const find = (...words: readonly number[]) => valueOfIPv6(table, Uint32Array.of(...words))
    expect(find(0x20010db7, 0xffffffff, 0xffffffff, 0xffffffff)).toBe(0)
    expect(find(0x20010db8, 0, 0, 0)).toBe(1)
    expect(find(0x20010db8, 0, 0xffffffff, 0xffffffff)).toBe(1)
    expect(find(0x20010db8, 1, 0, 0)).toBe(2)
    expect(find(0xffffffff, 0, 0, 0)).toBe(2)
  })

  test('neighbours that say the same are one range, and ranges out of order are refused', () => {
    const builder = new RangeTableBuilder(4)
    for (let n = 0; n < 5000; n++) builder.from(Uint32Array.of(1, 0, 0, n), n >> 1)
    expect(builder.build().values).toHaveLength(2499)
    expect(() => builder.from(Uint32Array.of(0, 9, 9, 9), 1)).toThrow('not in order')
  })
})
