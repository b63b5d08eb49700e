/**
 * What the events on `control` add up to: which rule sets there are, which generations, and which of them is live. Every
 * process folds the same events in the same order and so comes to the same state. An event whose precondition does not
 * hold at its place is void: of two commands that contradict each other, the second loses.
 */
import type { ControlEventType } from './all.ts'
import type { DecodedOf } from './avro.ts'
import type { GapAccepted as AcceptedGap, GenerationStarted, MailErased } from './control.ts'
import { type Generation, makeGeneration, type StartPoint, startPoints } from './generation.ts'
import { IdSet } from './id-set.ts'

/**
 * `building`: being filled, or filled and waiting to be promoted. `live`: answers come from it. `former`: was live, is
 * fed for a while more and can be gone back to.
 */
export type GenerationState = 'building' | 'paused' | 'live' | 'former' | 'cancelled' | 'retired'

export interface GenerationEntry {
  readonly generation: Generation
  readonly state: GenerationState
  /** Milliseconds since 1970 UTC, here and below. */
  readonly startedAt: number
  /** When it became live for the last time; null when it never did. */
  readonly liveSince: number | null
  /** Since when it is no longer live, or no longer there; null while it is neither. */
  readonly endedAt: number | null
  readonly parserVersion: string
}

export interface PublishedRuleSet {
  readonly id: string
  readonly name: string
  /** As published. */
  readonly yaml: string
  readonly publishedAt: number
}

export interface Erasure {
  /** n-th ever, from 1. */
  readonly number: number
  readonly at: number
  readonly mails: number
  readonly reason: string
  /** Whether the same mail stays unread when it is delivered again. */
  readonly block: boolean
  /** How many generations had been started before. */
  readonly generations: number
  /** When all that could be removed was; null until then. */
  readonly finishedAt: number | null
}

export const voidCodes = [
  'rule_set_unknown',
  'rule_set_known',
  'generation_unknown',
  'parent_unusable',
  'start_point_unknown',
  'epoch_unknown',
  'not_building',
  'not_paused',
  'not_former',
  'already_live',
  'erasure_unknown',
] as const
export type VoidCode = (typeof voidCodes)[number]

export type Outcome =
  | { readonly valid: true; readonly generation: number | null }
  | { readonly valid: false; readonly code: VoidCode; readonly message: string }

type ControlEvent = DecodedOf<ControlEventType>

const refused = (code: VoidCode, message: string): Outcome => ({ valid: false, code, message })
const accepted = (generation: number | null = null): Outcome => ({ valid: true, generation })

export class ControlState {
  readonly #topicPrefix: string
  readonly #ruleSets = new Map<string, PublishedRuleSet>()
  readonly #generations: GenerationEntry[] = []
  readonly #gaps: AcceptedGap[] = []
  readonly #erasures: Erasure[] = []
  /** Ids of the mails of erasures that are not finished, by number of the erasure. */
  readonly #beingErased = new Map<number, ReadonlySet<string>>()
  readonly #erased = new IdSet()
  readonly #unread = new IdSet()
  #epoch = 1

  constructor(topicPrefix: string) {
    this.#topicPrefix = topicPrefix
  }

  /** In the order of their publication. */
  ruleSets(): readonly PublishedRuleSet[] {
    return [...this.#ruleSets.values()]
  }

  ruleSet(id: string): PublishedRuleSet | null {
    return this.#ruleSets.get(id) ?? null
  }

  /** All that ever were, in the order of their numbers. */
  generations(): readonly GenerationEntry[] {
    return this.#generations
  }

  /** By number (`2`) or name (`g2`). */
  generation(numberOrName: number | string): GenerationEntry | null {
    const number = typeof numberOrName === 'number' ? numberOrName : Number(/^g?(\d{1,9})$/.exec(numberOrName)?.[1])
    return this.#generations[number - 1] ?? null
  }

  live(): GenerationEntry | null {
    return this.#generations.find(({ state }) => state === 'live') ?? null
  }

  /** The one that was live last before the live one, while it is kept. */
  former(): GenerationEntry | null {
    const formers = this.#generations.filter(({ state }) => state === 'former')
    return formers.toSorted((a, b) => b.endedAt! - a.endedAt! || b.generation.number - a.generation.number)[0] ?? null
  }

  /** Those whose topics and tables are kept. */
  kept(): readonly GenerationEntry[] {
    return this.#generations.filter(({ state }) => state !== 'retired' && state !== 'cancelled')
  }

  /** The latest observation epoch. */
  epoch(): number {
    return this.#epoch
  }

  /** In the order in which they were accepted. */
  gaps(): readonly AcceptedGap[] {
    return this.#gaps
  }

  /** All that ever were, in the order of their numbers. */
  erasures(): readonly Erasure[] {
    return this.#erasures
  }

  /** The erasures that are to be done, with the ids of their mails. */
  unfinishedErasures(): readonly { readonly erasure: Erasure; readonly mailIds: readonly string[] }[] {
    return [...this.#beingErased].map(([number, ids]) => ({ erasure: this.#erasures[number - 1]!, mailIds: [...ids] }))
  }

  /** Whether the mail was ever erased. It may have been delivered again since. */
  wasErased(mailId: string): boolean {
    return this.#erased.has(mailId)
  }

  /** Whether the mail was erased and stays unread when it is delivered again. */
  isBlocked(mailId: string): boolean {
    return this.#unread.has(mailId)
  }

  /** Whether the mail is being erased: what is delivered now would be erased with it. */
  isBeingErased(mailId: string): boolean {
    for (const mailIds of this.#beingErased.values()) if (mailIds.has(mailId)) return true
    return false
  }

  /** Whether nothing is to be made of the mail: it is being erased, or stays unread. */
  isUnread(mailId: string): boolean {
    return this.isBlocked(mailId) || this.isBeingErased(mailId)
  }

  /** Whether `isUnread` is true of any mail: mostly not, and then nobody needs to know the id of each. */
  leavesUnread(): boolean {
    return this.#unread.size > 0 || this.#beingErased.size > 0
  }

  /** Changes the state, or says why not. */
  apply({ type, data }: ControlEvent): Outcome {
    switch (type) {
      case 'RuleSetPublished': {
        if (this.#ruleSets.has(data.rule_set))
          return refused('rule_set_known', 'The rule set has been published before.')
        const { rule_set: id, name, yaml, at } = data
        this.#ruleSets.set(id, { id, name, yaml, publishedAt: at })
        return accepted()
      }
      case 'GenerationStarted':
        return this.#start(data)
      case 'GenerationPromoted':
        return this.#makeLive(
          data,
          ['building', 'former'],
          'not_building',
          'only one that is being built, or that was live, can be promoted',
        )
      case 'GenerationRolledBack':
        return this.#makeLive(data, ['former'], 'not_former', 'only one that was live before can be gone back to')
      case 'GenerationPaused':
        return this.#turn(data, ['building'], 'paused', 'not_building')
      case 'GenerationResumed':
        return this.#turn(data, ['paused'], 'building', 'not_paused')
      case 'GenerationCancelled':
        return this.#turn(data, ['building', 'paused'], 'cancelled', 'not_building')
      case 'GenerationRetired':
        return this.#turn(data, ['former'], 'retired', 'not_former')
      case 'ObservationEpochBegun':
        if (data.epoch !== this.#epoch + 1)
          return refused('epoch_unknown', `Epoch ${this.#epoch} is followed by the next.`)
        this.#epoch = data.epoch
        return accepted()
      case 'GapAccepted':
        this.#gaps.push(data)
        return accepted()
      case 'MailErased':
        return this.#erase(data)
      case 'MailErasureFinished':
        return this.#finishErasure(data)
    }
  }

  #erase({ at, mail_ids, reason, block }: MailErased): Outcome {
    const mailIds = new Set(mail_ids.filter((id) => /^[0-9a-f]{64}$/.test(id)))
    const number = this.#erasures.length + 1
    const generations = this.#generations.length
    this.#erasures.push({ number, at, mails: mailIds.size, reason, block, generations, finishedAt: null })
    this.#beingErased.set(number, mailIds)
    for (const id of mailIds) {
      this.#erased.add(id)
      if (block) this.#unread.add(id)
    }
    return accepted()
  }

  #finishErasure({ at, erasure: number }: { at: number; erasure: number }): Outcome {
    const erasure = this.#erasures[number - 1]
    if (erasure === undefined || erasure.finishedAt !== null)
      return refused('erasure_unknown', `There is no erasure ${number} under way.`)
    this.#erasures[number - 1] = { ...erasure, finishedAt: at }
    this.#beingErased.delete(number)
    return accepted()
  }

  #start(data: GenerationStarted): Outcome {
    const from = startPoints.find((point) => point === data.from)
    if (from === undefined)
      return refused('start_point_unknown', `A generation starts from ${startPoints.join(' or ')}.`)
    if (!this.#ruleSets.has(data.rule_set)) return refused('rule_set_unknown', `There is no rule set ${data.rule_set}.`)
    if (data.epoch < 1 || data.epoch > this.#epoch) return refused('epoch_unknown', `There is no epoch ${data.epoch}.`)
    const parent = this.#parentOf(data, from)
    if (parent === 'unusable')
      return refused('parent_unusable', `Generation ${data.parent} is not there to build on; start again.`)
    const number = this.#generations.length + 1
    const generation = makeGeneration({
      number,
      ruleSet: data.rule_set,
      from,
      parent,
      epoch: from === 'enriched' ? parent!.epoch : data.epoch,
      topicPrefix: this.#topicPrefix,
    })
    const { at: startedAt, parser_version: parserVersion } = data
    this.#generations.push({ generation, state: 'building', startedAt, liveSince: null, endedAt: null, parserVersion })
    return accepted(number)
  }

  #parentOf({ parent }: GenerationStarted, from: StartPoint): Generation | null | 'unusable' {
    if (parent === 0) return from === 'ingest' ? null : 'unusable'
    const entry = this.#generations[parent - 1]
    return entry !== undefined && this.kept().includes(entry) ? entry.generation : 'unusable'
  }

  #makeLive(
    { at, generation: number }: { at: number; generation: number },
    states: readonly GenerationState[],
    code: VoidCode,
    what: string,
  ): Outcome {
    const entry = this.#generations[number - 1]
    if (entry === undefined) return unknown(number)
    if (entry.state === 'live') return refused('already_live', `Generation ${number} is live already.`)
    if (!states.includes(entry.state)) return refused(code, `Generation ${number} is ${entry.state}; ${what}.`)
    const live = this.live()
    if (live !== null) this.#replace({ ...live, state: 'former', endedAt: at })
    this.#replace({ ...entry, state: 'live', liveSince: at, endedAt: null })
    return accepted(number)
  }

  #turn(
    { at, generation: number }: { at: number; generation: number },
    from: readonly GenerationState[],
    to: GenerationState,
    code: VoidCode,
  ): Outcome {
    const entry = this.#generations[number - 1]
    if (entry === undefined) return unknown(number)
    if (!from.includes(entry.state))
      return refused(code, `Generation ${number} is ${entry.state}, and must be ${from.join(' or ')} for that.`)
    const ends = to === 'cancelled' || to === 'retired'
    this.#replace({ ...entry, state: to, endedAt: ends ? at : entry.endedAt })
    return accepted(number)
  }

  #replace(entry: GenerationEntry): void {
    this.#generations[entry.generation.number - 1] = entry
  }
}

const unknown = (number: number) => refused('generation_unknown', `There is no generation ${number}.`)
