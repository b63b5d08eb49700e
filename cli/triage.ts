import { allItems, amount, formatOption, serverOption, tableLines, wantsJson, writeJson, writeLine } from './asking.ts'
import { type Arguments, type Command, type Context, exitCode, UsageError } from './command.ts'
import type { ServerClient } from './server-client.ts'
import { withServer } from './with-server.ts'

interface TriageItem {
  readonly sender: string | null
  /** As `--decide` takes it. */
  readonly source: string
  readonly ptr: string | null
  readonly verdict: string
  readonly messages: number
  readonly first_day: string
  readonly last_day: string
  readonly why: string
  readonly suggestions: readonly { readonly as: string }[]
}

export const triage: Command = {
  name: 'triage',
  usage: 'triage DOMAIN [--since DAY] [--decide SOURCE=DECISION --reason TEXT]',
  about:
    'Sources of mail in the name of a domain that need a decision: new, unexplained, or misconfigured.\n' +
    '--decide writes a decision into a draft rule set, which changes no answer until it is replayed and promoted.\n' +
    'SOURCE is an address, a range, AS64496, a domain that the machines are named below, or the id of a sender.\n' +
    'DECISION is own, sender:ID (a known service), forwarder or forwarder:ID, or exclude, or exclude:DAY.',
  options: {
    server: serverOption,
    since: { type: 'string', value: 'DAY', about: 'sources since this day, YYYY-MM-DD' },
    decide: { type: 'string', value: 'SOURCE=DECISION', about: 'decide about a source' },
    reason: { type: 'string', value: 'TEXT', about: 'why; kept with the decision' },
    base: { type: 'string', value: 'RULE-SET', about: 'rule set to add the decision to (default: the live one)' },
    format: formatOption,
  },
  example: "mailtrail triage example.org --decide '192.0.2.0/24=own' --reason 'the new shop'",

  async run(args, context) {
    const [domain, ...more] = args.positionals
    if (domain === undefined || more.length > 0) throw new UsageError('Name one domain: triage DOMAIN.')
    const json = wantsJson(args)
    const given = args.text('decide')
    if (given === undefined) {
      for (const name of ['reason', 'base'])
        if (args.text(name) !== undefined) throw new UsageError(`--${name} goes with --decide.`)
      await withServer(args, context, (server) => list(server, domain, args, context, json))
    } else {
      const decision = decisionOf(given, args.text('reason'))
      await withServer(args, context, (server) => decide(server, domain, decision, args, context, json))
    }
    return exitCode.fine
  },
}

async function list(
  server: ServerClient,
  domain: string,
  args: Arguments,
  context: Context,
  json: boolean,
): Promise<void> {
  const since = args.text('since')
  const query = since === undefined ? '' : `?since=${encodeURIComponent(since)}`
  const items = await allItems<TriageItem>(server, `/domains/${encodeURIComponent(domain)}/triage${query}`)
  if (json) return writeJson(context, items)
  if (items.length === 0) return writeLine(context, `Nothing of ${domain} needs a decision.`)
  const rows = items.map((item) => [
    item.source,
    item.ptr ?? item.sender ?? '-',
    item.verdict,
    amount(item.messages),
    `${item.first_day} to ${item.last_day}`,
    item.suggestions.map((suggestion) => suggestion.as).join(' '),
    item.why,
  ])
  const head = ['source', 'name', 'verdict', 'messages', 'days', 'could be', 'why']
  context.stdout.write(`${tableLines(head, rows, [3]).join('\n')}\n`)
}

interface Decision {
  readonly source: string
  readonly as: string
  readonly sender?: string
  readonly until?: string
  readonly reason: string
}

/** `SOURCE=own`, `SOURCE=sender:ID`, `SOURCE=forwarder[:ID]`, `SOURCE=exclude[:DAY]`. */
function decisionOf(text: string, reason: string | undefined): Decision {
  const match = /^(.+)=(own|sender|forwarder|exclude)(?::(.+))?$/.exec(text)
  if (match === null) {
    throw new UsageError('Write --decide SOURCE=own, SOURCE=sender:ID, SOURCE=forwarder or SOURCE=exclude[:DAY].')
  }
  if (reason === undefined || reason.trim() === '') throw new UsageError('Say why with --reason TEXT.')
  const [, source, as, detail] = match
  if (as === 'sender' && detail === undefined) throw new UsageError('Name the sender: SOURCE=sender:ID.')
  const more = detail === undefined ? {} : as === 'exclude' ? { until: detail } : { sender: detail }
  return { source: source!, as: as!, ...more, reason }
}

async function decide(
  server: ServerClient,
  domain: string,
  decision: Decision,
  args: Arguments,
  context: Context,
  json: boolean,
): Promise<void> {
  const base = args.text('base')
  const body = { decisions: [decision], ...(base === undefined ? {} : { base }) }
  const path = `/domains/${encodeURIComponent(domain)}/triage`
  const answer = await server.json<{ rule_set: string; diff: readonly { description: string }[] }>('POST', path, body)
  if (json) return writeJson(context, answer)
  for (const { description } of answer.diff) writeLine(context, description)
  writeLine(context, `Draft rule set ${answer.rule_set}.`)
  writeLine(context, `Add another decision with --base ${answer.rule_set}, or write it to a file:`)
  writeLine(
    context,
    `  mailtrail rules show ${answer.rule_set.slice(0, 12)} > rules.yaml && mailtrail replay start rules.yaml`,
  )
}
