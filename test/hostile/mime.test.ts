import { expect, test } from 'vitest'
import { Rejected } from '../../processors/formats/codes.ts'
import { readFailureReport } from '../../processors/formats/failure-report.ts'
import { defaultLimits } from '../../processors/formats/limits.ts'
import { leaves, readMail } from '../../processors/formats/mime.ts'

/** The code of the reject, or what was read when there is none. */
function outcome(text: string | Buffer, limits = defaultLimits): string {
  const bytes = typeof text === 'string' ? Buffer.from(text, 'latin1') : text
  try {
    const mail = readMail(bytes, limits)
    readFailureReport(mail.root, mail.fields)
    let parts = 0
    for (const leaf of leaves(mail.root)) {
      leaf.content()
      parts++
    }
    return `${parts} parts`
  } catch (error) {
    if (error instanceof Rejected) return error.code
    throw error
  }
}

/** Seconds that it took; the bounds below are twenty times what it takes on a slow machine. */
function seconds(work: () => void): number {
  const start = performance.now()
  work()
  return (performance.now() - start) / 1000
}

const head = 'Subject: x\nContent-Type: multipart/mixed; boundary=o\n\n'

test('a mail of nothing, or of white space and NULs, is empty', () => {
  for (const text of ['', '\r\n\r\n', ' \t\n'.repeat(1000), '\0\0\0\n']) expect(outcome(text)).toBe('mail_empty')
})

test('a mail above the limit is refused by its size', () => {
  expect(outcome(Buffer.alloc(101, 'x'), { ...defaultLimits, mailBytes: 100 })).toBe('mail_too_large')
})

test('500 parts are read, 20,000 are refused', () => {
  expect(outcome(`${head}${'--o\n\nx\n'.repeat(499)}--o--\n`)).toBe('499 parts')
  expect(outcome(`${head}${'--o\n\nx\n'.repeat(20_000)}--o--\n`)).toBe('mime_limit')
})

test('multiparts nested 1,000 deep are refused', () => {
  let text = ''
  for (let i = 0; i < 1000; i++) text += `Content-Type: multipart/mixed; boundary=b${i}\n\n--b${i}\n`
  expect(outcome(text)).toBe('mime_limit')
})

test('mails attached 1,000 deep are refused, also when each is encoded', () => {
  expect(outcome('Content-Type: message/rfc822\n\n'.repeat(1000))).toBe('mime_limit')
  let text = 'Subject: x\n\nx'
  for (let i = 0; i < 22; i++) {
    text = `Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n${Buffer.from(text).toString('base64')}`
  }
  expect(outcome(text)).toBe('mime_limit')
})

test('a header of 10 MB is refused, be it one field or many, of the mail or of a part', () => {
  expect(outcome(`Subject: ${'x'.repeat(10_000_000)}\n\nbody`)).toBe('mime_limit')
  expect(outcome(`${'X-A: b\n'.repeat(1_500_000)}\nbody`)).toBe('mime_limit')
  expect(outcome(`${head}--o\n${'X-A: b\n'.repeat(1_500_000)}\nbody\n--o--`)).toBe('mime_limit')
})

test('a header just below the limit is read', () => {
  const field = `Subject: ${'x'.repeat(defaultLimits.headerBytes - 11)}\n\n`
  expect(outcome(`${field}body`)).toBe('1 parts')
  expect(outcome(`x${field}body`)).toBe('mime_limit')
})

test.each([
  ['lines that are no fields', `Subject: x\n${'nonsense\n'.repeat(25_000)}Date: x\n\n`],
  ['encoded words that never end', `Subject: ${'=?utf-8?Q?'.repeat(20_000)}\n\n`],
  ['quotes that never end', `Content-Type: a/b; ${'a="b;'.repeat(40_000)}\n\n`],
  ['parameters in pieces', `Content-Type: a/b; ${Array.from({ length: 10_000 }, (_, i) => `n*${i}*=a;`).join('')}\n\n`],
  ['comments', `Content-Type: ${'('.repeat(200_000)}\nDate: ${'('.repeat(50_000)}\n\n`],
  ['addresses', `To: ${'a@b, '.repeat(25_000)}\nFrom: ${'<'.repeat(50_000)}\n\n`],
  ['blanks in a field', `Subject:${' '.repeat(250_000)}x\n\n`],
  ['carriage returns in a folded field', `Subject: x\r\nDate: ${'\r'.repeat(240_000)}x\r\n y\r\n\r\n`],
  ['folded blank lines', `Subject: x\n${' \n'.repeat(120_000)}Date: y\n\n`],
])('%s cost linear time', (_, text) => {
  expect(seconds(() => expect(outcome(text)).toBe('1 parts'))).toBeLessThan(2)
})

test.each([
  ['lines of dashes', `${head}--o\n\n${'--\n'.repeat(5_000_000)}`],
  ['near misses of the delimiter', `${head}--o\n\n${'--oo\n'.repeat(3_000_000)}`],
  ['lost boundaries', `Content-Type: multipart/mixed\n\n${'--\n'.repeat(5_000_000)}`],
  ['beginnings of uuencode', `Subject: x\n\n${'begin 644 a\n'.repeat(1_000_000)}`],
  [
    'base64 with a stranger in every line',
    `Content-Transfer-Encoding: base64\nContent-Type: a/b\n\n${`${'QUJD'.repeat(18)}!\n`.repeat(200_000)}`,
  ],
  ['padding in every group', `Content-Transfer-Encoding: base64\nContent-Type: a/b\n\n${'QQ==\n'.repeat(3_000_000)}`],
  ['quoted-printable escapes', `Content-Transfer-Encoding: quoted-printable\n\n${'=41'.repeat(5_000_000)}`],
])('15 MB of %s are read in seconds', (_, text) => {
  expect(seconds(() => expect(outcome(text)).toBe('1 parts'))).toBeLessThan(20)
})

test('text that must be held whole has its limit', () => {
  const limits = { ...defaultLimits, heldBytes: 1000 }
  expect(outcome(`Content-Type: a/b\nContent-Transfer-Encoding: quoted-printable\n\n${'x'.repeat(1001)}`, limits)).toBe(
    'mime_limit',
  )
  expect(outcome(`Content-Type: a/b\nContent-Transfer-Encoding: base64\n\n${'QUJD'.repeat(1000)}`, limits)).toBe(
    '1 parts',
  )
})

test('TNEF that lies about its lengths gives what is there', () => {
  const lying = Buffer.from([0x78, 0x9f, 0x3e, 0x22, 1, 0, 2, 2, 0x90, 6, 0, 0xff, 0xff, 0xff, 0xff, 1, 2, 3])
  const text = `Content-Type: application/ms-tnef\nContent-Transfer-Encoding: base64\n\n${lying.toString('base64')}`
  expect(outcome(text)).toBe('1 parts')
})

test('a hundred feedback parts among 500 parts cost little, and more than that give no more reports', () => {
  const part = '--o\nContent-Type: message/feedback-report\n\nFeedback-Type: abuse\nVersion: 1\n'
  const mail = readMail(Buffer.from(`${head}${part.repeat(400)}--o--`), defaultLimits)
  expect(seconds(() => expect(readFailureReport(mail.root, mail.fields)).toHaveLength(100))).toBeLessThan(2)
})
