/** One row per delivery of an aggregate report, from its closing event: with it the report's records begin to count. */
import { DmarcReportRead } from '../topics/reports.ts'
import {
  array,
  bool,
  date,
  dateTime64,
  fixedHex,
  int64,
  lowCardinality,
  nullableInt32,
  pushTexts,
  string,
  uint32,
  uint64,
} from './native.ts'
import { defineProjection } from './projection.ts'
import { dayNumber } from './values.ts'

export const dmarcReports = defineProjection({
  table: 'dmarc_reports',
  topic: 'enriched',
  from: DmarcReportRead,
  closes: true,
  columns: () => ({
    policy_domain: lowCardinality(),
    day: date(),
    report_key: fixedHex(32),
    variant: fixedHex(16),
    received_at: dateTime64(),
    mail_id: fixedHex(32),
    part: string(),
    org: lowCardinality(),
    org_name: lowCardinality(),
    email: lowCardinality(),
    extra_contact_info: lowCardinality(),
    report_id: string(),
    begin: int64(),
    end: int64(),
    span_days: uint32(),
    implausible_period: bool(),
    version: lowCardinality(),
    generator: lowCardinality(),
    errors: array(string()),
    adkim: lowCardinality(),
    aspf: lowCardinality(),
    p: lowCardinality(),
    sp: lowCardinality(),
    np: lowCardinality(),
    pct: nullableInt32(),
    fo: lowCardinality(),
    testing: lowCardinality(),
    discovery_method: lowCardinality(),
    records: uint32(),
    messages: uint64(),
    passed: uint64(),
    full_pass: uint64(),
    dkim_only: uint64(),
    spf_only: uint64(),
    failed: uint64(),
    none: uint64(),
    quarantine: uint64(),
    reject: uint64(),
    warning_code: array(lowCardinality()),
    warning_detail: array(string()),
    parser_version: lowCardinality(),
    authentication: lowCardinality(),
    authentication_reason: lowCardinality(),
    authentication_domain: lowCardinality(),
  }),
  append(report, columns) {
    columns.policy_domain.push(report.policy_domain)
    columns.day.push(dayNumber(report.day))
    columns.report_key.pushHex(report.report_key)
    columns.variant.pushHex(report.variant)
    columns.received_at.push(report.received_at)
    columns.mail_id.pushHex(report.mail_id)
    columns.part.push(report.part)
    columns.org.push(report.org)
    columns.org_name.push(report.org_name ?? '')
    columns.email.push(report.email ?? '')
    columns.extra_contact_info.push(report.extra_contact_info ?? '')
    columns.report_id.push(report.report_id)
    columns.begin.push(report.begin)
    columns.end.push(report.end)
    columns.span_days.push(report.span_days)
    columns.implausible_period.push(Number(report.implausible_period))
    columns.version.push(report.version ?? '')
    columns.generator.push(report.generator ?? '')
    pushTexts(columns.errors, report.errors)
    columns.adkim.push(report.adkim ?? '')
    columns.aspf.push(report.aspf ?? '')
    columns.p.push(report.p ?? '')
    columns.sp.push(report.sp ?? '')
    columns.np.push(report.np ?? '')
    columns.pct.push(report.pct)
    columns.fo.push(report.fo ?? '')
    columns.testing.push(report.testing ?? '')
    columns.discovery_method.push(report.discovery_method ?? '')
    columns.records.push(report.records)
    columns.messages.push(report.totals.messages)
    columns.passed.push(report.totals.passed)
    columns.full_pass.push(report.totals.full_pass)
    columns.dkim_only.push(report.totals.dkim_only)
    columns.spf_only.push(report.totals.spf_only)
    columns.failed.push(report.totals.failed)
    columns.none.push(report.totals.none)
    columns.quarantine.push(report.totals.quarantine)
    columns.reject.push(report.totals.reject)
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
