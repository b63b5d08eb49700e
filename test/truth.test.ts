/** Generated report mail in every form that mail lies in, against the truth that its generator wrote beside it. */
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { viewChecksums } from './answers.ts'
import { endAll, importMail, MUST_HAVE_SHARED, SHARED, tempFolder } from './fixtures.ts'
import { expectTruthOf, forms, generate } from './generated-mail.ts'

const MAILS = 1500
/** Milliseconds for one test; on a quiet machine it takes a tenth. */
const LIMIT = 180_000

afterEach(endAll)

describe.skipIf(SHARED === null && !MUST_HAVE_SHARED)('generated mail (../shared/tools/make-mail.mjs)', () => {
  test('the generator is there', () => {
    expect(SHARED, '../shared must lie beside the checkout').not.toBeNull()
  })

  // All seeds in all forms: test/soak/truth.test.ts.
  const cases = forms.map((form, n) => ({ form, seed: 11 + n }))

  test.skipIf(SHARED === null).each(cases)(
    'as $form, seed $seed: every total is the truth, and a second import changes nothing',
    ({ form, seed }) => expectTruthOf(form, seed, MAILS),
    LIMIT,
  )

  test.skipIf(SHARED === null)(
    'one thread and three threads give the same rows',
    async () => {
      const folder = await tempFolder('threads')
      const { path } = await generate(join(folder, 'files'), 77, 500, 'files')
      const [one, three] = [join(folder, 'one'), join(folder, 'three')]
      await importMail(one, [path], { MAILTRAIL_WORKERS: '1' })
      await importMail(three, [path], { MAILTRAIL_WORKERS: '3' })
      const checksums = await viewChecksums(one)
      expect(checksums.v_dmarc_records!.rows).toBeGreaterThan(10_000)
      expect(await viewChecksums(three)).toEqual(checksums)
    },
    LIMIT,
  )
})
