import { expect, test } from 'vitest'
import { addressHash, DayIndex } from '../../state/day-index.ts'

test('every row is found by its hash, and none that was not added', () => {
  const index = new DayIndex()
  const address = (n: number) => `10.${n >> 16}.${(n >> 8) & 255}.${n & 255}`
  for (let n = 0; n < 20_000; n++) index.add(addressHash(address(n)), n)
  expect(index.size).toBe(20_000)
  for (let n = 0; n < 20_000; n++) expect(index.find(addressHash(address(n)), (row) => row === n)).toBe(n)
  for (let n = 20_000; n < 40_000; n++) expect(index.find(addressHash(address(n)), (row) => row === n)).toBe(-1)
})

test('rows with one hash are told apart by whoever asks', () => {
  const index = new DayIndex()
  for (let row = 0; row < 100; row++) index.add(7, row)
  expect(index.find(7, (row) => row === 63)).toBe(63)
  const seen: number[] = []
  expect(index.find(7, (row) => seen.push(row) === 0)).toBe(-1)
  expect(seen.sort((a, b) => a - b)).toEqual(Array.from({ length: 100 }, (_, row) => row))
})
