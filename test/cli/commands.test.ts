/** What all commands share: help, wrong usage, settings; and the commands that look after a data folder. */
import { mkdir, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { commands } from '../../cli/all.ts'
import { endAll, importMail, mailtrail, type Outcome, SAMPLES, tempFolder, up } from '../fixtures.ts'

afterEach(endAll)

/** Wrong usage: exit code 2, one line that helps, nothing else. */
function expectUsage({ code, stdout, stderr }: Outcome, words: string): void {
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
  expect(stderr.trim().split('\n')).toHaveLength(1)
  expect(stderr).toContain(words)
}

describe('help', () => {
  test('names every command', async () => {
    const { code, stdout, stderr } = await mailtrail(['--help'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    for (const { name } of commands) expect(stdout).toMatch(new RegExp(`^ +${name} `, 'm'))
  })

  test('of each command shows its options and an example', async () => {
    await Promise.all(
      commands.map(async ({ name, options }) => {
        const { code, stdout, stderr } = await mailtrail([name, '--help'])
        expect({ name, code, stderr }).toEqual({ name, code: 0, stderr: '' })
        for (const option of [...Object.keys(options), 'data', 'help']) expect(stdout).toContain(`--${option}`)
        expect(stdout).toMatch(/Example:\n +mailtrail /)
      }),
    )
  })

  test('no command at all shows the help, and is wrong usage', async () => {
    const { code, stdout } = await mailtrail([])
    expect(code).toBe(2)
    expect(stdout).toContain('import')
  })

  test('--version is a version', async () => {
    expect(await mailtrail(['--version'])).toEqual({
      code: 0,
      stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/),
      stderr: '',
    })
  })
})

describe('wrong usage', () => {
  test('an unknown command suggests the nearest', async () => {
    expectUsage(await mailtrail(['imprt', 'x']), 'Did you mean import?')
  })

  test('an option that a command does not know is refused', async () => {
    await Promise.all(
      commands.map(async ({ name }) => expectUsage(await mailtrail([name, '--no-such-option']), '--no-such-option')),
    )
  })

  test('up with some roles says what that needs', async () => {
    const data = join(await tempFolder('roles'), 'data')
    expectUsage(await mailtrail(['up', '--roles', 'api', '--data', data]), 'Kafka')
    expectUsage(await mailtrail(['up', '--roles', 'coffee', '--data', data]), 'coffee')
  })

  test('up on an address for everyone, without keys, refuses', async () => {
    const data = join(await tempFolder('listen'), 'data')
    expectUsage(await mailtrail(['up', '--listen', '0.0.0.0:0', '--data', data]), 'MAILTRAIL_API_KEYS')
  })

  test('rejects without a verb says the verbs', async () => {
    expectUsage(await mailtrail(['rejects']), 'rejects list')
  })
})

describe('settings', () => {
  /** Every setting and what is wrong with it: test/config.test.ts. */
  const wrong: readonly (readonly [name: string, value: string, words: string])[] = [
    ['MAILTRAIL_DTAA', 'x', 'Did you mean MAILTRAIL_DATA?'],
    ['MAILTRAIL_LISTEN', 'nowhere', 'HOST:PORT'],
    ['KAFKA_BROKERS', '127.0.0.1:9092', 'SCHEMA_REGISTRY_URL'],
    ['MAILTRAIL_ROLES', 'process,project', 'embedded'],
  ]

  test('a name or a value that is wrong is refused in a sentence', async () => {
    const data = join(await tempFolder('settings'), 'data')
    await Promise.all(
      wrong.map(async ([name, value, words]) => {
        const outcome = await mailtrail(['import', SAMPLES, '--data', data], { env: { [name]: value } })
        expectUsage(outcome, words)
        expect(outcome.stderr).toContain(name)
      }),
    )
    const split = await mailtrail(['up', '--roles', 'process,project', '--data', data])
    expectUsage(split, 'embedded here: the log (set KAFKA_BROKERS)')
  })

  test('MAILTRAIL_DATA is the data folder when --data is not given', async () => {
    const folder = await tempFolder('settings')
    const env = { MAILTRAIL_DATA: join(folder, 'kept') }
    const { code } = await mailtrail(['import', join(SAMPLES, '15-system-mail.eml')], { env, cwd: folder })
    expect(code).toBe(0)
    const again = await mailtrail(['import', join(SAMPLES, '15-system-mail.eml'), '--data', env.MAILTRAIL_DATA])
    expect(again.stdout).toContain('1 duplicate,')
  })
})

describe('rejects', () => {
  test('lists, shows and retries what could not be read, with nothing running', async () => {
    const data = join(await tempFolder('rejects'), 'data')
    await importMail(data, [SAMPLES])
    const list = await mailtrail(['rejects', 'list', '--data', data])
    expect(list.code).toBe(0)
    expect(list.stdout).toContain('1 reject.')
    const id = /\b[0-9a-f]{64}\b/.exec(list.stdout)![0]
    const show = await mailtrail(['rejects', 'show', id, '--data', data])
    expect(show.code).toBe(0)
    expect(show.stdout).toContain('gzip_damaged')
    expect(show.stdout).toContain('11-damaged.eml')
    const dry = await mailtrail(['rejects', 'retry', '--code', 'gzip_damaged', '--dry-run', '--data', data])
    expect(dry.stdout).toBe('1 mail would be read again.\n')
    const retry = await mailtrail(['rejects', 'retry', '--id', id, '--data', data])
    expect(retry.stdout).toBe('1 of 1 mail is being read again.\n')
    const after = await mailtrail(['rejects', 'list', '--format', 'json', '--data', data])
    expect(
      after.stdout
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line)),
    ).toMatchObject([{ mail_id: id }])
  }, 120_000)

  test('asks a running server, and says what it does not know', async () => {
    const data = join(await tempFolder('rejects'), 'data')
    await up(data)
    expect((await mailtrail(['rejects', 'list', '--data', data])).stdout).toBe('Nothing is rejected.\n')
    const show = await mailtrail(['rejects', 'show', 'f'.repeat(64), '--data', data])
    expect(show.code).toBe(1)
    expect(show.stderr.trim().split('\n')).toHaveLength(1)
    expectUsage(await mailtrail(['rejects', 'show', '--data', data]), 'rejects list')
    const retry = await mailtrail(['rejects', 'retry', '--data', data])
    expect(retry.code).not.toBe(0)
    expect(retry.stderr.trim().split('\n')).toHaveLength(1)
  })
})

describe('doctor', () => {
  test('finds all well on a fresh folder, and beside a running server', async () => {
    const data = join(await tempFolder('doctor'), 'data')
    const env = { MAILTRAIL_LISTEN: '127.0.0.1:0' }
    const before = await mailtrail(['doctor', '--data', data], { env })
    expect(before.stdout).not.toContain('BAD')
    expect(before).toMatchObject({ code: 0, stderr: '', stdout: expect.stringContaining('All is well.') })
    const running = await up(data)
    const beside = await mailtrail(['doctor', '--data', data], { env })
    expect(beside.stdout).not.toContain('BAD')
    expect(beside.stdout).toContain(running.url)
    expect(beside.code).toBe(0)
  })

  test('says what is wrong and what to do, with exit code 1', async () => {
    const folder = await tempFolder('doctor')
    await writeFile(join(folder, 'file'), '')
    const listener = createServer().listen(0, '127.0.0.1')
    await new Promise((resolve) => listener.once('listening', resolve))
    const { port } = listener.address() as { port: number }
    try {
      const env = { MAILTRAIL_LISTEN: `127.0.0.1:${port}` }
      const { code, stdout, stderr } = await mailtrail(['doctor', '--data', join(folder, 'file', 'data')], { env })
      expect({ code, stderr }).toEqual({ code: 1, stderr: '' })
      expect(stdout).toMatch(/^BAD +data folder .*MAILTRAIL_DATA/m)
      expect(stdout).toMatch(/^BAD +http address .*--listen/m)
      expect(stdout).not.toMatch(/\n +at /)
    } finally {
      await new Promise((resolve) => listener.close(resolve))
    }
  })
})

describe('up', () => {
  test('says its address, what it runs on and what to try, and ends in order', async () => {
    const data = join(await tempFolder('up'), 'data')
    await mkdir(data)
    const running = await up(data, { paths: [SAMPLES] })
    await running.says(/Ctrl-C stops/)
    const { stdout, stderr } = running.said()
    expect(stdout).toContain('Read 16 mails: 16 new, 0 duplicates, 1 rejected.')
    const commandsToTry = stdout.split('\n').filter((line) => line.includes('curl '))
    expect(commandsToTry).toHaveLength(3)
    for (const line of commandsToTry) {
      const response = await fetch(/curl '([^']+)'/.exec(line)![1]!)
      expect(response.status).toBe(200)
      expect(((await response.json()) as { items?: unknown[]; series?: unknown[] }).items?.length ?? 1).toBeGreaterThan(
        0,
      )
    }
    expect(stderr).toBe('')
    expect(await running.stop()).toBe(0)
  })

  test('an address in use is said in a sentence, with exit code 1', async () => {
    const folder = await tempFolder('up')
    const running = await up(join(folder, 'one'))
    const address = running.url.replace('http://', '')
    const { code, stderr } = await mailtrail(['up', '--data', join(folder, 'two'), '--listen', address])
    expect(code).toBe(1)
    expect(stderr).toContain(`${address} is in use`)
    expect(stderr.trim().split('\n')).toHaveLength(1)
  })
})
