/** Rule sets and generations over a real control state; nothing is built, for rows are inserted by hand. */
import { type GenerationStatus, ReplayRefused, type Replays } from '../../api/replays.ts'
import { diffRuleSets } from '../../rules/diff.ts'
import { editRules } from '../../rules/edit.ts'
import { readRules } from '../../rules/read.ts'
import type { ControlEventType } from '../../topics/all.ts'
import type { DecodedOf } from '../../topics/avro.ts'
import { ControlState } from '../../topics/control-state.ts'

/** Clock of the events, milliseconds since 1970. */
export const AT = Date.UTC(2026, 10, 20)

export const RULES = `# who sends for us
version: 1
name: first
senders:
  # the newsletter
  - id: letters
    name: Letters
    class: service
    ptr: [letters.example]
domains:
  example.org:
    own: [letters]
verdicts:
  - { id: authenticated, verdict: authenticated, when: passed }
  - { id: misconfigured, verdict: misconfigured, when: own }
  - { id: unknown, verdict: unknown }
`
export const OTHER_RULES = RULES.replace('name: first', 'name: second').replace('when: own', 'when: own && count > 1')

export interface ReplaysUnderTest extends Replays {
  apply(event: DecodedOf<ControlEventType>): void
  /** What was promoted or rolled back, with its options. */
  readonly promotions: { timeout: number; acceptGap: boolean }[]
}

export function idOfRules(yaml: string): string {
  return readRules(yaml).ruleSet!.id
}

export function openReplaysUnderTest(): ReplaysUnderTest {
  const control = new ControlState('')
  const promotions: ReplaysUnderTest['promotions'] = []
  const act = (event: DecodedOf<ControlEventType>) => {
    const outcome = control.apply(event)
    if (!outcome.valid && outcome.code !== 'rule_set_known') throw new ReplayRefused(outcome.code, outcome.message)
    return outcome
  }
  const numberOf = (id: string) => {
    const entry = control.generation(id)
    if (entry === null) throw new ReplayRefused('generation_unknown', `There is no generation ${id}.`)
    return entry.generation.number
  }
  const status = async (id: string): Promise<GenerationStatus> => {
    const { generation, state, startedAt, liveSince, endedAt } = control.generation(numberOf(id))!
    const time = (at: number | null) => (at === null ? null : new Date(at).toISOString())
    return {
      id: generation.name,
      rule_set: generation.ruleSet!,
      from: generation.from,
      parent: generation.parent === null ? null : `g${generation.parent}`,
      state,
      done: 0,
      total: 0,
      rate: 0,
      eta_seconds: null,
      partitions: [],
      covers: null,
      names: { ...generation.topics, ...generation.tables },
      started_at: time(startedAt)!,
      live_since: time(liveSince),
      ended_at: time(endedAt),
    }
  }
  const turn =
    (type: 'GenerationPaused' | 'GenerationResumed' | 'GenerationCancelled') =>
    async (id: string): Promise<GenerationStatus> => {
      act({ type, data: { at: AT, generation: numberOf(id) } } as DecodedOf<ControlEventType>)
      return status(id)
    }
  const definitionOf = (id: string) => readRules(control.ruleSet(id)!.yaml).ruleSet!
  return {
    control,
    promotions,
    apply: act,
    check(yaml) {
      const { ruleSet, problems } = readRules(yaml)
      return { id: ruleSet?.id ?? null, name: ruleSet?.name ?? null, problems }
    },
    async publish(yaml) {
      const { id, name } = readRules(yaml).ruleSet!
      const { valid } = act({ type: 'RuleSetPublished', data: { at: AT, rule_set: id, name, yaml } })
      return { id, created: valid }
    },
    plan: async (rule_set, from) => ({
      rule_set,
      from,
      events: 7,
      bytes: 700,
      records: 70,
      topics: ['verdicts.g2'],
      tables: ['record_verdicts__g2'],
      disk_bytes: 980,
      seconds: 1,
      covers: { from: '2026-11-01', to: '2026-11-20' },
    }),
    async start(rule_set, from, epoch = 1) {
      const parent = control.live()?.generation.number ?? 0
      const data = { at: AT, rule_set, from, parent, epoch, parser_version: 'test' }
      const outcome = act({ type: 'GenerationStarted', data })
      return status(`g${outcome.valid ? outcome.generation : 0}`)
    },
    status,
    list: async () => {
      const names = control.generations().map(({ generation }) => generation.name)
      return Promise.all(names.toReversed().map(status))
    },
    async promote(id, { timeout, acceptGap }) {
      promotions.push({ timeout, acceptGap })
      act({ type: 'GenerationPromoted', data: { at: AT, generation: numberOf(id), accept_gap: acceptGap } })
      return status(id)
    },
    async rollback({ timeout, acceptGap }) {
      promotions.push({ timeout, acceptGap })
      const former = control.former()
      if (former === null)
        throw new ReplayRefused('nothing_to_roll_back', 'No generation is kept that was live before.')
      act({ type: 'GenerationRolledBack', data: { at: AT, generation: former.generation.number } })
      return status(former.generation.name)
    },
    pause: turn('GenerationPaused'),
    resume: turn('GenerationResumed'),
    cancel: turn('GenerationCancelled'),
    async reobserve() {
      const epoch = control.epoch() + 1
      act({ type: 'ObservationEpochBegun', data: { at: AT, epoch } })
      return this.observationEpoch(epoch)!
    },
    observationEpoch: (epoch) =>
      epoch >= 1 && epoch <= control.epoch() ? { epoch, state: 'begun', done: 1, total: 1, reason: null } : null,
    ruleSetDiff: (from, to) => diffRuleSets(definitionOf(from), definitionOf(to)),
    editRules,
    testRules: async (yaml) => ({ id: idOfRules(yaml), records: 0, messages: 0, items: [], transitions: [] }),
  }
}

/** As an installation is after its first start: the rules are published and generation 1, which has them, is live. */
export async function begun(): Promise<ReplaysUnderTest> {
  const replays = openReplaysUnderTest()
  const { id } = await replays.publish(RULES)
  await replays.start(id, 'ingest')
  await replays.promote('g1', { timeout: 0, acceptGap: false, signal: new AbortController().signal })
  replays.promotions.length = 0
  return replays
}
