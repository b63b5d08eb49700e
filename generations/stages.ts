/** The stages that a generation's answers come through, as `/status`, `--wait`, promotion and the metrics see them. */
import type { StageSource } from '../api/stages.ts'
import { feedsOf, ownerOf } from '../projections/feeds.ts'
import type { ProjectionState } from '../projections/state.ts'
import type { Generation } from '../topics/generation.ts'
import type { Log } from '../topics/log.ts'
import { type ProcessorLoops, stages } from './loops.ts'
import { RateMeter } from './rate.ts'

export interface StageOptions {
  readonly log: Log
  readonly loops: ProcessorLoops
  readonly projected: ProjectionState
  readonly topicPrefix: string
}

/** From upstream to downstream; a stage names the topics whose readers come after it. */
export function stagesOfGeneration(
  generation: Generation,
  { log, loops, projected, topicPrefix }: StageOptions,
): readonly StageSource[] {
  const { topics } = generation
  const processing = stages.map(({ stage, reads, writes }) => {
    const owner = `g${ownerOf(topics[writes])}`
    const meter = new RateMeter(() => performance.now())
    return {
      stage,
      generation: owner,
      topic: topics[reads],
      writes: stage === 'parse-mail' ? [topics.reports, topics.private, topics.rejects] : [topics[writes]],
      positions: () => log.committed(topics[reads], `${topicPrefix}${stage}.${owner}`),
      rate: () => meter.rate(loops.handled(topics[writes])),
    }
  })
  const projecting = feedsOf([generation]).map(({ topic, physical, owner }) => ({
    stage: `project-${topic}`,
    generation: `g${owner}`,
    topic: physical,
    writes: [],
    positions: async () => projected.positions(physical),
    rate: () => projected.eventRate(physical),
  }))
  return [...processing, ...projecting]
}
