/** One row per failure detail and variant of a TLS report. Never summed into session totals: details may overlap. */
import { TlsPoliciesRead } from '../topics/reports.ts'
import { date, fixedHex, lowCardinality, nullableFloat64, string, uint32 } from './native.ts'
import { defineProjection } from './projection.ts'
import { dayNumber } from './values.ts'

export const tlsFailures = defineProjection({
  table: 'tls_failures',
  topic: 'enriched',
  from: TlsPoliciesRead,
  columns: () => ({
    policy_domain: lowCardinality(),
    day: date(),
    report_key: fixedHex(32),
    variant: fixedHex(16),
    policy_index: uint32(),
    detail_index: uint32(),
    org: lowCardinality(),
    result_type: lowCardinality(),
    sending_mta_ip: string(),
    receiving_mx_hostname: lowCardinality(),
    receiving_mx_helo: lowCardinality(),
    receiving_ip: string(),
    count: nullableFloat64(),
    additional_information: string(),
    reason_code: string(),
  }),
  append(chunk, columns) {
    const day = dayNumber(chunk.day)
    for (const detail of chunk.details) {
      columns.policy_domain.push(detail.domain)
      columns.day.push(day)
      columns.report_key.pushHex(chunk.report_key)
      columns.variant.pushHex(chunk.variant)
      columns.policy_index.push(detail.policy_index)
      columns.detail_index.push(detail.detail_index)
      columns.org.push(chunk.org)
      columns.result_type.push(detail.result_type ?? '')
      columns.sending_mta_ip.push(detail.sending_mta_ip ?? '')
      columns.receiving_mx_hostname.push(detail.receiving_mx_hostname ?? '')
      columns.receiving_mx_helo.push(detail.receiving_mx_helo ?? '')
      columns.receiving_ip.push(detail.receiving_ip ?? '')
      columns.count.push(detail.count)
      columns.additional_information.push(detail.additional_information ?? '')
      columns.reason_code.push(detail.reason_code ?? '')
    }
  },
})
