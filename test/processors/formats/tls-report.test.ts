import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { defaultLimits } from '../../../processors/formats/limits.ts'
import { readTlsReport } from '../../../processors/formats/tls-report.ts'
import { codesOf, corpus, hasCorpus, rejectOf } from './reading.ts'

type Json = Record<string, unknown>

const policy = (changes: Json = {}): Json => ({
  policy: {
    'policy-type': 'sts',
    'policy-domain': 'example.com',
    'policy-string': ['version: STSv1', 'mode: enforce'],
    'mx-host': ['*.mx.example.com'],
    ...changes,
  },
  summary: { 'total-successful-session-count': 10, 'total-failure-session-count': 2 },
})
const report = (changes: Json = {}): Json => ({
  'organization-name': 'Reporter Inc.',
  'date-range': { 'start-datetime': '2024-01-09T00:00:00Z', 'end-datetime': '2024-01-09T23:59:59Z' },
  'contact-info': 'tls@reporter.example',
  'report-id': 'r-1',
  policies: [policy()],
  ...changes,
})
const read = (json: Json | string | Uint8Array, reportDomain: string | null = null) =>
  readTlsReport(
    json instanceof Uint8Array ? json : Buffer.from(typeof json === 'string' ? json : JSON.stringify(json)),
    { reportDomain },
    defaultLimits,
  )

test('a plain report gives every field and no warning', () => {
  const detail = {
    'result-type': 'certificate-expired',
    'sending-mta-ip': '2001:0DB8::1',
    'receiving-mx-hostname': 'MX1.Example.com.',
    'receiving-mx-helo': 'mx1',
    'receiving-ip': '::ffff:192.0.2.1',
    'failed-session-count': 2,
    'additional-information': 'https://x.example/?a=b',
    'failure-reason-code': 'X509_V_ERR',
  }
  expect(read(report({ policies: [{ ...policy(), 'failure-details': [detail] }] }))).toEqual({
    org_name: 'Reporter Inc.',
    contact: 'tls@reporter.example',
    report_id: 'r-1',
    begin: 1704758400,
    end: 1704844799,
    policies: [
      {
        type: 'sts',
        domain: 'example.com',
        host_level: false,
        policy_string: ['version: STSv1', 'mode: enforce'],
        mx_host: ['*.mx.example.com'],
        successful: 10,
        failed: 2,
        details: [
          {
            result_type: 'certificate-expired',
            sending_mta_ip: '2001:db8::1',
            receiving_mx_hostname: 'mx1.example.com',
            receiving_mx_helo: 'mx1',
            receiving_ip: '192.0.2.1',
            count: 2,
            additional_information: 'https://x.example/?a=b',
            reason_code: 'X509_V_ERR',
          },
        ],
      },
    ],
    warnings: [],
  })
})

describe.skipIf(!hasCorpus)('samples', () => {
  const sample = (name: string) => read(readFileSync(join(corpus, 'parsedmarc/smtp_tls', name)))
  test('the example of RFC 8460 keeps its additional information and its single MX host', () => {
    const { policies, warnings } = sample('rfc8460.json')
    expect(policies[0]!.mx_host).toEqual(['*.mail.company-y.example'])
    expect(policies[0]!.details.map(({ additional_information }) => additional_information)).toEqual([
      null,
      'https://reports.company-x.example/report_info?id=5065427c-23d3#StarttlsNotSupported',
      null,
    ])
    expect(codesOf(warnings)).toEqual(['policy_string_form'])
  })
  test('details that add up to more than the summary change no total', () => {
    expect(sample('mail.ru.json').policies[0]).toMatchObject({ successful: 0, failed: 1 })
  })
})

describe('encodings', () => {
  test.each([
    ['a byte order mark', Buffer.from(`\ufeff${JSON.stringify(report())}`), ['bom_removed']],
    ['UTF-16', Buffer.from(`\ufeff${JSON.stringify(report())}`, 'utf16le'), ['encoding_not_utf8']],
    ['padding', Buffer.from(`${JSON.stringify(report())}\r\n\0\0\x1a`), []],
    [
      'bytes that are no UTF-8',
      Buffer.from(JSON.stringify(report()).replace('Inc.', 'Inc.\xff'), 'latin1'),
      ['bytes_invalid'],
    ],
  ])('%s', (_what, bytes, codes) => {
    const { org_name, warnings } = read(bytes)
    expect([org_name, codesOf(warnings)]).toEqual(['Reporter Inc.', codes])
  })
})

describe('dates', () => {
  const starting = (start: unknown) =>
    read(report({ 'date-range': { 'start-datetime': start, 'end-datetime': '2024-01-10T00:00:00Z' } }))
  test.each([
    ['2024-01-09T00:00:00Z', []],
    ['2024-01-09T01:00:00+01:00', []],
    ['2024-01-09T00:00:00.000Z', []],
    ['2024-01-09T00:00:00', ['date_format']],
    ['2024-01-09', ['date_format']],
    [1704758400, ['date_format']],
  ])('%s is read', (start, codes) => {
    const { begin, warnings } = starting(start)
    expect([begin, codesOf(warnings)]).toEqual([1704758400, codes])
  })
  test.each(['yesterday', '1969-12-31T23:59:59Z', '2107-01-01T00:00:00Z', '2024-13-01T00:00:00Z', {}])(
    '%s is not',
    (start) => {
      expect(rejectOf(() => starting(start))).toBe('period_unreadable')
    },
  )
  test('a reversed period is swapped', () => {
    const { begin, end, warnings } = starting('2024-01-11T00:00:00Z')
    expect([begin < end, codesOf(warnings)]).toEqual([true, ['period_reversed']])
  })
})

describe('strings and hosts', () => {
  test.each<[unknown, string[], string[]]>([
    [undefined, [], []],
    [null, [], []],
    [[], [], []],
    ['', [], []],
    [['3 1 1 aa', ' 3 1 1 bb '], ['3 1 1 aa', '3 1 1 bb'], []],
    ['3 1 1 aa; 3 1 1 bb', ['3 1 1 aa', '3 1 1 bb'], ['policy_string_form']],
    ['3 1 1 aa\r\n3 1 1 bb', ['3 1 1 aa', '3 1 1 bb'], ['policy_string_form']],
    ['["3 1 1 aa","3 1 1 bb"]', ['3 1 1 aa', '3 1 1 bb'], ['policy_string_form']],
    [['["3 1 1 aa","3 1 1 bb"]'], ['3 1 1 aa', '3 1 1 bb'], ['policy_string_form']],
    [['a', 5, {}, null], ['a', '5'], ['policy_string_form']],
    ['[not json', ['[not json'], ['policy_string_form']],
  ])('policy-string %j', (value, strings, codes) => {
    const { policies, warnings } = read(
      report({ policies: [policy({ 'policy-type': 'tlsa', 'policy-string': value })] }),
    )
    expect([policies[0]!.policy_string, codesOf(warnings)]).toEqual([strings, codes])
  })

  test('an MX host loses its label, its case and its last dot', () => {
    const { policies } = read(report({ policies: [policy({ 'mx-host': ['mx: MX1.example.com.', 'mx:*.b.example'] })] }))
    expect(policies[0]!.mx_host).toEqual(['mx1.example.com', '*.b.example'])
  })

  test('an address that is none is kept with a warning', () => {
    const { policies, warnings } = read(
      report({
        policies: [{ ...policy(), 'failure-details': [{ 'receiving-ip': 'unknown', 'failed-session-count': 1 }] }],
      }),
    )
    expect([policies[0]!.details[0]!.receiving_ip, codesOf(warnings)]).toEqual(['unknown', ['address_invalid']])
  })

  test('a DANE policy about a host is told apart from that of the mail domain', () => {
    const tlsa = (domain: string) => policy({ 'policy-type': 'tlsa', 'policy-domain': domain, 'mx-host': undefined })
    const sts = policy({ 'mx-host': ['mx.example.com', '*.pool.example.com', 'example.com'] })
    const { policies } = read(
      report({ policies: [sts, tlsa('mx.example.com'), tlsa('a.pool.example.com'), tlsa('other.example.com')] }),
    )
    expect(policies.map(({ host_level }) => host_level)).toEqual([false, true, true, false])
  })
})

describe('session counts', () => {
  const summary = (value: unknown) =>
    read(
      report({
        policies: [
          { ...policy(), summary: { 'total-successful-session-count': value, 'total-failure-session-count': 1 } },
        ],
      }),
    )
  test.each<[unknown, number, string[]]>([
    [0, 0, []],
    [1e9, 1e9, []],
    ['12', 12, ['number_repaired']],
    [2.5, 2, ['count_fraction']],
    [-1, 0, ['count_implausible']],
    [9e15, 0, ['count_implausible']],
    ['many', 0, ['count_implausible']],
    [true, 0, ['count_implausible']],
    [null, 0, ['summary_missing']],
    [undefined, 0, ['summary_missing']],
  ])('%s counts as %i', (value, successful, codes) => {
    const { policies, warnings } = summary(value)
    expect([policies[0]!.successful, policies[0]!.failed, codesOf(warnings)]).toEqual([successful, 1, codes])
  })

  test('a number beyond all numbers counts as nothing', () => {
    const json = JSON.stringify(report()).replace(
      '"total-successful-session-count":10',
      '"total-successful-session-count":1e999',
    )
    expect(read(json).policies[0]!.successful).toBe(0)
  })

  test('a policy without summary has none', () => {
    const { policies, warnings } = read(report({ policies: [{ policy: { 'policy-domain': 'a.example' } }] }))
    expect(policies[0]).toMatchObject({ type: null, successful: 0, failed: 0, details: [] })
    expect(codesOf(warnings)).toEqual(['summary_missing', 'summary_missing'])
  })
})

describe('what is missing', () => {
  test.each([
    ['tls_report_incomplete', { policies: undefined }],
    ['tls_report_incomplete', { policies: null }],
    ['tls_report_incomplete', { 'report-id': '' }],
    ['tls_report_incomplete', { 'date-range': undefined }],
    ['tls_report_incomplete', { 'date-range': { 'start-datetime': '2024-01-09T00:00:00Z' } }],
    ['tls_report_incomplete', { policies: [policy({ 'policy-domain': '' })] }],
    ['not_a_report', { policies: undefined, 'report-id': undefined }],
  ])('%s: without %j', (code, changes) => {
    expect(rejectOf(() => read(report(changes)))).toBe(code)
  })

  test.each(['{"a":1}', '{}', '[]', '"text"', '5', 'null'])('%s is no TLS report', (json) => {
    expect(rejectOf(() => read(json))).toBe('not_a_report')
  })

  test.each(['{"a":', '', '{"a":1}}', "{'a':1}", JSON.stringify(report()).slice(0, -1)])('%s is no JSON', (json) => {
    expect(rejectOf(() => read(json))).toBe('json_malformed')
  })

  test('names and details may be null', () => {
    const { org_name, contact, policies, warnings } = read(
      report({ 'organization-name': '', 'contact-info': null, policies: [{ ...policy(), 'failure-details': null }] }),
    )
    expect([org_name, contact, policies[0]!.details]).toEqual([null, null, []])
    expect(codesOf(warnings)).toEqual(['org_name_missing'])
  })

  test('a policy domain is taken from the mail, or from the only other policy', () => {
    const nameless = policy({ 'policy-domain': undefined })
    const fromMail = read(report({ policies: [nameless] }), 'Mail.example.')
    expect([fromMail.policies[0]!.domain, codesOf(fromMail.warnings)]).toEqual([
      'mail.example',
      ['policy_domain_missing'],
    ])
    const fromOther = read(report({ policies: [nameless, policy()] }))
    expect(fromOther.policies.map(({ domain }) => domain)).toEqual(['example.com', 'example.com'])
  })

  test('an empty list of policies is a report without policies', () => {
    const { policies, warnings } = read(report({ policies: [] }))
    expect([policies, codesOf(warnings)]).toEqual([[], ['tls_policies_empty']])
  })
})

test('the names of the drafts are read', () => {
  const { policies, warnings } = read({
    'organization-name': 'Old',
    'date-range': { 'start-datetime': '2016-04-01T00:00:00Z', 'end-datetime': '2016-04-01T23:59:59Z' },
    'report-id': 'x',
    policy: {
      policy: { 'policy-type': 'sts', 'policy-domain': 'example.com', 'mx-host-pattern': ['*.example.com'] },
      summary: { 'success-aggregate': 5, 'failure-aggregate': 3 },
      'failure-details': [{ 'result-type': 'certificate-expired', 'session-count': 3 }],
    },
  })
  expect(policies[0]).toMatchObject({ mx_host: ['*.example.com'], successful: 5, failed: 3, details: [{ count: 3 }] })
  expect(new Set(codesOf(warnings))).toEqual(new Set(['tls_draft_names']))
})
