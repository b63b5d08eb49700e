import { printableJson } from '../topics/printable.ts'
import { type Arguments, type Command, type Context, counted, exitCode, printable, UsageError } from './command.ts'
import type { ServerClient } from './server-client.ts'
import { withServer } from './with-server.ts'

interface RejectItem {
  readonly mail_id: string
  readonly part: string
  readonly code: string
  readonly detail: string
  readonly received_at: string
  readonly deterministic: boolean
}

export const rejects: Command = {
  name: 'rejects',
  usage: 'rejects list|show ID|retry [--code CODE] [--id ID] [--from DAY] [--to DAY] [--dry-run]',
  about:
    'What could not be read, and why. "show" prints one with the sentence for it; "retry" reads mails again, after a fix.\n' +
    'Without --from and --to all days are meant.',
  options: {
    server: {
      type: 'string',
      value: 'URL',
      about: 'the mailtrail to ask (default: the one that owns the data folder)',
    },
    code: { type: 'string', value: 'CODE', about: 'only rejects with this code' },
    id: { type: 'string', value: 'MAIL-ID', about: 'only this mail (retry)' },
    from: { type: 'string', value: 'DAY', about: 'received on this day or later, YYYY-MM-DD' },
    to: { type: 'string', value: 'DAY', about: 'received on this day or before, YYYY-MM-DD' },
    'dry-run': { type: 'boolean', about: 'say what would be retried, and do nothing' },
    format: { type: 'string', value: 'NAME', about: 'text (default) or json' },
  },
  example: 'mailtrail rejects retry --code gave_up --dry-run',

  async run(args, context) {
    const [verb, id] = args.positionals
    const verbs: Record<string, (server: ServerClient) => Promise<void>> = {
      list: (server) => list(server, args, context),
      show: (server) => show(server, id, context),
      retry: (server) => retry(server, args, context),
    }
    const run = verb === undefined ? undefined : verbs[verb]
    if (run === undefined) throw new UsageError('Say what to do: rejects list, rejects show ID or rejects retry.')
    await withServer(args, context, run)
    return exitCode.fine
  },
}

function range(args: Arguments): URLSearchParams {
  const query = new URLSearchParams({
    from: args.text('from') ?? '1970-01-02',
    to: args.text('to') ?? '2100-12-31',
    limit: '1000',
  })
  const code = args.text('code')
  if (code !== undefined) query.set('code', code)
  return query
}

async function list(server: ServerClient, args: Arguments, context: Context): Promise<void> {
  const query = range(args)
  const json = args.text('format') === 'json'
  let shown = 0
  for (let cursor: string | null = ''; cursor !== null; ) {
    if (cursor !== '') query.set('cursor', cursor)
    const page: { items: RejectItem[]; next_cursor: string | null } = await server.json('GET', `/rejects?${query}`)
    for (const item of page.items) {
      shown++
      if (json) context.stdout.write(`${printableJson(JSON.stringify(item))}\n`)
      else context.stdout.write(`${item.received_at}  ${item.mail_id}  ${printable(`${item.code}  ${item.detail}`)}\n`)
    }
    cursor = page.next_cursor
  }
  if (!json)
    context.stdout.write(
      shown === 0 ? 'Nothing is rejected.\n' : `${counted(shown, 'reject')}. One of them: mailtrail rejects show ID\n`,
    )
}

async function show(server: ServerClient, id: string | undefined, context: Context): Promise<void> {
  if (id === undefined) throw new UsageError('Name the mail: rejects show ID (64 hex digits, see rejects list).')
  const mail = await server.json<Record<string, unknown>>('GET', `/mail/${encodeURIComponent(id)}`)
  const { rejects: found = [], ...fields } = mail as { rejects?: RejectItem[] }
  for (const [name, value] of Object.entries(fields)) {
    if (value !== null && typeof value !== 'object')
      context.stdout.write(`${name.padEnd(16)} ${printable(String(value))}\n`)
  }
  for (const { part, code, detail } of found)
    context.stdout.write(
      `${printable(`rejected         ${part === '' ? 'the whole mail' : `part ${part}`}: ${code}. ${detail}`)}\n`,
    )
  context.stdout.write(`The mail itself:  ${server.url}/api/v1/mail/${id}/raw\n`)
}

async function retry(server: ServerClient, args: Arguments, context: Context): Promise<void> {
  const id = args.text('id')
  const dry_run = args.flag('dry-run')
  const code = args.text('code')
  const from = args.text('from')
  const to = args.text('to')
  const wanted = {
    ...(id === undefined ? {} : { ids: [id] }),
    ...(code === undefined ? {} : { code }),
    ...(from === undefined ? {} : { from }),
    ...(to === undefined ? {} : { to }),
    dry_run,
  }
  const answer = await server.json<{ matched: number; retried: number }>('POST', '/rejects/retry', wanted)
  context.stdout.write(
    dry_run
      ? `${counted(answer.matched, 'mail')} would be read again.\n`
      : `${answer.retried} of ${counted(answer.matched, 'mail')} ${answer.matched === 1 ? 'is' : 'are'} being read again.\n`,
  )
}
