/** The verbs behind rule sets and generations: what a user does about the past. */
import {
  type EditedRules,
  type GenerationStatus,
  type PromoteOptions,
  type ReplayPlan,
  ReplayRefused,
  type Replays,
  type RuleSetChange,
  type RuleTest,
  type RuleTestOptions,
  type TriageDecision,
} from '../api/replays.ts'
import { settle } from '../api/settle.ts'
import { isIdle, readStages } from '../api/stages.ts'
import { feedsOf, tablesOf } from '../projections/feeds.ts'
import type { Store } from '../projections/store.ts'
import { compileRules } from '../rules/compile.ts'
import { diffRuleSets } from '../rules/diff.ts'
import { editRules } from '../rules/edit.ts'
import { readRules } from '../rules/read.ts'
import type { ControlEventType } from '../topics/all.ts'
import type { EventData } from '../topics/avro.ts'
import {
  GenerationCancelled,
  GenerationPaused,
  GenerationPromoted,
  GenerationResumed,
  GenerationRetired,
  GenerationRolledBack,
  GenerationStarted,
  RuleSetPublished,
} from '../topics/control.ts'
import type { ControlLog } from '../topics/control-log.ts'
import type { ControlState, GenerationEntry, Outcome } from '../topics/control-state.ts'
import { type Generation, makeGeneration, type StartPoint } from '../topics/generation.ts'
import type { Log } from '../topics/log.ts'
import type { Epochs } from './epochs.ts'
import { stages } from './loops.ts'
import { RateMeter } from './rate.ts'
import { testRules } from './rule-test.ts'
import { type Projected, stagesOfGeneration } from './stages.ts'

export interface ReplaysOptions {
  readonly log: Log
  readonly store: Store
  readonly control: ControlLog
  readonly projected: Projected
  readonly topicPrefix: string
  readonly epochs: Epochs
  readonly parserVersion: string
  readonly now: () => number
  /** Brings topics, tables, loops and views to what the control topic says by now. */
  readonly reconcile: () => Promise<void>
}

/** Records evaluated and inserted a second when nothing was measured yet (bench/replay.ts). */
const USUAL_RECORDS_A_SECOND = 150_000
/** The same from the raw mail. */
const USUAL_RECORDS_A_SECOND_FROM_INGEST = 30_000
/** On disk: a verdict in the log and in its table. */
const VERDICT_BYTES_A_RECORD = 14
/** On disk: a record in all topics and tables. */
const BYTES_A_RECORD = 90

export function openReplays(options: ReplaysOptions): Replays & { retireFormer(age: number): Promise<void> } {
  return new ReplayService(options)
}

class ReplayService implements Replays {
  readonly #options: ReplaysOptions
  readonly #rates = new Map<string, RateMeter>()

  constructor(options: ReplaysOptions) {
    this.#options = options
  }

  get control(): ControlState {
    return this.#options.control.state
  }

  check(yaml: string) {
    const { ruleSet, problems } = readRules(yaml)
    return { id: ruleSet?.id ?? null, name: ruleSet?.name ?? null, problems }
  }

  async publish(yaml: string) {
    const { ruleSet } = readRules(yaml)
    if (ruleSet === null) throw new Error('The rules have errors; check them before publishing.')
    if (this.control.ruleSet(ruleSet.id) !== null) return { id: ruleSet.id, created: false }
    compileRules(ruleSet) // what cannot be run must not be published
    const { id, name } = ruleSet
    const outcome = await this.#append(RuleSetPublished, { at: this.#options.now(), rule_set: id, name, yaml })
    return { id, created: outcome.valid }
  }

  async plan(ruleSet: string, from: StartPoint): Promise<ReplayPlan> {
    const { log, store } = this.#options
    const live = this.#live().generation
    const planned = makeGeneration({
      number: this.control.generations().length + 1,
      ruleSet,
      from,
      parent: live,
      epoch: live.epoch,
      topicPrefix: this.#options.topicPrefix,
    })
    const { events, bytes } = await log.size(live.topics[from])
    const [row] = await store.query<{ records: number }>(
      `SELECT sum(records) AS records FROM (SELECT DISTINCT report_key, variant, records FROM ${live.tables.dmarc_reports})`,
    )
    const records = row?.records ?? 0
    const isNew = (name: string) => name.endsWith(planned.name)
    const usual = from === 'ingest' ? USUAL_RECORDS_A_SECOND_FROM_INGEST : USUAL_RECORDS_A_SECOND
    return {
      rule_set: ruleSet,
      from,
      events,
      bytes,
      records,
      topics: Object.values(planned.topics).filter(isNew),
      tables: Object.values(planned.tables).filter(isNew),
      disk_bytes: records * (from === 'ingest' ? BYTES_A_RECORD : VERDICT_BYTES_A_RECORD),
      seconds: Math.ceil(records / usual),
      covers: await this.#covers(live, from),
    }
  }

  async start(ruleSet: string, from: StartPoint, epoch?: number): Promise<GenerationStatus> {
    const { now, parserVersion } = this.#options
    const live = this.#live().generation
    const outcome = this.#accepted(
      await this.#append(GenerationStarted, {
        at: now(),
        rule_set: ruleSet,
        from,
        parent: live.number,
        epoch: epoch ?? live.epoch,
        parser_version: parserVersion,
      }),
    )
    await this.#options.reconcile()
    return this.status(`g${outcome}`)
  }

  async status(id: string): Promise<GenerationStatus> {
    return this.#statusOf(this.#entry(id))
  }

  async list(): Promise<readonly GenerationStatus[]> {
    const list: GenerationStatus[] = []
    for (const entry of this.control.generations().toReversed()) list.push(await this.#statusOf(entry))
    return list
  }

  async promote(id: string, options: PromoteOptions): Promise<GenerationStatus> {
    const { generation, state } = this.#entry(id)
    if (state === 'live') throw new ReplayRefused('already_live', `Generation ${generation.name} is live already.`)
    if (state !== 'building' && state !== 'former')
      throw new ReplayRefused('not_building', `Generation ${generation.name} is ${state} and cannot be promoted.`)
    await this.#catchUp(generation, options)
    if (!options.acceptGap) await this.#assertCovers(generation)
    const { number } = generation
    const accept_gap = options.acceptGap
    this.#accepted(await this.#append(GenerationPromoted, { at: this.#options.now(), generation: number, accept_gap }))
    await this.#options.reconcile()
    return this.status(generation.name)
  }

  async rollback(options: PromoteOptions): Promise<GenerationStatus> {
    const former = this.control.former()
    if (former === null)
      throw new ReplayRefused('nothing_to_roll_back', 'No generation that was live before is kept any more.')
    await this.#catchUp(former.generation, options)
    const { number, name } = former.generation
    this.#accepted(await this.#append(GenerationRolledBack, { at: this.#options.now(), generation: number }))
    await this.#options.reconcile()
    return this.status(name)
  }

  pause(id: string): Promise<GenerationStatus> {
    return this.#turn(id, GenerationPaused)
  }

  resume(id: string): Promise<GenerationStatus> {
    return this.#turn(id, GenerationResumed)
  }

  cancel(id: string): Promise<GenerationStatus> {
    return this.#turn(id, GenerationCancelled)
  }

  async reobserve() {
    return this.#options.epochs.begin()
  }

  observationEpoch(epoch: number) {
    return this.#options.epochs.find(epoch)
  }

  ruleSetDiff(from: string, to: string): readonly RuleSetChange[] {
    return diffRuleSets(this.#rules(from), this.#rules(to))
  }

  editRules(yaml: string, domain: string, decisions: readonly TriageDecision[]): EditedRules {
    return editRules(yaml, domain, decisions)
  }

  async testRules(yaml: string, options: RuleTestOptions): Promise<RuleTest> {
    const { generation } = this.#live()
    const { ruleSet } = readRules(yaml)
    if (ruleSet === null) throw new Error('The rules have errors; check them before trying them.')
    const live = compileRules(this.#rules(generation.ruleSet!))
    return testRules(this.#options.store, generation, { live, tried: compileRules(ruleSet) }, options)
  }

  /** A published rule set, read. */
  #rules(id: string) {
    const published = this.control.ruleSet(id)
    if (published === null) throw new ReplayRefused('rule_set_unknown', `There is no rule set ${id}.`)
    const { ruleSet, problems } = readRules(published.yaml)
    if (ruleSet === null) throw new Error(`Rule set ${id} cannot be read by this version (${problems[0]?.message}).`)
    return ruleSet
  }

  /** Retires generations that have not been live for so many milliseconds. */
  async retireFormer(age: number): Promise<void> {
    const now = this.#options.now()
    const due = this.control.kept().filter(({ state, endedAt }) => state === 'former' && endedAt! + age <= now)
    for (const { generation } of due) await this.#append(GenerationRetired, { at: now, generation: generation.number })
    if (due.length > 0) await this.#options.reconcile()
  }

  async #turn(
    id: string,
    type: typeof GenerationPaused | typeof GenerationResumed | typeof GenerationCancelled,
  ): Promise<GenerationStatus> {
    const { generation } = this.#entry(id)
    this.#accepted(await this.#append(type, { at: this.#options.now(), generation: generation.number }))
    await this.#options.reconcile()
    return this.status(generation.name)
  }

  #append<T extends ControlEventType>(type: T, data: EventData<T>): Promise<Outcome> {
    return this.#options.control.append(type, data)
  }

  /** The number of the generation that the event was about. */
  #accepted(outcome: Outcome): number {
    if (outcome.valid) return outcome.generation ?? 0
    const { code, message } = outcome
    // Publishing checks for itself whether the rules are known.
    throw code === 'rule_set_known' ? new Error(message) : new ReplayRefused(code, message)
  }

  #entry(id: string): GenerationEntry {
    const entry = this.control.generation(id)
    if (entry === null) throw new ReplayRefused('generation_unknown', `There is no generation ${id}.`)
    return entry
  }

  #live(): GenerationEntry {
    return this.control.live()!
  }

  /** Waits until the generation has passed the heads that its topics have now. */
  async #catchUp(generation: Generation, { timeout, signal }: PromoteOptions): Promise<void> {
    const { log } = this.#options
    const late = AbortSignal.timeout(timeout)
    try {
      await settle(log, this.#stages(generation), AbortSignal.any([signal, late]))
    } catch (error) {
      if (!late.aborted) throw error
      throw new ReplayRefused(
        'not_caught_up',
        `Generation ${generation.name} has not caught up within ${Math.round(timeout / 1000)} s; look at its status and try again.`,
      )
    }
  }

  #stages(generation: Generation) {
    const { projected, topicPrefix, log } = this.#options
    return stagesOfGeneration(generation, { own: null, projected, topicPrefix, log })
  }

  /** The new generation must not speak of less mail than the live one, unless that is accepted. */
  async #assertCovers(generation: Generation): Promise<void> {
    const live = this.#live().generation
    const [mine, theirs] = [await this.#covers(generation, generation.from), await this.#covers(live, generation.from)]
    if (theirs === null || (mine !== null && mine.from <= theirs.from)) return
    throw new ReplayRefused(
      'coverage_shrinks',
      `Generation ${generation.name} begins with mail of ${mine?.from ?? 'no day'}, the live one with mail of ${theirs.from}, because older ` +
        'mail is no longer on the log. Promote with accept_gap (--accept-gap) to lose the answers about it.',
    )
  }

  /** First and last day of receipt: of all mail, or of the reports that have verdicts. */
  async #covers({ tables }: Generation, from: StartPoint): Promise<{ from: string; to: string } | null> {
    const source =
      from === 'ingest'
        ? tables.mail
        : `${tables.dmarc_reports} WHERE (report_key, variant) IN (SELECT report_key, variant FROM ${tables.report_verdicts})`
    const [row] = await this.#options.store.query<{ first: string; last: string; rows: number }>(
      `SELECT toString(toDate(min(received_at), 'UTC')) AS first, toString(toDate(max(received_at), 'UTC')) AS last, count() AS rows FROM ${source}`,
    )
    return row === undefined || row.rows === 0 ? null : { from: row.first, to: row.last }
  }

  async #statusOf(entry: GenerationEntry): Promise<GenerationStatus> {
    const { generation, state, startedAt, liveSince, endedAt } = entry
    const time = (at: number | null) => (at === null ? null : new Date(at).toISOString())
    const gone = state === 'retired' || state === 'cancelled'
    const progress = gone
      ? { done: 0, total: 0, partitions: [], rate: 0, idle: false }
      : await this.#progress(generation)
    const { done, total, partitions, rate, idle } = progress
    const active = state === 'building' && !idle
    return {
      id: generation.name,
      rule_set: generation.ruleSet!,
      from: generation.from,
      parent: generation.parent === null ? null : `g${generation.parent}`,
      state: state === 'building' && idle ? 'ready' : state,
      done,
      total,
      partitions,
      rate,
      eta_seconds: active && rate > 0 ? Math.ceil((total - done) / rate) : null,
      covers: gone ? null : await this.#covers(generation, generation.from),
      // `rejects` is a topic and a table: the topic is named.
      names: { ...generation.tables, ...generation.topics },
      started_at: time(startedAt)!,
      live_since: time(liveSince),
      ended_at: time(endedAt),
    }
  }

  /** In events of the topic that the generation starts from; those count as done whose verdicts are in the store. */
  async #progress(generation: Generation) {
    const { log, projected } = this.#options
    const first = stages.find(({ reads }) => reads === generation.from)!
    const source = generation.topics[generation.from]
    const own = this.#stages(generation).filter(
      ({ topic, writes }) =>
        topic === source || [...writes, topic].some((name) => name.endsWith(`.${generation.name}`)),
    )
    const read = await readStages(log, own, () => new Date(this.#options.now()))
    const { events: total } = await log.size(source)
    const positions = await own.find(({ stage }) => stage === first.stage)!.positions()
    const partitions = (await log.watermarks(source)).map(({ partition, low, high }) => ({
      partition,
      position: positions.get(partition) ?? low,
      head: high,
    }))
    const lag = read.find(({ stage }) => stage === first.stage)?.lag ?? 0
    // A chunk of facts becomes a chunk of verdicts, so what waits to be projected is not done yet.
    const feed = feedsOf([generation]).find((one) => one.topic === 'verdicts')!
    const waiting =
      generation.from === 'ingest' ? 0 : (await log.lag(feed.physical, await projected.positions(feed.physical))).events
    const done = Math.max(0, total - lag - waiting)
    const meter = this.#rates.get(generation.name) ?? new RateMeter(this.#options.now)
    this.#rates.set(generation.name, meter)
    return { done, total, partitions, rate: meter.rate(done), idle: isIdle(read) && tablesOf(feed).length > 0 }
  }
}
