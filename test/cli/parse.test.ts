import { readdirSync } from 'node:fs'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { endAll, mailtrail, outcomeOf, SAMPLES, start, tempFolder } from '../fixtures.ts'
import { aggregateXml, mailOf, makeMails, writeMails } from '../report-mail.ts'

afterEach(endAll)

const MAIL = join(SAMPLES, '01-aggregate-zip.eml')
const mails = readdirSync(SAMPLES)
  .filter((name) => name.endsWith('.eml'))
  .sort()

const record = { source_ip: '192.0.2.1', count: 3, dkim: true, spf: false }

/** Everything that a terminal may obey; line ends apart. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const CONTROL = /[\u0000-\u0009\u000b\u000c\u000e-\u001f\u007f-\u009f]/

describe('parse', () => {
  test('ndjson: a line for each thing found, in input order', async () => {
    const { code, stdout, stderr } = await mailtrail(['parse', SAMPLES, '--format', 'ndjson'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const lines = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { kind: string; source: string })
    expect([...new Set(lines.map(({ source }) => source))]).toEqual(mails.map((name) => join(SAMPLES, name)))
    expect(new Set(lines.map(({ kind }) => kind))).toEqual(new Set(['dmarc', 'tls', 'failure', 'other', 'rejected']))
  })

  test('ndjson is what comes when the output is no terminal, in any number of threads', async () => {
    const [one, many] = await Promise.all([
      mailtrail(['parse', SAMPLES, '--workers', '1']),
      mailtrail(['parse', SAMPLES, '--format', 'ndjson', '--workers', '3']),
    ])
    expect(one.stdout).toContain('"kind":"tls"')
    expect(many.stdout).toBe(one.stdout)
  })

  test('json: the same in one array', async () => {
    const [array, lines] = await Promise.all([
      mailtrail(['parse', SAMPLES, '--format', 'json']),
      mailtrail(['parse', SAMPLES]),
    ])
    expect(array.code).toBe(0)
    expect(JSON.parse(array.stdout)).toEqual(
      lines.stdout
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line)),
    )
  })

  test('json of nothing is an empty array', async () => {
    const { code, stdout } = await mailtrail(['parse', await tempFolder('empty'), '--format', 'json'])
    expect({ code, array: JSON.parse(stdout) }).toEqual({ code: 0, array: [] })
  })

  test('csv: a head and as many cells in each line, formulas made harmless', async () => {
    const folder = await tempFolder('csv')
    const xml = aggregateXml({ id: 'a', domain: 'x.example', begin: 1_790_000_000, records: [record, record] })
    await writeFile(join(folder, 'r.xml'), xml.replace('<org_name>reporter.example', '<org_name>=cmd(&quot;x&quot;,1)'))
    const { code, stdout } = await mailtrail(['parse', folder, '--format', 'csv'])
    expect(code).toBe(0)
    const [head, ...rows] = stdout.trimEnd().split(/\r?\n/)
    expect(head).toMatch(/^[a-z_,]+$/)
    expect(rows).toHaveLength(2)
    expect(stdout).toContain('=cmd(')
    expect(stdout).not.toMatch(/(^|,)"?=cmd/m)
  })

  test('table: a line for each thing found', async () => {
    const { code, stdout } = await mailtrail(['parse', SAMPLES, '--format', 'table'])
    expect(code).toBe(0)
    for (const word of ['linden.example', 'tls', 'failure', 'rejected']) expect(stdout).toContain(word)
  })

  test('control characters of a mail or a path never reach the terminal or begin a line', async () => {
    const folder = await tempFolder('control')
    const attack = '\u001b]0;owned\u0007\u001b[2J'
    const report = { id: `id${attack}`, domain: 'x.example', begin: 1_790_000_000, records: [record] }
    const mail = mailOf('=?utf-8?q?a=1B=5B2Jb=0Ac?=', 1_790_000_000, { type: 'text/plain', content: 'hello' })
    await writeFile(join(folder, 'a.eml'), mail)
    await writeFile(join(folder, `b${attack}.xml`), aggregateXml(report).replaceAll('\u001b', '&#x9b;'))
    const table = await mailtrail(['parse', folder, join(folder, `none${attack}`), '--format', 'table'])
    expect(table.code).toBe(1)
    expect(table.stderr).toContain('none')
    expect(`${table.stdout}${table.stderr}`).not.toMatch(CONTROL)
    for (const format of ['ndjson', 'json']) {
      const { code, stdout } = await mailtrail(['parse', folder, '--format', format])
      expect(code).toBe(0)
      expect(stdout, format).not.toMatch(CONTROL)
    }
  })

  test('"-" reads one mail from standard input', async () => {
    const { code, stdout } = await mailtrail(['parse', '-'], { stdin: await readFile(MAIL) })
    expect(code).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({ kind: 'dmarc', source: '-' })
  })

  test('what cannot be opened is said in a sentence, the rest is read, and the exit code is 1', async () => {
    const { code, stdout, stderr } = await mailtrail(['parse', '/no/such/mail.eml', MAIL])
    expect(code).toBe(1)
    expect(stderr.trim().split('\n')).toHaveLength(1)
    expect(stderr).toContain('/no/such/mail.eml')
    expect(JSON.parse(stdout)).toMatchObject({ kind: 'dmarc', source: MAIL })
  })

  test('a mail that cannot be read is data: the exit code is 0', async () => {
    const folder = await tempFolder('reject')
    await writeFile(join(folder, 'empty.xml'), '')
    const { code, stdout } = await mailtrail(['parse', folder])
    expect(code).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({ kind: 'rejected', source: join(folder, 'empty.xml') })
  })

  test('a reader that goes away (| head) ends it without a word', async () => {
    const folder = join(await tempFolder('head'), 'mail')
    await mkdir(folder)
    await writeMails(folder, makeMails(3, 400).mails)
    for (const format of ['ndjson', 'json', 'csv', 'table']) {
      const child = start(['parse', folder, '--format', format])
      child.stdout!.once('data', () => child.stdout!.destroy())
      const { code, stderr } = await outcomeOf(child)
      expect({ format, stderr }).toEqual({ format, stderr: '' })
      expect([0, 1, 141]).toContain(code)
    }
  })

  test('interrupted, it says that its output is not all', async () => {
    const folder = join(await tempFolder('interrupted'), 'mail')
    await writeMails(folder, makeMails(4, 4000).mails)
    const child = start(['parse', folder])
    child.stdout!.once('data', () => child.kill('SIGINT'))
    const { code, stderr } = await outcomeOf(child)
    expect({ code, stderr }).toEqual({ code: 1, stderr: 'Interrupted: what was printed is not all.\n' })
  })

  test('without a path it says what to do', async () => {
    const { code, stderr } = await mailtrail(['parse'])
    expect(code).toBe(2)
    expect(stderr).toContain('standard input')
  })

  test.each([['--format', 'xml'], ['--workers', '0'], ['--workers', 'many'], ['--colour']])(
    'refuses %s %s',
    async (...args) => {
      const { code, stdout, stderr } = await mailtrail(['parse', MAIL, ...args.filter((arg) => arg !== undefined)])
      expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
      expect(stderr.trim().split('\n')).toHaveLength(1)
      expect(stderr).toContain(args[0]!)
    },
  )
})
