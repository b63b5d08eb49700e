/** The diff of two generations as people read it. */
import { amount, tableLines } from './asking.ts'

export interface Transition {
  readonly domain: string | null
  readonly from_verdict: string | null
  readonly to_verdict: string | null
  readonly sender_from: string | null
  readonly sender_to: string | null
  readonly rule_from: string | null
  readonly rule_to: string | null
  readonly records: number
  readonly messages: number
  readonly examples: readonly { readonly record_id: string; readonly source_ip: string; readonly day: string }[]
}

export interface Diff {
  readonly from: string
  readonly to: string
  readonly from_rule_set: string | null
  readonly to_rule_set: string | null
  readonly records: number
  readonly messages: number
  readonly changed_records: number
  readonly changed_messages: number
  readonly transitions: readonly Transition[]
  readonly folded: { readonly transitions: number; readonly records: number; readonly messages: number } | null
  readonly next_cursor: string | null
}

/** Rows shown of each table. */
const ROWS = 20

interface Sum {
  readonly cells: readonly string[]
  records: number
  messages: number
}

/** Lines without control characters. */
export function diffLines(diff: Diff): string[] {
  const head = `${diff.from} → ${diff.to}: ${amount(diff.changed_messages)} of ${amount(diff.messages)} messages changed`
  const records = `(${amount(diff.changed_records)} of ${amount(diff.records)} records).`
  if (diff.changed_records === 0)
    return [`${diff.from} → ${diff.to}: nothing changed in ${amount(diff.records)} records.`]
  const senders = ({ sender_from, sender_to }: Transition) =>
    sender_from === sender_to ? (sender_to ?? '-') : arrow(sender_from, sender_to)
  return [
    `${head} ${records}`,
    '',
    ...sums(['verdict'], diff.transitions, (one) => [arrow(one.from_verdict, one.to_verdict)]),
    '',
    ...sums(['domain', 'verdict'], diff.transitions, (one) => [
      one.domain ?? '(others)',
      arrow(one.from_verdict, one.to_verdict),
    ]),
    '',
    ...sums(['sender', 'verdict'], diff.transitions, (one) => [senders(one), arrow(one.from_verdict, one.to_verdict)]),
    '',
    ...exampleLines(diff.transitions),
    ...(diff.folded === null
      ? []
      : [`${amount(diff.folded.transitions)} small transitions are summed up as (others), without their senders.`]),
  ]
}

function arrow(from: string | null, to: string | null): string {
  return from === to ? `${from ?? '-'} (same)` : `${from ?? '-'} → ${to ?? '-'}`
}

function sums(
  head: readonly string[],
  transitions: readonly Transition[],
  cellsOf: (transition: Transition) => readonly string[],
): string[] {
  const groups = new Map<string, Sum>()
  for (const transition of transitions) {
    const cells = cellsOf(transition)
    const sum = groups.get(cells.join('\t')) ?? { cells, records: 0, messages: 0 }
    sum.records += transition.records
    sum.messages += transition.messages
    groups.set(cells.join('\t'), sum)
  }
  const sorted = [...groups.values()].sort((a, b) => b.messages - a.messages || b.records - a.records)
  const rows = sorted
    .slice(0, ROWS)
    .map(({ cells, records, messages }) => [...cells, amount(messages), amount(records)])
  const right = [head.length, head.length + 1]
  return [...tableLines([...head, 'messages', 'records'], rows, right), ...more(sorted.length)]
}

function more(count: number): string[] {
  return count > ROWS ? [`… and ${amount(count - ROWS)} more; --format json shows all.`] : []
}

function exampleLines(transitions: readonly Transition[]): string[] {
  const rows = transitions
    .slice(0, ROWS)
    .flatMap((one) =>
      one.examples
        .slice(0, 1)
        .map(({ source_ip, day }) => [
          one.domain ?? '(others)',
          source_ip,
          day,
          arrow(one.from_verdict, one.to_verdict),
          arrow(one.rule_from, one.rule_to),
        ]),
    )
  return tableLines(['domain', 'for example', 'day', 'verdict', 'rule'], rows, [])
}
