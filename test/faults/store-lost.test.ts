/** The store holds nothing that the log does not: killed, deleted or damaged, it ends with the same rows. */
import { globSync, readFileSync } from 'node:fs'
import { cp, mkdtemp, open, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type Checksum, expectTruth, viewChecksums } from '../answers.ts'
import { endAll, importMail, storeProcess, tempFolder, up } from '../fixtures.ts'
import { chance, makeMails, type Truth, writeMails } from '../report-mail.ts'

const LIMIT = 180_000

let data: string
let mail: string
let truth: Truth

beforeEach(async () => {
  const folder = await tempFolder('store')
  data = join(folder, 'data')
  mail = join(folder, 'mail')
})
afterEach(endAll)

async function writeSome(seed: number, count: number): Promise<void> {
  const made = makeMails(seed, count)
  truth = made.truth
  await writeMails(mail, made.mails)
}

test(
  'the process of the store may be killed at any time during an import',
  async () => {
    await writeSome(5, 1500)
    const running = await up(data, { paths: [mail] })
    const killed = new Set<number>()
    const done = running.says(/Read \d+ mails: /, 120).then(() => true)
    const random = chance(5)
    for (;;) {
      const pid = await storeProcess(running.pid)
      if (pid !== null && !killed.has(pid)) {
        process.kill(pid, 'SIGKILL')
        killed.add(pid)
      }
      if ((await Promise.race([done, sleep(400 + random() * 900, false)])) || killed.size >= 6) break
    }
    expect(killed.size).toBeGreaterThan(1)
    await done
    await expectTruth(running, truth)
    expect(await running.stop()).toBe(0)
    const rows = await viewChecksums(data)
    const undisturbed = `${data}-undisturbed`
    await importMail(undisturbed, [mail])
    expect(rows).toEqual(await viewChecksums(undisturbed))
  },
  LIMIT,
)

describe('a store that was lost while nothing ran is made again by itself, with the same rows:', () => {
  let whole: string
  let before: Readonly<Record<string, Checksum>>

  beforeAll(async () => {
    whole = await mkdtemp(join(tmpdir(), 'mailtrail-whole-'))
    const { mails } = makeMails(6, 300)
    await writeMails(join(whole, 'mail'), mails)
    await importMail(join(whole, 'data'), [join(whole, 'mail')])
    before = await viewChecksums(join(whole, 'data'))
  }, LIMIT)
  afterAll(() => rm(whole, { recursive: true, force: true }))
  beforeEach(() => cp(join(whole, 'data'), data, { recursive: true }))

  /** Starts, waits until the store was made again and all is in it, and compares. */
  async function expectRebuilt(why = /is rebuilt from the log/): Promise<void> {
    const running = await up(data)
    await running.says(why, 60)
    await running.idle()
    expect(await running.stop()).toBe(0)
    expect(await viewChecksums(data)).toEqual(before)
  }

  /** Overwrites bytes in the middle of every file that matches, below the store. */
  async function damage(pattern: string): Promise<number> {
    const files = globSync(pattern, { cwd: join(data, 'store') }).map((file) => join(data, 'store', file))
    let damaged = 0
    for (const path of files) {
      const { size } = await stat(path)
      if (size < 64) continue
      const file = await open(path, 'r+')
      await file.write(Buffer.alloc(Math.min(64, size >> 1), 0x5a), 0, undefined, size >> 1)
      await file.close()
      damaged++
    }
    return damaged
  }

  test(
    'its folder deleted',
    async () => {
      await rm(join(data, 'store'), { recursive: true })
      await expectRebuilt(/is up/)
    },
    LIMIT,
  )

  test(
    'bytes of its rows overwritten',
    async () => {
      expect(await damage('**/data.bin')).toBeGreaterThan(0)
      await expectRebuilt()
    },
    LIMIT,
  )

  test(
    'the records of its reports removed, and nothing else',
    async () => {
      const parts = globSync('**/columns.txt', { cwd: join(data, 'store') })
        .map((file) => join(data, 'store', file))
        .filter((file) => readFileSync(file, 'utf8').includes('`dkim_human_result`'))
      expect(parts.length).toBeGreaterThan(0)
      for (const file of parts) await rm(dirname(file), { recursive: true })
      await expectRebuilt(/lacks records/)
    },
    LIMIT,
  )

  test(
    'its table definitions overwritten',
    async () => {
      expect(await damage('**/*.sql')).toBeGreaterThan(0)
      await expectRebuilt()
    },
    LIMIT,
  )

  test(
    'the files of its parts cut short',
    async () => {
      for (const file of globSync('**/{data.bin,count.txt,columns.txt}', { cwd: join(data, 'store') })) {
        const path = join(data, 'store', file)
        const cut = await open(path, 'r+')
        await cut.truncate((await stat(path)).size >> 1)
        await cut.close()
      }
      await expectRebuilt()
    },
    LIMIT,
  )
})
