/** Text of strangers stays text: in JSON, CSV, on a terminal, in a log line, in a statement of the store. */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { counted } from '../../cli/command.ts'
import { csvText, printableJson } from '../../topics/printable.ts'
import { ALL_DAYS, endAll, mailtrail, type Running, start, tempFolder, up } from '../fixtures.ts'
import { aggregateXml, mailOf } from '../report-mail.ts'

/** Everything that a terminal may obey, line ends apart: C0, DEL, C1, and what turns the direction of writing. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const CONTROL = /[\u0000-\u0009\u000b\u000c\u000e-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/
/** "Set the title" and "clear the screen" in the eight-bit form, which needs no ESC, and a turned direction. */
const ATTACK = '\u009d0;owned\u009c\u009b2J\u0085\u202egpj.exe'
const LIMIT = 120_000

describe('what leaves', () => {
  const every = Array.from({ length: 0x2100 }, (_, code) => String.fromCharCode(code)).join('')

  test('JSON says the same, without one control character', () => {
    const json = printableJson(JSON.stringify({ [every]: every }))
    expect(CONTROL.test(json) || json.includes('\n')).toBe(false)
    expect(JSON.parse(json)).toEqual({ [every]: every })
  })

  test('a cell of CSV has none either, but for line ends inside of quotes', () => {
    expect(CONTROL.test(csvText(every.replaceAll('\t', '')))).toBe(false)
    expect(csvText('a\rb')).toBe('a\ufffdb')
    expect(csvText('a\r\nb')).toBe('"a\r\nb"')
  })

  test.each(['=1+1', '+1', '-1', '@SUM(A1)', '\t=1', '\r=1', '\n=1', '\uff1d1+1', '\0=1', '"=1"'])(
    '%j is no formula as a cell',
    (text) => {
      expect(csvText(text)).toMatch(/^"?'|^"?\ufffd|^"""/)
      expect(csvText(text)).not.toMatch(/^"?[=+\-@\t\r\n\uff1d]/)
    },
  )

  test('a number is followed by what it counts, one by one of it', () => {
    expect([0, 1, 2].map((n) => counted(n, 'mail'))).toEqual(['0 mails', '1 mail', '2 mails'])
  })
})

describe('a mailtrail that was sent texts made to be obeyed', () => {
  const record = { source_ip: '192.0.2.1', count: 999_999, dkim: true, spf: false }
  const domain = `x';touch owned;'.example`
  const begin = Date.UTC(2026, 9, 1) / 1000
  let running: Running
  let folder: string

  beforeAll(async () => {
    folder = await tempFolder('texts')
    await mkdir(join(folder, 'mail'))
    const xml = aggregateXml({ id: `id${ATTACK}`, domain, begin, records: [record] })
    const named = xml.replace('<org_name>reporter.example', `<org_name>=cmd|'/C calc'!A0${ATTACK}`)
    await writeFile(join(folder, 'mail', 'a.xml'), named)
    const controls = aggregateXml({ id: 'b', domain: `y${ATTACK}.example`, begin, records: [record] })
    await writeFile(join(folder, 'mail', 'b.xml'), controls)
    const html = aggregateXml({ id: 'c', domain: 'z.example', begin, records: [record] })
    await writeFile(
      join(folder, 'mail', 'c.xml'),
      html.replace('<org_name>reporter.example', '<org_name>&lt;script>alert(1)&lt;/script>'),
    )
    await writeFile(
      join(folder, 'mail', 'd.eml'),
      mailOf(`=?utf-8?q?${'=C2=9B2J'}?=`, begin, {
        type: 'application/zip',
        name: `a${ATTACK}.zip`,
        content: 'PK\x03\x04',
      }),
    )
    running = await up(join(folder, 'data'), { paths: [join(folder, 'mail')], env: { LOG_LEVEL: 'trace' } })
    await running.idle()
    await running.says(/Ctrl-C stops/)
  }, LIMIT)
  afterAll(endAll)

  const ask = async (path: string, accept: string) => {
    const response = await fetch(`${running.url}/api/v1${path}`, { headers: { accept } })
    return {
      status: response.status,
      type: response.headers.get('content-type'),
      text: await response.text(),
      response,
    }
  }

  test('prints none of it, and nothing that a shell would run when it is copied', () => {
    const { stdout, stderr } = running.said()
    expect(`${stdout}${stderr}`).not.toMatch(CONTROL)
    const copied = [...stdout.matchAll(/^ {2}curl (.*)$/gm)].map((match) => match[1]!)
    expect(copied.length).toBeGreaterThan(1)
    for (const line of copied) expect(line).toMatch(/^'[^']*'$/)
  })

  test.each(['/dmarc/records', '/dmarc/reports', '/domains', '/rejects', '/mail'])(
    '%s answers without a control character in every form',
    async (path) => {
      for (const accept of ['application/json', 'application/x-ndjson', 'text/csv']) {
        const { status, text } = await ask(`${path}?${ALL_DAYS}`, accept)
        expect({ accept, status }).toEqual({ accept, status: 200 })
        expect(text.length).toBeGreaterThan(20)
        expect(text).not.toMatch(CONTROL)
      }
    },
  )

  test('what was sent is in the answer all the same', async () => {
    const answer = JSON.stringify(await running.get(`/dmarc/reports?${ALL_DAYS}`))
    expect(answer).toContain(`id${ATTACK}`)
    expect(answer).toContain('<script>alert(1)</script>')
  })

  test('no form is one that a browser runs', async () => {
    for (const accept of ['application/json', 'application/x-ndjson', 'text/csv', 'text/html']) {
      const { type, response } = await ask(`/dmarc/reports?${ALL_DAYS}`, accept)
      expect(type).not.toContain('html')
      expect(response.headers.get('x-content-type-options')).toBe('nosniff')
    }
  })

  test('a formula in CSV has an apostrophe in front', async () => {
    const { text } = await ask(`/dmarc/reports?${ALL_DAYS}`, 'text/csv')
    expect(text).toContain(`'=cmd|`)
    expect(text).not.toMatch(/(^|,)"?=cmd/m)
  })

  test.each(['ndjson', 'json', 'csv', 'table'])('parse --format %s prints no control character', async (format) => {
    const { code, stdout, stderr } = await mailtrail(['parse', join(folder, 'mail'), '--format', format])
    expect(code).toBe(0)
    expect(stdout.length).toBeGreaterThan(300)
    expect(`${stdout}${stderr}`).not.toMatch(CONTROL)
  })

  test(
    'SQL in any filter is a value',
    async () => {
      const attack = `x') OR 1=1 -- '; DROP TABLE dmarc_records__g1; \\' {a:String} /* \0`
      const openapi = (await (await fetch(`${running.url}/openapi.json`)).json()) as {
        paths: Record<string, { get?: { parameters?: { name: string; in: string; schema: { type?: string } }[] } }>
      }
      const before = await running.list(`/dmarc/records?${ALL_DAYS}`)
      expect(before.length).toBeGreaterThan(0)
      let asked = 0
      for (const [path, { get }] of Object.entries(openapi.paths)) {
        for (const parameter of get?.parameters ?? []) {
          const filled = path.replace(/\{[^}]*\}/g, encodeURIComponent(parameter.in === 'path' ? attack : 'z.example'))
          const url = new URL(running.url + filled)
          if (parameter.in === 'query') url.searchParams.set(parameter.name, attack)
          const response = await fetch(url)
          const text = await response.text()
          expect({ path, name: parameter.name, status: response.status }).not.toMatchObject({ status: 500 })
          if (response.ok) {
            const { items } = JSON.parse(text) as { items?: unknown[] }
            expect({ path, name: parameter.name, items: items ?? [] }).toEqual({
              path,
              name: parameter.name,
              items: [],
            })
          }
          asked++
        }
      }
      expect(asked).toBeGreaterThan(60)
      expect(await running.list(`/dmarc/records?${ALL_DAYS}`)).toEqual(before)
    },
    LIMIT,
  )

  test('a wrong path on the command line is said without its control characters', async () => {
    const child = start(['import', join(folder, `none${ATTACK}`), '--data', join(folder, 'other')])
    const said: string[] = []
    for (const stream of [child.stdout!, child.stderr!])
      stream.setEncoding('utf8').on('data', (text: string) => said.push(text))
    await new Promise((resolve) => child.once('close', resolve))
    expect(said.join('')).toContain('none')
    expect(said.join('')).not.toMatch(CONTROL)
  })
})
