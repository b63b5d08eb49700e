import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ConditionReader, type RecordView } from '../../rules/cel.ts'
import { type Condition, Conditions, isCondition } from '../../rules/condition.ts'
import { binaryOperators, type Expression, printExpression } from '../../rules/expression.ts'
import { Reach } from '../../rules/reachability.ts'
import { readsMember } from '../../rules/result-members.ts'

const conditions = new Conditions({
  office: { kind: 'ranges', values: ['192.0.2.0/24', '2001:db8:1::/48'] },
  partners: { kind: 'domains', values: ['partner.example', 'a.friend.example'] },
  clouds: { kind: 'asns', values: ['AS64496', 'AS64500'] },
})

function read(text: string): Condition {
  const condition = conditions.read(text)
  if (isCondition(condition)) return condition
  throw new Error(JSON.stringify(condition))
}
const view = (record: Partial<RecordView>) => ({ ...record, lists: conditions.reader.lists }) as RecordView
const holds = (text: string, record: Partial<RecordView>) => read(text).holds(view(record))

describe('lists and ranges', () => {
  test.each([
    ['192.0.2.255', true],
    ['192.0.3.0', false],
    ['2001:db8:1::7', true],
    ['2001:db8:2::7', false],
    ['64.x.x.x', false],
    ['', false],
  ])('source_ip %j is in the list of ranges: %s', (source_ip, expected) => {
    expect(holds('source_ip.in(lists.office)', { source_ip })).toBe(expected)
    expect(holds('source_ip . in ( lists.office )', { source_ip })).toBe(expected)
    expect(holds('!source_ip.in(lists.office)', { source_ip })).toBe(!expected)
  })

  test.each([
    ['partner.example', true],
    ['mail.partner.example', true],
    ['badpartner.example', false],
    ['partner.example.org', false],
    ['friend.example', false],
    ['', false],
  ])('ptr %j is in the list of domains: %s', (ptr, expected) => {
    expect(holds('ptr.in(lists.partners)', { ptr })).toBe(expected)
  })

  test('an AS number is in the list of AS numbers', () => {
    expect(holds('asn.in(lists.clouds)', { asn: 64496n })).toBe(true)
    expect(holds('asn.in(lists.clouds)', { asn: 64497n })).toBe(false)
  })

  test.each([
    ['192.0.2.0/24', '192.0.2.9', true],
    ['192.0.2.0/24', '192.0.3.9', false],
    ['192.0.2.0/24', '::ffff:192.0.2.9', true],
    ['2001:db8::/32', '2001:db8::1', true],
    ['2001:db8::/32', '192.0.2.9', false],
    ['0.0.0.0/0', '64.x.x.x', false],
  ])('in_range %s %s: %s', (range, source_ip, expected) => {
    expect(holds(`in_range(source_ip, "${range}")`, { source_ip })).toBe(expected)
  })

  test.each([
    ['example.org', 'example.org', true],
    ['a.b.example.org', 'example.org', true],
    ['notexample.org', 'example.org', false],
    ['example.org', 'a.example.org', false],
    ['', 'example.org', false],
    ['example.org', '', false],
  ])('%j.below(%j): %s', (name, domain, expected) => {
    expect(holds('header_from.below(policy_domain)', { header_from: name, policy_domain: domain })).toBe(expected)
  })

  test('a text that looks like a call of in is left alone', () => {
    expect(holds('org == "a.in(b)" || org == \'x.in(y)\' // z.in(lists.nothing)', { org: 'x.in(y)' })).toBe(true)
    expect(holds('org == """a.in(b)"""', { org: 'a.in(b)' })).toBe(true)
  })
})

describe('what fails at run time', () => {
  test('counts as false', () => {
    expect(holds('overrides[0] == "arc"', { overrides: [] })).toBe(false)
    expect(holds('overrides[0] == "arc"', { overrides: ['arc'] })).toBe(true)
    expect(holds('int(org) > 5', { org: 'seven' })).toBe(false)
    expect(holds('10 / count == 5', { count: 0n })).toBe(false)
  })

  test('does not matter where the rest decides, as CEL says', () => {
    expect(holds('overrides[0] == "arc" || passed', { overrides: [], passed: true })).toBe(true)
    expect(holds('!(overrides[0] == "arc" && passed)', { overrides: [], passed: false })).toBe(true)
  })
})

test('a condition says what it reads, names of entries not among it', () => {
  const { reads, lists } = read('passed && dkim_results.exists(r, r.domain.in(lists.partners) && r.result == sender)')
  expect([...reads].sort()).toEqual(['dkim_results', 'passed', 'sender'])
  expect([...lists]).toEqual(['partners'])
})

test.each([
  ['size(dkim_results) == 0', false],
  ['dkim_results.size() > 1 && passed', false],
  ['dkim_results.exists(r, r.result == "pass" && policy_domain.below(r.domain))', false],
  ['dkim_results.exists(r, spf_results.exists(s, s.domain == r.domain))', false],
  ['dkim_results.exists(r, r.selector == "s1")', true],
  ['dkim_results.exists(r, r["selector"] == "s1")', true],
  ['dkim_results.exists(r, size([r]) == 1)', true],
  ['dkim_results[0].domain == p', true],
  ['dkim_results.filter(r, r.result == "fail").exists(r, r.selector == p)', true],
  ['dkim_results.map(r, r.domain) == ["a"]', true],
  ['spf_results.exists(s, dkim_results.all(r, r.selector == s.domain))', true],
])('%s can tell selectors apart: %s', (text, expected) => {
  expect(readsMember(read(text).expression, 'dkim_results', 'selector')).toBe(expected)
})

describe('the canonical text', () => {
  test.each([
    ["( ( passed ) )&&own||'x'==p", 'passed && own || "x" == p'],
    ['passed && (own && observed)', 'passed && own && observed'],
    ['passed && (own || observed)', 'passed && (own || observed)'],
    ['!(passed && own)', '!(passed && own)'],
    ['count-(count-1)>2', 'count - (count - 1) > 2'],
    ['count-count-1>2', 'count - count - 1 > 2'],
    ['(passed?own:observed)?passed:own', '(passed ? own : observed) ? passed : own'],
    ['passed?own:observed?passed:own', 'passed ? own : observed ? passed : own'],
    ['count > 1e3', 'count > 1000.0'],
    ['count>0x10', 'count > 16'],
    ['count > -5', 'count > -5'],
    ['p == r"a\\b"', 'p == "a\\\\b"'],
    ['source_ip  .in( lists . office )', 'source_ip.in(lists.office)'],
    ['"\\u00e4\\n" == p', '"ä\\n" == p'],
    ['spf_results [ 0 ] [ "domain" ] == p', 'spf_results[0]["domain"] == p'],
  ])('of %s is %s', (text, canonical) => {
    expect(read(text).text).toBe(canonical)
    expect(read(canonical).text).toBe(canonical)
  })

  test('of any expression reads as the same expression again', () => {
    const { expression } = fc.letrec<{ expression: Expression }>((tie) => ({
      expression: fc.oneof(
        { maxDepth: 5, depthIdentifier: 'expression' },
        fc.constantFrom('passed', 'ptr', 'count').map((name): Expression => ({ op: 'name', at: 0, name })),
        fc
          .oneof(
            fc.string(),
            fc.string({ unit: 'grapheme' }),
            fc.bigInt({ min: 0n, max: 2n ** 63n - 1n }),
            fc.double({ noNaN: true, noDefaultInfinity: true, min: 0 }).map((value) => value + 0),
            fc.boolean(),
          )
          .map((value): Expression => ({ op: 'value', at: 0, value })),
        fc.record({
          op: fc.constant('binary' as const),
          at: fc.constant(0),
          operator: fc.constantFrom(...binaryOperators),
          left: tie('expression'),
          right: tie('expression'),
        }),
        fc.record({
          op: fc.constantFrom('not' as const, 'negative' as const),
          at: fc.constant(0),
          of: tie('expression'),
        }),
        fc.record({
          op: fc.constant('choice' as const),
          at: fc.constant(0),
          condition: tie('expression'),
          yes: tie('expression'),
          no: tie('expression'),
        }),
        fc.record({
          op: fc.constant('member' as const),
          at: fc.constant(0),
          of: tie('expression'),
          name: fc.constant('domain'),
        }),
        fc.record({
          op: fc.constant('index' as const),
          at: fc.constant(0),
          of: tie('expression'),
          index: tie('expression'),
        }),
        fc.record({
          op: fc.constant('method' as const),
          at: fc.constant(0),
          on: tie('expression'),
          name: fc.constantFrom('in', 'below'),
          args: fc.tuple(tie('expression')),
        }),
        fc.record({
          op: fc.constant('list' as const),
          at: fc.constant(0),
          items: fc.array(tie('expression'), { maxLength: 3 }),
        }),
      ),
    }))
    const reader = new ConditionReader(new Map())
    const withoutPlaces = (value: unknown): unknown =>
      JSON.parse(
        JSON.stringify(value, (key, member) => (key === 'at' ? 0 : typeof member === 'bigint' ? `${member}n` : member)),
      )
    /** `a && (b && c)` is written, and read, as `(a && b) && c`. */
    const leftward = (value: Expression): Expression => {
      if (value.op !== 'binary' || (value.operator !== '&&' && value.operator !== '||')) return value
      const { right } = value
      if (right.op !== 'binary' || right.operator !== value.operator) return value
      return leftward({ ...value, left: leftward({ ...value, right: right.left }), right: right.right })
    }
    const normal = (value: unknown): unknown => {
      if (typeof value !== 'object' || value === null) return value
      if (Array.isArray(value)) return value.map(normal)
      const members = Object.fromEntries(Object.entries(value).map(([key, member]) => [key, normal(member)]))
      return leftward(members as Expression)
    }
    fc.assert(
      fc.property(expression, (tree) => {
        const text = printExpression(tree)
        const read = reader.parse(text).expression
        expect(printExpression(read)).toBe(text)
        expect(withoutPlaces(normal(read))).toEqual(withoutPlaces(normal(tree)))
      }),
      { numRuns: 1000 },
    )
  })
})

describe('reachability', () => {
  /** Conditions of a few facts that have much to do with each other, and records that know these facts. */
  const facts = [
    'passed',
    'dkim_aligned',
    'own',
    'count > 10',
    'count >= 10',
    'count < 10',
    'count <= 5',
    'count == 7',
    'count != 10',
    '5 < count',
    'org == "a"',
    'org != "b"',
    'org in ["a", "b"]',
    'org in []',
    'ptr.below("example")',
    'ptr.below("a.example")',
    'ptr == "x.a.example"',
    'in_range(source_ip, "10.0.0.0/8")',
    'in_range(source_ip, "10.1.0.0/16")',
    'in_range(source_ip, "11.0.0.0/8")',
    'overrides[0] == "arc"',
    'true',
    'false',
  ]
  const condition = fc.letrec<{ condition: string }>((tie) => ({
    condition: fc.oneof(
      { maxDepth: 3 },
      fc.constantFrom(...facts),
      tie('condition').map((one) => `!(${one})`),
      fc.tuple(tie('condition'), tie('condition')).map(([a, b]) => `(${a}) && (${b})`),
      fc.tuple(tie('condition'), tie('condition')).map(([a, b]) => `(${a}) || (${b})`),
    ),
  })).condition
  const record = fc
    .record({
      dkim_aligned: fc.boolean(),
      spf_aligned: fc.boolean(),
      own: fc.boolean(),
      count: fc.constantFrom(0n, 5n, 6n, 7n, 9n, 10n, 11n),
      org: fc.constantFrom('', 'a', 'b', 'c'),
      ptr: fc.constantFrom('', 'example', 'a.example', 'x.a.example', 'b.example', 'other'),
      source_ip: fc.constantFrom('10.0.0.1', '10.1.0.1', '11.0.0.1', '2001:db8::1', 'x'),
      overrides: fc.constantFrom([], ['arc'], ['forwarded']),
    })
    .map((one) => ({ ...one, passed: one.dkim_aligned || one.spf_aligned }))

  test('what is said never to match never does', () => {
    let never = 0
    let covered = 0
    fc.assert(
      fc.property(
        fc.array(condition, { minLength: 1, maxLength: 4 }),
        fc.array(record, { minLength: 20, maxLength: 20 }),
        (texts, records) => {
          const read_ = texts.map(read)
          const reaches = read_.map(({ expression }) => new Reach(expression))
          for (const [i, one] of read_.entries()) {
            const by = reaches[i]!.coveredBy(reaches.slice(0, i), { left: 1e6 })
            if (reaches[i]!.isNever) never++
            else if (by >= 0) covered++
            for (const each of records) {
              const matches = one.holds(view(each))
              if (reaches[i]!.isNever) expect(matches).toBe(false)
              if (reaches[i]!.isAlways) expect(matches).toBe(true)
              if (by >= 0 && matches)
                expect(read_.slice(0, by + 1).some((earlier) => earlier.holds(view(each)))).toBe(true)
            }
          }
        },
      ),
      { numRuns: 1500 },
    )
    // Both must have been tried to be proven.
    expect(never).toBeGreaterThan(50)
    expect(covered).toBeGreaterThan(50)
  })
})
