import { setTimeout as sleep } from 'node:timers/promises'
import {
  allItems,
  amount,
  formatOption,
  numberOption,
  sendRules,
  serverOption,
  tableLines,
  wantsJson,
  writeJson,
  writeLine,
} from './asking.ts'
import { type Arguments, type Command, CommandError, type Context, exitCode, printable, UsageError } from './command.ts'
import { type Diff, diffLines } from './diff-table.ts'
import { openProgress } from './progress.ts'
import { faultOf, type ServerClient } from './server-client.ts'
import { withServer } from './with-server.ts'

interface Generation {
  readonly id: string
  readonly rule_set: string
  readonly from: string
  readonly parent: string | null
  readonly state: string
  readonly done: number
  readonly total: number
  readonly partitions: readonly { readonly partition: number; readonly position: number; readonly head: number }[]
  readonly rate: number
  readonly eta_seconds: number | null
  readonly covers: { readonly from: string; readonly to: string } | null
  readonly started_at: string
}

interface Asking {
  readonly server: ServerClient
  readonly args: Arguments
  readonly context: Context
  /** What follows the verb. */
  readonly name: string | undefined
  readonly json: boolean
}
type Verb = (asking: Asking) => Promise<number>

export const replay: Command = {
  name: 'replay',
  usage: 'replay plan|start|status|pause|resume|cancel|diff|promote|rollback|list [FILE or ID]',
  about:
    'Rules change, history follows. "plan RULES" says what a replay would mean; "start RULES" builds a generation of\n' +
    'answers under the rules in a file (without one: the live rules); "diff" says what it changes, "promote" makes it\n' +
    'live, "rollback" goes back. ID is g2 or 2; without it the newest that is being built is meant.\n' +
    'The exit code of "diff" is 3 when anything changed.',
  options: {
    server: serverOption,
    from: { type: 'string', value: 'TOPIC', about: 'enriched (default: new verdicts) or ingest (everything anew)' },
    epoch: { type: 'string', value: 'N', about: 'observation epoch, after re-observe; with --from ingest' },
    wait: { type: 'boolean', about: 'wait until the generation is built (start, status)' },
    against: { type: 'string', value: 'ID', about: 'compare with this generation instead of the live one (diff)' },
    domain: { type: 'string', value: 'DOMAIN', about: 'only this policy domain (diff)' },
    timeout: { type: 'string', value: 'SECONDS', about: 'wait so long until it has caught up, default 60 (promote)' },
    'accept-gap': { type: 'boolean', about: 'promote although it covers less mail than the live generation' },
    format: formatOption,
  },
  example: 'mailtrail replay start rules.yaml --wait && mailtrail replay diff',

  async run(args, context) {
    const [word = '', name, ...more] = args.positionals
    const verb = Object.hasOwn(verbs, word) ? verbs[word] : undefined
    if (verb === undefined) throw new UsageError(`Say what to do: replay ${Object.keys(verbs).join(', ')}.`)
    if (more.length > 0) throw new UsageError(`replay ${word} takes one name at the most; ${more[0]} is too many.`)
    if (needsFile.includes(word) && name === undefined) throw new UsageError(`Name the rule file: replay ${word} FILE.`)
    if (takesId.includes(word) && name !== undefined) idOf(name)
    if (!takesId.includes(word) && !takesFile.includes(word) && name !== undefined)
      throw new UsageError(`replay ${word} takes no name.`)
    const json = wantsJson(args)
    return withServer(args, context, (server) => verb({ server, args, context, name, json }))
  },
}

const needsFile = ['plan']
const takesFile = ['plan', 'start']
const takesId = ['status', 'pause', 'resume', 'cancel', 'diff', 'promote']

const verbs: Readonly<Record<string, Verb>> = {
  plan,
  start,
  status,
  list,
  diff,
  promote,
  rollback,
  pause: (asking) => command(asking, 'pause'),
  resume: (asking) => command(asking, 'resume'),
  cancel: (asking) => command(asking, 'cancel'),
}

function idOf(name: string): string {
  const number = /^g?(\d{1,9})$/.exec(name)?.[1]
  if (number === undefined)
    throw new UsageError(`${printable(name)} is no generation; they are called g1, g2 and so on.`)
  return `g${Number(number)}`
}

const generations = (server: ServerClient) => allItems<Generation>(server, '/generations')

/** The one named, or the newest that is being built. */
async function chosen({ server, name }: Asking): Promise<string> {
  if (name !== undefined) return idOf(name)
  const building = (await generations(server)).find(({ state }) => ['building', 'ready', 'paused'].includes(state))
  if (building === undefined)
    throw new CommandError('No generation is being built; name one, see mailtrail replay list.')
  return building.id
}

/** The generation to look at: as `chosen`, else the newest there is. */
async function shown(asking: Asking): Promise<string> {
  if (asking.name !== undefined) return idOf(asking.name)
  const all = await generations(asking.server)
  return (all.find(({ state }) => ['building', 'ready', 'paused'].includes(state)) ?? all[0]!).id
}

const startPoint = ({ args }: Asking) => {
  const from = args.text('from') ?? 'enriched'
  if (from !== 'enriched' && from !== 'ingest') throw new UsageError('--from must be enriched or ingest.')
  return from
}

interface Plan {
  readonly events: number
  readonly bytes: number
  readonly records: number
  readonly topics: readonly string[]
  readonly tables: readonly string[]
  readonly disk_bytes: number
  readonly seconds: number
  readonly covers: Generation['covers']
}

async function plan(asking: Asking): Promise<number> {
  const { server, context, name, json } = asking
  const from = startPoint(asking)
  const { id, problems } = await sendRules<{ id: string | null; problems: readonly { message: string }[] }>(
    server,
    '/rule-sets?check=true',
    name!,
  )
  if (id === null) {
    const first = problems[0]?.message ?? 'The rules have errors.'
    throw new CommandError(printable(`${first} See mailtrail rules check ${name}.`))
  }
  const planned = await server.json<Plan>('POST', '/generations?plan=true', { rule_set: id, from })
  if (json) {
    writeJson(context, planned)
    return exitCode.fine
  }
  writeLine(context, `Rule set ${id}, from ${from}:`)
  writeLine(context, `  reads   ${amount(planned.events)} events, ${megabytes(planned.bytes)} of the log`)
  writeLine(context, `  judges  ${amount(planned.records)} records, mail ${coverage(planned.covers)}`)
  writeLine(context, `  makes   ${[...planned.topics, ...planned.tables].join(', ')}`)
  writeLine(context, `  takes   about ${duration(planned.seconds)} and ${megabytes(planned.disk_bytes)} of disk`)
  writeLine(context, `Nothing was written. Begin with: mailtrail replay start ${name}`)
  return exitCode.fine
}

async function start(asking: Asking): Promise<number> {
  const { server, args, context, name, json } = asking
  const from = startPoint(asking)
  const epoch = numberOption(args, 'epoch', 1, 1_000_000)
  const rule_set =
    name === undefined
      ? (await server.json<{ rule_set: string }>('GET', '/status')).rule_set
      : (await sendRules<{ id: string }>(server, '/rule-sets', name)).id
  const body = { rule_set, from, ...(epoch === undefined ? {} : { epoch }) }
  const begun = await server.json<Generation>('POST', '/generations', body)
  const built = args.flag('wait') ? await waitFor(asking, begun.id) : begun
  if (json) writeJson(context, built)
  else {
    writeLine(context, sentenceOf(built))
    writeLine(context, `What it changes: mailtrail replay diff ${built.id}`)
  }
  return endOf(args, built)
}

async function status(asking: Asking): Promise<number> {
  const { server, args, context, json } = asking
  const id = await shown(asking)
  const found = args.flag('wait')
    ? await waitFor(asking, id)
    : await server.json<Generation>('GET', `/generations/${id}`)
  if (json) writeJson(context, found)
  else {
    writeLine(context, sentenceOf(found))
    for (const line of partitionLines(found)) writeLine(context, line)
  }
  return endOf(args, found)
}

/** Where each partition stands, while there is something to wait for. */
function partitionLines({ state, partitions }: Generation): readonly string[] {
  if (state !== 'building' && state !== 'paused') return []
  const rows = partitions.map(({ partition, position, head }) => [`${partition}`, amount(position), amount(head)])
  return tableLines(['partition', 'read to', 'head'], rows, [0, 1, 2])
}

/** Who waited for a generation that came to nothing is told by the exit code. */
function endOf(args: Arguments, { state }: Generation): number {
  const failed = args.flag('wait') && ['paused', 'cancelled', 'retired'].includes(state)
  return failed ? exitCode.failed : exitCode.fine
}

async function list({ server, context, json }: Asking): Promise<number> {
  const all = await generations(server)
  if (json) {
    writeJson(context, all)
    return exitCode.fine
  }
  const rows = all.map(({ id, state, from, parent, rule_set, done, total, started_at }) => [
    id,
    state,
    from,
    parent ?? '-',
    rule_set.slice(0, 12),
    `${amount(done)}/${amount(total)}`,
    started_at,
  ])
  for (const line of tableLines(['id', 'state', 'from', 'parent', 'rule set', 'events', 'started'], rows, [5]))
    context.stdout.write(`${line}\n`)
  return exitCode.fine
}

const LOOK_MILLISECONDS = 300

/** Until it is no longer being built. */
async function waitFor({ server, context }: Asking, id: string): Promise<Generation> {
  const progress = openProgress(context.stderr, 'events')
  try {
    for (;;) {
      const now = await server.json<Generation>('GET', `/generations/${id}`)
      if (now.state !== 'building') return now
      progress.update(now.done, now.total, id)
      await sleep(LOOK_MILLISECONDS, undefined, { signal: context.signal }).catch((error: unknown) => {
        if (!context.signal.aborted) throw error
        throw new CommandError(`Interrupted; ${id} goes on being built. See mailtrail replay status ${id}.`)
      })
    }
  } finally {
    progress.end()
  }
}

async function diff(asking: Asking): Promise<number> {
  const { server, args, context, json } = asking
  const id = await shown(asking)
  const query = new URLSearchParams({ limit: '1000' })
  const against = args.text('against')
  if (against !== undefined) query.set('against', idOf(against))
  const domain = args.text('domain')
  if (domain !== undefined) query.set('domain', domain)
  const found = await allTransitions(server, id, query)
  if (json) writeJson(context, found)
  else for (const line of diffLines(found)) context.stdout.write(`${line}\n`)
  return found.changed_records > 0 ? exitCode.changed : exitCode.fine
}

async function allTransitions(server: ServerClient, id: string, query: URLSearchParams): Promise<Diff> {
  const first = await server.json<Diff>('GET', `/generations/${id}/diff?${query}`)
  const transitions = [...first.transitions]
  for (let cursor = first.next_cursor; cursor !== null; ) {
    query.set('cursor', cursor)
    const page = await server.json<Diff>('GET', `/generations/${id}/diff?${query}`)
    transitions.push(...page.transitions)
    cursor = page.next_cursor
  }
  return { ...first, transitions, next_cursor: null }
}

/** A server is not asked to wait longer than this at once: proxies cut answers that take long. */
const WAIT_SECONDS = 30

async function promote(asking: Asking): Promise<number> {
  const id = await chosen(asking)
  const accept_gap = asking.args.flag('accept-gap')
  return makeLive(asking, `/generations/${id}/promote`, { accept_gap })
}

function rollback(asking: Asking): Promise<number> {
  return makeLive(asking, '/generations/rollback', {})
}

async function makeLive(asking: Asking, path: string, body: object): Promise<number> {
  const { server, args, context, json } = asking
  const patience = numberOption(args, 'timeout', 0, 86_400) ?? 60
  const until = performance.now() + patience * 1000
  for (;;) {
    const left = Math.max(0, (until - performance.now()) / 1000)
    const sent = JSON.stringify({ ...body, timeout: Math.min(left, WAIT_SECONDS) })
    const headers = { 'content-type': 'application/json' }
    const response = await server.request('POST', path, { body: sent, headers })
    if (response.ok) {
      const live = (await response.json()) as Generation
      if (json) writeJson(context, live)
      else writeLine(context, `${live.id} is live: answers come from rule set ${live.rule_set}.`)
      return exitCode.fine
    }
    const text = await response.text()
    if (left <= WAIT_SECONDS || !text.includes('"not_caught_up"') || context.signal.aborted)
      throw new CommandError(printable(await faultOf(new Response(text, { status: response.status }))))
  }
}

async function command(asking: Asking, word: string): Promise<number> {
  const { server, context, json } = asking
  const id = await chosen(asking)
  const found = await server.json<Generation>('POST', `/generations/${id}/${word}`, {})
  if (json) writeJson(context, found)
  else writeLine(context, sentenceOf(found))
  return exitCode.fine
}

function sentenceOf({ id, state, done, total, rate, eta_seconds, covers, rule_set }: Generation): string {
  const part = total > 0 ? ` (${Math.floor((done / total) * 100)}%)` : ''
  const pace =
    state === 'building' ? `, ${amount(rate)}/s${eta_seconds === null ? '' : `, ${duration(eta_seconds)} left`}` : ''
  return `${id} is ${state}: ${amount(done)} of ${amount(total)} events${part}${pace}; mail ${coverage(covers)}; rule set ${rule_set.slice(0, 12)}.`
}

const coverage = (covers: Generation['covers']) =>
  covers === null ? 'of no day' : `received ${covers.from} to ${covers.to}`

function megabytes(bytes: number): string {
  return bytes < 1e6 ? `${amount(Math.ceil(bytes / 1000))} KB` : `${amount(bytes / 1e6)} MB`
}

function duration(seconds: number): string {
  if (seconds < 120) return `${amount(Math.ceil(seconds))} s`
  return seconds < 7200 ? `${amount(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`
}
