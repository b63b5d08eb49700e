/** What routes say of a generation. */
import Type from 'typebox'
import type { GenerationEntry } from '../topics/control-state.ts'
import { startPoints } from '../topics/generation.ts'
import { ApiError } from './errors.ts'
import type { Replays } from './replays.ts'
import { closed, count, day, hexId, instant, nullable, text } from './schemas.ts'

export const covers = nullable(closed({ from: day('first day of receipt'), to: day() }))
const startPoint = Type.Enum([...startPoints], { description: 'where it begins: enriched = new verdicts only' })

const generationId = (description: string) => Type.String({ description, examples: ['g2'] })

export const generationAnswer = closed({
  id: generationId('g and its number'),
  rule_set: Type.String({ description: 'id of its rule set' }),
  from: startPoint,
  parent: text('the generation that it shares the rest with; null when all is its own'),
  state: Type.Enum(['building', 'ready', 'live', 'former', 'retired', 'paused', 'cancelled'], {
    description: 'ready: built, and nothing that is on the log now is missing',
  }),
  done: count('events of the topic that it starts from'),
  total: count(),
  partitions: Type.Array(
    closed({
      partition: count(),
      position: count('offset that is read next'),
      head: count('offset that the next event will get'),
    }),
    { description: 'of the topic that it starts from; empty when the generation is gone' },
  ),
  rate: count('events a second, lately'),
  eta_seconds: nullable(Type.Number()),
  covers,
  names: Type.Record(Type.String(), Type.String(), { description: 'physical names by stage or table' }),
  started_at: instant(),
  live_since: nullable(instant()),
  ended_at: nullable(instant()),
})

export const generationParam = closed({
  id: Type.String({ pattern: '^g?[0-9]{1,9}$', description: 'name or number of a generation', examples: ['g2'] }),
})

export const generationStart = closed({
  rule_set: hexId('id of a published rule set'),
  from: Type.Optional(Type.Enum([...startPoints], { description: 'default enriched: only the rules changed' })),
  epoch: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: 1_000_000,
      description: 'observation epoch (from ingest); default the live one',
    }),
  ),
})

/** Throws `generation_unknown` and `generation_gone`. */
export function readableGeneration(replays: Replays, id: string, field: string | null): GenerationEntry {
  const entry = replays.control.generation(id)
  const where = field === null ? {} : { field }
  if (entry === null) throw new ApiError('generation_unknown', where)
  if (!replays.control.kept().includes(entry)) {
    const message = `Generation ${entry.generation.name} is ${entry.state}, and its tables are gone.`
    throw new ApiError('generation_gone', { ...where, message })
  }
  return entry
}
