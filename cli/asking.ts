/** What the commands that ask a running mailtrail share. */
import { readFileSync } from 'node:fs'
import { printableJson } from '../topics/printable.ts'
import { type Arguments, CommandError, type Context, type Option, printable, UsageError } from './command.ts'
import { faultOf, type ServerClient } from './server-client.ts'

export const serverOption = {
  type: 'string',
  value: 'URL',
  about: 'the mailtrail to ask (default: the one that owns the data folder)',
} as const satisfies Option
export const formatOption = {
  type: 'string',
  value: 'NAME',
  about: 'text (default) or json',
} as const satisfies Option

export function wantsJson(args: Arguments): boolean {
  const format = args.text('format') ?? 'text'
  if (format !== 'text' && format !== 'json') throw new UsageError('--format must be text or json.')
  return format === 'json'
}

/** A number from an option. */
export function numberOption(args: Arguments, name: string, least: number, most: number): number | undefined {
  const given = args.text(name)
  if (given === undefined) return undefined
  const number = Number(given)
  if (given.trim() === '' || !Number.isFinite(number) || number < least || number > most)
    throw new UsageError(`--${name} must be a number from ${least} to ${most}.`)
  return number
}

export function writeJson(context: Context, value: unknown): void {
  context.stdout.write(`${printableJson(JSON.stringify(value, null, 1))}\n`)
}

/** One line; control characters become spaces. */
export function writeLine(context: Context, text: string): void {
  context.stdout.write(`${printable(text)}\n`)
}

/** Columns of text, each as wide as its widest cell; numbers, which are columns of the right, stand to the right. */
export function tableLines(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  right: readonly number[],
): string[] {
  const all = [head, ...rows].map((row) => row.map(printable))
  const widths = head.map((_, column) => Math.max(...all.map((row) => row[column]!.length)))
  return all.map((row) =>
    row
      .map((cell, column) => (right.includes(column) ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!)))
      .join('  ')
      .trimEnd(),
  )
}

export const amount = (number: number): string => Math.round(number).toLocaleString('en-US')

/** All items of a list that comes in pages. */
export async function allItems<Item>(server: ServerClient, path: string): Promise<Item[]> {
  const items: Item[] = []
  const separator = path.includes('?') ? '&' : '?'
  for (let cursor: string | null = ''; cursor !== null; ) {
    const after: string = cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`
    const page: { items: Item[]; next_cursor: string | null } = await server.json(
      'GET',
      `${path}${separator}limit=1000${after}`,
    )
    items.push(...page.items)
    cursor = page.next_cursor
  }
  return items
}

export function readRuleFile(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw new CommandError(`${path} cannot be read (${(error as NodeJS.ErrnoException).code}).`)
  }
}

export interface RuleProblem {
  readonly line: number
  readonly column: number
  readonly severity: 'error' | 'warning'
  readonly message: string
}

/** Sends a rule file. Throws a `CommandError` that names the first error when there is one. */
export async function sendRules<T>(server: ServerClient, path: string, file: string): Promise<T> {
  const body = readRuleFile(file)
  const response = await server.request('POST', path, { body, headers: { 'content-type': 'text/yaml' } })
  if (response.ok) return (await response.json()) as T
  if (response.status !== 422) throw new CommandError(await faultOf(response))
  const { error } = (await response.json()) as { error: { message: string; problems?: readonly RuleProblem[] } }
  const first = error.problems?.find(({ severity }) => severity === 'error')
  throw new CommandError(
    first === undefined
      ? printable(error.message)
      : printable(`${file}:${first.line}:${first.column}: ${first.message} See mailtrail rules check ${file}.`),
  )
}
