import fc from 'fast-check'
import ipaddr from 'ipaddr.js'
import { describe, expect, test } from 'vitest'
import { dayNumber, dayOfInstant, parseAddress } from '../../projections/values.ts'

function bytesOf(text: string): number[] | null {
  const bytes = new Uint8Array(20).fill(7)
  const valid = parseAddress(text, bytes, 2)
  expect([...bytes.subarray(0, 2), ...bytes.subarray(18)]).toEqual([7, 7, 7, 7])
  if (!valid) expect([...bytes.subarray(2, 18)]).toEqual(Array(16).fill(0))
  return valid ? [...bytes.subarray(2, 18)] : null
}

function bytesByLibrary(text: string): number[] {
  const address = ipaddr.process(text)
  return address.kind() === 'ipv4'
    ? [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, ...address.toByteArray()]
    : address.toByteArray()
}

describe('addresses', () => {
  test('any IPv4 and IPv6 address reads as ipaddr.js reads it', () => {
    fc.assert(
      fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), (text) => {
        // The library takes the deprecated ::a.b.c.d for ::ffff:a.b.c.d; RFC 4291 §2.5.5.1 tells them apart.
        fc.pre(!/^::\d+\./.test(text))
        expect(bytesOf(text)).toEqual(bytesByLibrary(text))
      }),
    )
  })

  test('an IPv4-compatible address is not an IPv4-mapped one (RFC 4291 §2.5.5)', () => {
    expect(bytesOf('::1.2.3.4')).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4])
    expect(bytesOf('::ffff:1.2.3.4')).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 1, 2, 3, 4])
  })

  test.each([
    '::',
    '::1',
    '1::',
    '2001:db8::192.0.2.33',
    '::ffff:192.0.2.1',
    'FE80::A',
    '1:2:3:4:5:6:7:8',
    '1:2:3:4:5:6:7::',
  ])('%s is read', (text) => {
    expect(bytesOf(text)).toEqual(bytesByLibrary(text))
  })

  test.each([
    '',
    '1.2.3',
    '1.2.3.4.5',
    '256.1.1.1',
    '01.2.3.4',
    '64.x.x.x',
    '1..2.3',
    ':',
    ':::',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '1::2::3',
    '12345::',
    '1:2:3:4:5:6:7:8::',
    '::1:',
    'fe80::1%eth0',
    '1:2:3:4:5:6:7:1.2.3.4',
    ' 1.2.3.4',
    'example.com',
  ])('%j is no address', (text) => {
    expect(bytesOf(text)).toBeNull()
  })

  test('whatever is read is an address to ipaddr.js too', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom('0', '1', 'f', ':', '::', '.', '9', 'g'), maxLength: 30 }),
        (text) => {
          if (bytesOf(text) !== null) expect(ipaddr.isValid(text)).toBe(true)
        },
      ),
      { numRuns: 2000 },
    )
  })
})

test('days are held within what the store can say', () => {
  expect(dayNumber('1970-01-01')).toBe(0)
  expect(dayNumber('1969-12-31')).toBe(0)
  expect(dayNumber('2026-10-01')).toBe(20_727)
  expect(dayNumber('2200-01-01')).toBe(65_535)
  expect(() => dayNumber('yesterday')).toThrow('YYYY-MM-DD')
  expect(dayOfInstant(Date.UTC(2026, 9, 1, 23, 59))).toBe(20_727)
})
