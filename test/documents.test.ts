/** What the documents show is so. */
import { execFile } from 'node:child_process'
import { existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, describe, expect, test } from 'vitest'
import { endAll, SAMPLES, tempFolder, up } from './fixtures.ts'
import { readReadme, withSettingsTable } from './settings-table.ts'

const ROOT = join(import.meta.dirname, '..')
const run = promisify(execFile)
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8')

afterEach(endAll)

test('the table of settings in the README is that of config.ts; if not, run "npm run docs"', () => {
  expect(readReadme()).toBe(withSettingsTable(readReadme()))
})

test('every file that a document links to is there', () => {
  const documents = ['README.md', 'CHANGELOG.md', ...globSync('docs/**/*.md', { cwd: ROOT })]
  const dead = documents.flatMap((path) =>
    [...read(path).matchAll(/\]\((?!https?:|#)([^)#\s]+)/g)]
      .map((match) => match[1]!)
      .filter((target) => !existsSync(join(ROOT, dirname(path), target)))
      .map((target) => `${path}: ${target}`),
  )
  expect(dead).toEqual([])
})

test('every file that the README names in its text is there', () => {
  const named = [...readReadme().matchAll(/`([\w./-]+\/[\w.-]*\.(?:ts|sql|md|mjs|eml))`/g)].map((match) => match[1]!)
  expect(named.length).toBeGreaterThan(5)
  expect(named.filter((path) => !path.startsWith('your') && !existsSync(join(ROOT, path)))).toEqual([])
})

test('every npm script that a document names exists', () => {
  const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> }
  const named = ['README.md', 'CHANGELOG.md'].flatMap((path) =>
    [...read(path).matchAll(/npm (?:run ([a-z:]+)|(start|test)\b)/g)].map((match) => match[1] ?? match[2]!),
  )
  expect(named).toEqual(expect.arrayContaining(['start', 'test', 'bench']))
  expect(named.filter((name) => !(name in scripts))).toEqual([])
})

describe('docs/samples.md', () => {
  interface Line {
    readonly kind: string
    readonly source: string
    readonly report: { readonly org_name: string; readonly report_id: string; readonly begin: string }
    readonly policy: { readonly domain: string }
    readonly records: readonly {
      readonly count: number
      readonly dkim: string
      readonly spf: string
      readonly disposition: string
    }[]
    readonly policies: readonly { readonly domain: string; readonly successful: number; readonly failed: number }[]
  }

  const number = (text: string) => (text === '–' ? 0 : Number(text.replaceAll(',', '')))
  const document = read('docs/samples.md')
  const rows = document
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .map((line) => line.split('|').map((text) => text.trim().replaceAll('`', '')))

  async function parsed(): Promise<readonly Line[]> {
    const { stdout } = await run(process.execPath, ['mailtrail.mjs', 'parse', 'samples'], { cwd: ROOT })
    return stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Line)
  }

  test('lists every file of samples/, and no other', () => {
    const listed = rows.map((row) => row[1]!).filter((name) => name.endsWith('.eml'))
    expect(listed).toEqual(globSync('*', { cwd: join(ROOT, 'samples') }).sort())
  })

  test('says what each aggregate report holds', async () => {
    const found = new Map((await parsed()).map(({ source, records }) => [source, records]))
    const said = rows.flatMap(([, name, , text]) => {
      const match = /^([\d,]+) messages, ([\d,]+) passed/.exec(text ?? '')
      return match === null ? [] : [{ name, messages: number(match[1]!), passed: number(match[2]!) }]
    })
    expect(said).toHaveLength(8)
    for (const { name, messages, passed } of said) {
      expect({ name, ...sums(found.get(`samples/${name}`) ?? []) }).toMatchObject({ name, messages, passed })
    }
  })

  test('adds up to its totals, each report once', async () => {
    const first = new Map<string, Line>()
    for (const line of await parsed()) {
      const key =
        line.kind === 'dmarc' ? `${line.report.org_name} ${line.report.report_id} ${line.report.begin}` : line.source
      if (!first.has(key)) first.set(key, line)
    }
    const lines = [...first.values()]
    const totals = rows.filter((row) => !row[1]!.endsWith('.eml'))
    expect(totals.map((row) => row[1])).toEqual(['linden.example', 'linden-shop.example', 'old-linden.example'])
    for (const [, domain, ...cells] of totals) {
      const reports = lines.filter(({ kind, policy }) => kind === 'dmarc' && policy.domain === domain)
      const tls = lines.filter(({ kind }) => kind === 'tls').flatMap(({ policies }) => policies)
      const ours = tls.filter((policy) => policy.domain === domain)
      const { messages, passed, full, dkimOnly, spfOnly, failed, quarantined, rejected } = sums(
        reports.flatMap(({ records }) => records),
      )
      const counted = [messages, passed, full, dkimOnly, spfOnly, failed, quarantined, rejected, reports.length]
      const sessions = [sum(ours.map(({ successful }) => successful)), sum(ours.map((policy) => policy.failed))]
      expect({ domain, counts: cells.slice(0, 11).map(number) }).toEqual({ domain, counts: [...counted, ...sessions] })
    }
  })

  const sum = (counts: readonly number[]) => counts.reduce((total, count) => total + count, 0)

  function sums(records: Line['records']) {
    const count = (which: (record: Line['records'][number]) => boolean) =>
      sum(records.filter(which).map((r) => r.count))
    const full = count(({ dkim, spf }) => dkim === 'pass' && spf === 'pass')
    const dkimOnly = count(({ dkim, spf }) => dkim === 'pass' && spf !== 'pass')
    const spfOnly = count(({ dkim, spf }) => dkim !== 'pass' && spf === 'pass')
    const messages = count(() => true)
    return {
      messages,
      passed: full + dkimOnly + spfOnly,
      full,
      dkimOnly,
      spfOnly,
      failed: messages - full - dkimOnly - spfOnly,
      quarantined: count(({ disposition }) => disposition === 'quarantine'),
      rejected: count(({ disposition }) => disposition === 'reject'),
    }
  }
})

describe('the questions in the README', () => {
  const questions = [
    ...readReadme().matchAll(/```sh\ncurl 'http:\/\/127\.0\.0\.1:7489([^']+)'\n```\n\n```json\n([^`]+)```/g),
  ].map((match) => ({ path: match[1]!, answer: JSON.parse(match[2]!) as Record<string, object[]> }))

  test('are answered as it says, by the samples', async () => {
    expect(questions).toHaveLength(3)
    const server = await up(await tempFolder('readme'), { paths: [SAMPLES] })
    await server.says(/Read 16 mails/)
    for (const { path, answer } of questions) {
      const body = (await (await fetch(`${server.url}${path}`)).json()) as Record<string, object[]>
      for (const [list, items] of Object.entries(answer))
        expect(body[list]!.slice(0, items.length)).toMatchObject(items)
    }
  })
})

describe('README, change a rule and replay', () => {
  /** Commands of the section, each with the lines that are shown of its output. */
  const section = read('README.md').split('## Change a rule and replay')[1]!.split('\n## ')[0]!
  const steps = [...section.matchAll(/```console\n([\s\S]*?)```/g)].flatMap((block) =>
    block[1]!
      .split('$ npx mailtrail ')
      .slice(1)
      .map((step) => step.trimEnd().split('\n'))
      .map(([command, ...shown]) => ({ command: command!, shown })),
  )
  const words = (line: string) => line.trim().replace(/\s+/g, ' ')
  const beginOf = (line: string) => words(line.replace(/ …$/, ''))

  test('the commands print what is shown', async () => {
    expect(steps.length).toBeGreaterThan(7)
    const folder = await tempFolder('readme')
    const data = join(folder, 'data')
    const running = await up(data, { paths: [SAMPLES] })
    await running.says(/Read 16 mails/)
    await running.idle()
    for (const { command, shown } of steps) {
      const [args, file] = command.split(' > ')
      const line = `"${process.execPath}" "${join(ROOT, 'mailtrail.mjs')}" ${args} --data "${data}"`
      const { stdout, stderr } = await run('sh', ['-c', `${line}${file === undefined ? '' : ` > ${file}`}`], {
        cwd: folder,
      }).catch((error: { code: number; stdout: string; stderr: string }) => {
        // A diff that shows a change says so by its exit code.
        if (error.code !== 3) throw error
        return error
      })
      expect(stderr, command).toBe('')
      const said = stdout.split('\n').map(words)
      for (const expected of shown)
        expect(
          said.some((one) => one.startsWith(beginOf(expected))),
          `${command}: ${expected}\n${stdout}`,
        ).toBe(true)
    }
    await running.stop()
  }, 120_000)

  test('the samples have a record of each verdict', async () => {
    const running = await up(join(await tempFolder('verdicts'), 'data'), { paths: [SAMPLES] })
    await running.says(/Read 16 mails/)
    await running.idle()
    const items = await running.list<{ verdict: string }>('/dmarc/records?from=2026-10-01&to=2026-11-30')
    const found = new Set(items.map(({ verdict }) => verdict))
    expect([...found].sort()).toEqual([
      'authenticated',
      'forwarded',
      'misconfigured',
      'signing_broken',
      'spoofed',
      'unknown',
    ])
    await running.stop()
  })
})
