import { expect, test } from 'vitest'
import { holdsAddress } from '../../generations/address-in-text.ts'

const ANNA = 'anna@people.example'

test.each([
  'anna@people.example',
  'Anna <anna@PEOPLE.example>, bob@b.example',
  'to:anna@people.example.',
  'x joanna@people.example <anna@people.example>',
  '"anna@people.example"',
])('is found in %s', (text) => {
  expect(holdsAddress(text, ANNA)).toBe(true)
})

test.each([
  '',
  'joanna@people.example',
  'x.anna@people.example',
  'anna@people.example.org',
  'anna@people.example-b',
  'anna@people.examples',
  'Anna@people.example',
  'anna@other.example',
  'anna+tag@people.example',
])('is not found in %s', (text) => {
  expect(holdsAddress(text, ANNA)).toBe(false)
})
