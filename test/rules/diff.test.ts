import fc from 'fast-check'
import { expect, test } from 'vitest'
import { diffRuleSets } from '../../rules/diff.ts'
import { readRules } from '../../rules/read.ts'

const BEFORE = `version: 1
name: before
lists: { office: [192.0.2.0/24], gone: [a.example] }
senders:
  - { id: a, ptr: [a.example] }
  - { id: b, ptr: [b.example, gone] }
  - { id: c, ptr: [c.example] }
domains:
  example.org: { own: [a], exclude: [{ when: passed, reason: printer }] }
verdicts:
  - { id: own, verdict: misconfigured, when: own }
  - { id: rest, verdict: unknown }
`
const AFTER = `version: 1
name: after
lists: { office: [192.0.2.0/24, 203.0.113.0/24] }
senders:
  - { id: c, ptr: [c.example] }
  - { id: a, ptr: [a.example], class: own }
  - { id: b, ptr: [b.example] }
  - { id: d, dkim: [d.example] }
domains:
  example.org: { own: [a, office] }
  example.net: {}
verdicts:
  - { id: own, verdict: misconfigured, when: own && !passed }
  - { id: rest, verdict: unknown }
`
const ruleSetOf = (yaml: string) => readRules(yaml).ruleSet!
const describeDiff = (before: string, after: string) =>
  diffRuleSets(ruleSetOf(before), ruleSetOf(after)).map(({ description }) => description)

test('says in a line each what was added, removed, changed and moved', () => {
  expect(describeDiff(BEFORE, AFTER)).toEqual([
    'The name changed from "before" to "after".',
    'No list "gone" any more.',
    'The list "office" changed: values now with 203.0.113.0/24.',
    'The sender "a" changed: class was other, is own.',
    'The sender "b" changed: ptr without gone.',
    'New sender "d".',
    'The sender "c" moved; it now stands at the beginning.',
    'New domain "example.net".',
    'The domain "example.org" changed: own now with office; exclude without "printer" (passed).',
    'The verdict rule "own" changed: when was own, is own && !passed.',
  ])
})

test('gives the same as data', () => {
  expect(
    diffRuleSets(ruleSetOf(BEFORE), ruleSetOf(AFTER)).map(({ part, change, id }) => `${change} ${part} ${id}`),
  ).toEqual([
    'changed name ',
    'removed list gone',
    'changed list office',
    'changed sender a',
    'changed sender b',
    'added sender d',
    'changed sender c',
    'added domain example.net',
    'changed domain example.org',
    'changed verdict_rule own',
  ])
})

test('nothing changed: nothing is said, however it is written', () => {
  expect(describeDiff(BEFORE, BEFORE)).toEqual([])
  expect(describeDiff(BEFORE, BEFORE.replace('[b.example, gone]', '[gone, "B.example."]'))).toEqual([])
})

test('one that was put elsewhere is the only one that moved', () => {
  const rules = (ids: readonly string[]) =>
    `version: 1\nsenders: [${ids.map((id) => `{ id: ${id}, ptr: [${id}.example] }`).join(', ')}]\nverdicts: [{ id: rest, verdict: unknown }]\n`
  const ids = ['a', 'b', 'c', 'd', 'e', 'f']
  fc.assert(
    fc.property(fc.nat(5), fc.nat(5), (from, to) => {
      const moved = ids.toSpliced(from, 1).toSpliced(to, 0, ids[from]!)
      const changes = diffRuleSets(ruleSetOf(rules(ids)), ruleSetOf(rules(moved)))
      // Neighbours that change places: either of them may be the one that moved.
      const either = Math.abs(from - to) === 1 ? [ids[from], ids[to]] : [ids[from]]
      expect(changes.length).toBe(from === to ? 0 : 1)
      for (const { id } of changes) expect(either).toContain(id)
    }),
  )
})
