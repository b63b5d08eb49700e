import { execFileSync } from 'node:child_process'
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { Readable } from 'node:stream'
import { gzipSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { defaultLimits } from '../../processors/formats/limits.ts'
import { readMail } from '../../processors/formats/mime.ts'
import { type FindOptions, type FoundMail, findMails } from '../../sources/files.ts'

let folder: string

async function all<T>(found: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = []
  for await (const one of found) list.push(one)
  return list
}

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mailtrail-files-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

const write = (name: string, content: string | Uint8Array) => {
  mkdirSync(dirname(join(folder, name)), { recursive: true })
  writeFileSync(join(folder, name), content)
}
const mail = (subject: string) => `Subject: ${subject}\r\n\r\nbody\r\n`
const options = (more: Partial<FindOptions> = {}): FindOptions => ({
  stdin: Readable.from([]),
  maxMailBytes: 1_000_000,
  onError: (source, error) => {
    throw new Error(`${source}: ${error.message}`)
  },
  ...more,
})
const find = (paths: string[], more?: Partial<FindOptions>): Promise<FoundMail[]> =>
  all(findMails(paths, options(more)))
const inFolder = (source: string) => source.slice(folder.length + 1)
const subject = ({ bytes }: FoundMail) => readMail(bytes, defaultLimits).fields.subject
/** Source and subject of everything below the folder. */
const found = async (more?: Partial<FindOptions>) =>
  (await find([folder], more)).map((one) => [inFolder(one.source), subject(one)])

test('a file is a mail under any name, octet for octet', async () => {
  write('report', mail('a'))
  const [one, ...more] = await find([join(folder, 'report')])
  expect(more).toEqual([])
  expect(one).toMatchObject({
    source: join(folder, 'report'),
    wrapped: false,
    oversized: null,
    receivedAt: null,
    receivedFrom: 'import',
  })
  expect(Buffer.from(one!.bytes).toString()).toBe(mail('a'))
})

test('folders are read by name, with what is below them, without dot files and *.tmp', async () => {
  for (const name of ['b.eml', 'a/2', 'a/1', '.hidden', 'a/.git/x', 'c.tmp', 'B']) write(name, mail(name))
  expect(await found()).toEqual([
    ['B', 'B'],
    ['a/1', 'a/1'],
    ['a/2', 'a/2'],
    ['b.eml', 'b.eml'],
  ])
})

test('paths are read in their order, a slash at the end changes nothing', async () => {
  write('x/1.eml', mail('1'))
  write('2.eml', mail('2'))
  const paths = [join(folder, '2.eml'), `${join(folder, 'x')}/`]
  expect((await find(paths)).map(({ source }) => inFolder(source))).toEqual(['2.eml', 'x/1.eml'])
})

test('links are followed, and circles of them end', async () => {
  write('a/1.eml', mail('1'))
  symlinkSync(folder, join(folder, 'a', 'up'))
  symlinkSync(join(folder, 'a', '1.eml'), join(folder, 'z.eml'))
  expect((await found()).map(([source]) => source)).toEqual(['a/1.eml', 'z.eml'])
})

test('the time of receipt is the date of the topmost Received field', async () => {
  write(
    '1.eml',
    'Received: by b\r\n\t(a; b);\r\n\tMon, 1 Oct 2018 11:20:27 +0200 (CEST)\r\nReceived: by a; Mon, 1 Oct 2018 08:00:00 +0000\r\n\r\nReceived: x; 1 Jan 2000 00:00:00 +0000',
  )
  expect((await find([folder]))[0]).toMatchObject({ receivedAt: '2018-10-01T09:20:27Z', receivedFrom: 'received' })
})

test('an empty file is given, for the caller to reject', async () => {
  write('empty.xml', '')
  expect(await find([folder])).toMatchObject([{ bytes: { length: 0 }, oversized: null, wrapped: false }])
})

test('bare reports are wrapped as mail whatever their names say', async () => {
  write('r.eml', gzipSync('<feedback/>'))
  write('s', ' \n{"policies":[]}')
  const all = await find([folder])
  expect(all.map((one) => [inFolder(one.source), one.wrapped, subject(one)])).toEqual([
    ['r.eml', true, 'Report file r.eml'],
    ['s', true, 'Report file s'],
  ])
})

test('a mail above the limit is told by its size and not read', async () => {
  write('1.eml', `${mail('a')}${'x'.repeat(2000)}`)
  write('2.xml', `<${'x'.repeat(900)}/>`)
  const all = await find([folder], { maxMailBytes: 1000 })
  expect(all.map(({ bytes, oversized }) => [bytes.length, oversized])).toEqual([
    [0, mail('a').length + 2000],
    [0, expect.any(Number)],
  ])
})

test('what cannot be opened is told, and the rest is read', async () => {
  write('1.eml', mail('1'))
  symlinkSync(join(folder, 'nowhere'), join(folder, '0.eml'))
  const errors: string[] = []
  const all = await find([join(folder, 'missing'), folder], {
    onError: (source, error) => errors.push(`${inFolder(source)} ${(error as NodeJS.ErrnoException).code}`),
  })
  expect(errors).toEqual(['missing ENOENT', '0.eml ENOENT'])
  expect(all).toHaveLength(1)
})

test('the total is told before the first mail', async () => {
  write('1.eml', mail('1'))
  write('m/cur/1:2,S', mail('2'))
  write('m/new/2', mail('3'))
  const told: unknown[] = []
  await find([folder], { onTotal: (...total) => told.push(total) })
  expect(told).toEqual([[3, 3 * mail('1').length]])
})

test('a signal stops the search', async () => {
  for (let i = 0; i < 5; i++) write(`${i}.eml`, mail(`${i}`))
  const controller = new AbortController()
  const seen: string[] = []
  const all = (async () => {
    for await (const one of findMails([folder], options({ signal: controller.signal }))) {
      seen.push(one.source)
      controller.abort(new Error('enough'))
    }
  })()
  await expect(all).rejects.toThrow('enough')
  expect(seen).toHaveLength(1)
})

describe('stdin', () => {
  test('is one mail, past lines of a lone dot', async () => {
    const text = `${mail('a')}.\r\nmore\r\n`
    const [one] = await find(['-'], {
      stdin: Readable.from([Buffer.from(text.slice(0, 9)), Buffer.from(text.slice(9))]),
    })
    expect(one).toMatchObject({ source: '-' })
    expect(Buffer.from(one!.bytes).toString()).toBe(text)
  })

  test('may be a bare report', async () => {
    expect(await find(['-'], { stdin: Readable.from([gzipSync('x')]) })).toMatchObject([{ wrapped: true }])
  })

  test('is read to its end and not held above the limit', async () => {
    const stdin = Readable.from(Array.from({ length: 100 }, () => Buffer.alloc(1000, 'x')))
    expect(await find(['-'], { stdin, maxMailBytes: 5000 })).toMatchObject([
      { oversized: 100_000, bytes: { length: 0 } },
    ])
    expect(stdin.readableEnded).toBe(true)
  })
})

describe('mbox', () => {
  const line = 'From a@x.example Thu Nov 21 00:00:00 2026\n'

  test('is known by its content, and its mails are numbered', async () => {
    write('inbox.xml', `${line}${mail('1')}\r\n${line}${mail('2')}\r\n`)
    const all = await find([folder])
    expect(all.map((one) => [inFolder(one.source), subject(one), one.receivedAt, one.receivedFrom])).toEqual([
      ['inbox.xml#1', '1', '2026-11-21T00:00:00Z', 'mbox'],
      ['inbox.xml#2', '2', '2026-11-21T00:00:00Z', 'mbox'],
    ])
  })

  test('of one mail under the name of a mail is that file (quirk 13)', async () => {
    write('1.eml', `${line}${mail('1')}`)
    const [one] = await find([folder])
    expect(inFolder(one!.source)).toBe('1.eml')
    expect(Buffer.from(one!.bytes).toString()).toBe(`${line}${mail('1')}`)
    expect(one).toMatchObject({ receivedAt: '2026-11-21T00:00:00Z', receivedFrom: 'mbox' })
  })

  test('of two mails under the name of a mail is an mbox', async () => {
    write('1.eml', `${line}${mail('1')}\n${line}${mail('2')}`)
    expect(await found()).toEqual([
      ['1.eml#1', '1'],
      ['1.eml#2', '2'],
    ])
  })

  test('that grows while it is read gives at least what was there', async () => {
    write('inbox', `${line}${mail('1')}\n${line}${mail('2')}\n`)
    const seen: unknown[] = []
    for await (const one of findMails([join(folder, 'inbox')], options())) {
      seen.push(subject(one))
      if (seen.length === 1) appendFileSync(join(folder, 'inbox'), `${line}${mail('3')}\n`)
    }
    expect(seen.slice(0, 2)).toEqual(['1', '2'])
  })
})

describe('Maildir', () => {
  test('new and cur are read, tmp and files beside them are not', async () => {
    write('new/1700000000.M1P1.host', mail('new'))
    write('cur/1600000000.M1P1.host:2,S', mail('cur'))
    write('tmp/1700000001.M1P1.host', mail('tmp'))
    write('dovecot-uidlist', '3 V1')
    write('cur/.hidden', mail('hidden'))
    const all = await find([folder])
    expect(all.map((one) => [subject(one), one.receivedAt, one.receivedFrom])).toEqual([
      ['new', '2023-11-14T22:13:20Z', 'maildir'],
      ['cur', '2020-09-13T12:26:40Z', 'maildir'],
    ])
  })

  test('sub-folders of Maildir++ are read, and Maildirs below folders', async () => {
    write('box/cur/1', mail('a'))
    mkdirSync(join(folder, 'box', 'new'))
    write('box/.Reports.2026/new/2', mail('b'))
    mkdirSync(join(folder, 'box', '.Reports.2026', 'cur'))
    expect(await found()).toEqual([
      ['box/cur/1', 'a'],
      ['box/.Reports.2026/new/2', 'b'],
    ])
  })

  test('a file is one mail whatever is in it', async () => {
    write('cur/1', `From a Thu Nov 21 00:00:00 2026\n${mail('1')}\nFrom a Thu Nov 21 00:00:00 2026\n${mail('2')}`)
    mkdirSync(join(folder, 'new'))
    expect((await find([folder])).map(({ source }) => inFolder(source))).toEqual(['cur/1'])
  })

  test('mails that are read, flagged or deleted by others meanwhile are found once or not at all', async () => {
    for (const name of ['1', '2', '3', '4']) write(`new/${name}`, mail(name))
    for (const name of ['5:2,', '6:2,']) write(`cur/${name}`, mail(name))
    const move = (a: string, b: string) => renameSync(join(folder, a), join(folder, b))
    const seen: unknown[] = []
    for await (const one of findMails([folder], options())) {
      seen.push(subject(one))
      if (seen.length === 1) {
        move('new/1', 'cur/1:2,S')
        move('new/2', 'cur/2:2,S')
        unlinkSync(join(folder, 'new', '3'))
      }
      if (seen.length === 4) move('cur/6:2,', 'cur/6:2,FS')
    }
    expect(seen).toEqual(['1', '2', '4', '5:2,', '6:2,'])
  })
})

const generator = join(import.meta.dirname, '..', '..', '..', 'shared', 'tools', 'make-mail.mjs')
test.skipIf(!existsSync(generator))('the same mails are found in files, mbox and Maildir', async () => {
  const made: Record<string, (string | null)[]> = {}
  for (const form of ['files', 'mbox', 'maildir']) {
    const out = join(folder, form)
    execFileSync(process.execPath, [generator, '--out', out, '--mails', '200', '--seed', '3', '--form', form])
    const path = join(out, form === 'mbox' ? 'mail.mbox' : 'mail')
    // The generator writes its mbox with LF, the others with CRLF.
    made[form] = (await find([path], { maxMailBytes: 50_000_000 })).map(({ bytes }) =>
      Buffer.from(bytes).toString('latin1').replaceAll('\r\n', '\n'),
    )
  }
  expect(made.files).toHaveLength(200)
  expect(made.mbox).toEqual(made.files)
  expect(made.maildir).toEqual(made.files)
})
