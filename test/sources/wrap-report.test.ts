import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { defaultLimits } from '../../processors/formats/limits.ts'
import { readMail } from '../../processors/formats/mime.ts'
import { isReportFile, wrapReport } from '../../sources/wrap-report.ts'

test('the same file gives the same mail', () => {
  expect(wrapReport('a.xml', Buffer.from('<a/>'))).toEqual(wrapReport('a.xml', Buffer.from('<a/>')))
})

test('the mail names the file and no sender but the import', () => {
  const { fields, root } = readMail(wrapReport('g.com!e.com!1!2.xml', Buffer.from('<a/>')), defaultLimits)
  expect(fields).toMatchObject({
    from: 'import@mailtrail.invalid',
    to: null,
    date: null,
    message_id: null,
    subject: 'Report file g.com!e.com!1!2.xml',
  })
  expect(root.fields.get('mailtrail-wrapped')).toBe('report file')
})

test('any file under any name comes back, octet for octet', () => {
  fc.assert(
    fc.property(
      fc.string({ unit: 'grapheme', minLength: 1, maxLength: 80 }),
      fc.uint8Array({ maxLength: 500 }),
      (name, bytes) => {
        const { root, fields, warnings } = readMail(wrapReport(name, bytes), defaultLimits)
        expect(new Uint8Array(root.content())).toEqual(bytes)
        if (name.trim() === name) expect(root.fileName).toBe(name)
        expect(fields.subject).toContain(name.trim())
        expect(warnings).toEqual([])
      },
    ),
  )
})

test('a line break in a name adds no field', () => {
  const { root } = readMail(wrapReport('a\r\nBcc: x@y\r\n\r\n.xml', Buffer.from('x')), defaultLimits)
  expect(root.fields.get('bcc')).toBeNull()
})

test.each([
  ['gzip', gzipSync('x')],
  ['zip', Buffer.from('PK\x03\x04...')],
  ['XML', Buffer.from('<?xml version="1.0"?>')],
  ['XML after a byte order mark and blanks', Buffer.from('\ufeff\n <feedback>')],
  ['UTF-16', Buffer.from('\ufeff<feedback>', 'utf16le')],
  ['JSON', Buffer.from('{"organization-name":"x"}')],
])('%s is a report file', (_, bytes) => {
  expect(isReportFile(bytes)).toBe(true)
})

test.each(['', 'Subject: x\n\n<a/>', 'From x', '[2026] a line of a log', 'Received: x'])('%j is none', (text) => {
  expect(isReportFile(Buffer.from(text))).toBe(false)
})
