/** Named lists as conditions and senders use them. */
import { DomainSet } from './domains.ts'
import { RangeSet, readRange } from './ranges.ts'

export const listKinds = ['ranges', 'domains', 'asns'] as const
export type ListKind = (typeof listKinds)[number]

/** Values in their normalised form: `192.0.2.0/24`, `example.org`, `AS64496`. */
export interface ListDefinition {
  readonly kind: ListKind
  readonly values: readonly string[]
}

/** What a list is called in a message. */
export const kindNames: Readonly<Record<ListKind, string>> = {
  ranges: 'address ranges',
  domains: 'domains',
  asns: 'AS numbers',
}

/** `AS64496` or `64496` as a number, or null. */
export function readAsn(text: string): number | null {
  const match = /^(?:AS)?(0|[1-9]\d{0,9})$/i.exec(text.trim())
  const asn = match === null ? -1 : Number(match[1])
  return asn >= 0 && asn <= 0xffffffff ? asn : null
}

/** The three kinds of lists in conditions; the names are what error messages call the types. */
export class AddressList {
  readonly ranges: RangeSet
  constructor(values: readonly string[]) {
    this.ranges = new RangeSet(values.map((value) => readRange(value)!))
  }
}
export class DomainList {
  readonly domains: DomainSet
  constructor(values: readonly string[]) {
    this.domains = new DomainSet(values)
  }
}
export class AsnList {
  readonly asns: ReadonlySet<number>
  constructor(values: readonly string[]) {
    this.asns = new Set(values.map((value) => readAsn(value)!))
  }
}
export type List = AddressList | DomainList | AsnList

const constructors = { ranges: AddressList, domains: DomainList, asns: AsnList } as const

export function makeList({ kind, values }: ListDefinition): List {
  return new constructors[kind](values)
}
