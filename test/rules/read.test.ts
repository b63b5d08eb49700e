import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { stringify } from 'yaml'
import { readRules } from '../../rules/read.ts'

/** The problems as `line:column severity message`. */
const problemsOf = (yaml: string) =>
  readRules(yaml).problems.map(({ line, column, severity, message }) => `${line}:${column} ${severity} ${message}`)
const LAST = '  - { id: rest, verdict: unknown }\n'
const verdictRule = (when: string) =>
  `version: 1\nverdicts:\n  - id: one\n    verdict: spoofed\n    when: ${when}\n${LAST}`
/** One verdict rule, and whatever stands before it. */
const withRules = (before: string) => `version: 1\n${before}verdicts:\n${LAST}`

const EXAMPLE = `version: 1
name: example rules
lists:
  office: [192.0.2.0/24, 2001:db8:1::/48]
  forwarders: [lists.example.net]
  big_hosts: [AS15169, AS8075]
senders:
  - id: google-workspace
    name: Google Workspace
    class: service
    ptr: [google.com]
    dkim: [google.com, gappssmtp.com]
    spf: []
    asn: [big_hosts]
    ranges: [office, 198.51.100.0/24]
    when: ""
domains:
  example.org:
    own: [google-workspace, office]
    exclude:
      - { when: 'source_ip == "198.51.100.7"', reason: old printer, until: 2027-01-31 }
verdicts:
  - id: forwarded
    verdict: forwarded
    when: 'overrides.exists(o, o in ["forwarded","mailing_list"]) || ptr.in(lists.forwarders)'
  - { id: unknown, verdict: unknown }
`

describe('a rule file that is fine', () => {
  test('has no problems, and says everything in its canonical form', () => {
    const { ruleSet, problems } = readRules(EXAMPLE)
    expect(problems).toEqual([])
    expect(ruleSet!.definition).toEqual({
      version: 1,
      name: 'example rules',
      lists: {
        office: { kind: 'ranges', values: ['192.0.2.0/24', '2001:db8:1::/48'] },
        forwarders: { kind: 'domains', values: ['lists.example.net'] },
        big_hosts: { kind: 'asns', values: ['AS15169', 'AS8075'] },
      },
      senders: [
        {
          id: 'google-workspace',
          name: 'Google Workspace',
          class: 'service',
          ptr: ['google.com'],
          dkim: ['gappssmtp.com', 'google.com'],
          spf: [],
          asn: ['big_hosts'],
          ranges: ['198.51.100.0/24', 'office'],
          when: '',
        },
      ],
      domains: {
        'example.org': {
          own: ['google-workspace', 'office'],
          exclude: [{ when: 'source_ip == "198.51.100.7"', reason: 'old printer', until: '2027-01-31' }],
        },
      },
      verdicts: [
        {
          id: 'forwarded',
          verdict: 'forwarded',
          when: 'overrides.exists(o, o in ["forwarded", "mailing_list"]) || ptr.in(lists.forwarders)',
        },
        { id: 'unknown', verdict: 'unknown', when: '' },
      ],
    })
    expect(ruleSet!.yaml).toBe(EXAMPLE)
    expect(ruleSet!.id).toMatch(/^[0-9a-f]{64}$/)
  })

  test('needs only a version and one verdict rule', () => {
    expect(readRules(withRules(''))).toMatchObject({ problems: [], ruleSet: { name: '' } })
  })

  test('may have a condition that is just true where none is needed', () => {
    const { ruleSet, problems } = readRules('version: 1\nverdicts:\n  - { id: a, verdict: unknown, when: true }\n')
    expect(problems).toEqual([])
    expect(ruleSet!.definition.verdicts[0]!.when).toBe('')
  })

  test('names domains as they are stored: lower case, A-labels, no dot at the end', () => {
    const { ruleSet } = readRules(withRules('domains: { Bücher.Example.: { own: [192.0.2.9] } }\n'))
    expect(ruleSet!.definition.domains).toEqual({
      'xn--bcher-kva.example': { own: ['192.0.2.9/32'], exclude: [] },
    })
  })
})

describe('the id', () => {
  const idOf = (yaml: string) => {
    const { ruleSet, problems } = readRules(yaml)
    expect({ yaml, errors: problems.filter(({ severity }) => severity === 'error') }).toEqual({ yaml, errors: [] })
    return ruleSet!.id
  }

  test('is the same however the same rules are written', () => {
    const other = `# the same
"verdicts":
- verdict: 'forwarded'   # why not
  when: >-
    overrides.exists( o,o in [ 'forwarded' ,
    "mailing_list"] )||(ptr).in( lists.forwarders )
  id: "forwarded"
- id: unknown
  verdict: unknown
  when: "true"
domains:
  Example.ORG:
    exclude: [{ until: "2027-01-31", reason: "old printer", when: "(source_ip == '198.51.100.7')" }]
    own: [office, google-workspace, office]
senders: [{ class: service, name: Google Workspace, id: google-workspace, dkim: [GAPPSSMTP.com, google.com.],
  ptr: google.com, asn: big_hosts, ranges: [198.51.100.0/24, office] }]
lists: { big_hosts: [8075, as15169], forwarders: [Lists.example.net], office: ["2001:DB8:1:0::/48", "::ffff:192.0.2.0/120"] }
name: 'example rules'
version: 1
`
    expect(idOf(other)).toBe(idOf(EXAMPLE))
  })

  test.each([
    ['a value of a list', 'AS8075', 'AS8076'],
    ['the class of a sender', 'class: service', 'class: own'],
    ['a condition', '||', '&&'],
    ['the name', 'example rules', 'other rules'],
    ['an expiry', '2027-01-31', '2027-02-01'],
    ['an id', 'id: forwarded', 'id: passed-on'],
  ])('changes with %s', (_, from, to) => {
    expect(idOf(EXAMPLE.replace(from, to))).not.toBe(idOf(EXAMPLE))
  })

  test('changes with the order of what is tried in order', () => {
    const rules = (...ids: string[]) =>
      withRules(`senders: [${ids.map((id) => `{ id: ${id}, ptr: [${id}.example] }`).join(', ')}]\n`)
    expect(idOf(rules('a', 'b'))).not.toBe(idOf(rules('b', 'a')))
  })

  test('does not change when keys, entries and style are shuffled', () => {
    const shuffle = <T>(list: readonly T[], seed: number): T[] =>
      list
        .map((item, index) => ({ item, key: Math.imul(index + 1, seed * 2 + 1) >>> 8 }))
        .sort((a, b) => a.key - b.key)
        .map(({ item }) => item)
    const mix = (value: unknown, seed: number, path = ''): unknown => {
      if (Array.isArray(value)) {
        const items = value.map((item, index) => mix(item, seed + index, path))
        return /\/(lists\/\w+|ptr|dkim|ranges|asn|own)$/.test(path) ? shuffle(items, seed) : items
      }
      if (typeof value !== 'object' || value === null) return value
      const entries = Object.entries(value).map(([key, member]) => [key, mix(member, seed, `${path}/${key}`)] as const)
      return Object.fromEntries(shuffle(entries, seed))
    }
    const definition = readRules(EXAMPLE).ruleSet!.definition
    const plain = {
      ...definition,
      lists: Object.fromEntries(Object.entries(definition.lists).map(([name, { values }]) => [name, values])),
    }
    const styles = fc.record({
      seed: fc.nat(10_000),
      indent: fc.integer({ min: 2, max: 6 }),
      quote: fc.constantFrom('QUOTE_DOUBLE', 'QUOTE_SINGLE', 'PLAIN', 'BLOCK_LITERAL', 'BLOCK_FOLDED'),
      width: fc.constantFrom(60, 80, 0),
      flow: fc.constantFrom('any', 'flow', 'block'),
    })
    const expected = idOf(EXAMPLE)
    fc.assert(
      fc.property(styles, ({ seed, indent, quote, width, flow }) => {
        const yaml = stringify(mix(plain, seed), {
          indent,
          lineWidth: width,
          defaultStringType: quote as 'PLAIN',
          collectionStyle: flow as 'any',
        })
        expect({ yaml, id: idOf(yaml) }).toEqual({ yaml, id: expected })
      }),
      { numRuns: 100 },
    )
  })

  test('is that of the canonical form, which reads the same again', () => {
    const { definition, id } = readRules(EXAMPLE).ruleSet!
    const lists = Object.fromEntries(Object.entries(definition.lists).map(([name, { values }]) => [name, values]))
    expect(idOf(JSON.stringify({ ...definition, lists }))).toBe(id)
  })
})

describe('an error has its line and column', () => {
  test.each<[what: string, yaml: string, problem: string]>([
    ['an empty file', '', '1:1 error The file is empty; a rule set has at least "verdicts".'],
    ['broken YAML', 'version: 1\nname: "x\n', '3:1 error Missing closing "quote.'],
    [
      'a key twice',
      'version: 1\nversion: 1\nverdicts: [{ id: a, verdict: unknown }]',
      '2:1 error Map keys must be unique.',
    ],
    ['a list instead of a map', '- a\n', '1:1 error A rule set must be a map (name: value), not a list.'],
    ['another version', withRules('').replace('1', '2'), '1:10 error The only version there is, is 1.'],
    ['no version', `verdicts:\n${LAST}`, '1:1 error The key "version" is missing.'],
    ['no verdicts', 'version: 1\n', '1:1 error The key "verdicts" is missing; its last rule has no "when".'],
    ['an unknown key', withRules('sendrs: []\n'), '2:1 error A rule set has no key "sendrs". Did you mean "senders"?'],
    [
      'an unknown key of a sender',
      withRules('senders:\n  - id: a\n    ptrs: [a.example]\n'),
      '4:5 error A sender has no key "ptrs". Did you mean "ptr"?',
    ],
    [
      'an unknown verdict',
      'version: 1\nverdicts:\n  - id: a\n    verdict: unknwon\n',
      '4:14 error "unknwon" is none of authenticated, forwarded, signing_broken, misconfigured, spoofed, unknown. Did you mean "unknown"?',
    ],
    [
      'an unknown class',
      withRules('senders: [{ id: a, ptr: [a.example], class: servise }]\n'),
      '2:45 error "servise" is none of service, forwarder, list, own, other. Did you mean "service"?',
    ],
    ['no id', withRules('senders:\n  - ptr: [a.example]\n'), '3:5 error The key "id" is missing.'],
    [
      'an id twice',
      withRules('senders: [{ id: a, ptr: [a.example] }, { id: a, ptr: [b.example] }]\n'),
      '2:46 error Another sender has the id "a" already.',
    ],
    [
      'a bad id',
      withRules('senders: [{ id: "a b", ptr: [a.example] }]\n'),
      '2:17 error An id consists of letters, digits, ".", "_" and "-".',
    ],
    [
      'a map instead of a list',
      withRules('senders: { id: a }\n'),
      '2:10 error "senders" must be a list, not a map (name: value).',
    ],
    [
      'nothing for a sender',
      withRules('senders: [7]\n'),
      '2:11 error A sender must be a map (name: value), not a single value.',
    ],
    [
      'a list of two kinds',
      withRules('lists:\n  office: [192.0.2.0/24, example.org]\n'),
      '3:26 error The list "office" holds address ranges; example.org is of another kind. Make a list for each kind.',
    ],
    [
      'a bad range',
      withRules('lists: { office: [192.0.2.0/33] }\n'),
      '2:19 error "192.0.2.0/33" is no address range such as 192.0.2.0/24 or 2001:db8::/32.',
    ],
    [
      'a bad domain',
      withRules('lists: { office: ["a b.example"] }\n'),
      '2:19 error "a b.example" is no address range, domain or AS number.',
    ],
    [
      'a wildcard',
      withRules('senders: [{ id: a, ptr: ["*.a.example"] }]\n'),
      '2:26 error Write a.example: a domain stands for itself and all that is below it.',
    ],
    [
      'a bad name of a list',
      withRules('lists: { my-list: [a.example] }\n'),
      '2:10 error The name of a list consists of letters, digits and _, and begins with no digit.',
    ],
    [
      'a misspelt list of a sender',
      withRules('lists: { office: [192.0.2.0/24] }\nsenders: [{ id: a, ranges: [ofice] }]\n'),
      '3:29 error "ofice" is no address range and no name of a list. Did you mean "office"?',
    ],
    [
      'a list of another kind in a sender',
      withRules('lists: { office: [192.0.2.0/24] }\nsenders: [{ id: a, ptr: [office] }]\n'),
      '3:26 error The list "office" holds address ranges, but "ptr" takes domains.',
    ],
    [
      'a misspelt sender among the own',
      withRules('senders: [{ id: google, ptr: [google.com] }]\ndomains:\n  example.org: { own: [gogle] }\n'),
      '4:24 error There is no sender and no list "gogle". Did you mean "google"?',
    ],
    [
      'a domain twice',
      withRules('domains:\n  example.org: {}\n  Example.org: {}\n'),
      '4:3 error The domain example.org has an entry already.',
    ],
    [
      'an exclusion for everything by mistake',
      withRules('domains: { example.org: { exclude: [{ reason: x }] } }\n'),
      '2:37 error Say which records are meant with "when"; "true" means all.',
    ],
    [
      'an exclusion without a reason',
      withRules('domains: { example.org: { exclude: [{ when: passed }] } }\n'),
      '2:37 error The key "reason" is missing.',
    ],
    [
      'a day that is none',
      withRules('domains: { example.org: { exclude: [{ when: passed, reason: x, until: 2027-02-30 }] } }\n'),
      '2:71 error "2027-02-30" is no day such as 2027-01-31.',
    ],
    [
      'a condition on the last rule',
      'version: 1\nverdicts:\n  - { id: a, verdict: unknown, when: passed }\n',
      '3:38 error The last verdict rule decides all that is left: it takes no "when".',
    ],
    [
      'an alias for nothing',
      'version: 1\nverdicts: *nothing\n',
      '2:11 error There is no anchor "nothing" before this.',
    ],
  ])('%s', (_, yaml, problem) => {
    expect(problemsOf(yaml)).toContain(problem)
    expect(readRules(yaml).ruleSet).toBeNull()
  })

  test('all of them are listed, in the order of the text', () => {
    const yaml = `version: 1\nsenders: [{ id: a, kind: x }]\nverdicts:\n  - { id: a, verdict: good }\n`
    expect(readRules(yaml).problems.map(({ line }) => line)).toEqual([2, 4])
  })

  test('a byte order mark moves nothing', () => {
    expect(problemsOf('\ufeffversion: 2\nverdicts: [{ id: a, verdict: unknown }]')).toEqual([
      '1:10 error The only version there is, is 1.',
    ])
  })
})

describe('an error within a condition has its line and column', () => {
  const BAD = 'passed && sender_clas == "list"'
  const problem = 'error There is no name "sender_clas". Did you mean "sender_class"?'
  test.each<[style: string, when: string, place: string]>([
    ['plain', BAD, '5:21'],
    ['plain, over two lines', 'passed &&\n      sender_clas == "list"', '6:7'],
    ['in single quotes', `'"it''s" == p || ${BAD}'`, '5:38'],
    ['in double quotes', '"p == \\"\\u0041\\x41\\" && sender_clas == p"', '5:35'],
    ['in double quotes over two lines', '"passed &&\n        sender_clas == p"', '6:9'],
    ['literal', '|\n      passed &&\n        sender_clas == p', '7:9'],
    ['folded', '>-\n      passed &&\n      sender_clas == p', '7:7'],
  ])('%s', (_, when, place) => {
    expect(problemsOf(verdictRule(when))).toEqual([`${place} ${problem}`])
  })

  test.each<[when: string, column: number, message: string]>([
    ['passd', 11, 'There is no name "passd". Did you mean "passed"?'],
    ['passed &&', 20, 'The condition ends too early.'],
    ['(passed', 18, 'The condition ends too early.'],
    ['passed == 1', 11, 'No such overload: bool == int.'],
    ['count', 11, 'A condition must say true or false; this one is of type int.'],
    ['policy_domain.belw("a.example")', 25, 'There is no method "belw". Did you mean "below"?'],
    ['in_rnge(source_ip, "10.0.0.0/8")', 11, 'There is no function "in_rnge". Did you mean "in_range"?'],
    ['in_range(source_ip, "10.0.0/8")', 31, '"10.0.0/8" is no address range such as 192.0.2.0/24 or 2001:db8::/32.'],
    [
      'in_range(source_ip, ptr)',
      31,
      'The range of in_range must be written out, such as "192.0.2.0/24"; else use a list.',
    ],
    ['source_ip.in(lists.ofice)', 30, 'There is no list "ofice". Did you mean "office"?'],
    ['asn.in(lists.office)', 11, "Found no matching overload for 'int.in(AddressList)'."],
    ['source_ip.in(lists)', 24, 'Say which list: lists.NAME.'],
    [
      'source_ip in lists.office',
      11,
      'Whether something is in a list is asked with .in(), such as source_ip.in(lists.NAME).',
    ],
    [`${'('.repeat(99)}passed${')'.repeat(99)}`, 71, 'The condition is too long or too deeply nested; split it.'],
    ['source_ip.IN(lists.office)', 21, 'There is no method IN. Did you mean "in"?'],
    ['dkim_results.exists(r, r.domian == p)', 36, 'There is no member "domian". Did you mean "domain"?'],
    ['spf_results[0].selector == p', 26, 'There is no member "selector".'],
    [
      'dkim_results.exists(p, p.result == p)',
      31,
      '"p" is the name of something else; call the entry otherwise, such as "x".',
    ],
    ['dkim_results.exists(r, entry.result == p)', 34, 'There is no name "entry".'],
    ['ptr.matches("(a+)+$")', 23, 'A group in a pattern may not be repeated; only "?" may follow it.'],
    ['ptr.matches("a*b*c*d*")', 23, 'A pattern repeats at most 3 things without a bound (* and +).'],
    ['ptr.matches(p)', 23, 'A pattern must be written out in the condition.'],
    ['ptr.matches("(")', 23, 'Invalid regular expression: /(/: Unterminated group.'],
    ['b"x" == b"x"', 11, 'Conditions have no bytes and no unsigned numbers.'],
    ['timestamp(day) == timestamp(day)', 11, 'There is no function "timestamp".'],
  ])('%s', (when, column, message) => {
    const yaml = verdictRule(when).replace('verdicts', 'lists: { office: [10.0.0.0/8] }\nverdicts')
    expect(problemsOf(yaml)).toContain(`6:${column} error ${message}`)
  })

  test('the sender is not known where it is still to be named', () => {
    const yaml = withRules('senders: [{ id: a, ptr: [a.example], when: "!own" }]\n')
    expect(problemsOf(yaml)).toEqual([
      '2:46 error "own" is not known here: it follows from the sender, which this condition helps to name.',
    ])
  })

  test('lists may be gone through within each other twice, not three times', () => {
    const nested = (depth: number): string =>
      depth === 0 ? 'passed' : `overrides.exists(o${depth}, ${nested(depth - 1)})`
    expect(problemsOf(verdictRule(nested(2)))).toEqual([])
    expect(problemsOf(verdictRule(nested(3)))).toEqual(['5:63 error Not more than 2 lists within each other.'])
  })
})

describe('a warning', () => {
  test.each<[what: string, yaml: string, warning: string]>([
    [
      'a list that nothing uses',
      withRules('lists: { office: [10.0.0.0/8] }\n'),
      '2:10 warning Nothing uses the list "office".',
    ],
    [
      'a range with bits behind its prefix',
      withRules('senders: [{ id: a, ranges: [10.0.0.1/8] }]\n'),
      '2:29 warning 10.0.0.1/8 does not begin its range; 10.0.0.0/8 is taken instead.',
    ],
    [
      'a condition that is false',
      verdictRule('"false"'),
      '3:9 warning This can never match: its condition is never true.',
    ],
    [
      'a contradiction',
      verdictRule('passed && !passed'),
      '3:9 warning This can never match: its condition is never true.',
    ],
    [
      'two values at once',
      verdictRule('disposition == "none" && disposition == "reject"'),
      '3:9 warning This can never match: its condition is never true.',
    ],
    [
      'bounds without room',
      verdictRule('count > 10 && count < 5'),
      '3:9 warning This can never match: its condition is never true.',
    ],
    [
      'a sender without a sign',
      withRules('senders: [{ id: a, when: passed }]\n'),
      '2:17 warning The sender "a" can never match: it has no ptr, dkim, spf, asn or ranges.',
    ],
    [
      'a sender behind a wider one',
      withRules('senders: [{ id: a, ptr: [example.org] }, { id: b, ptr: [mail.example.org] }]\n'),
      '2:48 warning This can never match: "a", before it, matches all that it does.',
    ],
    [
      'a sender that there is none of',
      verdictRule('sender == "gogle"').replace('verdicts:', 'senders: [{ id: google, ptr: [google.com] }]\nverdicts:'),
      '6:21 warning No sender has the id "gogle". Did you mean "google"?',
    ],
    [
      'a class that there is none of',
      verdictRule('sender_class in ["lst"]'),
      '5:28 warning No sender is of class "lst". Did you mean "list"?',
    ],
    [
      'an exclusion that excludes nothing',
      withRules('domains: { example.org: { exclude: [{ when: "1 > 2", reason: x }] } }\n'),
      '2:37 warning This can never match: its condition is never true.',
    ],
  ])('%s', (_, yaml, warning) => {
    expect(problemsOf(yaml)).toContain(warning)
    expect(readRules(yaml).ruleSet).not.toBeNull()
  })

  test.each<[first: string, second: string]>([
    ['passed', 'passed'],
    ['passed', '(passed)'],
    ['passed || own', 'own'],
    ['passed', 'passed && own'],
    ['passed', 'dkim_aligned'],
    ['count > 100', 'count > 200'],
    ['count >= 100', 'count == 100'],
    ['ptr.below("example")', 'ptr.below("a.example") && own'],
    ['in_range(source_ip, "10.0.0.0/8")', 'in_range(source_ip, "10.1.0.0/16")'],
    ['org in ["a", "b"]', 'org == "b"'],
    ['org != "a"', '"b" == org'],
    ['passed || !own', '!(own && !passed)'],
    ['true', 'passed'],
  ])('after %j nothing is left for %j', (first, second) => {
    const rule = (id: string, when: string) => `  - { id: ${id}, verdict: spoofed, when: '${when}' }\n`
    const yaml = `version: 1\nverdicts:\n${rule('a', first)}${rule('b', second)}${LAST}`
    const always = first === 'true' ? ', which always matches' : ''
    expect(problemsOf(yaml)).toContain(
      `4:11 warning This can never match: all that it matches is decided before, by "a"${always}.`,
    )
  })

  test.each<[first: string, second: string]>([
    ['passed && own', 'passed'],
    ['count > 200', 'count > 100'],
    ['passed', 'own'],
    ['ptr.below("a.example")', 'ptr.below("example")'],
    ['dkim_aligned', 'passed'],
    ['org == "b"', 'org in ["a", "b"]'],
    ['org != "a"', 'org == "a"'],
  ])('after %j something is left for %j', (first, second) => {
    const rule = (id: string, when: string) => `  - { id: ${id}, verdict: spoofed, when: '${when}' }\n`
    expect(problemsOf(`version: 1\nverdicts:\n${rule('a', first)}${rule('b', second)}${LAST}`)).toEqual([])
  })
})

describe('a hostile file', () => {
  test('that is too large is refused before it is read', () => {
    expect(problemsOf('#'.repeat(1024 * 1024 + 1))).toEqual([
      '1:1 error A rule set has at most 1048576 bytes; this one has 1048577.',
    ])
  })

  test('that is nested too deeply is refused before it is parsed', () => {
    for (const deep of [
      '['.repeat(100_000),
      '{a: '.repeat(100_000),
      `a:\n${' '.repeat(2000)}b: 1`,
      `a:\n${'- '.repeat(5000)}`,
    ]) {
      expect(problemsOf(deep)[0]).toMatch(/error This is nested too deeply/)
    }
  })

  test('with a bomb of anchors is refused', () => {
    const levels = Array.from(
      { length: 12 },
      (_, i) => `a${i + 1}: &a${i + 1} [${Array(10).fill(`*a${i}`).join(', ')}]`,
    )
    const yaml = `a0: &a0 [${Array(10).fill('x').join(', ')}]\n${levels.join('\n')}\n`
    expect(problemsOf(yaml).join('\n')).toMatch(/The file is too large/)
  })

  test('an anchor for what stands in several places is fine', () => {
    const yaml = withRules('senders:\n  - { id: a, dkim: &own [a.example], spf: *own }\n')
    expect(readRules(yaml).ruleSet!.definition.senders[0]).toMatchObject({ dkim: ['a.example'], spf: ['a.example'] })
  })

  test('with names of what every object has is read as any other', () => {
    const yaml = withRules('lists: { constructor: [a.example] }\nsenders: [{ id: toString, ptr: [constructor] }]\n')
    expect(readRules(yaml).problems).toEqual([])
    expect(problemsOf(verdictRule('constructor == p'))).toEqual(['5:11 error There is no name "constructor".'])
    expect(problemsOf(verdictRule('p.toString() == p'))).toEqual([
      '5:13 error There is no method "toString". Did you mean "substring"?',
    ])
  })

  test('of any text ends in problems or a rule set, never in a throw', () => {
    const piece = fc.constantFrom(
      ...EXAMPLE.split(/(?<=[\s:,[\]{}])/),
      '\n',
      '"',
      "'",
      '|',
      '>',
      '&a',
      '*a',
      '!!x',
      '- ',
      '? ',
    )
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.array(piece).map((pieces) => pieces.join('')),
        ),
        (yaml) => {
          const { ruleSet, problems } = readRules(yaml)
          const hasErrors = problems.some(({ severity }) => severity === 'error')
          expect(ruleSet === null).toBe(hasErrors)
          for (const { line, column } of problems) expect(Math.min(line, column)).toBeGreaterThan(0)
        },
      ),
      { numRuns: 500 },
    )
  })
})
