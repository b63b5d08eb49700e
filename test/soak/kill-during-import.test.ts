/** Killed imports, many and large. SOAK_ROUNDS and SOAK_MAILS change how many and how large. */
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { killRounds } from '../faults/kill-rounds.ts'
import { endAll, SHARED, tempFolder } from '../fixtures.ts'
import { generate } from '../generated-mail.ts'

const rounds = Number(process.env.SOAK_ROUNDS ?? 25)
const mails = Number(process.env.SOAK_MAILS ?? 20_000)

afterEach(endAll)

test(`an import of ${mails} mails that is killed and started again ends in the truth, ${rounds} times over`, async () => {
  expect(SHARED, '../shared must lie beside the checkout').not.toBeNull()
  const folder = await tempFolder('soak-kill')
  const { path, truth } = await generate(join(folder, 'mail'), 41, mails, 'files')
  await killRounds({ rounds, folder, mail: path, truth, random: Math.random })
})
