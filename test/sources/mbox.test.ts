import { closeSync, existsSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { findMboxStart, type MboxMail, readMbox } from '../../sources/mbox.ts'

let folder: string

async function all<T>(found: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = []
  for await (const one of found) list.push(one)
  return list
}

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'mailtrail-mbox-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

async function readAll(path: string, start: number, most = 1_000_000): Promise<MboxMail[]> {
  const file = openSync(path, 'r')
  try {
    return await all(readMbox(file, start, most))
  } finally {
    closeSync(file)
  }
}

async function mails(content: string | Buffer, most?: number): Promise<MboxMail[]> {
  const path = join(folder, 'mbox')
  const bytes = Buffer.from(content as string, 'latin1')
  writeFileSync(path, bytes)
  const start = findMboxStart(bytes.subarray(0, 8192))
  expect(start).not.toBe(-1)
  return readAll(path, start, most)
}
const texts = async (content: string) =>
  (await mails(content)).map(({ bytes }) => Buffer.from(bytes).toString('latin1'))

const from = 'From a@x.example Thu Nov 21 00:00:00 2026\n'
const mail = (subject: string, body = 'body\n') => `Subject: ${subject}\n\n${body}`

test('gives the mails without their envelope lines and with the date of these', async () => {
  const found = await mails(`${from}${mail('1')}\nFrom b Fri Jul 15 14:25:00 2022\n${mail('2')}\n`)
  expect(
    found.map(({ bytes, envelopeDate, oversized }) => [Buffer.from(bytes).toString(), envelopeDate, oversized]),
  ).toEqual([
    [mail('1'), '2026-11-21T00:00:00Z', null],
    [mail('2'), '2022-07-15T14:25:00Z', null],
  ])
})

test.each([
  ['of Gmail Takeout', 'From 1712345678901234567@xxx Mon Apr 01 12:34:56 +0000 2024'],
  ['with a year of two digits', 'From x Mon Apr  1 12:34 24'],
  ['with a zone by name', 'From x Mon Apr  1 12:34:56 EST 2024'],
  ['with a remote host', 'From x Mon Apr  1 12:34:56 2024 remote from y'],
  ['of a bounce', 'From MAILER-DAEMON Mon Apr  1 12:34:56 2024'],
  ['without a sender', 'From  Mon Apr  1 12:34:56 2024'],
])('knows an envelope line %s', async (_, line) => {
  const found = await mails(`${line}\n${mail('1')}\n${line}\n${mail('2')}`)
  expect(found).toHaveLength(2)
  expect(found[1]!.envelopeDate).toMatch(/^2024-04-01T1[27]:34/)
})

test.each([
  ['no date', 'From here on it gets worse\nX: y\n'],
  ['no field in the next line', `${from}and so on\n`],
])('a line in the text that begins with From but has %s separates nothing', async (_, line) => {
  const text = mail('1', `words\n\n${line}`)
  expect(await texts(`${from}${text}\n`)).toEqual([text])
})

test('a From line within a paragraph separates nothing', async () => {
  const text = mail('1', `words\n${from}X: y\n`)
  expect(await texts(`${from}${text}\n`)).toEqual([text])
})

test('takes one > off quoted lines', async () => {
  expect(await texts(`${from}${mail('1', '\n>From x\n>>From y\n> From z\n')}\n`)).toEqual([
    mail('1', '\nFrom x\n>From y\n> From z\n'),
  ])
})

test('reads CRLF files', async () => {
  const crlf = (text: string) => text.replaceAll('\n', '\r\n')
  expect(await texts(crlf(`${from}${mail('1', '>From x\n')}\n${from}${mail('2')}\n`))).toEqual([
    crlf(mail('1', 'From x\n')),
    crlf(mail('2')),
  ])
})

test('Content-Length counts when a mail or the end stands exactly there', async () => {
  const body = `words\n\n${from}X: no mail\n`
  const text = `Content-Length: ${body.length}\n\n${body}`
  expect(await texts(`${from}${text}\n${from}${text}`)).toEqual([text, text])
})

test('a Content-Length that leads elsewhere counts nothing', async () => {
  const wrong = (length: number) => `Content-Length: ${length}\n\nbody\n`
  for (const length of [0, 3, 40, 1_000_000]) {
    expect(await texts(`${from}${wrong(length)}\n${from}${mail('2')}\n`)).toEqual([wrong(length), mail('2')])
  }
})

test('reads MMDF, which needs no quoting', async () => {
  const mark = '\x01\x01\x01\x01\n'
  const text = mail('2', `\n${from}X: y\n`)
  expect(await texts(`${mark}${from}${mail('1')}${mark}${mark}${text}${mark}`)).toEqual([mail('1'), text])
})

test('the notes that pine and UW-IMAP keep in front are no mail', async () => {
  const notes = mail("DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA")
  expect(await texts(`${from}${notes}\n${from}${mail('1')}\n`)).toEqual([mail('1')])
})

test('an envelope line that has just been written is no mail yet', async () => {
  expect(await texts(`${from}${mail('1')}\n${from}`)).toEqual([mail('1')])
})

test.each([
  ['by its envelope line', 'Subject: 2\n'],
  ['by its Content-Length', 'Content-Length: 30000000\n'],
])('a mail above the limit, told %s, is passed over and its neighbours are read', async (_, field) => {
  const long = `${field}\n${'QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo=\n'.repeat(810_811).slice(0, 30_000_000 - 1)}\n`
  const found = await mails(`${from}${mail('1')}\n${from}${long}\n${from}${mail('3')}\n`)
  expect(found.map(({ bytes, oversized }) => [bytes.length, oversized])).toEqual([
    [mail('1').length, null],
    [0, long.length],
    [mail('3').length, null],
  ])
})

test('mails of any size between one octet and megabytes are found whole, wherever the window ends', async () => {
  const sizes = [1, 1000, 1024 * 1024 - 60, 1024 * 1024, 3_000_000, 10, 2_097_152]
  const all = sizes.map((size, i) => mail(`${i}`, `${'x'.repeat(70)}\n`.repeat(Math.ceil(size / 71))))
  const found = await mails(all.map((text) => `${from}${text}\n`).join(''), 10_000_000)
  expect(
    found.map(
      ({ bytes }) =>
        Buffer.from(bytes).toString('latin1') ===
        all[Number(/Subject: (\d)/.exec(Buffer.from(bytes).toString('latin1', 0, 20))![1])],
    ),
  ).toEqual(all.map(() => true))
})

test.each([
  ['a mail', 'Subject: x\n\nFrom a Thu Nov 21 00:00:00 2026\n'],
  ['text', 'From here on\nX: y\n'],
  ['nothing', ''],
])('%s is no mbox', (_, content) => {
  expect(findMboxStart(Buffer.from(content))).toBe(-1)
})

describe('what is written comes back', () => {
  const line = fc.oneof(
    fc.constantFrom(
      '',
      '',
      '>From x',
      '>>From ',
      'From here',
      from.trimEnd(),
      'X: y',
      'Content-Length: 5',
      '\x01\x01\x01\x01',
    ),
    fc.uint8Array({ maxLength: 30 }).map((octets) =>
      Buffer.from(octets)
        .toString('latin1')
        .replace(/[\n\r]/g, '.'),
    ),
  )
  const anyMail = fc
    .record({
      fields: fc.array(fc.constantFrom('Subject: x', 'X-A: b', 'From: a@b'), { minLength: 1, maxLength: 3 }),
      body: fc.array(line, { maxLength: 12 }),
    })
    .map(({ fields, body }) => ({ header: `${fields.join('\n')}\n`, body: body.map((text) => `${text}\n`).join('') }))

  test('from mboxrd', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(anyMail, { minLength: 1, maxLength: 5 }), async (all) => {
        const sent = all.map(({ header, body }) => `${header}\n${body}`)
        const written = sent.map((text) => `${from}${text.replace(/^(>*From )/gm, '>$1')}\n`)
        expect(await texts(written.join(''))).toEqual(sent)
      }),
    )
  })

  test('from mboxcl2', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(anyMail, { minLength: 1, maxLength: 5 }), async (all) => {
        const sent = all.map(({ header, body }) => `${header}Content-Length: ${body.length}\n\n${body}`)
        expect(await texts(sent.map((text) => `${from}${text}\n`).join(''))).toEqual(sent)
      }),
    )
  })

  test('from MMDF, but for lines of its own mark', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(anyMail, { minLength: 1, maxLength: 5 }), async (all) => {
        const sent = all.map(({ header, body }) => `${header}\n${body.replaceAll('\x01', '.')}`)
        expect(await texts(sent.map((text) => `\x01\x01\x01\x01\n${text}\x01\x01\x01\x01\n`).join(''))).toEqual(sent)
      }),
    )
  })
})

const sample = join(
  import.meta.dirname,
  '..',
  '..',
  '..',
  'shared',
  'corpus',
  'email-report-processor',
  'mbox',
  'romain',
)
test.skipIf(!existsSync(sample))('the sample mbox holds ten mails', async () => {
  const found = await readAll(sample, 0)
  expect(found).toHaveLength(10)
  for (const { bytes } of found) expect(Buffer.from(bytes).toString()).toMatch(/^Return-Path: [\s\S]*\n$/)
})
