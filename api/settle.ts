/** Waits until what was brought can be queried, whatever else arrives meanwhile. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Log } from '../topics/log.ts'
import type { StageSource } from './stages.ts'

const LOOK_MILLISECONDS = 25

/** Offsets to be passed, by partition: the first that need not be. */
export type Ends = ReadonlyMap<number, number>

async function passed(stage: StageSource, ends: Ends, signal: AbortSignal): Promise<void> {
  for (;;) {
    const positions = await stage.positions()
    if ([...ends].every(([partition, end]) => (positions.get(partition) ?? 0) >= end)) return
    await sleep(LOOK_MILLISECONDS, undefined, { signal })
  }
}

async function heads(log: Log, topic: string): Promise<Ends> {
  const watermarks = await log.watermarks(topic)
  return new Map(watermarks.filter(({ low, high }) => high > low).map(({ partition, high }) => [partition, high]))
}

/**
 * Resolves when all events of the first stage's topic before `ends` (default: its heads of now) are processed and what
 * came of them is in the store. A stage is waited for when the stage that writes its topic has passed: what arrives
 * later delays nothing. Rejects with the signal's reason when it aborts first.
 */
export async function settle(
  log: Log,
  stages: readonly StageSource[],
  signal: AbortSignal,
  ends?: Ends,
): Promise<void> {
  const [first] = stages
  if (first !== undefined) await settleFrom(log, first, stages, signal, ends ?? (await heads(log, first.topic)))
}

async function settleFrom(
  log: Log,
  stage: StageSource,
  stages: readonly StageSource[],
  signal: AbortSignal,
  ends: Ends,
): Promise<void> {
  await passed(stage, ends, signal)
  const next = stages.filter(({ topic }) => stage.writes.includes(topic))
  await Promise.all(next.map(async (one) => settleFrom(log, one, stages, signal, await heads(log, one.topic))))
}
