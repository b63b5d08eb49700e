/** What is not wrong but cannot be meant: rules that never decide, lists that nobody uses. */
import type { Condition } from './condition.ts'
import { isBelow } from './domains.ts'
import { type Expression, partsOf } from './expression.ts'
import type { ListDefinition } from './lists.ts'
import type { Problems } from './problems.ts'
import { type AddressRange, isWithin, readRange } from './ranges.ts'
import { Reach, type Work } from './reachability.ts'
import { type RuleSetDefinition, type SenderDefinition, senderClasses } from './rule-set.ts'
import { expandLists } from './sender-index.ts'

/** A rule with its place in the text; `condition` is null when it always holds. */
export interface Located {
  readonly at: number
  readonly condition: Condition | null
  /** Offset in the document of a character of the condition. */
  readonly placeOf: (character: number) => number
}

/** Comparisons of facts for one rule set: less than a second of work. */
const MAX_COMPARISONS = 300_000

export function warnOfUnused(lists: ReadonlyMap<string, number>, used: ReadonlySet<string>, problems: Problems): void {
  for (const [name, at] of lists) if (!used.has(name)) problems.warn(at, `Nothing uses the list "${name}".`)
}

export function warnOfUnreachable(
  definition: RuleSetDefinition,
  located: {
    readonly senders: readonly Located[]
    readonly exclusions: readonly Located[]
    readonly verdicts: readonly Located[]
  },
  problems: Problems,
): void {
  const work = { left: MAX_COMPARISONS }
  warnOfVerdicts(definition, located.verdicts, work, problems)
  warnOfSenders(definition, located.senders, { left: MAX_COMPARISONS * 10 }, problems)
  for (const { at, condition } of located.exclusions) {
    if (condition !== null && new Reach(condition.expression).isNever) problems.warn(at, NEVER)
  }
  const ids = definition.senders.map(({ id }) => id)
  for (const rule of [...located.verdicts, ...located.exclusions]) {
    if (rule.condition !== null) warnOfUnknownValues(rule.condition.expression, rule.placeOf, ids, problems)
  }
}

const NEVER = 'This can never match: its condition is never true.'

function warnOfVerdicts(
  { verdicts }: RuleSetDefinition,
  located: readonly Located[],
  work: Work,
  problems: Problems,
): void {
  const earlier: Reach[] = []
  for (const { at, condition } of located) {
    const reach = new Reach(condition?.expression ?? null)
    if (reach.isNever) problems.warn(at, NEVER)
    else {
      const by = reach.coveredBy(earlier, work)
      if (by >= 0) {
        const always = earlier[by]!.isAlways ? ', which always matches' : ''
        problems.warn(
          at,
          `This can never match: all that it matches is decided before, by "${verdicts[by]!.id}"${always}.`,
        )
      }
    }
    earlier.push(reach)
  }
}

const kinds = ['ptr', 'dkim', 'spf', 'asn', 'ranges'] as const

function warnOfSenders(
  { senders, lists }: RuleSetDefinition,
  located: readonly Located[],
  work: Work,
  problems: Problems,
): void {
  const earlier: { readonly id: string; readonly values: Values }[] = []
  for (const [index, sender] of senders.entries()) {
    const { at, condition } = located[index]!
    const values = valuesOf(sender, lists)
    if (kinds.every((kind) => values[kind].length === 0)) {
      problems.warn(at, `The sender "${sender.id}" can never match: it has no ptr, dkim, spf, asn or ranges.`)
    } else if (condition !== null && new Reach(condition.expression).isNever) problems.warn(at, NEVER)
    else {
      const by = earlier.find((one) => kinds.every((kind) => isCovered(kind, values, one.values, work)))
      if (by !== undefined) problems.warn(at, `This can never match: "${by.id}", before it, matches all that it does.`)
    }
    if (sender.when === '') earlier.push({ id: sender.id, values })
  }
}

type Values = Readonly<Record<(typeof kinds)[number], readonly string[]>> & { readonly parsed: readonly AddressRange[] }

function valuesOf(sender: SenderDefinition, lists: Readonly<Record<string, ListDefinition>>): Values {
  const ranges = expandLists(sender.ranges, lists)
  return {
    ptr: expandLists(sender.ptr, lists),
    dkim: expandLists(sender.dkim, lists),
    spf: expandLists(sender.spf, lists),
    asn: expandLists(sender.asn, lists),
    ranges,
    parsed: ranges.map((range) => readRange(range)!),
  }
}

/** Whether the values of the kind are all among the wider ones; false when the work that may be done is done. */
function isCovered(kind: (typeof kinds)[number], values: Values, wider: Values, work: Work): boolean {
  const isAmong = <Value>(value: Value, others: readonly Value[], isIn: (a: Value, b: Value) => boolean) => {
    work.left -= 1 + others.length
    return work.left > 0 && others.some((other) => isIn(value, other))
  }
  if (kind === 'ranges') return values.parsed.every((range) => isAmong(range, wider.parsed, isWithin))
  const isIn = kind === 'asn' ? (a: string, b: string) => a === b : isBelow
  return values[kind].every((value) => isAmong(value, wider[kind], isIn))
}

/** `sender == "gogle"`: a comparison with what no sender is called is never true. */
function warnOfUnknownValues(
  expression: Expression,
  placeOf: Located['placeOf'],
  ids: readonly string[],
  problems: Problems,
): void {
  for (const part of partsOf(expression)) warnOfUnknownValues(part, placeOf, ids, problems)
  if (expression.op !== 'binary') return
  const { left, right, operator } = expression
  const known = { sender: ids, sender_class: senderClasses }[left.op === 'name' ? left.name : '']
  if (known === undefined || !['==', '!=', 'in'].includes(operator)) return
  const values = right.op === 'list' ? right.items : [right]
  for (const value of values) {
    if (value.op !== 'value' || typeof value.value !== 'string' || value.value === '') continue
    if (known.some((one) => one === value.value)) continue
    const what = known === ids ? 'sender has the id' : 'sender is of class'
    problems.warn(
      placeOf(value.at),
      `No ${what} ${JSON.stringify(value.value)}.${problems.suggestion(value.value, known)}`,
    )
  }
}
