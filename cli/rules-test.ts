/** `rules test FILE --domain D`: verdicts of a sample under the live rules and under others. */
import { amount, readRuleFile, sendRules, tableLines, wantsJson, writeJson, writeLine } from './asking.ts'
import { type Arguments, type Context, exitCode, UsageError } from './command.ts'
import { withServer } from './with-server.ts'

interface Judgement {
  readonly sender: string | null
  readonly verdict: string
  readonly rule: string
}

interface Answer {
  readonly id: string
  readonly records: number
  readonly messages: number
  readonly items: readonly {
    readonly source_ip: string
    readonly day: string
    readonly ptr: string | null
    readonly messages: number
    readonly live: Judgement | null
    readonly new: Judgement
  }[]
  readonly transitions: readonly {
    readonly from_verdict: string | null
    readonly to_verdict: string
    readonly records: number
    readonly messages: number
  }[]
}

/** Takes the options domain, from, to, limit, server and format. */
export async function testRules(path: string, args: Arguments, context: Context): Promise<number> {
  const domain = args.text('domain')
  if (domain === undefined) throw new UsageError('Name the domain: rules test FILE --domain DOMAIN.')
  const json = wantsJson(args)
  readRuleFile(path) // a file that is not there is said before anything is opened
  const query = new URLSearchParams({ domain })
  for (const name of ['from', 'to', 'limit']) {
    const value = args.text(name)
    if (value !== undefined) query.set(name, value)
  }
  const answer = await withServer(args, context, (server) =>
    sendRules<Answer>(server, `/rule-sets/test?${query}`, path),
  )
  if (json) writeJson(context, answer)
  else writeAnswer(answer, domain, context)
  return exitCode.fine
}

function writeAnswer({ records, messages, items, transitions }: Answer, domain: string, context: Context): void {
  if (records === 0) {
    writeLine(context, `There are no records of ${domain} in these days; see --from and --to.`)
    return
  }
  writeLine(
    context,
    `${amount(records)} ${records === 1 ? 'record' : 'records'} of ${domain}, ${amount(messages)} ${messages === 1 ? 'message' : 'messages'}:`,
  )
  const sums = transitions.map(({ from_verdict, to_verdict, ...sum }) => [
    from_verdict ?? '-',
    to_verdict,
    amount(sum.messages),
    amount(sum.records),
  ])
  const rows = items.map((item) => [
    item.source_ip,
    item.ptr ?? '-',
    amount(item.messages),
    shown(item.live),
    shown(item.new),
  ])
  const lines = [
    ...tableLines(['live', 'new', 'messages', 'records'], sums, [2, 3]),
    '',
    ...tableLines(
      ['source', 'name', 'messages', 'live: verdict, sender, rule', 'new: verdict, sender, rule'],
      rows,
      [2],
    ),
  ]
  context.stdout.write(`${lines.join('\n')}\n`)
}

function shown(judged: Judgement | null): string {
  return judged === null ? '-' : `${judged.verdict}, ${judged.sender ?? '-'}, ${judged.rule}`
}
