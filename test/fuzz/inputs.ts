/** The n-th input of a seed, made the same way wherever it is asked for. */
import { chance } from '../report-mail.ts'
import { mutate } from './mutate.ts'
import type { Seeds } from './seeds.ts'
import type { TargetName } from './targets.ts'

/** How often each is tried: readers of mail are what strangers reach. */
const SHARES: Readonly<Record<TargetName, number>> = {
  mail: 30, mime: 10, gzip: 6, zip: 10, tnef: 4, xml: 15, json: 12, mbox: 4, rules: 4, condition: 5,
} // biome-ignore format: one line
const order = Object.entries(SHARES).flatMap(([name, share]) => new Array<TargetName>(share).fill(name as TargetName))

export function inputOf(
  seeds: Seeds,
  seed: number,
  index: number,
): { readonly target: TargetName; readonly bytes: Buffer } {
  const random = chance((seed * 0x9e3779b1 + index) >>> 0)
  const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)]!
  const target = pick(order)
  const others = seeds[random() < 0.8 ? target : pick(order)]
  return { target, bytes: mutate(pick(seeds[target]), pick(others), random) }
}
