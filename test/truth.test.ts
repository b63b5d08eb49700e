/** Generated report mail in every form that mail lies in, against the truth that its generator wrote beside it. */
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { expectTruth, viewChecksums } from './answers.ts'
import { endAll, importMail, MUST_HAVE_SHARED, SHARED, tempFolder, up } from './fixtures.ts'
import { forms, generate } from './generated-mail.ts'

const MAILS = 1500

afterEach(endAll)

describe.skipIf(SHARED === null && !MUST_HAVE_SHARED)('generated mail (../shared/tools/make-mail.mjs)', () => {
  test('the generator is there', () => {
    expect(SHARED, '../shared must lie beside the checkout').not.toBeNull()
  })

  const cases = forms.flatMap((form, n) => [11, 12, 13].map((seed) => ({ form, seed: seed + 10 * n })))

  test.skipIf(SHARED === null).each(cases)('as $form, seed $seed: every total is the truth', async ({ form, seed }) => {
    const folder = await tempFolder('truth')
    const data = join(folder, 'data')
    const { path, truth } = await generate(join(folder, form), seed, MAILS, form)
    const fresh = truth.mails - truth.duplicates
    expect(await importMail(data, [path])).toEqual({
      read: truth.mails,
      new: fresh,
      duplicates: truth.duplicates,
      rejects: truth.rejects,
    })
    const running = await up(data)
    await expectTruth(running, truth)
    expect(await importMail(data, [path])).toMatchObject({ read: truth.mails, new: 0, duplicates: truth.mails })
    await expectTruth(running, truth)
    expect(await running.stop()).toBe(0)
  })

  test.skipIf(SHARED === null)('one thread and three threads give the same rows', async () => {
    const folder = await tempFolder('threads')
    const { path } = await generate(join(folder, 'files'), 77, MAILS, 'files')
    const [one, three] = [join(folder, 'one'), join(folder, 'three')]
    await importMail(one, [path], { MAILTRAIL_WORKERS: '1' })
    await importMail(three, [path], { MAILTRAIL_WORKERS: '3' })
    const checksums = await viewChecksums(one)
    expect(checksums.v_dmarc_records!.rows).toBeGreaterThan(MAILS)
    expect(await viewChecksums(three)).toEqual(checksums)
  })
})
