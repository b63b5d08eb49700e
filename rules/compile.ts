/**
 * A rule set made ready to say of each record who sent it and what that means. Same facts and same rules give the same
 * verdicts: nothing is kept from one chunk to the next.
 *
 * Conditions are evaluated once for each combination of what they read (a third of the records of usual reports), but for
 * those that read what differs from record to record; and senders are looked up by suffix, network and range, so their
 * number costs nothing.
 */
import type { DmarcRecordsEnriched } from '../topics/enriched.ts'
import { OUTCOME_DKIM_ALIGNED, OUTCOME_QUARANTINE, OUTCOME_REJECT, OUTCOME_SPF_ALIGNED } from '../topics/verdicts.ts'
import type { RecordView } from './cel.ts'
import { type CompiledRule, firstMatch, ruleOf } from './compiled-rule.ts'
import { type Condition, Conditions, isCondition } from './condition.ts'
import { nearestAncestor } from './domains.ts'
import { type RuleName, ruleNames } from './names.ts'
import { type CompiledExclusion, DomainEntry } from './own.ts'
import { type KnownSender, nobody, RecordCursor, type TuplePart } from './record-cursor.ts'
import { readsMember } from './result-members.ts'
import type { RuleSet } from './rule-set.ts'
import { type Candidates, mergeCandidates, SenderIndex } from './sender-index.ts'
import { Tuples } from './tuples.ts'
import { type Decision, type EvaluatedRecords, VerdictColumns } from './verdict-columns.ts'

export interface CompiledRules {
  /** Id of the rule set. */
  readonly id: string
  /** Sender, verdict and rule of each record of the chunk, in its order. */
  evaluate(chunk: DmarcRecordsEnriched): EvaluatedRecords
}

export function compileRules(ruleSet: RuleSet): CompiledRules {
  const rules = new Rules(ruleSet)
  return { id: ruleSet.id, evaluate: (chunk) => new ChunkEvaluation(rules, chunk).run() }
}

interface CompiledVerdictRule extends CompiledRule {
  readonly id: string
  readonly verdict: string
}

/** What is read only together has one place in the combination. */
const sameAs: Partial<Record<RuleName, RuleName>> = {
  dkim_aligned: 'passed',
  spf_aligned: 'passed',
  sender_class: 'sender',
}

interface Reads {
  readonly reads: readonly RuleName[]
  /** Of these, what tells combinations apart. */
  readonly inTuple: readonly TuplePart[]
}

class Rules {
  readonly senders: readonly KnownSender[]
  readonly senderConditions: readonly (Condition | null)[]
  readonly index: SenderIndex
  readonly domains: ReadonlyMap<string, DomainEntry>
  readonly verdicts: readonly CompiledVerdictRule[]
  /** What conditions find under `lists`. */
  readonly lists: unknown
  readonly tuples = new Tuples()
  /** Where nothing is excluded. */
  readonly usualReads: Reads
  readonly #conditions: Conditions

  constructor({ definition }: RuleSet) {
    const { lists, senders, domains, verdicts } = definition
    this.#conditions = new Conditions(lists)
    this.lists = this.#conditions.reader.lists
    this.senders = senders.map(({ id, class: senderClass }, number) => ({ number, id, class: senderClass }))
    this.senderConditions = senders.map(({ when }) => this.#compile(when))
    this.index = new SenderIndex(senders, lists)
    this.domains = new Map(
      Object.entries(domains).map(([domain, entry]) => {
        const exclude = entry.exclude.map(({ when, reason, until }) => ({
          ...ruleOf(this.#compile(when)),
          reason,
          until,
        }))
        return [domain, new DomainEntry(entry, senders, lists, exclude)]
      }),
    )
    this.verdicts = verdicts.map(({ id, verdict, when }) => ({ id, verdict, ...ruleOf(this.#compile(when)) }))
    this.usualReads = this.readsWith([])
  }

  /** The canonical text of a condition was read before, so a fault in it is ours. */
  #compile(when: string): Condition | null {
    if (when === '') return null
    const condition = this.#conditions.read(when)
    if (isCondition(condition)) return condition
    throw new Error(`The condition ${JSON.stringify(when)} is not canonical: ${condition[0]?.message}`)
  }

  /** What the verdicts and these exclusions read of a record and is the same in many. */
  readsWith(exclusions: readonly CompiledExclusion[]): Reads {
    const conditions = [...this.verdicts, ...exclusions].flatMap(({ condition, differs }) =>
      condition === null || differs ? [] : [condition],
    )
    const reads = new Set(conditions.flatMap((condition) => [...condition.reads]))
    const inOrder = ruleNames.filter((name) => reads.has(name))
    return { reads: inOrder, inTuple: tupleParts(inOrder, conditions) }
  }
}

const rarelyRead = [
  ['dkim_results', 'selector'],
  ['spf_results', 'scope'],
] as const

/** What is read, without what follows from others, and of results only the members that a condition can tell apart. */
function tupleParts(reads: readonly RuleName[], conditions: readonly Condition[]): readonly TuplePart[] {
  const names = new Set<TuplePart>(reads.map((name) => sameAs[name] ?? name))
  if (names.has('dkim_results')) names.delete('dkim_pass_domains')
  if (names.has('spf_results')) names.delete('spf_pass_domains')
  for (const [list, member] of rarelyRead) {
    const isRead = conditions.some(({ expression }) => readsMember(expression, list, member))
    if (names.has(list) && isRead) names.add(`${list}.${member}` as TuplePart)
  }
  return [...names]
}

/** The evaluation of one chunk; tables are by index in the chunk's dictionaries and filled when first asked. */
class ChunkEvaluation {
  readonly #rules: Rules
  readonly #cursor: RecordCursor
  readonly #entry: DomainEntry | undefined
  readonly #exclusions: readonly CompiledExclusion[]
  readonly #reads: readonly RuleName[]
  readonly #tupleParts: readonly TuplePart[]
  readonly #sourceCandidates: (Candidates | undefined)[] = []
  readonly #dkimCandidates: (Candidates | undefined)[] = []
  readonly #spfCandidates: (Candidates | undefined)[] = []
  readonly #ownSource: (boolean | undefined)[] = []
  readonly #plans: (Plan | undefined)[] = []
  readonly #view: Partial<Record<keyof RecordView, unknown>>

  constructor(rules: Rules, chunk: DmarcRecordsEnriched) {
    this.#rules = rules
    this.#cursor = new RecordCursor(chunk)
    this.#entry = nearestAncestor(rules.domains, chunk.policy_domain)
    this.#exclusions = this.#entry?.exclude.filter(({ until }) => until === null || until >= chunk.day) ?? []
    const { reads, inTuple } = this.#exclusions.length === 0 ? rules.usualReads : rules.readsWith(this.#exclusions)
    this.#reads = reads
    this.#tupleParts = inTuple
    this.#view = { lists: rules.lists }
  }

  run(): EvaluatedRecords {
    const { chunk, length } = this.#cursor
    const { dict, source_ip, disposition } = chunk.records
    const out = new VerdictColumns(dict, length)
    const quarantine = dict.indexOf('quarantine')
    const reject = dict.indexOf('reject')
    this.#rules.tuples.clear()
    const cursor = this.#cursor
    while (cursor.next()) {
      const { row } = cursor
      cursor.own = false
      cursor.sender = this.#findSender()
      cursor.own = this.#isOwn()
      const disposed = disposition[row]!
      const outcome =
        (cursor.dkimAligned ? OUTCOME_DKIM_ALIGNED : 0) |
        (cursor.spfAligned ? OUTCOME_SPF_ALIGNED : 0) |
        (disposed !== 0 && disposed === quarantine ? OUTCOME_QUARANTINE : 0) |
        (disposed !== 0 && disposed === reject ? OUTCOME_REJECT : 0)
      out.add(source_ip[row]!, cursor.messages, outcome, cursor.sender, this.#decide())
    }
    return out.columns
  }

  /** The first sender in the order of the file that the source, or a domain that passed, names. */
  #findSender(): KnownSender {
    const cursor = this.#cursor
    const { records } = cursor.chunk
    let candidates = this.#candidatesOfSource(records.source_ip[cursor.row]!)
    if (cursor.pass >= 0) {
      for (let i = cursor.dkimFrom; i < cursor.dkimEnd; i++) {
        if (records.dkim_result[i] !== cursor.pass) continue
        const entry = records.dkim_domain[i]!
        this.#dkimCandidates[entry] ??= this.#rules.index.byDkim(records.dict[entry]!)
        candidates = mergeCandidates(candidates, this.#dkimCandidates[entry])
      }
      for (let i = cursor.spfFrom; i < cursor.spfEnd; i++) {
        if (records.spf_result[i] !== cursor.pass) continue
        const entry = records.spf_domain[i]!
        this.#spfCandidates[entry] ??= this.#rules.index.bySpf(records.dict[entry]!)
        candidates = mergeCandidates(candidates, this.#spfCandidates[entry])
      }
    }
    for (const number of candidates) {
      const condition = this.#rules.senderConditions[number]!
      if (condition === null || condition.holds(this.#viewOf(condition.reads))) return this.#rules.senders[number]!
    }
    return nobody
  }

  #candidatesOfSource(entry: number): Candidates {
    const known = this.#sourceCandidates[entry]
    if (known !== undefined) return known
    const { index } = this.#rules
    const cursor = this.#cursor
    let candidates = index.byAddress(cursor.chunk.records.dict[entry]!)
    const observation = cursor.observation
    if (observation >= 0) {
      candidates = mergeCandidates(candidates, index.byAsn(cursor.chunk.observations.asn[observation]!))
      for (const name of cursor.confirmedNames(observation)) {
        candidates = mergeCandidates(candidates, index.byPtr(name))
      }
    }
    this.#sourceCandidates[entry] = candidates
    return candidates
  }

  #isOwn(): boolean {
    const entry = this.#entry
    if (entry === undefined) return false
    const cursor = this.#cursor
    if (entry.hasSender(cursor.sender.number)) return true
    if (!entry.asksSource) return false
    const source = cursor.chunk.records.source_ip[cursor.row]!
    const known = this.#ownSource[source]
    if (known !== undefined) return known
    const { observation } = cursor
    const asn = observation < 0 ? 0 : cursor.chunk.observations.asn[observation]!
    const names = observation < 0 ? [] : cursor.confirmedNames(observation)
    const isOwn = entry.hasSource(cursor.chunk.records.dict[source]!, asn, names)
    this.#ownSource[source] = isOwn
    return isOwn
  }

  #viewOf(reads: Iterable<RuleName>): RecordView {
    const view = this.#view
    for (const name of reads) view[name] = this.#cursor.valueOf(name)
    return view as RecordView // conditions read nothing else
  }

  #decide(): Decision {
    const { tuples } = this.#rules
    const combination = this.#cursor.tupleOf(this.#tupleParts, tuples)
    this.#plans[combination] ??= this.#plan()
    const plan = this.#plans[combination]
    if (plan.rules.length === 0 && plan.exclusions.length === 0) return plan
    const holds = ({ condition }: CompiledRule) => condition === null || condition.holds(this.#viewOf(condition.reads))
    const rule = plan.rules.find(holds) ?? plan
    const excluded = plan.exclusions.find(holds)?.reason ?? plan.excluded
    return { id: rule.id, verdict: rule.verdict, excluded }
  }

  /** What follows from the combination, and what is still to be asked of each record that has it. */
  #plan(): Plan {
    const view = this.#viewOf(this.#reads)
    const { asked: rules, match: rule } = firstMatch(this.#rules.verdicts, view)
    const { asked: exclusions, match: exclusion } = firstMatch(this.#exclusions, view)
    if (rule === undefined) throw new Error('No verdict rule matched; the last one always does.')
    return { id: rule.id, verdict: rule.verdict, excluded: exclusion?.reason ?? '', rules, exclusions }
  }
}

/** The decision unless one of the rules or exclusions before it matches, asked in this order. */
interface Plan extends Decision {
  readonly rules: readonly CompiledVerdictRule[]
  readonly exclusions: readonly CompiledExclusion[]
}
