/** One row per policy and variant of a TLS report; its session counts are the truth for totals (RFC 8460 §4.4). */
import { TlsPoliciesRead } from '../topics/reports.ts'
import { array, bool, date, fixedHex, lowCardinality, pushTexts, string, uint32, uint64 } from './native.ts'
import { defineProjection } from './projection.ts'
import { dayNumber } from './values.ts'

export const tlsPolicies = defineProjection({
  table: 'tls_policies',
  topic: 'enriched',
  from: TlsPoliciesRead,
  columns: () => ({
    policy_domain: lowCardinality(),
    day: date(),
    report_key: fixedHex(32),
    variant: fixedHex(16),
    policy_index: uint32(),
    org: lowCardinality(),
    type: lowCardinality(),
    host_level: bool(),
    policy_string: array(string()),
    mx_host: array(lowCardinality()),
    successful: uint64(),
    failed: uint64(),
  }),
  append(chunk, columns) {
    const day = dayNumber(chunk.day)
    for (const policy of chunk.policies) {
      columns.policy_domain.push(policy.domain)
      columns.day.push(day)
      columns.report_key.pushHex(chunk.report_key)
      columns.variant.pushHex(chunk.variant)
      columns.policy_index.push(policy.policy_index)
      columns.org.push(chunk.org)
      columns.type.push(policy.type ?? '')
      columns.host_level.push(Number(policy.host_level))
      pushTexts(columns.policy_string, policy.policy_string)
      pushTexts(columns.mx_host, policy.mx_host)
      columns.successful.push(policy.successful)
      columns.failed.push(policy.failed)
    }
  },
})
