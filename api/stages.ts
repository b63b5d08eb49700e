/** How far each stage has got. */
import type { Log } from '../topics/log.ts'

export interface StageStatus {
  /** parse-mail, project … */
  readonly stage: string
  readonly generation: string
  readonly topic: string
  /** Sum over the partitions of the offsets to be read next: grows with every event handled. */
  readonly position: number
  /** Events that wait. */
  readonly lag: number
  /** Age of the oldest event that waits, 0 when none does. */
  readonly lag_seconds: number
  /** Events a second, lately. */
  readonly rate: number
}

export interface StatusSource {
  /**
   * Read from upstream to downstream in one pass: when every stage of such a pass has no lag, all that was on the log
   * when the pass began is in the store.
   */
  stages(): Promise<readonly StageStatus[]>
}

/** A stage as the pipeline knows it. */
export interface StageSource {
  readonly stage: string
  readonly generation: string
  readonly topic: string
  /** Topics that it writes: their readers come after it. */
  readonly writes: readonly string[]
  /** The offset to be read next by partition; a projection gives the store's own positions, others the committed ones. */
  positions(): Promise<ReadonlyMap<number, number>>
  /** Events a second, lately; `position` is the sum of the positions just read. */
  rate(position: number): number
}

/** Reads the stages one after another; give them from upstream to downstream. */
export async function readStages(
  log: Log,
  sources: readonly StageSource[],
  now: () => Date,
): Promise<readonly StageStatus[]> {
  const stages: StageStatus[] = []
  for (const source of sources) {
    const positions = await source.positions()
    const { events, oldest } = await log.lag(source.topic, positions)
    const position = [...positions.values()].reduce((sum, offset) => sum + offset, 0)
    stages.push({
      stage: source.stage,
      generation: source.generation,
      topic: source.topic,
      position,
      lag: events,
      lag_seconds: oldest === null ? 0 : Math.max(0, (now().getTime() - oldest) / 1000),
      rate: source.rate(position),
    })
  }
  return stages
}

export function isIdle(stages: readonly StageStatus[]): boolean {
  return stages.every((stage) => stage.lag === 0)
}
