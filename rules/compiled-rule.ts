/** What verdict rules and exclusions have in common when they are evaluated. */
import type { RecordView } from './cel.ts'
import type { Condition } from './condition.ts'
import type { RuleName } from './names.ts'

export interface CompiledRule {
  /** Null: it always matches. */
  readonly condition: Condition | null
  /** The condition reads what differs from record to record. */
  readonly differs: boolean
}

/** Nearly every record has another value: conditions that read one of these are evaluated for each record. */
const differing: ReadonlySet<RuleName> = new Set([
  'source_ip',
  'count',
  'ptr',
  'ptr_names',
  'asn',
  'as_name',
  'country',
])

/** The condition as the part of a rule that is evaluated. */
export function ruleOf(condition: Condition | null): CompiledRule {
  return { condition, differs: condition !== null && [...condition.reads].some((name) => differing.has(name)) }
}

/** The first rule that matches whatever differs from record to record, and those before it that may match as well. */
export function firstMatch<Rule extends CompiledRule>(
  rules: readonly Rule[],
  view: RecordView,
): { readonly asked: readonly Rule[]; readonly match: Rule | undefined } {
  const asked: Rule[] = []
  for (const rule of rules) {
    if (rule.differs) asked.push(rule)
    else if (rule.condition === null || rule.condition.holds(view)) return { asked, match: rule }
  }
  return { asked, match: undefined }
}
