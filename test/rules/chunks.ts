/** Chunks of enriched records, made of plain facts. */
import type { DmarcRecordsEnriched } from '../../topics/enriched.ts'

export interface Facts {
  readonly source_ip?: string
  readonly count?: number | null
  readonly disposition?: string
  readonly dkim?: string
  readonly spf?: string
  readonly header_from?: string
  readonly envelope_from?: string
  readonly envelope_to?: string
  /** Type and comment. */
  readonly reasons?: readonly (readonly [string, string])[]
  /** Domain, selector and result. */
  readonly dkim_results?: readonly (readonly [string, string, string])[]
  /** Domain, scope and result. */
  readonly spf_results?: readonly (readonly [string, string, string])[]
  /** What was observed about the source; of sources with the same address that of the first. */
  readonly observed?: {
    readonly ptr?: readonly (readonly [name: string, confirmed: boolean])[]
    readonly asn?: number
    readonly as_name?: string
    readonly country?: string
    readonly answered?: boolean
  }
}

export interface ReportFacts {
  readonly policy_domain?: string
  readonly org?: string
  readonly day?: string
  readonly p?: string | null
  readonly sp?: string | null
  readonly np?: string | null
  readonly chunk?: number
  readonly first?: number
}

class Words {
  readonly dict = ['']
  of(word: string): number {
    const index = this.dict.indexOf(word)
    return index >= 0 ? index : this.dict.push(word) - 1
  }
}

export function makeChunk(records: readonly Facts[], report: ReportFacts = {}): DmarcRecordsEnriched {
  const words = new Words()
  const seen = new Words()
  const column = (field: keyof Facts & keyof DmarcRecordsEnriched['records'], fallback: string) =>
    records.map((record) => words.of(String(record[field] ?? fallback)))
  const source_ip = column('source_ip', '198.51.100.7')
  const reasons = records.map((record) => record.reasons ?? [])
  const dkim = records.map((record) => record.dkim_results ?? [])
  const spf = records.map((record) => record.spf_results ?? [])
  const observations: DmarcRecordsEnriched['observations'] = {
    epoch: 1,
    dict: seen.dict,
    address: [],
    observed: [],
    ptr_names: [],
    ptr_name: [],
    ptr_confirmed: [],
    asn: [],
    as_name: [],
    country: [],
  }
  for (const [row, { observed }] of records.entries()) {
    const address = source_ip[row]!
    if (observed === undefined || observations.address.includes(address)) continue
    observations.address.push(address)
    observations.observed.push(observed.answered ?? true)
    observations.ptr_names.push(observed.ptr?.length ?? 0)
    for (const [name, confirmed] of observed.ptr ?? []) {
      observations.ptr_name.push(seen.of(name))
      observations.ptr_confirmed.push(confirmed)
    }
    observations.asn.push(observed.asn ?? 0)
    observations.as_name.push(seen.of(observed.as_name ?? ''))
    observations.country.push(seen.of(observed.country ?? ''))
  }
  return {
    id: '1'.repeat(64),
    mail_id: '2'.repeat(64),
    part: '1',
    received_at: Date.UTC(2026, 9, 2),
    parser_version: '1',
    report_key: '3'.repeat(64),
    variant: '4'.repeat(32),
    policy_domain: report.policy_domain ?? 'example.org',
    org: report.org ?? 'receiver.example',
    day: report.day ?? '2026-10-01',
    implausible_period: false,
    p: report.p ?? null,
    sp: report.sp ?? null,
    np: report.np ?? null,
    chunk: report.chunk ?? 0,
    first: report.first ?? 0,
    records: {
      dict: words.dict,
      source_ip,
      count: records.map(({ count }) => (count === undefined ? 1 : count)),
      disposition: column('disposition', 'none'),
      dkim: column('dkim', 'fail'),
      spf: column('spf', 'fail'),
      header_from: column('header_from', ''),
      envelope_from: column('envelope_from', ''),
      envelope_to: column('envelope_to', ''),
      reasons: reasons.map((list) => list.length),
      reason_type: reasons.flat().map(([type]) => words.of(type)),
      reason_comment: reasons.flat().map(([, comment]) => words.of(comment)),
      dkim_results: dkim.map((list) => list.length),
      dkim_domain: dkim.flat().map(([domain]) => words.of(domain)),
      dkim_selector: dkim.flat().map(([, selector]) => words.of(selector)),
      dkim_result: dkim.flat().map(([, , result]) => words.of(result)),
      dkim_human_result: dkim.flat().map(() => 0),
      spf_results: spf.map((list) => list.length),
      spf_domain: spf.flat().map(([domain]) => words.of(domain)),
      spf_scope: spf.flat().map(([, scope]) => words.of(scope)),
      spf_result: spf.flat().map(([, , result]) => words.of(result)),
    },
    observations,
  }
}
