/** One row per delivery of a TLS report, from its closing event: with it the report's policies begin to count. */
import { TlsReportRead } from '../topics/reports.ts'
import {
  array,
  bool,
  date,
  dateTime64,
  fixedHex,
  int64,
  lowCardinality,
  pushTexts,
  string,
  uint32,
  uint64,
} from './native.ts'
import { defineProjection } from './projection.ts'
import { dayNumber } from './values.ts'

export const tlsReports = defineProjection({
  table: 'tls_reports',
  topic: 'enriched',
  from: TlsReportRead,
  closes: true,
  columns: () => ({
    day: date(),
    report_key: fixedHex(32),
    variant: fixedHex(16),
    received_at: dateTime64(),
    mail_id: fixedHex(32),
    part: string(),
    org: lowCardinality(),
    org_name: lowCardinality(),
    contact: lowCardinality(),
    report_id: string(),
    begin: int64(),
    end: int64(),
    span_days: uint32(),
    implausible_period: bool(),
    domains: array(lowCardinality()),
    policies: uint32(),
    details: uint32(),
    successful: uint64(),
    failed: uint64(),
    warning_code: array(lowCardinality()),
    warning_detail: array(string()),
    parser_version: lowCardinality(),
    authentication: lowCardinality(),
    authentication_reason: lowCardinality(),
    authentication_domain: lowCardinality(),
  }),
  append(report, columns) {
    columns.day.push(dayNumber(report.day))
    columns.report_key.pushHex(report.report_key)
    columns.variant.pushHex(report.variant)
    columns.received_at.push(report.received_at)
    columns.mail_id.pushHex(report.mail_id)
    columns.part.push(report.part)
    columns.org.push(report.org)
    columns.org_name.push(report.org_name ?? '')
    columns.contact.push(report.contact ?? '')
    columns.report_id.push(report.report_id)
    columns.begin.push(report.begin)
    columns.end.push(report.end)
    columns.span_days.push(report.span_days)
    columns.implausible_period.push(Number(report.implausible_period))
    pushTexts(columns.domains, report.domains)
    columns.policies.push(report.policies)
    columns.details.push(report.details)
    columns.successful.push(report.successful)
    columns.failed.push(report.failed)
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
