/** What changed from one rule set to another, as data and in a line each. */
import { canonicalText, type DomainDefinition, type RuleSetDefinition } from './rule-set.ts'

export const changedParts = ['name', 'list', 'sender', 'domain', 'verdict_rule'] as const
export type ChangedPart = (typeof changedParts)[number]

export interface RuleChange {
  readonly part: ChangedPart
  readonly change: 'added' | 'removed' | 'changed'
  /** Name of the list, id of the sender or verdict rule, or the domain; "" for the name of the rule set. */
  readonly id: string
  /** One line. */
  readonly description: string
}

/** All changes, in the order of the file: lists, senders, domains, verdict rules. */
export function diffRuleSets(
  before: { readonly definition: RuleSetDefinition },
  after: { readonly definition: RuleSetDefinition },
): readonly RuleChange[] {
  const a = before.definition
  const b = after.definition
  return [
    ...(a.name === b.name ? [] : [nameChange(a.name, b.name)]),
    ...diffMaps('list', new Map(Object.entries(a.lists)), new Map(Object.entries(b.lists))),
    ...diffOrdered('sender', a.senders, b.senders),
    ...diffMaps('domain', new Map(Object.entries(a.domains)), new Map(Object.entries(b.domains))),
    ...diffOrdered('verdict_rule', a.verdicts, b.verdicts),
  ]
}

const nameChange = (from: string, to: string): RuleChange => ({
  part: 'name',
  change: 'changed',
  id: '',
  description: `The name changed from ${JSON.stringify(from)} to ${JSON.stringify(to)}.`,
})

const words: Readonly<Record<ChangedPart, string>> = {
  name: 'name',
  list: 'list',
  sender: 'sender',
  domain: 'domain',
  verdict_rule: 'verdict rule',
}

function diffMaps(
  part: ChangedPart,
  before: ReadonlyMap<string, object>,
  after: ReadonlyMap<string, object>,
): readonly RuleChange[] {
  const ids = [...new Set([...before.keys(), ...after.keys()])].sort()
  return ids.flatMap((id): readonly RuleChange[] => {
    const old = before.get(id)
    const now = after.get(id)
    if (old === undefined) return [{ part, change: 'added', id, description: `New ${words[part]} "${id}".` }]
    if (now === undefined) return [{ part, change: 'removed', id, description: `No ${words[part]} "${id}" any more.` }]
    if (canonicalText(old) === canonicalText(now)) return []
    const description = `The ${words[part]} "${id}" changed: ${describeFields(old, now)}.`
    return [{ part, change: 'changed', id, description }]
  })
}

/** As of maps; and one that others passed in the order, in which the first match decides, has changed. */
function diffOrdered<Rule extends { readonly id: string }>(
  part: ChangedPart,
  before: readonly Rule[],
  after: readonly Rule[],
): readonly RuleChange[] {
  const byId = (rules: readonly Rule[]) => new Map(rules.map((rule) => [rule.id, rule]))
  const changes = diffMaps(part, byId(before), byId(after))
  const changed = new Set(changes.map(({ id }) => id))
  const moved = movedIds(
    before.map(({ id }) => id),
    after.map(({ id }) => id),
  ).filter((id) => !changed.has(id))
  return [
    ...changes,
    ...moved.map((id): RuleChange => {
      const place = after.findIndex((rule) => rule.id === id)
      const where = place === 0 ? 'at the beginning' : `after "${after[place - 1]!.id}"`
      return { part, change: 'changed', id, description: `The ${words[part]} "${id}" moved; it now stands ${where}.` }
    }),
  ]
}

/** Ids of both that are not in their longest common order: the fewest that must have been moved. */
function movedIds(before: readonly string[], after: readonly string[]): readonly string[] {
  const place = new Map(before.map((id, index) => [id, index]))
  const common = after.filter((id) => place.has(id))
  // Longest increasing run of old places, by patience: the last id of each length, and what came before each.
  const ends: string[] = []
  const previous = new Map<string, string | undefined>()
  for (const id of common) {
    let low = 0
    let high = ends.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (place.get(ends[middle]!)! < place.get(id)!) low = middle + 1
      else high = middle
    }
    previous.set(id, ends[low - 1])
    ends[low] = id
  }
  const kept = new Set<string>()
  for (let id = ends.at(-1); id !== undefined; id = previous.get(id)) kept.add(id)
  return common.filter((id) => !kept.has(id))
}

function describeFields(before: object, after: object): string {
  const old = before as Readonly<Record<string, unknown>>
  const now = after as Readonly<Record<string, unknown>>
  return Object.keys(now)
    .filter((key) => canonicalText(old[key]) !== canonicalText(now[key]))
    .map((key) => describeField(key, old[key], now[key]))
    .join('; ')
}

function describeField(key: string, old: unknown, now: unknown): string {
  if (Array.isArray(old) && Array.isArray(now)) {
    if (key === 'exclude') return describeList(key, reasonsOf(old), reasonsOf(now))
    return describeList(key, old.map(String), now.map(String))
  }
  const show = (value: unknown) => (value === '' ? 'nothing' : String(value))
  return `${key} was ${show(old)}, is ${show(now)}`
}

const reasonsOf = (exclusions: readonly DomainDefinition['exclude'][number][]) =>
  exclusions.map(
    ({ when, reason, until }) => `"${reason}" (${when || 'all'}${until === null ? '' : `, until ${until}`})`,
  )

/** More entries than these are counted. */
const MAX_LISTED = 5

function describeList(key: string, old: readonly string[], now: readonly string[]): string {
  const show = (entries: readonly string[]) =>
    entries.length > MAX_LISTED
      ? `${entries.slice(0, MAX_LISTED).join(', ')} and ${entries.length - MAX_LISTED} more`
      : entries.join(', ')
  const added = now.filter((entry) => !old.includes(entry))
  const removed = old.filter((entry) => !now.includes(entry))
  if (added.length + removed.length === 0) return `${key} in another order`
  return [
    ...(added.length > 0 ? [`${key} now with ${show(added)}`] : []),
    ...(removed.length > 0 ? [`${key} without ${show(removed)}`] : []),
  ].join(', ')
}
