/** Everything that the fuzzer ever found, read again: `npm run fuzz` writes the files, named after what reads them. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { inputOf } from '../fuzz/inputs.ts'
import { loadSeeds } from '../fuzz/seeds.ts'
import { openTargets, type TargetName, targetNames } from '../fuzz/targets.ts'
import { bounded, usual } from './bounded.ts'

const FOUND = join(import.meta.dirname, 'found')
const { targets, close } = openTargets()
const isTarget = (name: string): name is TargetName => targetNames.some((known) => known === name)
afterAll(close)

describe('what the fuzzer found', () => {
  test.each(readdirSync(FOUND).filter((name) => name !== 'README.md'))('%s', async (name) => {
    const [target = ''] = name.split('-')
    if (!isTarget(target)) throw new Error(`${name} names no reader; the readers are ${targetNames.join(', ')}.`)
    await bounded(() => targets[target](readFileSync(join(FOUND, name))), { ...usual, ms: 10_000 })
  })
})

test('a second of every test run finds nothing new', async () => {
  const seeds = await loadSeeds()
  const seen = new Set<TargetName>()
  for (let index = 0; index < 400; index++) {
    const { target, bytes } = inputOf(seeds, 7, index)
    seen.add(target)
    try {
      await targets[target](bytes)
    } catch (error) {
      throw new Error(`Input ${index} of seed 7 (${target}) fails; npm run fuzz -- --seed 7 keeps it.`, {
        cause: error,
      })
    }
  }
  expect([...seen].sort()).toEqual([...targetNames].sort())
}, 60_000)

test('the same seed gives the same input', async () => {
  const [one, two] = [await loadSeeds(), await loadSeeds()]
  for (const index of [0, 1, 99]) expect(inputOf(one, 3, index)).toEqual(inputOf(two, 3, index))
})
