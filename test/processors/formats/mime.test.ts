import { execFileSync } from 'node:child_process'
import { existsSync, globSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync, gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { simpleParser } from 'mailparser'
import { describe, expect, test } from 'vitest'
import { HeaderFields } from '../../../processors/formats/header-fields.ts'
import { defaultLimits } from '../../../processors/formats/limits.ts'
import { type Entity, leaves, readMail } from '../../../processors/formats/mime.ts'
import { parseStructured } from '../../../processors/formats/parameters.ts'
import { decodeBase64, decodeQuotedPrintable } from '../../../processors/formats/transfer-encoding.ts'

const shared = join(import.meta.dirname, '..', '..', '..', '..', 'shared')
const read = (text: string | Uint8Array) => readMail(Buffer.from(text as string, 'latin1'), defaultLimits)
const lines = (...all: string[]) => all.join('\r\n')
/** Path, type and decoded text of each leaf. */
const outline = (root: Entity) =>
  [...leaves(root)].map((leaf) => [leaf.path, leaf.type, Buffer.from(leaf.content()).toString('latin1')])
const codes = (text: string | Uint8Array) => {
  const mail = read(text)
  for (const leaf of leaves(mail.root)) leaf.content()
  return mail.warnings.map((warning) => warning.code)
}
const mixed = (boundary: string, ...body: string[]) =>
  lines('Subject: x', `Content-Type: multipart/mixed; boundary="${boundary}"`, '', ...body)

describe('header', () => {
  test('gives the fields of a mail', () => {
    const mail = read(
      lines(
        'From: "Doe, J." <j@a.example>',
        'To: a@x.example, B <b@y.example>',
        'Subject: hi',
        'Date: 1 Oct 26 00:00 +0200',
        'Message-ID: <1@a>',
        '',
        'x',
      ),
    )
    expect(mail.fields).toEqual({
      from: 'j@a.example',
      to: 'a@x.example, b@y.example',
      subject: 'hi',
      date: '2026-09-30T22:00:00Z',
      message_id: '<1@a>',
      size: 128,
    })
  })

  test('what a mail does not say is null', () => {
    const { subject, from, to, date, message_id } = read('X-Other: 1\n\nbody').fields
    expect([subject, from, to, date, message_id]).toEqual([null, null, null, null, null])
  })

  test.each([
    ['bare LF', 'Subject: a\n\nbody'],
    ['CRLF', 'Subject: a\r\n\r\nbody'],
    ['lone CR', 'Subject: a\r\rbody'],
    ['doubled CR', 'Subject: a\r\r\n\r\r\nbody'],
    ['the envelope line of mbox', 'From x@y Thu Nov 21 00:00:00 2026\nSubject: a\n\nbody'],
    ['a quoted envelope line', '>From x@y Thu Nov 21 00:00:00 2026\nSubject: a\n\nbody'],
    ['blank lines in front', '\r\n \r\nSubject: a\n\nbody'],
    ['a byte order mark', '\xef\xbb\xbfSubject: a\n\nbody'],
    ['a space in front of the colon', 'Subject : a\n\nbody'],
    ['NUL octets', 'Sub\0ject: a\0\n\nbody'],
    ['no blank line but a line that is no field', 'Subject: a\nbody'],
  ])('reads %s', (_, text) => {
    const mail = read(text)
    expect(mail.fields.subject).toBe('a')
    expect(mail.root.text()).toBe('body')
  })

  test('joins folded lines, decodes encoded words over the fold, and leaves no control characters', () => {
    expect(read('Subject: a\r\n\tb\r\n c\n\n').fields.subject).toBe('a b c')
    expect(read('Subject: =?utf-8?Q?=C3=A4?=\r\n =?utf-8?B?w7Y=?=\n\n').fields.subject).toBe('äö')
    expect(read('Subject: =?utf-8?Q?a=1B[31m=00=0Ab?=\n\n').fields.subject).toBe('a[31m b')
  })

  test('takes 8-bit octets as UTF-8 when they are, else as windows-1252', () => {
    expect(read('Subject: \xc3\xa4\n\n').fields.subject).toBe('ä')
    expect(read('Subject: \xe4\x80\n\n').fields.subject).toBe('ä€')
  })

  test('a parameter at the beginning of a line belongs to the field above (quirk 20)', () => {
    const text = lines('Content-Type: application/tlsrpt+gzip;', 'name="r.json.gz"', 'Subject: a', '', 'x')
    expect(read(text).root).toMatchObject({ type: 'application/tlsrpt+gzip', fileName: 'r.json.gz' })
    expect(codes(text)).toEqual(['header_malformed'])
  })

  test('Content-Type may lack its hyphen (quirk 21)', () => {
    const text = lines('ContentType: application/zip; name=a.zip', 'Subject: a', '', 'x')
    expect(read(text).root).toMatchObject({ type: 'application/zip', fileName: 'a.zip' })
    expect(codes(text)).toEqual(['header_malformed'])
  })

  test('a line that is no field does not end a header that goes on below it', () => {
    const mail = read(lines('Subject: a', 'rubbish without a colon', 'Content-Type: text/html', '', 'x'))
    expect(mail.root.type).toBe('text/html')
    expect(mail.root.text()).toBe('x')
  })

  test('text that is no mail is one part with all of it', () => {
    const mail = read('just a note\nof two lines\n')
    expect(mail.fields).toEqual({ from: null, to: null, subject: null, date: null, message_id: null, size: 25 })
    expect(outline(mail.root)).toEqual([['', 'text/plain', 'just a note\nof two lines\n']])
    const gzip = gzipSync('x')
    expect(Buffer.from(readMail(gzip, defaultLimits).root.content())).toEqual(gzip)
    expect(read('<?xml version="1.0"?>\n<a:b xmlns:a="c"/>').root.text()).toContain('<?xml')
  })

  test('gives repeated fields in order and raw values undecoded', () => {
    const fields = new HeaderFields(['a', 'b', 'a'], [' =?utf-8?Q?x?=', '2', '3\r\n 4'])
    expect(fields.all('a')).toEqual(['x', '3 4'])
    expect(fields.raw('a')).toBe('=?utf-8?Q?x?=')
    expect(fields.get('c')).toBeNull()
  })

  test('cuts a value that is longer than what is kept, and says so', () => {
    const mail = read(`Subject: ${'x'.repeat(5000)}\n\n`)
    expect(mail.fields.subject).toHaveLength(1024)
    expect(mail.warnings.map(({ code }) => code)).toEqual(['value_truncated'])
  })
})

describe('parameters', () => {
  test.each([
    ['plain and quoted', 'a/b; name=x.zip; boundary="y z"', { name: 'x.zip', boundary: 'y z' }],
    ['unquoted with odd characters', 'a/b; name=g.com!e.com!1!2.zip ; x=1', { name: 'g.com!e.com!1!2.zip', x: '1' }],
    ['unquoted with blanks', 'a/b; name=my report.xml', { name: 'my report.xml' }],
    ['escaped quotes', 'a/b; name="a\\"b"', { name: 'a"b' }],
    ['a missing quote', 'a/b; name="x.zip; boundary=y', { name: 'x.zip', boundary: 'y' }],
    ['no semicolon between', 'a/b; name="x" boundary="y"', { name: 'x', boundary: 'y' }],
    ['encoded words in quotes', 'a/b; name="=?utf-8?B?w6QueG1s?="', { name: 'ä.xml' }],
    ['RFC 2231 with a charset', "a/b; name*=iso-8859-1'de'%e4.xml", { name: 'ä.xml' }],
    ['RFC 2231 in pieces', "a/b; name*1=b; name*0*=UTF-8''%C3; name*2*=%20c; name*3=.xml", { name: '\ufffd' }],
    ['the first of two', 'a/b; name=x; name=y', { name: 'x' }],
  ])('reads %s', (kind, raw, expected) => {
    const parameters = Object.fromEntries(parseStructured(raw).parameters)
    if (kind === 'RFC 2231 in pieces') expect(parameters.name).toMatch(/b c\.xml$/)
    else expect(parameters).toEqual(expected)
  })

  test('the extended file name goes before the plain one, and Content-Disposition before Content-Type', () => {
    const text = lines(
      'Content-Type: a/b; name=n',
      "Content-Disposition: Attachment; filename=p; filename*=UTF-8''e",
      '',
      '',
    )
    expect(read(text).root).toMatchObject({ fileName: 'e', disposition: 'attachment' })
  })
})

describe('multipart', () => {
  test('numbers parts as IMAP does', () => {
    const inner = lines(
      'Content-Type: multipart/alternative; boundary=i',
      '',
      '--i',
      '',
      'two.one',
      '--i',
      '',
      'two.two',
      '--i--',
    )
    const mail = read(mixed('o', 'preamble', '--o', '', 'one', '--o', inner, '--o--', 'epilogue'))
    expect(outline(mail.root)).toEqual([
      ['1', 'text/plain', 'one'],
      ['2.1', 'text/plain', 'two.one'],
      ['2.2', 'text/plain', 'two.two'],
    ])
    expect(mail.warnings).toEqual([])
  })

  test('tells boundaries apart of which one begins with the other', () => {
    const inner = lines('Content-Type: multipart/mixed; boundary="bb"', '', '--bb', '', '--b-- is text here', '--bb--')
    expect(outline(read(mixed('b', '--b', inner, '--b', '', 'last', '--b--')).root)).toEqual([
      ['1.1', 'text/plain', '--b-- is text here'],
      ['2', 'text/plain', 'last'],
    ])
  })

  test('an outer delimiter ends an inner multipart that was not closed', () => {
    const inner = lines('Content-Type: multipart/mixed; boundary="i"', '', '--i', '', 'in')
    const text = mixed('o', '--o', inner, '--o', '', 'out', '--o--')
    expect(outline(read(text).root)).toEqual([
      ['1.1', 'text/plain', 'in'],
      ['2', 'text/plain', 'out'],
    ])
    expect(codes(text)).toEqual(['mime_repaired'])
  })

  test('a delimiter ends the header of a part that has no blank line', () => {
    expect(outline(read(mixed('o', '--o', 'Content-Type: text/html', '--o', '', 'out', '--o--')).root)).toEqual([
      ['1', 'text/html', ''],
      ['2', 'text/plain', 'out'],
    ])
  })

  test.each([
    ['never closed', mixed('o', '--o', '', 'one', '--o', '', 'two')],
    ['with parts after its end', mixed('o', '--o', '', 'one', '--o--', 'epilogue', '--o', '', 'two', '--o--')],
    [
      'with another boundary than announced',
      mixed('x', '--o', 'Content-Type: text/plain', '', 'one', '--o', '', 'two', '--o--'),
    ],
    [
      'without a boundary',
      lines('Content-Type: multipart/mixed', '', '-- ', 'text', '--o', '', 'one', '--o', '', 'two', '--o--'),
    ],
  ])('reads a multipart %s', (_, text) => {
    expect(outline(read(text).root).map(([, , body]) => body)).toEqual(['one', 'two'])
    expect(codes(text)).toEqual(['mime_repaired'])
  })

  test('a multipart without any part is a leaf with its text', () => {
    expect(outline(read(mixed('o', 'no parts at all')).root)).toEqual([['', 'multipart/mixed', 'no parts at all']])
  })

  test('reads boundaries with odd characters and blanks after them', () => {
    const boundary = "_----=_Part'1()+,-./:=?_"
    expect(outline(read(mixed(boundary, `--${boundary}  \t`, '', 'one', `--${boundary}-- `)).root)).toEqual([
      ['1', 'text/plain', 'one'],
    ])
  })

  test('reads a multipart that is wrongly encoded as a whole', () => {
    const body = Buffer.from(lines('--o', '', 'one', '--o--', '')).toString('base64')
    const text = lines('Content-Type: multipart/mixed; boundary=o', 'Content-Transfer-Encoding: base64', '', body)
    expect(outline(read(text).root)).toEqual([['1', 'text/plain', 'one']])
  })
})

describe('attached mails', () => {
  const attached = lines(
    'From: a@x.example',
    'Subject: in',
    'Content-Type: application/gzip',
    'Content-Transfer-Encoding: base64',
    '',
    gzipSync('r').toString('base64'),
    '',
  )
  const around = (type: string, encoding: string, body: string) =>
    mixed('o', '--o', `Content-Type: ${type}`, `Content-Transfer-Encoding: ${encoding}`, '', body, '--o--')
  const base64 = (text: string) => Buffer.from(text, 'latin1').toString('base64').replace(/.{76}/g, '$&\r\n')

  test.each([
    ['as it is', around('message/rfc822', '8bit', attached)],
    ['encoded, which RFC 2046 forbids', around('message/rfc822', 'base64', base64(attached))],
    ['as a file', around('application/octet-stream; name=report.eml', 'base64', base64(attached))],
    ['with an envelope line', around('message/rfc822', '7bit', `From x Thu Nov 21 00:00:00 2026\r\n${attached}`)],
    ['called base64 without being it', around('message/rfc822', 'base64', attached)],
  ])('reads a mail attached %s', (_, text) => {
    const [leaf, ...more] = leaves(read(text).root)
    expect(more).toEqual([])
    expect([leaf!.path, leaf!.type]).toEqual(['1.1', 'application/gzip'])
    expect(gunzipSync(leaf!.content()).toString()).toBe('r')
  })

  test('reads mails attached three deep', () => {
    const wrap = (mail: string) => lines('Subject: w', 'Content-Type: message/rfc822', '', mail)
    expect([...leaves(read(wrap(wrap(wrap(attached)))).root)].map(({ path }) => path)).toEqual(['1.1.1'])
  })

  test('the parts of a digest are mails unless they say something else', () => {
    const text = lines('Content-Type: multipart/digest; boundary=o', '', '--o', '', attached, '--o--')
    expect([...leaves(read(text).root)].map(({ path, type }) => [path, type])).toEqual([['1.1', 'application/gzip']])
  })

  test('a file named .eml that is no mail stays a file', () => {
    const text = around('application/octet-stream; name=x.eml', 'base64', Buffer.from('PK\x03\x04').toString('base64'))
    expect([...leaves(read(text).root)].map(({ path, type }) => [path, type])).toEqual([
      ['1', 'application/octet-stream'],
    ])
  })
})

describe('transfer encodings', () => {
  const body = (encoding: string, text: string, type = 'application/octet-stream') =>
    lines(`Content-Type: ${type}`, `Content-Transfer-Encoding: ${encoding}`, '', text)
  const content = (text: string) => Buffer.from(read(text).root.content()).toString('latin1')

  test.each([
    ['lines', 'YWJj\r\nZGVm\r\n', []],
    ['blank lines in front and behind', '\r\n\r\nYWJjZGVm\r\n\r\n', []],
    ['lines of different length', 'YWJjZA==', []],
    ['no padding', 'YWJjZA', ['base64_repaired']],
    ['strangers', 'YW!Jj\0ZGVm', ['base64_repaired']],
    ['pieces that were padded one by one', 'YWI=\r\nY2Q=\r\n', ['base64_repaired']],
    ['a footer of a mailing list', 'YWJjZA==\r\n____\r\nlist mailing list\r\n', ['base64_repaired']],
  ])('decodes base64 with %s', (_, text, warnings) => {
    expect(content(body('base64', text))).toBe('abcdef'.slice(0, content(body('base64', text)).length))
    expect(content(body('base64', text)).length).toBeGreaterThanOrEqual(4)
    expect(codes(body('base64', text))).toEqual(warnings)
  })

  test('decodes every base64 that Node writes, at any line length, and says nothing', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 400 }),
        fc.integer({ min: 1, max: 40 }),
        fc.boolean(),
        (bytes, groups, crlf) => {
          const text = Buffer.from(bytes)
            .toString('base64')
            .replace(new RegExp(`.{${groups * 4}}`, 'g'), crlf ? '$&\r\n' : '$&\n')
          const decoded = decodeBase64(Buffer.from(text, 'latin1'))
          expect(decoded.repaired).toBe(false)
          expect(new Uint8Array(decoded.bytes)).toEqual(bytes)
        },
      ),
    )
  })

  test('finds one stranger anywhere in base64 and decodes the rest', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 1, maxLength: 200 }),
        fc.nat(),
        fc.constantFrom('!', '\0', '\x80', '*'),
        (bytes, at, stranger) => {
          const text = Buffer.from(bytes).toString('base64').replace(/.{76}/g, '$&\r\n')
          const position = at % text.replace(/=+$/, '').length
          const decoded = decodeBase64(Buffer.from(text.slice(0, position) + stranger + text.slice(position), 'latin1'))
          expect(decoded.repaired).toBe(true)
          expect(new Uint8Array(decoded.bytes)).toEqual(bytes)
        },
      ),
    )
  })

  test('decodes quoted-printable, soft breaks with blanks too, and leaves an = that is none', () => {
    expect(decodeQuotedPrintable(Buffer.from('a=3Db=\r\nc= \t\nd=\r\r\ne=3d="x"=')).toString()).toBe('a=bcde=="x"')
  })

  test('decodes uuencode, as transfer encoding and inside of text', () => {
    const uu = 'begin 644 a.txt\n#0V%T\n`\nend\n'
    expect(content(body('x-uuencode', uu))).toBe('Cat')
    const mail = read(`Subject: x\n\nhello\n${uu}bye\n`)
    expect(outline(mail.root)).toEqual([
      ['', 'text/plain', `hello\n${uu}bye\n`],
      ['1', 'application/octet-stream', 'Cat'],
    ])
    expect(mail.root.children[0]!.fileName).toBe('a.txt')
  })

  test('takes an unknown encoding as none and says so', () => {
    expect(content(body('x-gzip64', 'abc'))).toBe('abc')
    expect(codes(body('x-gzip64', 'abc'))).toEqual(['mime_repaired'])
  })

  test('takes what is called base64 but is XML or gzip as it is', () => {
    expect(content(body('base64', '\n<feedback/>'))).toBe('\n<feedback/>')
    expect(codes(body('base64', '<feedback/>'))).toEqual(['mime_repaired'])
  })

  test('decodes base64 that nobody announced when it begins as gzip or zip', () => {
    const gzip = gzipSync('report')
    expect(
      gunzipSync(Buffer.from(content(body('7bit', gzip.toString('base64'), 'application/gzip')), 'latin1')).toString(),
    ).toBe('report')
  })
})

test('text is decoded by its charset, or by what the octets show', () => {
  const text = (charset: string, octets: string) => read(`Content-Type: text/plain${charset}\n\n${octets}`).root.text()
  expect(text('; charset=iso-8859-2', '\xb1')).toBe('ą')
  expect(text('; charset="UTF-8"', '\xc3\xa4')).toBe('ä')
  expect(text('', '\xc3\xa4')).toBe('ä')
  expect(text('', '\xe4')).toBe('ä')
  expect(text('; charset=x-nobody-knows', '\xe4')).toBe('ä')
  expect(text('; charset=utf-8', '\xe4')).toBe('ä')
})

/** One TNEF attribute: level, id, length, data, checksum. */
function attribute(level: number, id: number, data: Buffer): Buffer {
  const head = Buffer.alloc(9)
  head.writeUInt8(level, 0)
  head.writeUInt32LE(id, 1)
  head.writeUInt32LE(data.length, 5)
  const sum = Buffer.alloc(2)
  sum.writeUInt16LE(data.reduce((total, octet) => (total + octet) & 0xffff, 0))
  return Buffer.concat([head, data, sum])
}

function tnef(longName: string, data: Buffer): Buffer {
  const name = Buffer.from(`${longName}\0`, 'utf16le')
  const padded = Buffer.concat([name, Buffer.alloc((4 - (name.length % 4)) % 4)])
  const number = (value: number) => {
    const octets = Buffer.alloc(4)
    octets.writeUInt32LE(value)
    return octets
  }
  // Two properties: PidTagAttachMethod (a 32-bit number), then the long file name in UTF-16.
  const properties = Buffer.concat([
    number(2),
    number(0x3705_0003),
    number(1),
    number(0x3707_001f),
    number(1),
    number(name.length),
    padded,
  ])
  return Buffer.concat([
    Buffer.from([0x78, 0x9f, 0x3e, 0x22, 1, 0]),
    attribute(1, 0x0008_9006, number(0x10000)),
    attribute(2, 0x0006_9002, Buffer.alloc(14)),
    attribute(2, 0x0001_8010, Buffer.from('REPORT~1.GZ\0')),
    attribute(2, 0x0006_800f, data),
    attribute(2, 0x0006_9005, properties),
  ])
}

test('attachments inside winmail.dat are parts below it', () => {
  const data = tnef('report.xml.gz', gzipSync('report')).toString('base64')
  const text = mixed(
    'o',
    '--o',
    'Content-Type: application/ms-tnef; name=winmail.dat',
    'Content-Transfer-Encoding: base64',
    '',
    data,
    '--o--',
  )
  const [leaf] = leaves(read(text).root)
  expect([leaf!.path, leaf!.fileName]).toEqual(['1.1', 'report.xml.gz'])
  expect(gunzipSync(leaf!.content()).toString()).toBe('report')
})

/** What mailparser finds: the octets of every attachment but attached mails, which it does not open. */
async function attachmentsByMailparser(bytes: Buffer): Promise<string[]> {
  const parsed = await simpleParser(bytes, { skipHtmlToText: true, skipTextToHtml: true })
  return parsed.attachments
    .filter(({ contentType }) => contentType !== 'message/rfc822')
    .map(({ content }) => content.toString('base64'))
}

async function expectSameAsMailparser(bytes: Buffer): Promise<void> {
  const mail = readMail(bytes, defaultLimits)
  const parsed = await simpleParser(bytes, { skipHtmlToText: true, skipTextToHtml: true })
  expect(mail.fields.subject?.replace(/\s+/g, ' ') ?? null).toBe(parsed.subject?.replace(/\s+/g, ' ') ?? null)
  expect(mail.fields.message_id).toBe(parsed.messageId ?? null)
  expect(mail.fields.from).toBe(parsed.from?.value.map(({ address }) => address).join(', ') ?? null)
  expect(mail.fields.date).toBe(parsed.date ? `${parsed.date.toISOString().slice(0, 19)}Z` : null)
  const ours = [...leaves(mail.root)]
    .filter((leaf) => !/^text\/(?:plain|html)$/.test(leaf.type))
    .map((leaf) => Buffer.from(leaf.content()).toString('base64'))
  expect(ours).toEqual(await attachmentsByMailparser(bytes))
  expect(mail.warnings).toEqual([])
}

describe.skipIf(!existsSync(shared))('against mailparser as an independent reader', () => {
  const corpus = existsSync(shared)
    ? globSync('{mox,parsedmarc,email-report-processor}/**/*.{eml,elm}', { cwd: join(shared, 'corpus') })
    : []

  test.each(corpus)('%s', async (file) => {
    const bytes = readFileSync(join(shared, 'corpus', file))
    // mailparser takes an envelope line for a field; that is not what is compared here.
    await expectSameAsMailparser(
      bytes.toString('latin1', 0, 5) === 'From ' ? bytes.subarray(bytes.indexOf(10) + 1) : bytes,
    )
  })

  test('the samples are there', () => expect(corpus.length).toBeGreaterThan(15))

  test('300 generated mails', { timeout: 60_000 }, async () => {
    const folder = mkdtempSync(join(tmpdir(), 'mailtrail-mime-'))
    try {
      execFileSync(process.execPath, [
        join(shared, 'tools', 'make-mail.mjs'),
        '--out',
        folder,
        '--mails',
        '300',
        '--seed',
        '11',
      ])
      for (const name of readdirSync(join(folder, 'mail')))
        await expectSameAsMailparser(readFileSync(join(folder, 'mail', name)))
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})

test('any octets give parts within the mail or a reject, never another error', () => {
  const piece = fc.oneof(
    fc.constantFrom(
      '--o',
      '--o--',
      '\r\n',
      '\n',
      '\n\n',
      'Content-Type: multipart/mixed; boundary=o',
      'Content-Type: message/rfc822',
      'Content-Transfer-Encoding: base64',
      'Content-Transfer-Encoding: quoted-printable',
      'begin 644 x\n',
      'end\n',
      'Subject: =?utf-8?Q?',
      ' name*0*=',
      ';',
      '"',
      '\0',
      '=',
      'From ',
    ),
    fc.string({ maxLength: 20, unit: 'binary' }),
  )
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 60 }), (pieces) => {
      const bytes = Buffer.from(pieces.join(''), 'latin1')
      if (!/[^\s\0]/.test(bytes.toString('latin1'))) return
      const mail = readMail(bytes, defaultLimits)
      const paths = new Set<string>()
      for (const leaf of leaves(mail.root)) {
        expect(paths.has(leaf.path)).toBe(false)
        paths.add(leaf.path)
        expect(leaf.content().length + leaf.text().length).toBeGreaterThanOrEqual(0)
      }
    }),
    { numRuns: 500 },
  )
})
