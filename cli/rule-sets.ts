/** `rules list|show|diff|publish`: rule sets that were published. */
import { allItems, sendRules, tableLines, wantsJson, writeJson, writeLine } from './asking.ts'
import { type Arguments, CommandError, type Context, exitCode, printable, UsageError } from './command.ts'
import { faultOf, type ServerClient } from './server-client.ts'
import { withServer } from './with-server.ts'

interface RuleSetItem {
  readonly id: string
  readonly name: string
  readonly published_at: string
  readonly generations: readonly string[]
}

interface Asking {
  readonly server: ServerClient
  readonly names: readonly string[]
  readonly context: Context
  readonly json: boolean
}

/** How many names each takes: at least and at most. */
const takes = { list: [0, 0], show: [1, 1], diff: [1, 2], publish: [1, 1] } as const
export type RuleSetVerb = keyof typeof takes
export const isRuleSetVerb = (word: string | undefined): word is RuleSetVerb => Object.hasOwn(takes, word ?? '')

/** Takes the options server and format. */
export async function ruleSetCommand(
  verb: RuleSetVerb,
  names: readonly string[],
  args: Arguments,
  context: Context,
): Promise<number> {
  const [least, most] = takes[verb]
  if (names.length < least || names.length > most) throw new UsageError(`Write: ${usages[verb]}.`)
  const json = wantsJson(args)
  await withServer(args, context, (server) => verbs[verb]({ server, names, context, json }))
  return exitCode.fine
}

const usages: Readonly<Record<RuleSetVerb, string>> = {
  list: 'rules list',
  show: 'rules show ID',
  diff: 'rules diff ID [ID]; without the second, the live rules are compared with',
  publish: 'rules publish FILE',
}

const verbs: Readonly<Record<RuleSetVerb, (asking: Asking) => Promise<void>>> = { list, show, diff, publish }

const ruleSets = (server: ServerClient) => allItems<RuleSetItem>(server, '/rule-sets')

async function list({ server, context, json }: Asking): Promise<void> {
  const all = await ruleSets(server)
  if (json) return writeJson(context, all)
  const rows = all.map(({ id, name, published_at, generations }) => [
    id,
    published_at,
    generations.join(' ') || '-',
    name,
  ])
  context.stdout.write(`${tableLines(['id', 'published', 'generations', 'name'], rows, []).join('\n')}\n`)
}

/** The id that begins like this, or the rules of a generation (`g2`). */
async function idOf(server: ServerClient, name: string): Promise<string> {
  const all = await ruleSets(server)
  const found = all.filter(
    ({ id, generations }) => generations.includes(name) || (name.length >= 6 && id.startsWith(name)),
  )
  if (found.length === 1) return found[0]!.id
  throw new CommandError(
    printable(
      found.length === 0
        ? `There is no rule set ${name}; see mailtrail rules list.`
        : `Several rule sets begin with ${name}; write more of the id.`,
    ),
  )
}

async function show({ server, names, context, json }: Asking): Promise<void> {
  const id = await idOf(server, names[0]!)
  const response = await server.request('GET', `/rule-sets/${id}`)
  if (!response.ok) throw new CommandError(await faultOf(response))
  const yaml = await response.text()
  if (json) return writeJson(context, { id, yaml })
  for (const line of yaml.replace(/\n$/, '').split('\n')) writeLine(context, line)
}

async function diff({ server, names, context, json }: Asking): Promise<void> {
  const [first, second] = names
  const from = await idOf(server, first!)
  const to = second === undefined ? '' : `?to=${await idOf(server, second)}`
  const answer = await server.json<{ changes: readonly { description: string }[] }>(
    'GET',
    `/rule-sets/${from}/diff${to}`,
  )
  if (json) return writeJson(context, answer)
  if (answer.changes.length === 0) writeLine(context, 'They say the same.')
  for (const { description } of answer.changes) writeLine(context, description)
}

async function publish({ server, names, context, json }: Asking): Promise<void> {
  const answer = await sendRules<{ id: string; created: boolean }>(server, '/rule-sets', names[0]!)
  if (json) return writeJson(context, answer)
  writeLine(
    context,
    answer.created ? `Published as ${answer.id}.` : `These rules were published before, as ${answer.id}.`,
  )
}
