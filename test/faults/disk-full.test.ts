/** A disk that is full refuses mail, loses none, and goes on when there is room. Needs the right to mount a small disk. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { appendFile, rm, statfs } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, describe, expect, test } from 'vitest'
import { expectTruth } from '../answers.ts'
import { ALL_DAYS, endAll, importMail, until, up } from '../fixtures.ts'
import { makeMails, writeMails } from '../report-mail.ts'

const LIMIT = 180_000
const MEGABYTE = 1024 * 1024

/** A disk of its own in memory, or null where this user may not mount one. */
function mountSmallDisk(): string | null {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return null
  const folder = mkdtempSync(join(tmpdir(), 'mailtrail-small-disk-'))
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=192m', 'tmpfs', folder], { stdio: 'ignore' })
    return folder
  } catch {
    rmSync(folder, { recursive: true }) // no right to mount, as in most containers
    return null
  }
}

const disk = mountSmallDisk()

afterEach(endAll)
afterAll(() => {
  if (disk === null) return
  execFileSync('umount', ['-l', disk])
  rmSync(disk, { recursive: true })
})

/** Fills the disk to the last block. */
async function fill(path: string): Promise<void> {
  for (let piece = MEGABYTE; piece >= 512; piece >>= 1) {
    for (let full = false; !full; ) {
      full = await appendFile(path, Buffer.alloc(piece, 1)).then(
        () => false,
        (error: NodeJS.ErrnoException) => {
          if (error.code !== 'ENOSPC') throw error
          return true
        },
      )
    }
  }
}

describe.skipIf(disk === null)('a full disk (skipped unless root on Linux, who may mount a tmpfs)', () => {
  test(
    'mail is refused with a reason, answers go on, and with room again nothing is missing',
    async () => {
      const data = join(disk!, 'data')
      const mail = join(disk!, 'mail')
      const { mails, truth } = makeMails(8, 300)
      const early = mails.slice(0, 150)
      await writeMails(mail, mails)
      const running = await up(data)
      await importMail(
        data,
        early.map(({ name }) => join(mail, name)),
      )
      await running.idle()
      const before = await running.get<{ items: unknown[] }>(`/domains?${ALL_DAYS}`)

      await fill(join(disk!, 'ballast'))
      expect((await statfs(disk!)).bavail).toBe(0)
      const post = (bytes: Uint8Array) => running.post('/mail', bytes, { 'content-type': 'message/rfc822' })
      let refused: Response | undefined
      const taken: Uint8Array[] = []
      for (const { bytes } of mails.slice(150)) {
        const response = await post(bytes)
        if (response.status !== 202) {
          refused = response
          break
        }
        taken.push(bytes)
      }
      expect(refused?.status).toBe(503)
      expect(Number(refused!.headers.get('retry-after'))).toBeGreaterThan(0)
      const { error } = (await refused!.json()) as { error: { code: string; message: string } }
      expect(error.message).toMatch(/room|full|space/i)
      const during = await fetch(`${running.url}/api/v1/domains?${ALL_DAYS}`)
      expect(during.status).toBe(200)
      expect(((await during.json()) as { items: unknown[] }).items.length).toBeGreaterThanOrEqual(before.items.length)

      await rm(join(disk!, 'ballast'))
      await until('mail to be taken again', 30, async () => (await post(mails.at(-1)!.bytes)).status === 202)
      await importMail(data, [mail])
      await expectTruth(running, truth)
      expect(await running.stop()).toBe(0)
    },
    LIMIT,
  )
})
