/** Which senders a source may be: looked up by name, domain, network and address, never one by one. */
import { visitAncestors } from './domains.ts'
import { type ListDefinition, readAsn } from './lists.ts'
import { type AddressRange, RangeIndex, readRange } from './ranges.ts'
import type { SenderDefinition } from './rule-set.ts'

/** Numbers of senders in the order of the file, ascending, each once. */
export type Candidates = readonly number[]

export const noCandidates: Candidates = []

/** Both, ascending and each once. */
export function mergeCandidates(a: Candidates, b: Candidates): Candidates {
  if (a.length === 0) return b
  if (b.length === 0) return a
  return [...new Set([...a, ...b])].sort((one, other) => one - other)
}

/** The values of a field of a sender, those of the lists that it names instead of the names. */
export function expandLists(
  values: readonly string[],
  lists: Readonly<Record<string, ListDefinition>>,
): readonly string[] {
  return values.flatMap((value) => (Object.hasOwn(lists, value) ? lists[value]!.values : [value]))
}

export class SenderIndex {
  readonly #ptr: ReadonlyMap<string, Candidates>
  readonly #dkim: ReadonlyMap<string, Candidates>
  readonly #spf: ReadonlyMap<string, Candidates>
  readonly #asn: ReadonlyMap<number, Candidates>
  readonly #ranges: RangeIndex

  constructor(senders: readonly SenderDefinition[], lists: Readonly<Record<string, ListDefinition>>) {
    const bySuffix = (field: 'ptr' | 'dkim' | 'spf') => gather(senders, (sender) => expandLists(sender[field], lists))
    this.#ptr = bySuffix('ptr')
    this.#dkim = bySuffix('dkim')
    this.#spf = bySuffix('spf')
    this.#asn = gather(senders, (sender) => expandLists(sender.asn, lists).map((value) => readAsn(value)!))
    const ranges: AddressRange[] = []
    const owners: number[] = []
    for (const [number, sender] of senders.entries()) {
      for (const value of expandLists(sender.ranges, lists)) {
        ranges.push(readRange(value)!)
        owners.push(number)
      }
    }
    this.#ranges = new RangeIndex(ranges, owners)
  }

  /** `name` must be forward-confirmed. */
  byPtr(name: string): Candidates {
    return bySuffix(this.#ptr, name)
  }
  /** `domain` must have passed. */
  byDkim(domain: string): Candidates {
    return bySuffix(this.#dkim, domain)
  }
  bySpf(domain: string): Candidates {
    return bySuffix(this.#spf, domain)
  }
  byAsn(asn: number): Candidates {
    return this.#asn.get(asn) ?? noCandidates
  }
  byAddress(address: string): Candidates {
    return this.#ranges.findText(address)
  }
}

function gather<Key>(senders: readonly SenderDefinition[], keysOf: (sender: SenderDefinition) => readonly Key[]) {
  const gathered = new Map<Key, number[]>()
  for (const [number, sender] of senders.entries()) {
    for (const key of new Set(keysOf(sender))) {
      const numbers = gathered.get(key)
      if (numbers === undefined) gathered.set(key, [number])
      else numbers.push(number)
    }
  }
  return gathered
}

function bySuffix(index: ReadonlyMap<string, Candidates>, name: string): Candidates {
  let found = noCandidates
  if (index.size > 0 && name !== '') {
    visitAncestors(index, name, (numbers) => {
      found = mergeCandidates(found, numbers)
    })
  }
  return found
}
