/** Who a report is from and about, which day it belongs to: the derived facts that identify and place it. */
import { hashOf } from '../topics/cause.ts'
import type { DmarcReport, TlsReport } from './formats/shapes.ts'

const DAY = 86_400
/** A day so much older than its mail, or so much newer, is flagged and kept out of the monthly partitions. */
const MAX_AGE_DAYS = 400
const MAX_AHEAD_DAYS = 2

/** The submitter in the identity: `org_name` in lower case, else the domain of the address (semantics: Identity). */
export function submitter(orgName: string | null, email: string | null): string {
  if (orgName !== null) return orgName.toLowerCase()
  const at = email === null ? -1 : email.lastIndexOf('@')
  return at < 0 ? '' : email!.slice(at + 1).toLowerCase()
}

export interface Period {
  /** UTC day of the middle of the period, YYYY-MM-DD. */
  readonly day: string
  /** Length in days, rounded up, at least 1. A period of 24 hours, its last second included or not, is one day. */
  readonly span_days: number
  readonly implausible_period: boolean
}

/** Times in seconds, `receivedAt` in milliseconds. */
export function placePeriod(begin: number, end: number, receivedAt: number): Period {
  const middle = begin + (end - begin) / 2
  const day = new Date(middle * 1000).toISOString().slice(0, 10)
  const ahead = (Date.parse(day) - Date.parse(new Date(receivedAt).toISOString().slice(0, 10))) / (DAY * 1000)
  return {
    day,
    span_days: Math.max(1, Math.ceil((end - begin) / DAY)),
    implausible_period: ahead < -MAX_AGE_DAYS || ahead > MAX_AHEAD_DAYS,
  }
}

/** The key of an aggregate report: it counts once, in however many mails, files or containers it arrives. */
export function dmarcReportKey(org: string, report: DmarcReport): string {
  return hashOf('dmarc', org, report.report_id, report.policy.domain, String(report.begin), String(report.end))
}

/** Policy domains of a TLS report, sorted, each once. */
export function tlsDomains(report: TlsReport): string[] {
  return [...new Set(report.policies.map((policy) => policy.domain))].sort()
}

export function tlsReportKey(org: string, report: TlsReport): string {
  return hashOf('tls', org, report.report_id, String(report.begin), String(report.end), ...tlsDomains(report))
}
