import fc from 'fast-check'
import ipaddr from 'ipaddr.js'
import { describe, expect, test } from 'vitest'
import { parseAddress, RangeIndex, RangeSet, readRange } from '../../rules/ranges.ts'

const contains = (range: string, address: string) => new RangeSet([readRange(range)!]).contains(address)

describe('a range', () => {
  test.each([
    ['192.0.2.0/24', '192.0.2.0', true],
    ['192.0.2.0/24', '192.0.2.255', true],
    ['192.0.2.0/24', '192.0.3.0', false],
    ['192.0.2.0/24', '192.0.1.255', false],
    ['192.0.2.7', '192.0.2.7', true],
    ['192.0.2.7', '192.0.2.8', false],
    ['0.0.0.0/0', '255.255.255.255', true],
    ['0.0.0.0/0', '2001:db8::1', false],
    ['255.255.255.255/32', '255.255.255.255', true],
    ['2001:db8:1::/48', '2001:db8:1:ffff::1', true],
    ['2001:db8:1::/48', '2001:db8:2::', false],
    ['::/0', '2001:db8::1', true],
    ['::/0', '192.0.2.1', false],
    ['ffff::/16', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff', true],
    ['192.0.2.0/24', '::ffff:192.0.2.9', true],
    ['192.0.2.0/24', '::ffff:c000:209', true],
    ['::ffff:192.0.2.0/120', '192.0.2.9', true],
    ['::ffff:192.0.2.0/120', '192.0.3.9', false],
    ['192.0.2.0/24', '0:0:0:0:0:ffff:192.0.2.9', true],
  ])('%s and %s: %s', (range, address, expected) => {
    expect(contains(range, address)).toBe(expected)
  })

  test.each([
    '',
    '64.x.x.x',
    '192.0.2',
    '192.0.2.256',
    '192.0.02.1',
    '1.2.3.4.5',
    '::1::',
    'fe80::1%eth0',
    '12345::',
    'a.b',
    ':',
  ])('what is no address (%j) is in none', (text) => {
    expect(parseAddress(text)).toBeNull()
    expect(contains('0.0.0.0/0', text)).toBe(false)
    expect(contains('::/0', text)).toBe(false)
  })

  test.each([
    '192.0.2.0/33',
    '192.0.2.0/',
    '192.0.2.0/08',
    '192.0.2.0/2/4',
    '2001:db8::/129',
    'example.org',
    '/24',
    '10.0.0.0/-1',
  ])('%j is none', (text) => {
    expect(readRange(text)).toBeNull()
  })

  test('bits behind the prefix are taken away, and noticed', () => {
    expect(readRange('192.0.2.77/24')).toMatchObject({ text: '192.0.2.0/24', hadHostBits: true })
    expect(readRange('2001:DB8:0:0::5/32')).toMatchObject({ text: '2001:db8::/32', hadHostBits: true })
    expect(readRange('2001:db8::/32')).toMatchObject({ text: '2001:db8::/32', hadHostBits: false })
  })
})

const ipv4 = fc.ipV4()
/** Not `::192.0.2.1`: ipaddr.js takes that form, which RFC 4291 §2.5.5.1 deprecates, for IPv4-mapped. */
const ipv6 = fc.ipV6().filter((text) => !/^::[\d.]+$/.test(text))

describe('any address', () => {
  test('is read as ipaddr.js reads it', () => {
    fc.assert(
      fc.property(fc.oneof(ipv4, ipv6), (text) => {
        const bytes = ipaddr.process(text).toByteArray()
        const key = parseAddress(text)
        const read =
          typeof key === 'number'
            ? [key >>> 24, (key >>> 16) & 255, (key >>> 8) & 255, key & 255]
            : [...Buffer.from(key!, 'hex')]
        expect(read).toEqual(bytes)
      }),
      { numRuns: 500 },
    )
  })

  test('and any text: what we read is an address to ipaddr.js', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...'0123456789abcdef:.') }), (text) => {
        if (parseAddress(text) !== null) expect(ipaddr.isValid(text)).toBe(true)
      }),
      { numRuns: 2000 },
    )
  })

  test('is in the ranges that ipaddr.js says', () => {
    const range = fc.oneof(
      fc.tuple(ipv4, fc.integer({ min: 0, max: 32 })),
      fc.tuple(ipv6, fc.integer({ min: 0, max: 128 })),
    )
    fc.assert(
      fc.property(fc.array(range, { maxLength: 12 }), fc.oneof(ipv4, ipv6), fc.nat(11), (ranges, other, pick) => {
        // Half of the addresses asked for are in one of the ranges: random ones never are.
        const address = ranges.length > 0 && pick % 2 === 0 ? ranges[pick % ranges.length]![0] : other
        const read = ranges.map(([network, bits]) => readRange(`${network}/${bits}`)!)
        const found = new RangeIndex(
          read,
          read.map((_, number) => number),
        ).find(parseAddress(address)!)
        const asked = ipaddr.process(address)
        const expected = ranges.flatMap(([network, bits], number) => {
          const parsed = ipaddr.parse(network)
          const isMapped = parsed instanceof ipaddr.IPv6 && parsed.isIPv4MappedAddress() && bits >= 96
          const base = isMapped ? parsed.toIPv4Address() : parsed
          if (base.kind() !== asked.kind()) return []
          return asked.match(base as never, isMapped ? bits - 96 : bits) ? [number] : []
        })
        expect(found).toEqual(expected)
      }),
      { numRuns: 1000 },
    )
  })
})
