/** What a rule set says, and its canonical form. */
import { hash } from 'node:crypto'
import type { Verdict } from '../topics/verdicts.ts'
import type { ListDefinition } from './lists.ts'

export const senderClasses = ['service', 'forwarder', 'list', 'own', 'other'] as const
export type SenderClass = (typeof senderClasses)[number]

/** Values are domains, AS numbers (`AS64496`) and ranges in their normalised form, or names of lists. Sorted. */
export interface SenderDefinition {
  readonly id: string
  readonly name: string
  readonly class: SenderClass
  readonly ptr: readonly string[]
  readonly dkim: readonly string[]
  readonly spf: readonly string[]
  readonly asn: readonly string[]
  readonly ranges: readonly string[]
  /** Canonical text of the condition; "" when there is none. */
  readonly when: string
}

export interface ExclusionDefinition {
  readonly when: string
  readonly reason: string
  /** `YYYY-MM-DD`, the last day of a report on which it holds; null: for ever. */
  readonly until: string | null
}

export interface DomainDefinition {
  /** Ids of senders, names of lists, and ranges. Sorted. */
  readonly own: readonly string[]
  readonly exclude: readonly ExclusionDefinition[]
}

export interface VerdictRuleDefinition {
  readonly id: string
  readonly verdict: Verdict
  /** "" when it always holds. */
  readonly when: string
}

export interface RuleSetDefinition {
  readonly version: 1
  readonly name: string
  readonly lists: Readonly<Record<string, ListDefinition>>
  readonly senders: readonly SenderDefinition[]
  readonly domains: Readonly<Record<string, DomainDefinition>>
  readonly verdicts: readonly VerdictRuleDefinition[]
}

/** An immutable set of rules. */
export interface RuleSet {
  /** SHA-256 of the canonical form, hex. */
  readonly id: string
  readonly name: string
  /** As it was written. */
  readonly yaml: string
  readonly canonical: string
  readonly definition: RuleSetDefinition
}

/** JSON with the keys of every object sorted: the same definition always gives the same text. */
export function canonicalText(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalText).join(',')}]`
  if (value === null || typeof value !== 'object') return JSON.stringify(value)
  const members = Object.entries(value)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, member]) => `${JSON.stringify(key)}:${canonicalText(member)}`)
  return `{${members.join(',')}}`
}

export function makeRuleSet(yaml: string, definition: RuleSetDefinition): RuleSet {
  const canonical = canonicalText(definition)
  return { id: hash('sha256', canonical), name: definition.name, yaml, canonical, definition }
}
