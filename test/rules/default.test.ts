import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import type { DmarcRecord } from '../../processors/formats/shapes.ts'
import { columnsType, RecordColumns } from '../../processors/record-columns.ts'
import { compileRules } from '../../rules/compile.ts'
import { DEFAULT_RULES } from '../../rules/default-rules.ts'
import { readRules } from '../../rules/read.ts'
import type { DmarcRecordsEnriched } from '../../topics/enriched.ts'
import { verdictNames } from '../../topics/verdicts.ts'
import { MUST_HAVE_SHARED, SHARED } from '../fixtures.ts'
import { readAggregate } from '../processors/formats/reading.ts'
import { defaultSenders, type Fact, factKinds } from './default-senders.ts'

const POLICY_DOMAIN = 'mail.example.org'

/** The rules as they stand in the file. */
interface Sender {
  readonly id: string
  readonly name: string
  readonly class: string
  readonly ptr?: readonly string[]
  readonly dkim?: readonly string[]
  readonly spf?: readonly string[]
  readonly asn?: readonly string[]
}
const { senders } = parse(DEFAULT_RULES) as { senders: readonly Sender[] }

interface Source {
  readonly record: DmarcRecord
  readonly ptr: { readonly name: string; readonly confirmed: boolean } | null
  readonly asn: number
}

interface Judged {
  readonly sender: string
  readonly verdict: string
  readonly rule: string
}

/** A record that failed DMARC and says nothing else. */
const failed = {
  source_ip: '198.51.100.7',
  count: 3,
  disposition: 'none',
  dkim: 'fail',
  spf: 'fail',
  reasons: [],
  header_from: POLICY_DOMAIN,
  envelope_from: null,
  envelope_to: null,
  dkim_results: [],
  spf_results: [],
} satisfies DmarcRecord

const signed = (domain: string, result: string) => ({ domain, selector: 's1', result, human_result: null })
const checked = (domain: string, result: string) => ({ domain, scope: 'mfrom', result })
const record = (said: Partial<DmarcRecord>): Source => ({ record: { ...failed, ...said }, ptr: null, asn: 0 })

/** The chunk of `enriched` that holds these records, with what was observed about their sources. */
function chunkOf(sources: readonly Source[], policyDomain: string): DmarcRecordsEnriched {
  const columns = new RecordColumns()
  for (const source of sources) columns.add(source.record, null)
  const records = columnsType.fromBuffer(columns.take(createHash('sha256'))) as DmarcRecordsEnriched['records']
  const dict = ['', ...new Set(sources.flatMap(({ ptr }) => (ptr === null ? [] : [ptr.name])))]
  const byAddress = new Map(sources.map((source, i) => [records.source_ip[i]!, source]))
  const seen = [...byAddress.values()]
  const observed = seen.flatMap(({ ptr }) => (ptr === null ? [] : [ptr]))
  return {
    id: '0'.repeat(64),
    mail_id: '1'.repeat(64),
    part: '1',
    received_at: Date.UTC(2026, 0, 2),
    parser_version: 'test',
    report_key: '2'.repeat(64),
    variant: '3'.repeat(32),
    policy_domain: policyDomain,
    org: 'receiver.example',
    day: '2026-01-01',
    implausible_period: false,
    p: 'reject',
    sp: null,
    np: null,
    chunk: 0,
    first: 0,
    records,
    observations: {
      epoch: 1,
      dict,
      address: [...byAddress.keys()],
      observed: seen.map(() => true),
      ptr_names: seen.map(({ ptr }) => (ptr === null ? 0 : 1)),
      ptr_name: observed.map(({ name }) => dict.indexOf(name)),
      ptr_confirmed: observed.map(({ confirmed }) => confirmed),
      asn: seen.map(({ asn }) => asn),
      as_name: seen.map(() => 0),
      country: seen.map(() => 0),
    },
  }
}

const { ruleSet, problems } = readRules(DEFAULT_RULES)
const rules = compileRules(ruleSet!)

/** What the shipped rules say of each source. Sources of one call must differ in their addresses. */
function judge(sources: readonly Source[], policyDomain = POLICY_DOMAIN): readonly Judged[] {
  const { dict, sender, verdict, rule } = rules.evaluate(chunkOf(sources, policyDomain))
  return sources.map((_, i) => ({
    sender: dict[sender[i]!]!,
    verdict: dict[verdict[i]!]!,
    rule: dict[rule[i]!]!,
  }))
}

const judgeOne = (source: Source, policyDomain?: string) => judge([source], policyDomain)[0]!

function sourceOf(fact: Fact): Source {
  const space = fact.indexOf(' ')
  const kind = fact.slice(0, space) as (typeof factKinds)[number]
  const value = fact.slice(space + 1)
  switch (kind) {
    case 'ptr':
    case 'unconfirmed':
      return { ...record({}), ptr: { name: value, confirmed: kind === 'ptr' } }
    case 'dkim':
    case 'dkim-fail':
      return record({ dkim_results: [signed(value, kind === 'dkim' ? 'pass' : 'fail')] })
    case 'spf':
    case 'spf-fail':
      return record({ spf_results: [checked(value, kind === 'spf' ? 'pass' : 'softfail')] })
    case 'asn':
      return { ...record({}), asn: Number(value) }
    case 'ip':
      return record({ source_ip: value })
  }
}

const senderOf = (fact: Fact) => judgeOne(sourceOf(fact)).sender

/** Facts that name another sender than they should, each as `fact → sender`. */
const misnamed = (facts: readonly Fact[], expected: string) =>
  facts.filter((fact) => senderOf(fact) !== expected).map((fact) => `${fact} → ${senderOf(fact) || 'nobody'}`)

test('the shipped rules have no error and no warning', () => {
  expect(problems).toEqual([])
})

describe('the senders', () => {
  test('there are at least 75, each with an id of its own in kebab-case', () => {
    const ids = senders.map(({ id }) => id)
    expect(ids.length).toBeGreaterThanOrEqual(75)
    expect(ids.filter((id, i) => ids.indexOf(id) !== i)).toEqual([])
    expect(ids.filter((id) => !/^[a-z0-9]+(-[a-z0-9]+)*$/.test(id))).toEqual([])
  })

  test('each has a name of its own and is a service, a forwarder or a list', () => {
    const named = senders.map(({ name }) => name)
    expect(named.filter((name, i) => !name || named.indexOf(name) !== i)).toEqual([])
    expect([...new Set(senders.map((sender) => sender.class))].sort()).toEqual(['forwarder', 'list', 'service'])
  })

  test('each has sources that it must and sources that it must not be named for', () => {
    expect(Object.keys(defaultSenders)).toEqual(senders.map(({ id }) => id))
    const bare = Object.entries(defaultSenders).filter(([, { is, isNot }]) => is.length === 0 || isNot.length === 0)
    expect(bare).toEqual([])
    const facts = Object.values(defaultSenders).flatMap(({ is, isNot }) => [...is, ...isNot])
    expect([...new Set(facts.map((fact) => fact.split(' ')[0]))].sort()).toEqual([...factKinds].sort())
  })

  test.each(Object.entries(defaultSenders))(
    '%s is named for its sources, and nobody for the look-alikes',
    (id, both) => {
      expect(misnamed(both.is, id)).toEqual([])
      expect(misnamed(both.isNot, '')).toEqual([])
    },
  )

  test('every name and network in the file leads to the sender that it stands under', () => {
    const wrong = senders.flatMap(({ id, ptr = [], dkim = [], spf = [], asn = [] }) =>
      misnamed(
        [
          ...ptr.flatMap((name): Fact[] => [`ptr ${name}`, `ptr a.b.${name}`]),
          ...dkim.flatMap((name): Fact[] => [`dkim ${name}`, `dkim a.b.${name}`]),
          ...spf.flatMap((name): Fact[] => [`spf ${name}`, `spf a.b.${name}`]),
          ...asn.map((one): Fact => `asn ${one.replace('AS', '')}`),
        ],
        id,
      ),
    )
    expect(wrong).toEqual([])
  })

  test('a name with more before it and no dot between does not lead to its sender', () => {
    const wrong = senders.flatMap(({ id, ptr = [], dkim = [], spf = [] }) =>
      [
        ...ptr.map((name): Fact => `ptr zz${name}`),
        ...dkim.map((name): Fact => `dkim zz${name}`),
        ...spf.map((name): Fact => `spf zz${name}`),
      ].filter((fact) => senderOf(fact) === id),
    )
    expect(wrong).toEqual([])
  })

  test('no name in the file names anybody with more behind it, unconfirmed, or in a result that is no pass', () => {
    const wrong = senders.flatMap(({ ptr = [], dkim = [], spf = [] }) =>
      misnamed(
        [
          ...ptr.flatMap((name): Fact[] => [`ptr ${name}.example`, `unconfirmed ${name}`]),
          ...dkim.flatMap((name): Fact[] => [`dkim ${name}.example`, `dkim-fail ${name}`]),
          ...spf.flatMap((name): Fact[] => [`spf ${name}.example`, `spf-fail ${name}`]),
        ],
        '',
      ),
    )
    expect(wrong).toEqual([])
  })

  test('no network of a provider where anyone can rent a machine names anybody', () => {
    // Google, Microsoft, Amazon, OVH, Hetzner, DigitalOcean, Linode, Oracle, Alibaba, IONOS, STRATO, GoDaddy, Cloudflare
    const rented = [
      15169, 396982, 8075, 16509, 14618, 16276, 24940, 14061, 63949, 31898, 37963, 8560, 6724, 26496, 13335,
    ]
    expect(
      misnamed(
        rented.map((asn): Fact => `asn ${asn}`),
        '',
      ),
    ).toEqual([])
  })
})

describe('what is narrow stands before what is wide', () => {
  test.each<[string, string, string]>([
    ['google-groups', 'mail-wm1-f41.google.com', 'googlegroups.com'],
    ['firefox-relay', 'a9-92.smtp-out.amazonses.com', 'mozmail.com'],
    ['govuk-notify', 'a9-92.smtp-out.amazonses.com', 'notifications.service.gov.uk'],
    ['freshworks', 'o1.ptr1234.outbound-mail.sendgrid.net', 'freshdesk.com'],
    ['sendgrid', 'mail-wm1-f41.google.com', 'sendgrid.net'],
    ['mimecast', 'us-smtp-delivery-124.mimecast.com', 'example.onmicrosoft.com'],
    ['microsoft-365', 'mail-am6eur05on2044.outbound.protection.outlook.com', 'customer.example'],
  ])('%s: seen at %s, signed by %s', (id, ptr, domain) => {
    const source = { ...sourceOf(`ptr ${ptr}`), record: { ...failed, dkim_results: [signed(domain, 'pass')] } }
    expect(judgeOne(source).sender).toBe(id)
  })

  test('Mandrill on the network of Mailchimp is Mandrill', () => {
    expect(judgeOne({ ...sourceOf('ptr mail133-27.atl131.mandrillapp.com'), asn: 14782 }).sender).toBe('mandrill')
  })
})

describe('the verdicts', () => {
  const own = POLICY_DOMAIN
  const passes = { dkim: 'pass', dkim_results: [signed(own, 'pass')] }
  const override = (type: string, comment: string | null = null) => ({ reasons: [{ type, comment }] })

  test('one record for each of the six', () => {
    const judged = judge([
      record({ source_ip: '198.51.100.1', ...passes }),
      record({ source_ip: '198.51.100.2', ...override('forwarded') }),
      record({ source_ip: '198.51.100.3', spf: 'pass', dkim_results: [signed(own, 'fail')] }),
      record({ source_ip: '198.51.100.4', spf_results: [checked('example.org', 'pass')] }),
      record({ source_ip: '198.51.100.5' }),
      record({ source_ip: '198.51.100.6', spf_results: [checked('stranger.example', 'pass')] }),
    ])
    expect(judged.map(({ verdict }) => verdict)).toEqual(verdictNames)
  })

  test.each<[string, string, Partial<DmarcRecord>]>([
    ['forwarded', 'forwarded-by-override', override('mailing_list')],
    ['forwarded', 'forwarded-by-override', override('trusted_forwarder')],
    ['forwarded', 'forwarded-by-override', override('local_policy', 'arc=pass')],
    ['forwarded', 'forwarded-by-override', { ...passes, ...override('forwarded') }],
    ['spoofed', 'spoofed', override('local_policy', 'blocked')],
    ['spoofed', 'spoofed', override('sampled_out')],
    ['forwarded', 'forwarded-by-sender', { spf_results: [checked('vger.kernel.org', 'pass')] }],
    ['forwarded', 'forwarded-by-sender', { dkim_results: [signed('forwardemail.net', 'pass')] }],
    ['unknown', 'unknown', { spf_results: [checked('eu-west-1.amazonses.com', 'pass')] }],
    ['signing_broken', 'signing-broken', { spf: 'pass', dkim_results: [signed('example.org', 'permerror')] }],
    ['signing_broken', 'signing-broken', { spf: 'pass', dkim_results: [signed(`news.${own}`, 'fail')] }],
    ['signing_broken', 'signing-broken', { spf: 'pass', dkim_results: [signed(own, 'none')] }],
    ['signing_broken', 'signing-missing', { spf: 'pass' }],
    ['authenticated', 'authenticated', { spf: 'pass', dkim_results: [signed('sendgrid.net', 'pass')] }],
    ['authenticated', 'authenticated', { spf: 'pass', dkim_results: [signed('other.example.org', 'fail')] }],
    ['authenticated', 'authenticated', { ...passes, spf: 'pass' }],
    ['misconfigured', 'own-domain-not-aligned', { spf_results: [checked('bounce.example.org', 'pass')] }],
    ['misconfigured', 'own-domain-not-aligned', { dkim_results: [signed('other.example.org', 'pass')] }],
    ['spoofed', 'spoofed', { spf_results: [checked('example.org', 'fail')], dkim_results: [signed(own, 'fail')] }],
    ['unknown', 'unknown', { dkim_results: [signed('stranger.example', 'pass')] }],
    ['unknown', 'unknown', { spf_results: [checked('notexample.org', 'pass')] }],
  ])('%s by rule %s: %j', (verdict, rule, said) => {
    expect(judgeOne(record(said))).toMatchObject({ verdict, rule })
  })

  test('a machine of a forwarder makes it forwarded only when its name is confirmed', () => {
    expect(judgeOne(sourceOf('ptr mx1.forwardemail.net')).verdict).toBe('forwarded')
    expect(judgeOne(sourceOf('unconfirmed mx1.forwardemail.net')).verdict).toBe('spoofed')
  })

  test('a domain’s own sender that fails is misconfigured, and a stranger’s is not', () => {
    const withOwn = `${DEFAULT_RULES}\ndomains:\n  example.org:\n    own: [microsoft-365]\n`
    const { ruleSet: changed, problems: found } = readRules(withOwn)
    expect(found).toEqual([])
    const source = sourceOf('ptr mail-am6eur05on2044.outbound.protection.outlook.com')
    const { dict, verdict, rule } = compileRules(changed!).evaluate(chunkOf([source], own))
    expect([dict[verdict[0]!], dict[rule[0]!]]).toEqual(['misconfigured', 'own-sender-fails'])
    expect(judgeOne(source).verdict).toBe('spoofed')
  })

  test.skipIf(SHARED === null && !MUST_HAVE_SHARED)('the published record of mail that left unsigned', () => {
    const { report, records } = readAggregate(readFileSync(join(SHARED!, 'corpus/exim-blog/moff.tech.xml')))
    const judged = judge(
      records.map((one) => ({ record: one, ptr: null, asn: 0 })),
      report.policy.domain,
    )
    expect(judged).toEqual([{ sender: '', verdict: 'signing_broken', rule: 'signing-missing' }])
  })
})
