import { existsSync } from 'node:fs'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, test } from 'vitest'
import {
  ALL_DAYS,
  endAll,
  type ImportSummary,
  mailtrail,
  outcomeOf,
  SAMPLES,
  start,
  tempFolder,
  until,
  up,
} from '../fixtures.ts'
import { makeMails, writeMails } from '../report-mail.ts'

afterEach(endAll)

const MAIL = join(SAMPLES, '01-aggregate-zip.eml')
const LIMIT = 120_000

const dataFolder = async () => join(await tempFolder('import'), 'data')
const summaryOf = (stdout: string) => JSON.parse(stdout) as ImportSummary

describe('import with nothing running', () => {
  test('takes files and folders, and ends with a summary', async () => {
    const data = await dataFolder()
    const { code, stdout, stderr } = await mailtrail(['import', SAMPLES, MAIL, '--data', data, '--format', 'json'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(summaryOf(stdout)).toEqual({ read: 17, new: 16, duplicates: 1, rejects: 1 })
    const text = await mailtrail(['import', SAMPLES, '--data', data])
    expect(text.stdout).toBe('Read 16 mails: 0 new, 16 duplicates, 1 rejected.\n')
  })

  test('a path that is not there is said, the rest is imported, and the exit code is 1', async () => {
    const data = await dataFolder()
    const { code, stdout, stderr } = await mailtrail([
      'import',
      '/no/such/path',
      MAIL,
      '--data',
      data,
      '--format',
      'json',
    ])
    expect(code).toBe(1)
    expect(stderr.trim().split('\n')).toHaveLength(1)
    expect(stderr).toContain('/no/such/path')
    expect(summaryOf(stdout)).toEqual({ read: 1, new: 1, duplicates: 0, rejects: 0 })
  })

  test('"-" is one mail on standard input', async () => {
    const data = await dataFolder()
    const stdin = await readFile(MAIL)
    const { code, stdout } = await mailtrail(['import', '-', '--data', data, '--format', 'json'], { stdin })
    expect(code).toBe(0)
    expect(summaryOf(stdout)).toEqual({ read: 1, new: 1, duplicates: 0, rejects: 0 })
  })

  test('an empty file is a reject that can be looked up', async () => {
    const data = await dataFolder()
    const file = join(data, '..', 'empty.eml')
    await writeFile(file, '')
    const { code, stdout } = await mailtrail(['import', file, '--data', data, '--format', 'json'])
    expect(code).toBe(0)
    expect(summaryOf(stdout)).toEqual({ read: 1, new: 1, duplicates: 0, rejects: 1 })
    const list = await mailtrail(['rejects', 'list', '--data', data])
    expect(list.stdout).toContain('1 reject.')
  })

  test(
    'interrupted, it says how far it came, and the same import goes on from there',
    async () => {
      const data = await dataFolder()
      const mail = join(data, '..', 'mail')
      const { mails, truth } = makeMails(15, 4000)
      await writeMails(mail, mails)
      const child = start(['import', mail, '--data', data])
      const ended = outcomeOf(child)
      await until('mail to arrive', 60, () => existsSync(join(data, 'log.sqlite-wal')))
      await sleep(300)
      child.kill('SIGINT')
      const { code, stdout, stderr } = await ended
      expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
      expect(stderr).toMatch(/^Interrupted: Read \d+ mails: .* Run the same import again; nothing counts twice\.\n$/)
      const fresh = Number(/(\d+) new/.exec(stderr)![1])
      expect(fresh).toBeLessThan(truth.mails - truth.duplicates)
      const again = await mailtrail(['import', mail, '--data', data, '--format', 'json'])
      expect(summaryOf(again.stdout)).toMatchObject({
        new: truth.mails - truth.duplicates - fresh,
        rejects: truth.rejects,
      })
    },
    LIMIT,
  )

  test('an empty folder is no fault', async () => {
    const data = await dataFolder()
    const empty = join(data, '..', 'nothing')
    await mkdir(empty)
    const { code, stdout } = await mailtrail(['import', empty, '--data', data, '--format', 'json'])
    expect(code).toBe(0)
    expect(summaryOf(stdout)).toMatchObject({ read: 0, new: 0, duplicates: 0 })
  })

  test.each([[[]], [[MAIL, '--format', 'xml']], [[MAIL, '--server', 'ftp://x']]])('refuses %j', async (args) => {
    const { code, stdout, stderr } = await mailtrail(['import', ...args, '--data', await dataFolder()])
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr.trim().split('\n')).toHaveLength(1)
  })
})

describe('import with a server running', () => {
  test(
    'finds it by the data folder, and with --wait all that it brought can be queried when it returns',
    async () => {
      const data = await dataFolder()
      const mail = join(data, '..', 'mail')
      const { mails, truth } = makeMails(14, 300)
      await writeMails(mail, mails)
      const running = await up(data)
      const { code, stdout } = await mailtrail(['import', mail, '--data', data, '--wait', '--format', 'json'])
      const { items } = await running.get<{ items: { messages: number }[] }>(`/domains?limit=1000&${ALL_DAYS}`)
      expect(code).toBe(0)
      expect(summaryOf(stdout)).toEqual({
        read: truth.mails,
        new: truth.mails - truth.duplicates,
        duplicates: truth.duplicates,
        rejects: truth.rejects,
      })
      expect(items.reduce((sum, item) => sum + item.messages, 0)).toBe(truth.aggregate.messages)
    },
    LIMIT,
  )

  test('without --wait it returns when the mail is durable, and does not know the rejects', async () => {
    const data = await dataFolder()
    const running = await up(data)
    const { code, stdout } = await mailtrail(['import', SAMPLES, '--server', running.url, '--format', 'json'])
    expect(code).toBe(0)
    expect(summaryOf(stdout)).toEqual({ read: 16, new: 16, duplicates: 0, rejects: null })
  })

  test('a server that does not answer is said in a sentence, with exit code 1', async () => {
    const listener = createServer().listen(0, '127.0.0.1')
    await new Promise((resolve) => listener.once('listening', resolve))
    const { port } = listener.address() as { port: number }
    await new Promise((resolve) => listener.close(resolve))
    const url = `http://127.0.0.1:${port}`
    const { code, stderr } = await mailtrail(['import', MAIL, '--server', url])
    expect(code).toBe(1)
    expect(stderr).toContain(`${url} does not answer`)
    expect(stderr.trim().split('\n')).toHaveLength(1)
  })

  test('mail with spaces, umlauts and percent signs in its path is shown under that path', async () => {
    const data = await dataFolder()
    const folder = join(data, '..', 'Berichte für 100 % März')
    await mkdir(folder)
    await writeFile(join(folder, 'ä b.eml'), await readFile(MAIL))
    const running = await up(data)
    const { code } = await mailtrail(['import', folder, '--data', data, '--wait'])
    expect(code).toBe(0)
    const { items } = await running.get<{ items: { source: string }[] }>(`/mail?${ALL_DAYS}`)
    expect(items.map(({ source }) => source)).toEqual([join(folder, 'ä b.eml')])
  })
})
