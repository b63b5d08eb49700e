/** kill -9 at any instant: what was acknowledged is there once, and the rest can be brought again. */
import { randomInt } from 'node:crypto'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, expect, test } from 'vitest'
import { expectTruth } from '../answers.ts'
import { endAll, tempFolder, up } from '../fixtures.ts'
import { chance, mailIdOf, makeMails, writeMails } from '../report-mail.ts'
import { killRounds } from './kill-rounds.ts'

const LIMIT = 300_000

afterEach(endAll)

/** Other instants in every run; a failure says which seed it was. */
function seeded(): { seed: number; random: () => number } {
  const seed = randomInt(2 ** 31)
  return { seed, random: chance(seed) }
}

test(
  'an import that is killed and started again ends in the truth, five times over',
  async () => {
    const folder = await tempFolder('kill')
    const mail = join(folder, 'mail')
    const { mails, truth } = makeMails(1, 2000)
    await writeMails(mail, mails)
    await killRounds({ rounds: 5, folder, mail, truth, random: seeded().random })
  },
  LIMIT,
)

test(
  'every mail that POST acknowledged before the kill is there after it',
  async () => {
    const data = join(await tempFolder('kill-post'), 'data')
    const { mails, truth } = makeMails(2, 600)
    const { random } = seeded()
    const acknowledged = new Set<string>()
    let next = 0
    for (let kill = 0; kill < 3; kill++) {
      const running = await up(data)
      const senders = Array.from({ length: 8 }, async () => {
        while (next < mails.length) {
          const { bytes } = mails[next++]!
          // A mail under way when the process dies has no answer: it is sent again at the end.
          const response = await running.post('/mail', bytes, { 'content-type': 'message/rfc822' }).catch(() => null)
          if (response === null) return
          const answer = await response.json().catch(() => null)
          if (response.status === 202 && answer !== null) acknowledged.add((answer as { id: string }).id)
        }
      })
      await sleep(50 + random() * 300)
      await running.kill()
      await Promise.all(senders)
    }
    const running = await up(data)
    await running.idle()
    expect(acknowledged.size).toBeGreaterThan(0)
    for (const id of acknowledged) expect(await running.get(`/mail/${id}`)).toMatchObject({ id })
    for (const { bytes } of mails) {
      const response = await running.post('/mail', bytes, { 'content-type': 'message/rfc822' })
      expect(response.status).toBe(202)
      const { id, duplicate } = (await response.json()) as { id: string; duplicate: boolean }
      expect(id).toBe(mailIdOf(bytes))
      if (acknowledged.has(id)) expect(duplicate).toBe(true)
    }
    await expectTruth(running, truth)
  },
  LIMIT,
)
