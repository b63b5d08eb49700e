import { createInterface } from 'node:readline/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { amount, formatOption, serverOption, tableLines, wantsJson, writeJson, writeLine } from './asking.ts'
import { type Arguments, type Command, CommandError, type Context, exitCode, UsageError } from './command.ts'
import type { ServerClient } from './server-client.ts'
import { withServer } from './with-server.ts'

interface Erasure {
  readonly erasure: number
  readonly state: 'erasing' | 'erased' | 'unreadable'
  readonly mails: number
  readonly block: boolean
  readonly raw_until: string | null
  readonly raw_for_ever: boolean
  readonly rebuilt_by: string | null
}

interface Found {
  readonly matched: number
  readonly mails: readonly {
    readonly id: string
    readonly found_in: readonly string[]
    readonly received_at: string | null
    readonly kind: string | null
    readonly subject: string | null
    readonly reports: number
    readonly failure_reports: number
    readonly rejects: number
  }[]
  readonly erasure: Erasure | null
}

const LOOK_MILLISECONDS = 200
const MOST_SHOWN = 20

export const forget: Command = {
  name: 'forget',
  usage: 'forget --address ADDRESS | --mail-id ID,… [--dry-run] [--yes]',
  about:
    'Erases mails: those from or to an address (headers and envelope) and those with failure reports that name it, or those\n' +
    'named. When the command returns they are gone from the log, from large mails, from all tables. Reports that were in\n' +
    'them stay counted. On Kafka nothing reads them any more at once, and the topic loses them by its retention.\n' +
    'docs/privacy.md says what is found, what is not, and what remains.',
  options: {
    server: serverOption,
    address: { type: 'string', value: 'ADDRESS', about: 'one mail address; the part before the @ as it is written' },
    'mail-id': { type: 'string', value: 'ID,…', about: 'ids of mails, 64 hex digits each' },
    scan: { type: 'boolean', about: 'look for the address in the bytes of every mail on the log, too' },
    block: { type: 'boolean', about: 'leave the same mail unread when it is delivered again' },
    'dry-run': { type: 'boolean', about: 'say what would be erased, and do nothing' },
    yes: { type: 'boolean', about: 'do not ask' },
    format: formatOption,
  },
  example: 'mailtrail forget --address anna@example.com --dry-run',

  async run(args, context) {
    if (args.positionals.length > 0) throw new UsageError('forget takes no names; say --address or --mail-id.')
    const wanted = requestOf(args)
    const json = wantsJson(args)
    return withServer(args, context, async (server) => {
      if (args.flag('dry-run') || !args.flag('yes')) {
        const found = await server.json<Found>('POST', '/forget', { ...wanted, dry_run: true })
        if (args.flag('dry-run') && json) writeJson(context, found)
        else if (!json) show(found, context)
        if (args.flag('dry-run') || found.matched === 0) {
          if (json && !args.flag('dry-run')) writeJson(context, found)
          return exitCode.fine
        }
        if (!(await confirmed(found.matched, context))) {
          writeLine(context, 'Nothing was erased.')
          return exitCode.fine
        }
      }
      const { matched, erasure } = await server.json<Found>('POST', '/forget', wanted)
      const done = erasure === null ? null : await untilDone(server, erasure, context)
      if (json) writeJson(context, { matched, erasure: done })
      else for (const line of outcome(matched, done)) writeLine(context, line)
      if (done?.raw_for_ever === true)
        throw new CommandError(
          'This is not done: MAILTRAIL_RETENTION_INGEST is forever, so Kafka keeps the raw mails for ever. Set a retention, or delete the records yourself.',
        )
      return exitCode.fine
    })
  },
}

function requestOf(args: Arguments): Record<string, unknown> {
  const address = args.text('address')
  const ids = args
    .text('mail-id')
    ?.split(/[\s,]+/)
    .filter((id) => id !== '')
  if ((address === undefined) === (ids === undefined))
    throw new UsageError('Say what to forget: --address ADDRESS or --mail-id ID,… (one of them).')
  if (address !== undefined && !/^[^\s@]+@[^\s@]+$/.test(address))
    throw new UsageError('--address takes one mail address, such as anna@example.com.')
  if (ids !== undefined && (ids.length === 0 || !ids.every((id) => /^[0-9a-f]{64}$/.test(id))))
    throw new UsageError('--mail-id takes ids of 64 lower-case hex digits, separated by commas.')
  if (args.flag('scan') && address === undefined) throw new UsageError('--scan needs --address.')
  return {
    ...(address === undefined ? { mail_ids: ids } : { address }),
    scan: args.flag('scan'),
    block: args.flag('block'),
  }
}

function show({ matched, mails }: Found, context: Context): void {
  if (matched === 0) {
    writeLine(context, 'No mail was found.')
    return
  }
  const rows = mails
    .slice(0, MOST_SHOWN)
    .map((mail) => [
      mail.id.slice(0, 12),
      mail.received_at ?? '',
      mail.kind ?? '',
      mail.found_in.join(', '),
      String(mail.reports),
      String(mail.failure_reports),
      (mail.subject ?? '').slice(0, 60),
    ])
  const head = ['mail', 'received', 'kind', 'found in', 'reports', 'failure reports', 'subject']
  for (const line of tableLines(head, rows, [4, 5])) writeLine(context, line)
  if (matched > rows.length) writeLine(context, `… and ${amount(matched - rows.length)} more.`)
  writeLine(context, `${amount(matched)} mails would be erased. Reports in them stay counted.`)
}

async function confirmed(matched: number, { stdin, stderr }: Context): Promise<boolean> {
  if (!stdin.isTTY) throw new UsageError('This cannot be undone. Say --yes, or --dry-run to see what would be erased.')
  const terminal = createInterface({ input: stdin, output: stderr })
  try {
    return /^y(es)?$/i.test((await terminal.question(`Erase ${amount(matched)} mails for good? [y/N] `)).trim())
  } finally {
    terminal.close()
  }
}

async function untilDone(server: ServerClient, begun: Erasure, { signal }: Context): Promise<Erasure> {
  let erasure = begun
  while (erasure.state === 'erasing') {
    await sleep(LOOK_MILLISECONDS, undefined, { signal }).catch(() => {
      throw new CommandError(
        `Stopped waiting for erasure ${erasure.erasure}. It goes on, also at the next start; GET /api/v1/forget/${erasure.erasure} says how far it is.`,
      )
    })
    erasure = await server.json<Erasure>('GET', `/forget/${erasure.erasure}`)
  }
  return erasure
}

function outcome(matched: number, erasure: Erasure | null): readonly string[] {
  if (erasure === null) return ['No mail was found.']
  const again = erasure.block
    ? 'The same mail stays unread when it comes again.'
    : 'The same mail counts as new when it comes again.'
  if (erasure.state === 'erased')
    return [
      `${amount(matched)} mails are erased (erasure ${erasure.erasure}): gone from log, blobs and tables. ${again}`,
    ]
  const lines = [`${amount(matched)} mails are unreadable now (erasure ${erasure.erasure}). ${again}`]
  if (erasure.rebuilt_by !== null)
    lines.push(
      `${erasure.rebuilt_by} is being built without them: mailtrail replay promote ${erasure.rebuilt_by}, and what the generations before hold goes with them.`,
    )
  if (erasure.raw_until !== null) lines.push(`Kafka has removed the raw mails by ${erasure.raw_until} at the latest.`)
  return lines
}
