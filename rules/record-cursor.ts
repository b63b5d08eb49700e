/** Goes through the records of a chunk, and gives what conditions ask of the one that it stands on. */
import type { DmarcRecordsEnriched } from '../topics/enriched.ts'
import { plausibleCount } from '../topics/plausible-count.ts'
import { DkimResultView, SpfResultView } from './cel.ts'
import type { RuleName } from './names.ts'
import { organisationalDomain } from './org-domain.ts'
import type { Tuples } from './tuples.ts'

/** What is known about the sender of a record when conditions are evaluated. */
export interface KnownSender {
  /** Number of the sender, -1 when none was named. */
  readonly number: number
  readonly id: string
  readonly class: string
}
export const nobody: KnownSender = { number: -1, id: '', class: '' }

/** What a receiver writes of an ARC chain that it trusted, in the comment of a reason (RFC 8617 §7.2.2). */
const ARC_PASS = /\barc\s*=\s*pass\b/i

/** What tells the combinations apart that conditions read; lists of results come without the member named here. */
export type TuplePart = RuleName | 'dkim_results.selector' | 'spf_results.scope'

export class RecordCursor {
  readonly chunk: DmarcRecordsEnriched
  readonly length: number
  /** Index of the word `pass` in the dictionary, -1 when nothing passed. */
  readonly pass: number
  row = -1
  sender: KnownSender = nobody
  own = false
  /** First entry of the record in the flattened lists, and the one behind the last. */
  dkimFrom = 0
  dkimEnd = 0
  spfFrom = 0
  spfEnd = 0
  #reasonFrom = 0
  #reasonEnd = 0
  /** Row of `observations` by index in the dictionary of records, -1 when there is none. */
  readonly #observationOf: Int32Array
  /** First name of each row of observations. */
  readonly #namesFrom: Int32Array
  readonly #isArc: Int8Array
  #orgDomain: string | null = null

  constructor(chunk: DmarcRecordsEnriched) {
    this.chunk = chunk
    const { records, observations } = chunk
    this.length = records.source_ip.length
    this.pass = records.dict.indexOf('pass')
    this.#observationOf = new Int32Array(records.dict.length).fill(-1)
    this.#namesFrom = new Int32Array(observations.address.length + 1)
    for (let row = 0; row < observations.address.length; row++) {
      this.#observationOf[observations.address[row]!] = row
      this.#namesFrom[row + 1] = this.#namesFrom[row]! + observations.ptr_names[row]!
    }
    this.#isArc = new Int8Array(records.dict.length)
  }

  /** Goes on to the next record; false behind the last. */
  next(): boolean {
    const { records } = this.chunk
    if (++this.row >= this.length) return false
    this.#reasonFrom = this.#reasonEnd
    this.#reasonEnd += records.reasons[this.row]!
    this.dkimFrom = this.dkimEnd
    this.dkimEnd += records.dkim_results[this.row]!
    this.spfFrom = this.spfEnd
    this.spfEnd += records.spf_results[this.row]!
    return true
  }

  get dkimAligned(): boolean {
    return this.pass >= 0 && this.chunk.records.dkim[this.row] === this.pass
  }
  get spfAligned(): boolean {
    return this.pass >= 0 && this.chunk.records.spf[this.row] === this.pass
  }
  get messages(): number {
    return plausibleCount(this.chunk.records.count[this.row]!)
  }
  /** Row of `observations` of the source, -1 when nothing was observed about it. */
  get observation(): number {
    return this.#observationOf[this.chunk.records.source_ip[this.row]!]!
  }

  /** Forward-confirmed names of a row of observations. */
  confirmedNames(observation: number): readonly string[] {
    const { dict, ptr_name, ptr_confirmed } = this.chunk.observations
    const found: string[] = []
    const end = this.#namesFrom[observation + 1]!
    for (let i = this.#namesFrom[observation]!; i < end; i++) if (ptr_confirmed[i]) found.push(dict[ptr_name[i]!]!)
    return found
  }

  /** Index in the dictionary of observations of the first forward-confirmed name, 0 when there is none. */
  #firstConfirmed(): number {
    const row = this.observation
    if (row < 0) return 0
    const { ptr_name, ptr_confirmed } = this.chunk.observations
    const end = this.#namesFrom[row + 1]!
    for (let i = this.#namesFrom[row]!; i < end; i++) if (ptr_confirmed[i]) return ptr_name[i]!
    return 0
  }

  #isArcComment(entry: number): boolean {
    if (entry === 0) return false
    if (this.#isArc[entry] === 0) this.#isArc[entry] = ARC_PASS.test(this.chunk.records.dict[entry]!) ? 1 : 2
    return this.#isArc[entry] === 1
  }

  /** What a condition reads under the name. Numbers of type int are BigInt. */
  valueOf(name: RuleName): unknown {
    const { chunk, row } = this
    const { records } = chunk
    const text = (entry: number) => records.dict[entry]!
    switch (name) {
      case 'source_ip':
      case 'header_from':
      case 'envelope_from':
      case 'envelope_to':
      case 'disposition':
      case 'dkim':
      case 'spf':
        return text(records[name][row]!)
      case 'policy_domain':
      case 'org':
      case 'day':
        return chunk[name]
      case 'p':
      case 'sp':
      case 'np':
        return chunk[name] ?? ''
      case 'org_domain':
        this.#orgDomain ??= organisationalDomain(chunk.policy_domain)
        return this.#orgDomain
      case 'count':
        return BigInt(this.messages)
      case 'passed':
        return this.dkimAligned || this.spfAligned
      case 'dkim_aligned':
        return this.dkimAligned
      case 'spf_aligned':
        return this.spfAligned
      case 'overrides':
        return this.#overrides()
      case 'dkim_results':
        return range(this.dkimFrom, this.dkimEnd, (i) => {
          const { dkim_domain, dkim_selector, dkim_result } = records
          return new DkimResultView(text(dkim_domain[i]!), text(dkim_selector[i]!), text(dkim_result[i]!))
        })
      case 'spf_results':
        return range(this.spfFrom, this.spfEnd, (i) => {
          const { spf_domain, spf_scope, spf_result } = records
          return new SpfResultView(text(spf_domain[i]!), text(spf_scope[i]!), text(spf_result[i]!))
        })
      case 'dkim_pass_domains':
        return this.#passDomains(records.dkim_domain, records.dkim_result, this.dkimFrom, this.dkimEnd)
      case 'spf_pass_domains':
        return this.#passDomains(records.spf_domain, records.spf_result, this.spfFrom, this.spfEnd)
      case 'sender':
        return this.sender.id
      case 'sender_class':
        return this.sender.class
      case 'own':
        return this.own
      default:
        return this.#observed(name)
    }
  }

  #observed(name: 'ptr' | 'ptr_names' | 'asn' | 'as_name' | 'country' | 'observed'): unknown {
    const { observations } = this.chunk
    const row = this.observation
    switch (name) {
      case 'ptr':
        return observations.dict[this.#firstConfirmed()] ?? ''
      case 'ptr_names':
        return row < 0
          ? []
          : range(
              this.#namesFrom[row]!,
              this.#namesFrom[row + 1]!,
              (i) => observations.dict[observations.ptr_name[i]!]!,
            )
      case 'asn':
        return row < 0 ? 0n : BigInt(observations.asn[row]!)
      case 'as_name':
      case 'country':
        return row < 0 ? '' : observations.dict[observations[name][row]!]!
      case 'observed':
        return row >= 0 && observations.observed[row]!
    }
  }

  #overrides(): readonly string[] {
    const { dict, reason_type, reason_comment } = this.chunk.records
    const found: string[] = []
    let isArc = false
    for (let i = this.#reasonFrom; i < this.#reasonEnd; i++) {
      if (reason_type[i] !== 0) found.push(dict[reason_type[i]!]!)
      isArc ||= this.#isArcComment(reason_comment[i]!)
    }
    if (isArc) found.push('arc')
    return found
  }

  #passDomains(domains: readonly number[], results: readonly number[], from: number, end: number): readonly string[] {
    const { dict } = this.chunk.records
    const found: string[] = []
    for (let i = from; i < end; i++) if (results[i] === this.pass && domains[i] !== 0) found.push(dict[domains[i]!]!)
    return found
  }

  /**
   * The number of all that these parts say: records of the chunk with the same number give the same values.
   * What is the same for all records of a chunk does not come in. A member of results stands after their list.
   */
  tupleOf(parts: readonly TuplePart[], tuples: Tuples): number {
    let tuple = 0
    for (const part of parts) tuple = this.#stepOf(part, tuple, tuples)
    return tuple
  }

  #stepOf(part: TuplePart, tuple: number, tuples: Tuples): number {
    const { records, observations } = this.chunk
    switch (part) {
      case 'source_ip':
      case 'header_from':
      case 'envelope_from':
      case 'envelope_to':
      case 'disposition':
      case 'dkim':
      case 'spf':
        return tuples.step(tuple, records[part][this.row]!)
      case 'count':
        return tuples.step(tuple, this.messages)
      case 'passed':
      case 'dkim_aligned':
      case 'spf_aligned':
        return tuples.step(tuple, (this.dkimAligned ? 1 : 0) + (this.spfAligned ? 2 : 0))
      case 'overrides': {
        let next = tuples.step(tuple, this.#reasonEnd - this.#reasonFrom)
        for (let i = this.#reasonFrom; i < this.#reasonEnd; i++) {
          next = tuples.step(
            next,
            records.reason_type[i]! * 2 + (this.#isArcComment(records.reason_comment[i]!) ? 1 : 0),
          )
        }
        return next
      }
      case 'dkim_results': {
        let next = tuples.step(tuple, this.dkimEnd - this.dkimFrom)
        for (let i = this.dkimFrom; i < this.dkimEnd; i++) {
          next = tuples.step(next, records.dkim_domain[i]!)
          next = tuples.step(next, records.dkim_result[i]!)
        }
        return next
      }
      case 'spf_results': {
        let next = tuples.step(tuple, this.spfEnd - this.spfFrom)
        for (let i = this.spfFrom; i < this.spfEnd; i++) {
          next = tuples.step(next, records.spf_domain[i]!)
          next = tuples.step(next, records.spf_result[i]!)
        }
        return next
      }
      case 'dkim_results.selector':
        return stepAll(tuple, tuples, records.dkim_selector, this.dkimFrom, this.dkimEnd)
      case 'spf_results.scope':
        return stepAll(tuple, tuples, records.spf_scope, this.spfFrom, this.spfEnd)
      case 'dkim_pass_domains':
        return this.#stepPasses(tuple, tuples, records.dkim_domain, records.dkim_result, this.dkimFrom, this.dkimEnd)
      case 'spf_pass_domains':
        return this.#stepPasses(tuple, tuples, records.spf_domain, records.spf_result, this.spfFrom, this.spfEnd)
      case 'sender':
      case 'sender_class':
        return tuples.step(tuple, this.sender.number)
      case 'own':
        return tuples.step(tuple, this.own ? 1 : 0)
      case 'ptr':
        return tuples.step(tuple, this.#firstConfirmed())
      case 'ptr_names':
        return tuples.step(tuple, this.observation)
      case 'asn':
        return tuples.step(tuple, this.observation < 0 ? 0 : observations.asn[this.observation]!)
      case 'as_name':
      case 'country':
        return tuples.step(tuple, this.observation < 0 ? 0 : observations[part][this.observation]!)
      case 'observed':
        return tuples.step(tuple, this.observation >= 0 && observations.observed[this.observation] ? 1 : 0)
      case 'policy_domain':
      case 'org_domain':
      case 'org':
      case 'day':
      case 'p':
      case 'sp':
      case 'np':
        return tuple
    }
  }

  #stepPasses(
    tuple: number,
    tuples: Tuples,
    domains: readonly number[],
    results: readonly number[],
    from: number,
    end: number,
  ): number {
    let next = tuple
    for (let i = from; i < end; i++) if (results[i] === this.pass) next = tuples.step(next, domains[i]!)
    return tuples.step(next, -1)
  }
}

/** Values of all entries of a list whose length is in the tuple already. */
function stepAll(tuple: number, tuples: Tuples, values: readonly number[], from: number, end: number): number {
  let next = tuple
  for (let i = from; i < end; i++) next = tuples.step(next, values[i]!)
  return next
}

function range<T>(from: number, end: number, make: (index: number) => T): T[] {
  const made: T[] = []
  for (let i = from; i < end; i++) made.push(make(i))
  return made
}
