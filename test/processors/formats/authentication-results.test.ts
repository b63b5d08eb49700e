import { expect, test } from 'vitest'
import { readAuthenticationResults } from '../../../processors/formats/authentication-results.ts'

const read = (text: string) => {
  const found = readAuthenticationResults(text)
  return found === null
    ? null
    : [
        found.authservId,
        ...found.results.map(({ method, result, properties }) => [method, result, Object.fromEntries(properties)]),
      ]
}

test('methods, results and properties are read, comments and quotes left out', () => {
  const text =
    'MX.example.org 1; (a; (nested) comment) dkim/1 = pass (2048-bit key) reason="good; really" header.d=Reporter.example\r\n' +
    '\theader.i="@reporter.example"; spf=fail smtp.mailfrom=a@b.example; dmarc=pass (p=none) header.from=reporter.example'
  expect(read(text)).toEqual([
    'mx.example.org',
    ['dkim', 'pass', { 'header.d': 'Reporter.example', 'header.i': '@reporter.example' }],
    ['spf', 'fail', { 'smtp.mailfrom': 'a@b.example' }],
    ['dmarc', 'pass', { 'header.from': 'reporter.example' }],
  ])
})

test('a server that found nothing says so, and a field without a server says nothing', () => {
  expect(read('mx.example.org; none')).toEqual(['mx.example.org'])
  expect(read('dkim=pass header.d=a.example')).toBeNull()
  expect(read('')).toBeNull()
})

test('a result inside a comment or a quoted text is none, and the first of two properties stands', () => {
  expect(read('mx.example.org; (dkim=pass header.d=a.example)')).toEqual(['mx.example.org'])
  expect(read('mx.example.org; x="; dkim=pass header.d=a.example"')).toEqual(['mx.example.org'])
  expect(read('mx.example.org; dkim=fail header.d=a.example header.d=b.example')).toEqual([
    'mx.example.org',
    ['dkim', 'fail', { 'header.d': 'a.example' }],
  ])
})

test('what never ends is read to its end, once', () => {
  for (const piece of ['(', '"', ';', '\\', 'a=b;', ' =', '; dkim=pass x.y=z']) {
    const begun = performance.now()
    readAuthenticationResults(`mx.example.org; ${piece.repeat(Math.floor(16_000 / piece.length))}`)
    expect(performance.now() - begun).toBeLessThan(500)
  }
  expect(readAuthenticationResults(`mx.example.org; ${'x'.repeat(20_000)}`)).toBeNull()
})
