/** The stages that a generation's answers come through, as `/status`, `--wait`, promotion and the metrics see them. */
import type { StageSource } from '../api/stages.ts'
import { feedsOf, ownerOf } from '../projections/feeds.ts'
import type { Generation } from '../topics/generation.ts'
import type { Log } from '../topics/log.ts'
import { stages } from './loops.ts'
import { RateMeter } from './rate.ts'

/** Where the projections are, whichever processes run them. */
export interface Projected {
  /** By partition the offset up to which the store has everything of a physical topic. */
  positions(physical: string): Promise<ReadonlyMap<number, number>>
}

/** What this process knows of loops that run in it alone; else the positions tell how fast they are. */
export interface OwnWork {
  /** Events handled since the loop was started that fills this physical topic. */
  handled(writes: string): number
  /** Events a second projected from this physical topic. */
  projectedRate(physical: string): number
}

export interface StageOptions {
  readonly log: Log
  readonly projected: Projected
  /** Null when other processes may work, too. */
  readonly own: OwnWork | null
  readonly topicPrefix: string
}

/** From upstream to downstream; a stage names the topics whose readers come after it. */
export function stagesOfGeneration(
  generation: Generation,
  { log, own, projected, topicPrefix }: StageOptions,
): readonly StageSource[] {
  const { topics } = generation
  const meter = () => new RateMeter(() => performance.now())
  const processing = stages.map(({ stage, reads, writes }) => {
    const owner = `g${ownerOf(topics[writes])}`
    const lately = meter()
    return {
      stage,
      generation: owner,
      topic: topics[reads],
      writes: stage === 'parse-mail' ? [topics.reports, topics.private, topics.rejects] : [topics[writes]],
      positions: () => log.committed(topics[reads], `${topicPrefix}${stage}.${owner}`),
      rate: (position: number) => lately.rate(own === null ? position : own.handled(topics[writes])),
    }
  })
  const projecting = feedsOf([generation]).map(({ topic, physical, owner }) => {
    const lately = meter()
    return {
      stage: `project-${topic}`,
      generation: `g${owner}`,
      topic: physical,
      writes: [],
      positions: () => projected.positions(physical),
      rate: (position: number) => (own === null ? lately.rate(position) : own.projectedRate(physical)),
    }
  })
  return [...processing, ...projecting]
}
