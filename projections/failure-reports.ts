/** One row per failure report and delivery of its mail (RFC 6591, RFC 9991). */
import { FailureReportRead } from '../topics/private.ts'
import { array, date, dateTime64, fixedHex, float64, lowCardinality, pushTexts, string, uint32 } from './native.ts'
import { defineProjection } from './projection.ts'
import { dayOfInstant } from './values.ts'

export const failureReports = defineProjection({
  table: 'failure_reports',
  topic: 'private',
  from: FailureReportRead,
  columns: () => ({
    reported_domain: lowCardinality(),
    day: date(),
    failure_id: fixedHex(32),
    received_at: dateTime64(),
    mail_id: fixedHex(32),
    part: string(),
    failure_index: uint32(),
    feedback_type: lowCardinality(),
    auth_failure: array(lowCardinality()),
    source_ip: string(),
    original_mail_from: string(),
    original_rcpt_to: string(),
    arrival: string(),
    delivery_result: lowCardinality(),
    identity_alignment: lowCardinality(),
    user_agent: lowCardinality(),
    incidents: float64(),
    dkim_domain: lowCardinality(),
    dkim_selector: lowCardinality(),
    spf_dns: string(),
    subject: string(),
    message_id: string(),
    from: string(),
    warning_code: array(lowCardinality()),
    warning_detail: array(string()),
    parser_version: lowCardinality(),
    authentication: lowCardinality(),
    authentication_reason: lowCardinality(),
    authentication_domain: lowCardinality(),
  }),
  append(report, columns) {
    columns.reported_domain.push(report.reported_domain ?? '')
    columns.day.push(dayOfInstant(report.received_at))
    columns.failure_id.pushHex(report.id)
    columns.received_at.push(report.received_at)
    columns.mail_id.pushHex(report.mail_id)
    columns.part.push(report.part)
    columns.failure_index.push(report.index)
    columns.feedback_type.push(report.feedback_type ?? '')
    pushTexts(columns.auth_failure, report.auth_failure)
    columns.source_ip.push(report.source_ip ?? '')
    columns.original_mail_from.push(report.original_mail_from ?? '')
    columns.original_rcpt_to.push(report.original_rcpt_to ?? '')
    columns.arrival.push(report.arrival ?? '')
    columns.delivery_result.push(report.delivery_result ?? '')
    columns.identity_alignment.push(report.identity_alignment ?? '')
    columns.user_agent.push(report.user_agent ?? '')
    columns.incidents.push(report.incidents)
    columns.dkim_domain.push(report.dkim_domain ?? '')
    columns.dkim_selector.push(report.dkim_selector ?? '')
    columns.spf_dns.push(report.spf_dns ?? '')
    columns.subject.push(report.subject ?? '')
    columns.message_id.push(report.message_id ?? '')
    columns.from.push(report.from ?? '')
    pushTexts(
      columns.warning_code,
      report.warnings.map(({ code }) => code),
    )
    pushTexts(
      columns.warning_detail,
      report.warnings.map(({ detail }) => detail),
    )
    columns.parser_version.push(report.parser_version)
    columns.authentication.push(report.authenticated)
    columns.authentication_reason.push(report.authentication_reason)
    columns.authentication_domain.push(report.authenticated_domain ?? '')
  },
})
