/** Every seed in every form; the normal run tries each form once. */
import { afterEach, describe, expect, test } from 'vitest'
import { endAll, SHARED } from '../fixtures.ts'
import { expectTruthOf, forms } from '../generated-mail.ts'

afterEach(endAll)

describe('generated mail (../shared/tools/make-mail.mjs)', () => {
  const cases = forms.flatMap((form) => [21, 22, 23].map((seed) => ({ form, seed })))

  test('the generator is there', () => {
    expect(SHARED, '../shared must lie beside the checkout').not.toBeNull()
  })

  test.each(cases)('as $form, seed $seed: every total is the truth', ({ form, seed }) =>
    expectTruthOf(form, seed, 3000),
  )
})
