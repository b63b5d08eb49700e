/**
 * Topic `reports`: what aggregate and TLS reports say, key = report key. A report travels as chunks followed, on the
 * same key, by one closing event; it counts when the closing event is there.
 */
import { authenticationFields } from './authentication.ts'
import { type AvroField, defineEvent, type EventData } from './avro.ts'
import { causeFields, warningSchema } from './cause.ts'

export const REPORTS = 'reports'

const text = ['null', 'string'] as const
const ints = { type: 'array', items: 'int' } as const

/** Identity and standing of the report that a chunk belongs to: enough to judge a record without the closing event. */
export const dmarcReportRef = [
  { name: 'report_key', type: 'string', doc: 'SHA-256 of the identity, hex: the report id of the API' },
  { name: 'variant', type: 'string', doc: 'First 32 hex digits of the SHA-256 over the parsed facts' },
  { name: 'policy_domain', type: 'string', doc: 'lower case, A-labels, no trailing dot' },
  { name: 'org', type: 'string', doc: 'submitter: org_name in lower case, else the domain of its address' },
  { name: 'day', type: 'string', doc: 'YYYY-MM-DD, UTC day of the middle of the period' },
  { name: 'implausible_period', type: 'boolean' },
] as const

/**
 * Up to 500 records as columns of indexes into `dict` (0 = not said). Nested lists are flattened: `*_count` says how
 * many of the following entries belong to each record. `count` is as sent, null when it was not a number.
 */
export const dmarcRecordsFields = [
  ...causeFields,
  ...dmarcReportRef,
  { name: 'p', type: text },
  { name: 'sp', type: text },
  { name: 'np', type: text },
  { name: 'chunk', type: 'int', doc: 'from 0' },
  { name: 'first', type: 'int', doc: 'index in the report of the first record, from 0' },
  {
    name: 'records',
    type: {
      type: 'record',
      name: 'DmarcRecordColumns',
      fields: [
        { name: 'dict', type: { type: 'array', items: 'string' }, doc: 'entry 0 is empty and stands for "not said"' },
        { name: 'source_ip', type: ints },
        { name: 'count', type: { type: 'array', items: ['null', 'double'] } },
        { name: 'disposition', type: ints },
        { name: 'dkim', type: ints },
        { name: 'spf', type: ints },
        { name: 'header_from', type: ints },
        { name: 'envelope_from', type: ints },
        { name: 'envelope_to', type: ints },
        { name: 'reasons', type: ints, doc: 'number of reasons of each record' },
        { name: 'reason_type', type: ints },
        { name: 'reason_comment', type: ints },
        { name: 'dkim_results', type: ints, doc: 'number of DKIM results of each record' },
        { name: 'dkim_domain', type: ints },
        { name: 'dkim_selector', type: ints },
        { name: 'dkim_result', type: ints },
        { name: 'dkim_human_result', type: ints },
        { name: 'spf_results', type: ints, doc: 'number of SPF results of each record' },
        { name: 'spf_domain', type: ints },
        { name: 'spf_scope', type: ints },
        { name: 'spf_result', type: ints },
      ],
    },
  },
] as const satisfies readonly AvroField[]

export const DmarcRecordsRead = defineEvent(REPORTS, {
  type: 'record',
  name: 'DmarcRecordsRead',
  doc: 'A chunk of the records of one DMARC aggregate report',
  fields: dmarcRecordsFields,
})
export type DmarcRecordsRead = EventData<typeof DmarcRecordsRead>

/** Closes an aggregate report: what it says of itself, and what its chunks must add up to. */
export const DmarcReportRead = defineEvent(REPORTS, {
  type: 'record',
  name: 'DmarcReportRead',
  doc: 'One DMARC aggregate report, read to its end',
  fields: [
    ...causeFields,
    ...dmarcReportRef,
    { name: 'org_name', type: text },
    { name: 'email', type: text },
    { name: 'extra_contact_info', type: text },
    { name: 'report_id', type: 'string' },
    { name: 'begin', type: 'long', doc: 'seconds since 1970 UTC' },
    { name: 'end', type: 'long', doc: 'seconds since 1970 UTC' },
    { name: 'span_days', type: 'int', doc: 'length of the period in days, rounded up, at least 1' },
    { name: 'version', type: text },
    { name: 'generator', type: text },
    { name: 'errors', type: { type: 'array', items: 'string' } },
    { name: 'adkim', type: text },
    { name: 'aspf', type: text },
    { name: 'p', type: text },
    { name: 'sp', type: text },
    { name: 'np', type: text },
    { name: 'pct', type: ['null', 'int'] },
    { name: 'fo', type: text },
    { name: 'testing', type: text },
    { name: 'discovery_method', type: text },
    { name: 'chunks', type: 'int' },
    { name: 'records', type: 'int' },
    {
      name: 'totals',
      doc: 'Messages (sums of plausible counts)',
      type: {
        type: 'record',
        name: 'DmarcTotals',
        fields: [
          { name: 'messages', type: 'long' },
          { name: 'passed', type: 'long' },
          { name: 'full_pass', type: 'long' },
          { name: 'dkim_only', type: 'long' },
          { name: 'spf_only', type: 'long' },
          { name: 'failed', type: 'long' },
          { name: 'none', type: 'long' },
          { name: 'quarantine', type: 'long' },
          { name: 'reject', type: 'long' },
        ],
      },
    },
    { name: 'warnings', type: warningSchema },
    ...authenticationFields,
  ],
})
export type DmarcReportRead = EventData<typeof DmarcReportRead>

/** Identity of the TLS report that a chunk belongs to. */
const tlsReportRef = [
  { name: 'report_key', type: 'string' },
  { name: 'variant', type: 'string' },
  { name: 'org', type: 'string', doc: 'organization-name in lower case' },
  { name: 'day', type: 'string', doc: 'YYYY-MM-DD, UTC day of the middle of the period' },
  { name: 'implausible_period', type: 'boolean' },
] as const

/** Some policies of a TLS report with some of their failure details. A policy's details may go on in later chunks. */
export const TlsPoliciesRead = defineEvent(REPORTS, {
  type: 'record',
  name: 'TlsPoliciesRead',
  doc: 'A chunk of the policies and failure details of one TLS report (RFC 8460)',
  fields: [
    ...causeFields,
    ...tlsReportRef,
    { name: 'chunk', type: 'int' },
    {
      name: 'policies',
      type: {
        type: 'array',
        items: {
          type: 'record',
          name: 'TlsPolicy',
          fields: [
            { name: 'policy_index', type: 'int' },
            { name: 'type', type: text },
            { name: 'domain', type: 'string', doc: 'policy domain, lower case' },
            {
              name: 'host_level',
              type: 'boolean',
              doc: 'the policy domain is a host that receives mail (an MX), not a mail domain',
            },
            { name: 'policy_string', type: { type: 'array', items: 'string' } },
            { name: 'mx_host', type: { type: 'array', items: 'string' } },
            { name: 'successful', type: 'long' },
            { name: 'failed', type: 'long' },
          ],
        },
      },
    },
    {
      name: 'details',
      type: {
        type: 'array',
        items: {
          type: 'record',
          name: 'TlsFailureDetail',
          fields: [
            { name: 'policy_index', type: 'int' },
            { name: 'detail_index', type: 'int' },
            { name: 'domain', type: 'string', doc: 'policy domain of its policy' },
            { name: 'result_type', type: text },
            { name: 'sending_mta_ip', type: text },
            { name: 'receiving_mx_hostname', type: text },
            { name: 'receiving_mx_helo', type: text },
            { name: 'receiving_ip', type: text },
            { name: 'count', type: ['null', 'double'] },
            { name: 'additional_information', type: text },
            { name: 'reason_code', type: text },
          ],
        },
      },
    },
  ],
})
export type TlsPoliciesRead = EventData<typeof TlsPoliciesRead>

/** Closes a TLS report. */
export const TlsReportRead = defineEvent(REPORTS, {
  type: 'record',
  name: 'TlsReportRead',
  doc: 'One TLS report (RFC 8460), read to its end',
  fields: [
    ...causeFields,
    ...tlsReportRef,
    { name: 'org_name', type: text },
    { name: 'contact', type: text },
    { name: 'report_id', type: 'string' },
    { name: 'begin', type: 'long', doc: 'seconds since 1970 UTC' },
    { name: 'end', type: 'long', doc: 'seconds since 1970 UTC' },
    { name: 'span_days', type: 'int' },
    { name: 'domains', type: { type: 'array', items: 'string' }, doc: 'policy domains, sorted, each once' },
    { name: 'chunks', type: 'int' },
    { name: 'policies', type: 'int' },
    { name: 'details', type: 'int' },
    { name: 'successful', type: 'long' },
    { name: 'failed', type: 'long' },
    { name: 'warnings', type: warningSchema },
    ...authenticationFields,
  ],
})
export type TlsReportRead = EventData<typeof TlsReportRead>
