import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { DEFAULT_RULES } from '../../rules/default-rules.ts'
import { editRules, type RuleDecision } from '../../rules/edit.ts'
import { readRules } from '../../rules/read.ts'

const RULES = `# the rules of example.org
version: 1
name: ours   # who else's
lists:
  office: [192.0.2.0/24]

senders:
  # big
  - id: google
    name: Google
    class: service
    ptr: [google.com] # and nothing else
  - id: letters
    dkim: [letters.example]

domains:
  # us
  Example.org:
    own: [office, google]
    exclude:
      - { when: 'source_ip == "198.51.100.7"', reason: old printer, until: 2027-01-31 }

# what it means
verdicts:
  - { id: authenticated, verdict: authenticated, when: passed }
  - { id: unknown, verdict: unknown }
`

/** The rule set after the decisions, read again. */
function after(decisions: readonly Partial<RuleDecision>[], domain = 'example.org', rules = RULES) {
  const all = decisions.map((one) => ({ source: '203.0.113.9', as: 'own', reason: 'because', ...one }) as RuleDecision)
  const edited = editRules(rules, domain, all)
  if (!edited.ok) throw new Error(edited.message)
  const { ruleSet, problems } = readRules(edited.yaml)
  expect(problems.filter(({ severity }) => severity === 'error')).toEqual([])
  return { yaml: edited.yaml, ...ruleSet!.definition }
}

function refused(decision: Partial<RuleDecision>, rules = RULES, domain = 'example.org'): string {
  const edited = editRules(rules, domain, [{ source: '203.0.113.9', as: 'own', reason: 'because', ...decision }])
  expect(edited.ok).toBe(false)
  return edited.ok ? '' : edited.message
}

describe('what is the domain’s own', () => {
  test('an address, a range or a sender is listed', () => {
    const { domains } = after([{ source: '203.0.113.9' }, { source: '2001:DB8::/32' }, { source: 'letters' }])
    expect(domains['example.org']!.own).toEqual(['2001:db8::/32', '203.0.113.9/32', 'google', 'letters', 'office'])
  })

  test('a network or a domain of machines becomes a sender first', () => {
    const { domains, senders } = after([{ source: 'as64496' }, { source: 'mx.shop.example', sender: 'shop' }])
    expect(domains['example.org']!.own).toEqual(['google', 'office', 'own-as64496', 'shop'])
    expect(senders.slice(0, 2)).toMatchObject([
      { id: 'shop', class: 'own', ptr: ['mx.shop.example'] },
      { id: 'own-as64496', class: 'own', asn: ['AS64496'] },
    ])
  })

  test('what is listed already is not listed twice', () => {
    const { yaml } = after([{ source: 'google' }, { source: '203.0.113.9' }, { source: '203.0.113.9/32' }])
    expect(yaml.match(/203\.0\.113\.9/g)).toHaveLength(1)
    expect(yaml.match(/\bgoogle\b(?!\.)/g)).toHaveLength(2)
  })

  test('a subdomain without an entry takes over what the domain above it says', () => {
    const { domains } = after([{}], 'shop.example.org')
    expect(domains['shop.example.org']).toEqual({
      own: ['203.0.113.9/32', 'google', 'office'],
      exclude: domains['example.org']!.exclude,
    })
    expect(domains['example.org']!.own).toEqual(['google', 'office'])
  })

  test('a domain that nothing is said of gets an entry', () => {
    const { domains } = after([{}], 'other.example')
    expect(domains['other.example']).toEqual({ own: ['203.0.113.9/32'], exclude: [] })
  })
})

describe('senders and forwarders', () => {
  test('a source goes to the sender that is named, by what it is', () => {
    const { senders } = after([
      { as: 'sender', sender: 'google', source: '203.0.113.0/24' },
      { as: 'sender', sender: 'google', source: 'AS64497' },
      { as: 'sender', sender: 'letters', source: 'out.letters.example' },
    ])
    expect(senders).toMatchObject([
      { id: 'google', ptr: ['google.com'], ranges: ['203.0.113.0/24'], asn: ['AS64497'] },
      { id: 'letters', ptr: ['out.letters.example'], dkim: ['letters.example'] },
    ])
  })

  test('a new one stands before the others, whose first match would win', () => {
    const { senders } = after([
      { as: 'sender', sender: 'shop' },
      { as: 'forwarder', source: 'alumni.example' },
    ])
    expect(senders.map(({ id, class: itsClass }) => [id, itsClass])).toEqual([
      ['forwarder-alumni-example', 'forwarder'],
      ['shop', 'service'],
      ['google', 'service'],
      ['letters', 'other'],
    ])
  })

  test('a sender can be said to be a forwarder', () => {
    expect(after([{ as: 'forwarder', source: 'letters' }]).senders[1]).toMatchObject({
      id: 'letters',
      class: 'forwarder',
    })
  })
})

describe('exclusions', () => {
  test.each([
    ['198.51.100.9', 'in_range(source_ip, "198.51.100.9/32")'],
    ['2001:db8::/32', 'in_range(source_ip, "2001:db8::/32")'],
    ['AS64496', 'asn == 64496'],
    ['printers.example', 'ptr.below("printers.example")'],
    ['google', 'sender == "google"'],
  ])('%s is left out by %s', (source, when) => {
    const { domains, yaml } = after([{ as: 'exclude', source, reason: 'it: "known"', until: '2027-06-30' }])
    expect(yaml).toContain(when)
    expect(domains['example.org']!.exclude).toHaveLength(2)
    expect(domains['example.org']!.exclude[1]).toMatchObject({ reason: 'it: "known"', until: '2027-06-30' })
  })

  test('one that is decided again takes the place of the first', () => {
    const { domains } = after([
      { as: 'exclude', reason: 'a', until: '2026-12-31' },
      { as: 'exclude', reason: 'b' },
    ])
    expect(domains['example.org']!.exclude.slice(1)).toMatchObject([{ reason: 'b', until: null }])
  })
})

describe('the file', () => {
  test('keeps its comments, and the reason becomes one', () => {
    const { yaml } = after([
      { reason: 'new shop,\nsince May' },
      { as: 'sender', sender: 'shop', source: 'AS64496', reason: 'theirs' },
    ])
    for (const comment of [
      '# the rules of example.org',
      "# who else's",
      '# big',
      '# and nothing else',
      '# us',
      '# what it means',
    ])
      expect(yaml).toContain(comment)
    expect(yaml).toContain('203.0.113.9/32 # new shop, since May')
    expect(yaml).toMatch(/# theirs\n +- id: shop/)
    expect(yaml).toMatch(/# big\n +- id: google/)
  })

  test('changes nowhere else', () => {
    const { yaml } = after([{ as: 'exclude' }])
    const plain = (text: string) => text.split('\n').map((line) => line.replace(/ +#/, ' #'))
    const lines = plain(yaml)
    expect(plain(RULES).filter((line) => !lines.includes(line))).toEqual([])
    expect(lines.filter((line) => !plain(RULES).includes(line)).map((line) => line.trim())).toEqual([
      '- when: in_range(source_ip, "203.0.113.9/32")',
      'reason: because',
    ])
  })

  test('an alias is followed, and what it stands for stays', () => {
    const rules = `version: 1
senders:
  - { id: a, ptr: &names [a.example] }
  - { id: b, ptr: *names }
domains:
  a.example: { own: &own [a] }
  b.example: { own: *own }
verdicts: [{ id: unknown, verdict: unknown }]
`
    const { senders, domains } = after(
      [{ as: 'sender', sender: 'b', source: 'b.example' }, { source: 'b' }],
      'b.example',
      rules,
    )
    expect(senders.map(({ ptr }) => ptr)).toEqual([['a.example'], ['a.example', 'b.example']])
    expect(domains).toMatchObject({ 'a.example': { own: ['a'] }, 'b.example': { own: ['a', 'b'] } })
  })

  test('may have no senders and no domains yet', () => {
    const rules = 'version: 1\nverdicts:\n  - { id: unknown, verdict: unknown }\n'
    const { senders, domains } = after(
      [{ as: 'forwarder' }, { source: 'forwarder-203-0-113-9-32' }],
      'a.example',
      rules,
    )
    expect(senders).toMatchObject([{ id: 'forwarder-203-0-113-9-32', ranges: ['203.0.113.9/32'] }])
    expect(domains['a.example']!.own).toEqual(['forwarder-203-0-113-9-32'])
  })

  test('that cannot be read is not edited', () => {
    expect(refused({}, 'a: [')).toMatch(/^The rule file cannot be edited/)
    expect(refused({}, '- a')).toMatch(/cannot be edited/)
  })
})

describe('decisions that are refused', () => {
  test.each<[Partial<RuleDecision>, string]>([
    [{ source: 'gogle' }, 'There is no sender "gogle"'],
    [{ source: '203.0.113.999' }, 'There is no sender'],
    [{ as: 'sender' }, 'Name the sender'],
    [{ as: 'sender', source: 'google', sender: 'letters' }, 'google is a sender already'],
    [{ as: 'forwarder', sender: 'google' }, 'google is of class service'],
    [{ as: 'exclude', sender: 'google' }, '"sender" does not go with "exclude"'],
    [{ until: '2027-01-01' }, '"until" goes with "exclude" only'],
    [{ reason: ' ' }, 'Say the reason'],
  ])('%j: %s', (decision, words) => {
    expect(refused(decision)).toContain(words)
  })
})

test('whatever is decided over the shipped rules, the outcome is a rule set without errors', () => {
  const source = fc.oneof(
    fc.ipV4(),
    fc.ipV6(),
    fc.domain(),
    fc.integer({ min: 1, max: 400_000 }).map((asn) => `AS${asn}`),
    fc.constantFrom('google-groups', 'amazon-ses'),
  )
  const decision = fc.record(
    {
      source,
      as: fc.constantFrom('own', 'sender', 'forwarder', 'exclude'),
      sender: fc.constantFrom('new-one', 'google-groups', 'amazon-ses'),
      until: fc.constant('2027-01-31'),
      reason: fc.string({ unit: 'binary', minLength: 1, maxLength: 40 }),
    },
    { requiredKeys: ['source', 'as', 'reason'] },
  )
  fc.assert(
    fc.property(fc.domain(), fc.array(decision, { minLength: 1, maxLength: 3 }), (domain, decisions) => {
      const edited = editRules(DEFAULT_RULES, domain, decisions as RuleDecision[])
      if (!edited.ok) return
      const errors = readRules(edited.yaml).problems.filter(({ severity }) => severity === 'error')
      expect(errors).toEqual([])
    }),
    { numRuns: 40 },
  )
})
