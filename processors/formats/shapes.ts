/**
 * What the decoders give: the facts of a report in the field's own names. Missing is null, never an empty string and
 * never a default: what a report does not say stays null. These are the objects that `mailtrail parse` prints.
 */
import type { RejectCode, WarningCode } from './codes.ts'

export interface Warning {
  readonly code: WarningCode
  readonly detail: string
}

/** A mail, part or report that cannot be read, and why, in a sentence that a person can act on. */
export interface Reject {
  readonly code: RejectCode
  readonly detail: string
}

export interface DmarcReason {
  readonly type: string | null
  readonly comment: string | null
}
export interface DkimResult {
  readonly domain: string | null
  readonly selector: string | null
  readonly result: string | null
  readonly human_result: string | null
}
export interface SpfResult {
  readonly domain: string | null
  readonly scope: string | null
  readonly result: string | null
}

/** One row of an aggregate report. `count` is as sent (null when it was no number); see `topics/plausible-count.ts`. */
export interface DmarcRecord {
  readonly source_ip: string
  readonly count: number | null
  readonly disposition: string | null
  readonly dkim: string | null
  readonly spf: string | null
  readonly reasons: readonly DmarcReason[]
  readonly header_from: string | null
  readonly envelope_from: string | null
  readonly envelope_to: string | null
  readonly dkim_results: readonly DkimResult[]
  readonly spf_results: readonly SpfResult[]
}

/** Everything of an aggregate report but its records. Times are seconds since 1970 UTC. */
export interface DmarcReport {
  readonly org_name: string | null
  readonly email: string | null
  readonly extra_contact_info: string | null
  readonly report_id: string
  readonly begin: number
  readonly end: number
  readonly version: string | null
  readonly generator: string | null
  readonly errors: readonly string[]
  readonly policy: DmarcPolicy
  readonly records: number
  readonly warnings: readonly Warning[]
}
export interface DmarcPolicy {
  readonly domain: string
  readonly adkim: string | null
  readonly aspf: string | null
  readonly p: string | null
  readonly sp: string | null
  readonly np: string | null
  readonly pct: number | null
  readonly fo: string | null
  readonly testing: string | null
  readonly discovery_method: string | null
}

export interface TlsFailureDetail {
  readonly result_type: string | null
  readonly sending_mta_ip: string | null
  readonly receiving_mx_hostname: string | null
  readonly receiving_mx_helo: string | null
  readonly receiving_ip: string | null
  readonly count: number | null
  readonly additional_information: string | null
  readonly reason_code: string | null
}
export interface TlsPolicy {
  readonly type: string | null
  readonly domain: string
  /** The policy domain is a host that receives mail (it is one of the report's MX hosts), not a mail domain. */
  readonly host_level: boolean
  readonly policy_string: readonly string[]
  readonly mx_host: readonly string[]
  readonly successful: number
  readonly failed: number
  readonly details: readonly TlsFailureDetail[]
}
/** Times are seconds since 1970 UTC. */
export interface TlsReport {
  readonly org_name: string | null
  readonly contact: string | null
  readonly report_id: string
  readonly begin: number
  readonly end: number
  readonly policies: readonly TlsPolicy[]
  readonly warnings: readonly Warning[]
}

/** `arrival` is ISO 8601 UTC with Z. */
export interface FailureReport {
  readonly feedback_type: string | null
  readonly auth_failure: readonly string[]
  readonly source_ip: string | null
  readonly reported_domain: string | null
  readonly original_mail_from: string | null
  readonly original_rcpt_to: string | null
  readonly arrival: string | null
  readonly delivery_result: string | null
  readonly identity_alignment: string | null
  readonly user_agent: string | null
  readonly incidents: number
  readonly dkim_domain: string | null
  readonly dkim_selector: string | null
  readonly spf_dns: string | null
  readonly subject: string | null
  readonly message_id: string | null
  readonly from: string | null
  readonly warnings: readonly Warning[]
}

/** `date` is ISO 8601 UTC with Z, `size` bytes. */
export interface MailFields {
  readonly from: string | null
  readonly to: string | null
  readonly subject: string | null
  readonly date: string | null
  readonly message_id: string | null
  readonly size: number
}
