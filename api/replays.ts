/** What the API asks of whoever keeps rule sets and generations. Its implementation is chosen at the composition root. */
import type { ControlState } from '../topics/control-state.ts'
import type { StartPoint } from '../topics/generation.ts'

export interface RuleProblem {
  /** From 1. */
  readonly line: number
  readonly column: number
  readonly severity: 'error' | 'warning'
  readonly message: string
}

/** How far a generation is, and what it covers. */
export interface GenerationStatus {
  readonly id: string
  readonly rule_set: string
  readonly from: StartPoint
  readonly parent: string | null
  /** `ready`: built, and nothing of what is on the log now is missing. */
  readonly state: 'building' | 'ready' | 'live' | 'former' | 'retired' | 'paused' | 'cancelled'
  /** Events of the topic that it starts from. */
  readonly done: number
  readonly total: number
  /** Offsets in the topic that it starts from: read up to, and the head. Empty when it is gone. */
  readonly partitions: { readonly partition: number; readonly position: number; readonly head: number }[]
  /** Events a second, lately. */
  readonly rate: number
  readonly eta_seconds: number | null
  /** Days of receipt of the mail that it speaks of; null while it speaks of none. */
  readonly covers: { readonly from: string; readonly to: string } | null
  /** Physical names by stage or table. */
  readonly names: Readonly<Record<string, string>>
  readonly started_at: string
  readonly live_since: string | null
  readonly ended_at: string | null
}

export interface ReplayPlan {
  readonly rule_set: string
  readonly from: StartPoint
  /** Events to be read, and the bytes that they take on the log. */
  readonly events: number
  readonly bytes: number
  /** Records that get a verdict. */
  readonly records: number
  /** Topics and tables that would be made. */
  readonly topics: readonly string[]
  readonly tables: readonly string[]
  /** Bytes that they will take on the disk, about. */
  readonly disk_bytes: number
  /** How long it will take, about. */
  readonly seconds: number
  readonly covers: { readonly from: string; readonly to: string } | null
}

/** Refused because of the state that things are in: 409 with this code. */
export class ReplayRefused extends Error {
  readonly code: ReplayRefusal
  constructor(code: ReplayRefusal, message: string) {
    super(message)
    this.code = code
  }
}
export const replayRefusals = [
  'rule_set_unknown',
  'generation_unknown',
  'parent_unusable',
  'start_point_unknown',
  'epoch_unknown',
  'not_building',
  'not_paused',
  'not_former',
  'already_live',
  'not_caught_up',
  'coverage_shrinks',
  'nothing_to_roll_back',
  'erasure_unknown',
] as const
export type ReplayRefusal = (typeof replayRefusals)[number]

/** One thing in which two rule sets differ. */
export interface RuleSetChange {
  readonly part: 'name' | 'list' | 'sender' | 'domain' | 'verdict_rule'
  /** Id of the sender or verdict rule, name of the list or domain. */
  readonly id: string
  readonly change: 'added' | 'removed' | 'changed'
  /** One line for people. */
  readonly description: string
}

/** What somebody decided about a source of a domain's mail. */
export interface TriageDecision {
  /** An address, a range, an AS number (`AS64496`), a domain that machines are named below, or the id of a sender. */
  readonly source: string
  /** Its own mail; mail of a known service; forwarded mail; or known and to be left out of what needs a decision. */
  readonly as: 'own' | 'sender' | 'forwarder' | 'exclude'
  /** Id of the sender (or forwarder) that the source belongs to; a new id makes a new one. */
  readonly sender?: string
  /** Last day of an exclusion, YYYY-MM-DD. */
  readonly until?: string
  readonly reason: string
}

/** A rule file with the decisions in it, or why one of them (from 0) cannot be carried out. */
export type EditedRules =
  | { readonly ok: true; readonly yaml: string }
  | { readonly ok: false; readonly decision: number; readonly message: string }

/** What a rule set says of a record; null where it says nothing. */
export interface Judgement {
  readonly sender: string | null
  readonly verdict: string
  readonly rule: string
}

/** A sample of a domain's records under the live rules and under others. Nothing is stored. */
export interface RuleTest {
  /** Id of the rules that were tried. */
  readonly id: string
  /** Records and messages of the whole sample. */
  readonly records: number
  readonly messages: number
  /** Those that get another sender, verdict or rule, most messages first; then others, up to the limit. */
  readonly items: readonly {
    readonly record_id: string
    readonly day: string
    readonly source_ip: string
    readonly ptr: string | null
    readonly messages: number
    readonly live: Judgement | null
    readonly new: Judgement
  }[]
  /** Sums over the whole sample, changed or not, most messages first. */
  readonly transitions: readonly {
    readonly from_verdict: string | null
    readonly to_verdict: string
    readonly records: number
    readonly messages: number
  }[]
}

export interface RuleTestOptions {
  /** As stored: lower case, A-labels. */
  readonly domain: string
  /** Days, both inclusive. */
  readonly from: string
  readonly to: string
  /** Items wanted. */
  readonly limit: number
  readonly signal: AbortSignal
}

export interface PromoteOptions {
  /** Milliseconds to wait until the generation has passed the heads of now. */
  readonly timeout: number
  readonly acceptGap: boolean
  readonly signal: AbortSignal
}

export interface ObservationEpoch {
  readonly epoch: number
  /** `begun`: a generation may name it. `failed`: begin it again, and it goes on where it was. */
  readonly state: 'observing' | 'begun' | 'failed'
  /** Events of `observations` that were gone through, and all there are. */
  readonly done: number
  readonly total: number
  /** Why it failed, for people. */
  readonly reason: string | null
}

/** Verbs throw `ReplayRefused`. A command is answered when this process has folded it and acted on it. */
export interface Replays {
  readonly control: ControlState
  /** What is wrong with a rule file, and its id when nothing is. Changes nothing. */
  check(yaml: string): {
    readonly id: string | null
    readonly name: string | null
    readonly problems: readonly RuleProblem[]
  }
  /** Publishes a rule file without errors. The same rules again are not published twice. */
  publish(yaml: string): Promise<{ readonly id: string; readonly created: boolean }>
  /** What starting would mean; writes nothing. The rule set need not be published. */
  plan(ruleSet: string, from: StartPoint): Promise<ReplayPlan>
  start(ruleSet: string, from: StartPoint, epoch?: number): Promise<GenerationStatus>
  status(id: string): Promise<GenerationStatus>
  /** All that ever were, newest first. */
  list(): Promise<readonly GenerationStatus[]>
  promote(id: string, options: PromoteOptions): Promise<GenerationStatus>
  rollback(options: PromoteOptions): Promise<GenerationStatus>
  pause(id: string): Promise<GenerationStatus>
  resume(id: string): Promise<GenerationStatus>
  cancel(id: string): Promise<GenerationStatus>
  /**
   * Observes every known address anew, under the next epoch, which begins when that is done; until then no generation can
   * name it. Answers at once; asked again meanwhile it answers about the one under way.
   */
  reobserve(): Promise<ObservationEpoch>
  /** Null when there is no such epoch, begun or under way. */
  observationEpoch(epoch: number): ObservationEpoch | null
  /** In what the second differs from the first; both are published. */
  ruleSetDiff(from: string, to: string): readonly RuleSetChange[]
  /** Writes decisions about sources of a domain into a rule file, whose comments stay. Publishes nothing. */
  editRules(yaml: string, domain: string, decisions: readonly TriageDecision[]): EditedRules
  /** Judges records of a domain anew under a rule file without errors. */
  testRules(yaml: string, options: RuleTestOptions): Promise<RuleTest>
}
