import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { RecordView } from '../../rules/cel.ts'
import { DkimResultView, SpfResultView } from '../../rules/cel.ts'
import { type CompiledRules, compileRules } from '../../rules/compile.ts'
import { Conditions, isCondition } from '../../rules/condition.ts'
import { isBelow } from '../../rules/domains.ts'
import { organisationalDomain } from '../../rules/org-domain.ts'
import { RangeSet, readRange } from '../../rules/ranges.ts'
import { readRules } from '../../rules/read.ts'
import type { RuleSet } from '../../rules/rule-set.ts'
import { Tuples } from '../../rules/tuples.ts'
import { plausibleCount } from '../../topics/plausible-count.ts'
import { type Facts, makeChunk, type ReportFacts } from './chunks.ts'

function ruleSetOf(yaml: string): RuleSet {
  const { ruleSet, problems } = readRules(yaml)
  expect(problems.filter(({ severity }) => severity === 'error')).toEqual([])
  return ruleSet!
}
const compile = (yaml: string) => compileRules(ruleSetOf(yaml))

interface Judged {
  readonly source_ip: string
  readonly messages: number
  readonly outcome: number
  readonly sender: string
  readonly verdict: string
  readonly rule: string
  readonly excluded: string
}

function judge(rules: CompiledRules, records: readonly Facts[], report: ReportFacts = {}): readonly Judged[] {
  const { dict, ...columns } = rules.evaluate(makeChunk(records, report))
  expect(dict[0]).toBe('')
  return records.map((_, row) => ({
    source_ip: dict[columns.source_ip[row]!]!,
    messages: columns.messages[row]!,
    outcome: columns.outcome[row]!,
    sender: dict[columns.sender[row]!]!,
    verdict: dict[columns.verdict[row]!]!,
    rule: dict[columns.rule[row]!]!,
    excluded: dict[columns.excluded[row]!]!,
  }))
}
const judgeOne = (rules: CompiledRules, record: Facts, report: ReportFacts = {}) => judge(rules, [record], report)[0]!

const DEFAULT_VERDICTS = `verdicts:
  - id: forwarded
    verdict: forwarded
    when: >-
      overrides.exists(o, o in ["forwarded", "mailing_list", "trusted_forwarder", "arc"])
      || sender_class in ["forwarder", "list"]
  - id: signing-broken
    verdict: signing_broken
    when: >-
      spf_aligned && !dkim_aligned && dkim_results.exists(r, r.result != "pass"
      && (r.domain.below(policy_domain) || policy_domain.below(r.domain)))
  - { id: authenticated, verdict: authenticated, when: passed }
  - id: misconfigured
    verdict: misconfigured
    when: own || (dkim_pass_domains + spf_pass_domains).exists(d, d.below(org_domain))
  - { id: spoofed, verdict: spoofed, when: size(dkim_pass_domains) == 0 && size(spf_pass_domains) == 0 }
  - { id: unknown, verdict: unknown }
`
const RULES = `version: 1
lists:
  office: [192.0.2.0/24]
  relays: [relay.example]
  own_net: [AS64500]
senders:
  - { id: groups, class: list, dkim: [groups.google.example] }
  - { id: google, class: service, ptr: [google.example], dkim: [google.example], spf: [google.example], asn: [AS64496] }
  - { id: relay, class: forwarder, ptr: [relays] }
  - { id: office, class: own, ranges: [office] }
  - { id: night-only, class: own, ranges: [198.51.100.0/24], when: 'header_from == "night.example.org"' }
  - { id: block, class: other, ranges: [198.51.0.0/16, 2001:db8::/32] }
domains:
  example.org:
    own: [google, office, own_net, 203.0.113.0/28]
    exclude:
      - { when: 'source_ip == "198.51.100.7"', reason: old printer, until: 2026-10-31 }
      - { when: 'header_from == "printer.example.org" && !passed', reason: all printers }
  shop.example.org: {}
${DEFAULT_VERDICTS}`
const rules = compile(RULES)

const aligned: Facts = { dkim: 'pass', spf: 'pass', dkim_results: [['example.org', 's1', 'pass']] }

describe('the verdicts, in the order of the default rules', () => {
  test.each<[verdict: string, what: string, facts: Facts]>([
    ['forwarded', 'an override says so', { reasons: [['forwarded', '']] }],
    ['forwarded', 'even if it passed', { ...aligned, reasons: [['mailing_list', 'x']] }],
    ['forwarded', 'a trusted ARC chain, in a comment', { reasons: [['local_policy', 'arc=pass as[1].d=x.example']] }],
    ['spoofed', 'a broken ARC chain is none', { reasons: [['local_policy', 'arc=fail']] }],
    ['spoofed', 'a local policy is no forwarder', { reasons: [['local_policy', 'narc=passed']] }],
    ['forwarded', 'the sender is a list', { dkim_results: [['groups.google.example', 's', 'pass']] }],
    ['forwarded', 'the sender is a forwarder', { observed: { ptr: [['mx.relay.example', true]] } }],
    [
      'signing_broken',
      'SPF alone is aligned, its own signature fails',
      { spf: 'pass', dkim_results: [['example.org', 's', 'fail']] },
    ],
    ['signing_broken', 'or one below it', { spf: 'pass', dkim_results: [['a.example.org', 's', 'permerror']] }],
    ['authenticated', 'but not that of a stranger', { spf: 'pass', dkim_results: [['notexample.org', 's', 'fail']] }],
    ['authenticated', 'nor none at all', { spf: 'pass' }],
    ['authenticated', 'DKIM is aligned', aligned],
    ['misconfigured', 'its own sender fails', { source_ip: '192.0.2.9' }],
    ['misconfigured', 'its own network fails', { observed: { asn: 64500 } }],
    ['misconfigured', 'its own addresses fail', { source_ip: '203.0.113.14' }],
    ['spoofed', 'the next address is not its own', { source_ip: '203.0.113.16' }],
    ['misconfigured', 'a pass by another name of its own', { spf_results: [['bounce.example.org', 'mfrom', 'pass']] }],
    ['spoofed', 'nobody vouches for it', { spf_results: [['example.org', 'mfrom', 'fail']] }],
    ['unknown', 'somebody else vouches for it', { spf_results: [['crm.example', 'mfrom', 'pass']] }],
  ])('%s: %s', (verdict, _, facts) => {
    expect(judgeOne(rules, facts).verdict).toBe(verdict)
  })

  test('the organisational domain is that of the public suffix list', () => {
    const facts: Facts = { dkim_results: [['mail.example.co.uk', 's', 'pass']] }
    expect(judgeOne(rules, facts, { policy_domain: 'news.example.co.uk' }).verdict).toBe('misconfigured')
    expect(judgeOne(rules, facts, { policy_domain: 'news.other.co.uk' }).verdict).toBe('unknown')
    expect(organisationalDomain('user.github.io')).toBe('user.github.io')
    expect(organisationalDomain('co.uk')).toBe('co.uk')
    expect(organisationalDomain('localhost')).toBe('localhost')
    expect(organisationalDomain('a.b.c.example')).toBe('c.example')
  })
})

describe('the sender', () => {
  test.each<[sender: string, what: string, facts: Facts]>([
    ['google', 'a confirmed name', { observed: { ptr: [['mail-1.google.example', true]] } }],
    [
      'google',
      'any of the confirmed names',
      {
        observed: {
          ptr: [
            ['a.example', true],
            ['google.example', true],
          ],
        },
      },
    ],
    ['', 'a name that is not confirmed', { observed: { ptr: [['mail-1.google.example', false]] } }],
    ['', 'a name that only ends alike', { observed: { ptr: [['notgoogle.example', true]] } }],
    ['', 'a name with more behind', { observed: { ptr: [['google.example.evil.example', true]] } }],
    ['google', 'a DKIM pass', { dkim_results: [['mail.google.example', 's', 'pass']] }],
    ['', 'a DKIM fail', { dkim_results: [['mail.google.example', 's', 'fail']] }],
    ['google', 'an SPF pass', { spf_results: [['google.example', 'mfrom', 'pass']] }],
    ['', 'an SPF softfail', { spf_results: [['google.example', 'mfrom', 'softfail']] }],
    ['google', 'a network', { observed: { asn: 64496 } }],
    ['office', 'an address', { source_ip: '192.0.2.255' }],
    ['block', 'an IPv6 address', { source_ip: '2001:db8:1::5' }],
    ['', 'what is no address', { source_ip: '192.0.2.x' }],
    [
      'groups',
      'the first in the file of several',
      {
        dkim_results: [
          ['google.example', 's', 'pass'],
          ['groups.google.example', 's', 'pass'],
        ],
      },
    ],
    ['google', 'the first in the file, whatever it is named by', { source_ip: '192.0.2.1', observed: { asn: 64496 } }],
    ['block', 'the next when a condition does not hold', { source_ip: '198.51.100.9' }],
    ['night-only', 'the one whose condition holds', { source_ip: '198.51.100.9', header_from: 'night.example.org' }],
  ])('%s: %s', (sender, _, facts) => {
    // The default address is in the block of "block": other facts must do without.
    expect(judgeOne(rules, { source_ip: '203.0.113.99', ...facts }).sender).toBe(sender)
  })
})

describe('what a domain calls its own', () => {
  const office: Facts = { source_ip: '192.0.2.9' }
  const verdictFor = (policy_domain: string) => judgeOne(rules, office, { policy_domain }).verdict

  test('holds for the domain and what is below it', () => {
    expect(verdictFor('example.org')).toBe('misconfigured')
    expect(verdictFor('a.b.example.org')).toBe('misconfigured')
  })
  test('does not hold for what has an entry of its own, nor below that', () => {
    expect(verdictFor('shop.example.org')).toBe('spoofed')
    expect(verdictFor('eu.shop.example.org')).toBe('spoofed')
  })
  test('does not hold for others', () => {
    expect(verdictFor('notexample.org')).toBe('spoofed')
    expect(verdictFor('org')).toBe('spoofed')
  })
  test('a name may be that of a sender and that of a list', () => {
    const both = compile(`version: 1
lists: { office: [192.0.2.0/24] }
senders: [{ id: office, dkim: [office.example] }]
domains: { example.org: { own: [office] } }
verdicts: [{ id: own, verdict: misconfigured, when: own }, { id: rest, verdict: unknown }]
`)
    const rulesOf = judge(both, [office, { dkim_results: [['office.example', 's', 'pass']] }, {}]).map(
      ({ rule }) => rule,
    )
    expect(rulesOf).toEqual(['own', 'own', 'rest'])
  })
})

describe('an exclusion', () => {
  const printer: Facts = { source_ip: '198.51.100.7' }
  test('gives its reason and leaves the verdict as it is', () => {
    expect(judgeOne(rules, printer)).toMatchObject({ excluded: 'old printer', verdict: 'spoofed' })
    expect(judgeOne(rules, { source_ip: '198.51.100.8' })).toMatchObject({ excluded: '', verdict: 'spoofed' })
  })
  test('holds on its last day, not on the day after, whatever the clock says', () => {
    expect(judgeOne(rules, printer, { day: '2026-10-31' }).excluded).toBe('old printer')
    expect(judgeOne(rules, printer, { day: '2026-11-01' }).excluded).toBe('')
    expect(judgeOne(rules, printer, { day: '1999-12-31' }).excluded).toBe('old printer')
  })
  test('the first that matches gives the reason', () => {
    const both = { ...printer, header_from: 'printer.example.org' }
    expect(judgeOne(rules, both).excluded).toBe('old printer')
    expect(judgeOne(rules, both, { day: '2026-11-01' }).excluded).toBe('all printers')
  })
  test('is one of the nearest domain with an entry', () => {
    expect(judgeOne(rules, printer, { policy_domain: 'a.example.org' }).excluded).toBe('old printer')
    expect(judgeOne(rules, printer, { policy_domain: 'shop.example.org' }).excluded).toBe('')
  })
})

describe('a record', () => {
  test('keeps its place, its address, and what answers count it by', () => {
    const judged = judge(rules, [
      { source_ip: '192.0.2.1', count: 7, disposition: 'none', dkim: 'pass', spf: 'pass' },
      { source_ip: '64.x.x.x', count: null, disposition: 'quarantine', dkim: 'fail', spf: 'pass' },
      { source_ip: '192.0.2.1', count: 9e15, disposition: 'reject' },
      { source_ip: '', count: 2.5, disposition: '', dkim: '', spf: '' },
      { count: -4, dkim: 'pass', spf: 'fail' },
    ])
    expect(judged.map(({ source_ip, messages, outcome }) => [source_ip, messages, outcome])).toEqual([
      ['192.0.2.1', 7, 1 + 2],
      ['64.x.x.x', 0, 2 + 4],
      ['192.0.2.1', 0, 8],
      ['', 2, 0],
      ['198.51.100.7', 0, 1],
    ])
  })

  test('none gives none', () => {
    expect(judge(rules, [])).toEqual([])
  })

  test('its dictionary names each text once', () => {
    const { dict } = rules.evaluate(
      makeChunk([aligned, { source_ip: '192.0.2.1' }, aligned, { source_ip: '192.0.2.1' }]),
    )
    expect(new Set(dict).size).toBe(dict.length)
  })

  test('what every name gives', () => {
    const facts: Facts = {
      source_ip: '2001:db8::1',
      count: 12,
      disposition: 'quarantine',
      dkim: 'fail',
      spf: 'pass',
      header_from: 'h.example.org',
      envelope_from: 'f.example.org',
      envelope_to: 't.example.net',
      reasons: [
        ['other', 'arc=pass'],
        ['local_policy', ''],
        ['', 'no type'],
      ],
      dkim_results: [
        ['a.example', 's1', 'pass'],
        ['b.example', '', 'fail'],
      ],
      spf_results: [
        ['c.example', 'helo', 'pass'],
        ['', 'mfrom', 'none'],
      ],
      observed: {
        ptr: [
          ['u.example', false],
          ['c.example', true],
          ['d.example', true],
        ],
        asn: 4294967295,
        as_name: 'NET',
        country: 'DE',
      },
    }
    const report: ReportFacts = {
      policy_domain: 'sub.example.org',
      org: 'org.example',
      day: '2026-10-02',
      p: 'reject',
      np: 'none',
    }
    const truths = [
      'source_ip == "2001:db8::1"',
      'policy_domain == "sub.example.org"',
      'org_domain == "example.org"',
      'header_from == "h.example.org"',
      'envelope_from == "f.example.org"',
      'envelope_to == "t.example.net"',
      'org == "org.example"',
      'count == 12',
      'day == "2026-10-02"',
      'disposition == "quarantine"',
      'dkim == "fail"',
      'spf == "pass"',
      'passed',
      '!dkim_aligned',
      'spf_aligned',
      'p == "reject"',
      'sp == ""',
      'np == "none"',
      'overrides == ["other", "local_policy", "arc"]',
      'dkim_results.map(r, r.domain + "/" + r.selector + "/" + r.result) == ["a.example/s1/pass", "b.example//fail"]',
      'spf_results.map(r, r.domain + "/" + r.scope + "/" + r.result) == ["c.example/helo/pass", "/mfrom/none"]',
      'dkim_pass_domains == ["a.example"]',
      'spf_pass_domains == ["c.example"]',
      'ptr == "c.example"',
      'ptr_names == ["u.example", "c.example", "d.example"]',
      'asn == 4294967295',
      'as_name == "NET"',
      'country == "DE"',
      'observed',
      'sender == "named"',
      'sender_class == "other"',
      '!own',
    ]
    const wrong = truths.map(
      (truth, i) => `  - { id: "${i}", verdict: spoofed, when: ${JSON.stringify(`!(${truth})`)} }\n`,
    )
    const all = compile(
      `version: 1\nsenders: [{ id: named, ptr: [d.example] }]\nverdicts:\n${wrong.join('')}  - { id: all-true, verdict: unknown }\n`,
    )
    const { rule } = judgeOne(all, facts, report)
    expect(truths[Number(rule)] ?? rule).toBe('all-true')
  })

  test('of whose source nothing was observed, and that says nothing', () => {
    const empty = compile(`version: 1
verdicts:
  - id: said
    verdict: spoofed
    when: >-
      ptr != "" || size(ptr_names) > 0 || asn != 0 || as_name != "" || country != "" || observed || size(overrides) > 0
      || size(dkim_results) > 0 || envelope_from != "" || p != "" || sender != "" || sender_class != "" || own
  - { id: nothing, verdict: unknown }
`)
    expect(judgeOne(empty, {}).rule).toBe('nothing')
    expect(judgeOne(empty, { observed: { answered: false } }).rule).toBe('nothing')
    expect(judgeOne(empty, { observed: { answered: true } }).rule).toBe('said')
  })
})

/** The rules as anyone would write them down who has time: every sender, rule and exclusion in turn, for each record. */
function judgePlainly({ definition }: RuleSet, facts: readonly Facts[], report: ReportFacts): readonly Judged[] {
  const { lists, senders, domains, verdicts } = definition
  const conditions = new Conditions(lists)
  const holds = (when: string, view: RecordView) => {
    if (when === '') return true
    const condition = conditions.read(when)
    return isCondition(condition) && condition.holds(view)
  }
  const expand = (values: readonly string[]) => values.flatMap((value) => lists[value]?.values ?? [value])
  const policy_domain = report.policy_domain ?? 'example.org'
  const day = report.day ?? '2026-10-01'
  const labels = policy_domain.split('.')
  const entry = labels.map((_, i) => domains[labels.slice(i).join('.')]).find((one) => one !== undefined)
  const seen = new Map<string, Facts['observed']>()
  for (const { source_ip = '198.51.100.7', observed } of facts) {
    if (observed !== undefined && !seen.has(source_ip)) seen.set(source_ip, observed)
  }
  return facts.map((record): Judged => {
    const source_ip = record.source_ip ?? '198.51.100.7'
    const observed = seen.get(source_ip)
    const names = observed?.ptr ?? []
    const confirmed = names.filter(([, isConfirmed]) => isConfirmed).map(([name]) => name)
    const passing = (results: readonly (readonly string[])[] | undefined) =>
      (results ?? [])
        .filter(([, , result]) => result === 'pass')
        .flatMap(([domain]) => (domain === '' ? [] : [domain!]))
    const dkim_pass_domains = passing(record.dkim_results)
    const spf_pass_domains = passing(record.spf_results)
    const reasons = record.reasons ?? []
    const asn = observed?.asn ?? 0
    const inRanges = (ranges: readonly string[]) =>
      new RangeSet(ranges.map((range) => readRange(range)!)).contains(source_ip)
    const view = {
      lists: conditions.reader.lists,
      source_ip,
      policy_domain,
      org_domain: organisationalDomain(policy_domain),
      header_from: record.header_from ?? '',
      envelope_from: record.envelope_from ?? '',
      envelope_to: record.envelope_to ?? '',
      org: report.org ?? 'receiver.example',
      count: BigInt(plausibleCount(record.count === undefined ? 1 : record.count)),
      day,
      disposition: record.disposition ?? 'none',
      dkim: record.dkim ?? 'fail',
      spf: record.spf ?? 'fail',
      passed: record.dkim === 'pass' || record.spf === 'pass',
      dkim_aligned: record.dkim === 'pass',
      spf_aligned: record.spf === 'pass',
      p: report.p ?? '',
      sp: report.sp ?? '',
      np: report.np ?? '',
      overrides: [
        ...reasons.map(([type]) => type).filter((type) => type !== ''),
        ...(reasons.some(([, comment]) => /\barc=pass\b/.test(comment)) ? ['arc'] : []),
      ],
      dkim_results: (record.dkim_results ?? []).map(
        ([domain, selector, result]) => new DkimResultView(domain, selector, result),
      ),
      spf_results: (record.spf_results ?? []).map(
        ([domain, scope, result]) => new SpfResultView(domain, scope, result),
      ),
      dkim_pass_domains,
      spf_pass_domains,
      ptr: confirmed[0] ?? '',
      ptr_names: names.map(([name]) => name),
      asn: BigInt(asn),
      as_name: observed?.as_name ?? '',
      country: observed?.country ?? '',
      observed: observed !== undefined && (observed.answered ?? true),
      sender: '',
      sender_class: '',
      own: false,
    }
    const anyBelow = (found: readonly string[], values: readonly string[]) =>
      found.some((name) => expand(values).some((value) => isBelow(name, value)))
    const sender = senders.find(
      ({ ptr, dkim, spf, asn: asns, ranges, when }) =>
        (anyBelow(confirmed, ptr) ||
          anyBelow(dkim_pass_domains, dkim) ||
          anyBelow(spf_pass_domains, spf) ||
          expand(asns).includes(`AS${asn}`) ||
          inRanges(expand(ranges))) &&
        holds(when, view),
    )
    const own = (entry?.own ?? []).some((name) => {
      const list = lists[name]
      if (sender?.id === name) return true
      if (list === undefined) return !senders.some(({ id }) => id === name) && inRanges([name])
      if (list.kind === 'asns') return list.values.includes(`AS${asn}`)
      return list.kind === 'ranges' ? inRanges(list.values) : anyBelow(confirmed, list.values)
    })
    const whole = { ...view, sender: sender?.id ?? '', sender_class: sender?.class ?? '', own }
    const rule = verdicts.find(({ when }) => holds(when, whole))!
    const excluded = entry?.exclude.find(({ when, until }) => (until === null || until >= day) && holds(when, whole))
    return {
      source_ip,
      messages: Number(view.count),
      outcome:
        (view.dkim_aligned ? 1 : 0) +
        (view.spf_aligned ? 2 : 0) +
        ({ quarantine: 4, reject: 8 }[view.disposition] ?? 0),
      sender: whole.sender,
      verdict: rule.verdict,
      rule: rule.id,
      excluded: excluded?.reason ?? '',
    }
  })
}

/** Rules that read everything: what is alike in many records, what differs, and both. */
const MIXED = `version: 1
lists:
  office: [192.0.2.0/24, 10.0.0.0/8]
  relays: [relay.example]
  nets: [AS1, AS2]
senders:
  - { id: a, class: list, dkim: [a.example], when: 'count > 2 || ptr == ""' }
  - { id: b, class: service, ptr: [example.org, b.example], when: 'size(overrides) == 0' }
  - { id: c, class: service, ptr: [relays], spf: [a.example, b.example], asn: [nets] }
  - { id: d, class: own, ranges: [office, 2001:db8::/32] }
domains:
  example.org:
    own: [b, office, nets, relays, 203.0.113.0/24]
    exclude:
      - { when: 'count == 3 && source_ip.in(lists.office)', reason: three, until: 2026-10-01 }
      - { when: 'dkim_results.exists(r, r.selector == "s2")', reason: s2 }
  sub.example.org: { own: [c], exclude: [{ when: asn == 1, reason: one }] }
verdicts:
  - { id: v1, verdict: forwarded, when: '"arc" in overrides && sender_class == "list"' }
  - { id: v2, verdict: signing_broken, when: 'asn.in(lists.nets) && spf_aligned' }
  - { id: v3, verdict: authenticated, when: 'passed && !own' }
  - { id: v4, verdict: misconfigured, when: 'count >= 3 && own' }
  - { id: v5, verdict: spoofed, when: 'dkim_results[0].result == "fail" && country == "DE"' }
  - { id: v6, verdict: spoofed, when: 'spf_pass_domains.exists(d, d.below(org_domain)) || sender == "c"' }
  - { id: v7, verdict: misconfigured, when: 'ptr_names.exists(n, n.in(lists.relays)) && !observed' }
  - { id: v8, verdict: spoofed, when: 'dkim_results.exists(r, r.domain == "b.example" && r.result != "pass")' }
  - { id: v9, verdict: spoofed, when: 'spf_results.exists(r, r.scope == "helo")' }
  - { id: v10, verdict: unknown }
`
const domainName = fc.constantFrom(
  '',
  'a.example',
  'x.a.example',
  'b.example',
  'relay.example',
  'mx.relay.example',
  'example.org',
  'm.example.org',
)
const result = fc.constantFrom('pass', 'fail', 'none', '')
const facts: fc.Arbitrary<Facts> = fc.record({
  source_ip: fc.constantFrom('192.0.2.1', '10.1.1.1', '203.0.113.5', '198.51.100.7', '2001:db8::1', '64.x.x.x', ''),
  count: fc.constantFrom(null, -1, 0, 1, 3, 4, 2e9),
  disposition: fc.constantFrom('none', 'quarantine', 'reject', ''),
  dkim: result,
  spf: result,
  header_from: domainName,
  reasons: fc.array(fc.tuple(fc.constantFrom('forwarded', 'other', ''), fc.constantFrom('', 'arc=pass', 'x')), {
    maxLength: 2,
  }),
  dkim_results: fc.array(fc.tuple(domainName, fc.constantFrom('s1', 's2', ''), result), { maxLength: 3 }),
  spf_results: fc.array(fc.tuple(domainName, fc.constantFrom('mfrom', 'helo', ''), result), { maxLength: 2 }),
  observed: fc.option(
    fc.record({
      ptr: fc.array(fc.tuple(domainName, fc.boolean()), { maxLength: 3 }),
      asn: fc.constantFrom(0, 1, 2, 3, 4294967295),
      country: fc.constantFrom('', 'DE'),
      answered: fc.boolean(),
    }),
    { nil: undefined },
  ) as fc.Arbitrary<NonNullable<Facts['observed']>>,
})
const reportFacts = fc.record({
  policy_domain: fc.constantFrom(
    'example.org',
    'x.example.org',
    'sub.example.org',
    'y.sub.example.org',
    'other.example',
  ),
  day: fc.constantFrom('2026-10-01', '2026-10-02'),
  p: fc.constantFrom(null, 'none', 'reject'),
})

describe('any records', () => {
  test.each([
    ['rules that read everything', MIXED],
    ['the default verdicts', RULES],
  ])('are judged as if every rule were tried for each of them: %s', (_, yaml) => {
    const ruleSet = ruleSetOf(yaml)
    const compiled = compileRules(ruleSet)
    const judgedBy = new Set<string>()
    fc.assert(
      fc.property(fc.array(facts, { maxLength: 30 }), reportFacts, (records, report) => {
        const judged = judge(compiled, records, report)
        for (const { rule, sender, excluded } of judged) judgedBy.add(rule).add(sender).add(excluded)
        expect(judged).toEqual(judgePlainly(ruleSet, records, report))
      }),
      { numRuns: 300 },
    )
    for (const { id } of ruleSet.definition.verdicts) expect(judgedBy).toContain(id)
  })

  test('are judged alike alone, in any company and again', () => {
    const compiled = compile(MIXED)
    fc.assert(
      fc.property(fc.array(facts, { minLength: 1, maxLength: 12 }), reportFacts, (records, report) => {
        // Whoever comes first of an address brings its observation: each keeps its own address here.
        const apart = records.map((record, i) => ({
          ...record,
          source_ip: i % 2 === 0 ? `10.0.0.${i}` : `2001:db8::${i}`,
        }))
        const together = judge(compiled, apart, report)
        expect(apart.map((record) => judgeOne(compiled, record, report))).toEqual(together)
        expect(judge(compiled, apart.toReversed(), report).toReversed()).toEqual(together)
        expect(judge(compiled, apart, report)).toEqual(together)
      }),
      { numRuns: 100 },
    )
  })
})

describe('tuples', () => {
  test('the same sequence has the same number, another has another', () => {
    const sequence = fc.array(
      fc.oneof(fc.integer({ min: 0, max: 3 }), fc.integer({ min: -(2 ** 31), max: 2 ** 32 - 1 })),
      { maxLength: 6 },
    )
    fc.assert(
      fc.property(fc.array(sequence, { maxLength: 400 }), (sequences) => {
        const tuples = new Tuples(8)
        for (let round = 0; round < 2; round++) {
          const numbers = new Map<string, number>()
          for (const values of sequences) {
            const number = values.reduce((tuple, value) => tuples.step(tuple, value), Tuples.EMPTY)
            const key = values.map((value) => value | 0).join()
            expect(numbers.get(key) ?? number).toBe(number)
            numbers.set(key, number)
          }
          expect(new Set(numbers.values()).size).toBe(numbers.size)
          tuples.clear()
        }
      }),
    )
  })
})
