/** What a domain calls its own, and what it leaves out. */
import type { CompiledRule } from './compiled-rule.ts'
import { DomainSet } from './domains.ts'
import { type ListDefinition, readAsn } from './lists.ts'
import { RangeSet, readRange } from './ranges.ts'
import type { DomainDefinition, SenderDefinition } from './rule-set.ts'

export interface CompiledExclusion extends CompiledRule {
  readonly reason: string
  readonly until: string | null
}

/** The entry of a domain. An entry of `own` may be the name of a sender and of a list: then it is both. */
export class DomainEntry {
  readonly exclude: readonly CompiledExclusion[]
  /** Whether an address, network or name of a source can make it the domain's own. */
  readonly asksSource: boolean
  readonly #senders = new Set<number>()
  readonly #ranges: RangeSet
  readonly #domains: DomainSet
  readonly #asns: ReadonlySet<number>

  constructor(
    definition: DomainDefinition,
    senders: readonly SenderDefinition[],
    lists: Readonly<Record<string, ListDefinition>>,
    exclude: readonly CompiledExclusion[],
  ) {
    this.exclude = exclude
    const values: Record<ListDefinition['kind'], string[]> = { ranges: [], domains: [], asns: [] }
    for (const own of definition.own) {
      const sender = senders.findIndex(({ id }) => id === own)
      if (sender >= 0) this.#senders.add(sender)
      if (Object.hasOwn(lists, own)) values[lists[own]!.kind].push(...lists[own]!.values)
      else if (sender < 0) values.ranges.push(own)
    }
    this.asksSource = Object.values(values).some((list) => list.length > 0)
    this.#ranges = new RangeSet(values.ranges.map((value) => readRange(value)!))
    this.#domains = new DomainSet(values.domains)
    this.#asns = new Set(values.asns.map((value) => readAsn(value)!))
  }

  hasSender(number: number): boolean {
    return this.#senders.has(number)
  }

  /** `names` are the forward-confirmed ones. */
  hasSource(address: string, asn: number, names: readonly string[]): boolean {
    return this.#ranges.contains(address) || this.#asns.has(asn) || names.some((name) => this.#domains.contains(name))
  }
}
