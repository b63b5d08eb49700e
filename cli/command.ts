/** What a command is, and what every command shares: arguments, help, exit codes. */
import { parseArgs } from 'node:util'
import type { Config, Role, settings } from '../config.ts'

/** Wrong usage: exit code 2. */
export class UsageError extends Error {}
/** The command failed for a reason that the message says: exit code 1. */
export class CommandError extends Error {}

export const exitCode = { fine: 0, failed: 1, usage: 2, changed: 3 } as const

export interface Option {
  readonly type: 'string' | 'boolean'
  /** Shown in the help, such as `HOST:PORT`. */
  readonly value?: string
  readonly about: string
}

export interface Arguments {
  readonly positionals: readonly string[]
  readonly text: (name: string) => string | undefined
  readonly flag: (name: string) => boolean
}

/** A mail on its way into the log, and what the log said. `receivedAt` is ISO 8601. */
export interface IncomingMail {
  readonly source: string
  readonly bytes: Uint8Array
  readonly receivedAt: string | null
  readonly receivedFrom: string
  readonly envelopeFrom?: string | undefined
  readonly envelopeTo?: string | undefined
}
export interface Delivered {
  readonly id: string
  readonly duplicate: boolean
  readonly partition: number
  readonly offset: number
}

/** An instance of mailtrail running in this process. */
export interface Mailtrail {
  /** Address of the HTTP interface, or null when it was not asked for. */
  readonly url: string | null
  /** One sentence on what it runs on. */
  readonly description: string
  /** Resolves when all mails are durable, in order. */
  deliver(mails: readonly IncomingMail[]): Promise<readonly Delivered[]>
  /** Resolves when everything delivered before the call is queryable. */
  settled(): Promise<void>
  /** Of these mails, how many have a reject that is not resolved. */
  countRejected(ids: readonly string[]): Promise<number>
  /** Rejects when something broke that this process cannot mend. */
  readonly broken: Promise<never>
  close(): Promise<void>
}

export interface OpenOptions {
  /** Serve HTTP (default) or only run the pipeline. */
  readonly serve?: boolean
  /** What to do instead of what the settings say. */
  readonly roles?: readonly Role[]
  /** Go on behind events that were removed before they were read, and write that down. */
  readonly acceptGap?: boolean
  /** Aborts the opening, which may wait for servers. */
  readonly signal?: AbortSignal
}

/** What the composition root gives to commands. */
export interface Context {
  readonly config: (overrides: Partial<Record<keyof typeof settings, string>>) => Config
  readonly open: (config: Config, options?: OpenOptions) => Promise<Mailtrail>
  readonly stdout: NodeJS.WriteStream
  readonly stderr: NodeJS.WriteStream
  readonly stdin: NodeJS.ReadStream
  /** Aborts at the first SIGINT or SIGTERM. */
  readonly signal: AbortSignal
}

export interface Command {
  readonly name: string
  readonly usage: string
  readonly about: string
  readonly options: Readonly<Record<string, Option>>
  readonly example: string
  run(args: Arguments, context: Context): Promise<number>
}

/** Options that every command takes. */
export const commonOptions = {
  data: { type: 'string', value: 'DIR', about: 'the data folder (default ./data)' },
  help: { type: 'boolean', about: 'show this text' },
} as const satisfies Record<string, Option>

export function parseArguments(command: Command, argv: readonly string[]): Arguments {
  const options = { ...commonOptions, ...command.options }
  try {
    const { values, positionals } = parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: Object.fromEntries(Object.entries(options).map(([name, { type }]) => [name, { type }])),
    })
    const given = values as Record<string, string | boolean | undefined>
    return {
      positionals,
      text: (name) => given[name] as string | undefined,
      flag: (name) => given[name] === true,
    }
  } catch (error) {
    const message = (error as Error).message.split('. To specify')[0]
    throw new UsageError(`${message}. See mailtrail ${command.name} --help.`)
  }
}

/** The help of one command. */
export function helpOf(command: Command): string {
  const rows = Object.entries({ ...command.options, ...commonOptions }).map(([name, option]) => {
    const { value, about } = option as Option
    return [`--${name}${value === undefined ? '' : ` ${value}`}`, about] as const
  })
  const width = Math.max(...rows.map(([left]) => left.length)) + 2
  return [
    `mailtrail ${command.usage}`,
    '',
    command.about,
    '',
    'Options:',
    ...rows.map(([left, right]) => `  ${left.padEnd(width)}${right}`),
    '',
    'Example:',
    `  ${command.example}`,
    '',
  ].join('\n')
}

/** The same until the signal aborts, which ends it without an error: look at the signal afterwards. */
export async function* untilAborted<T>(items: AsyncIterable<T>, signal: AbortSignal): AsyncIterable<T> {
  try {
    yield* items
  } catch (error) {
    if (!signal.aborted) throw error
  }
}

/** `1 mail`, `2 mails`: a number and what it counts. */
export function counted(number: number, one: string, many = `${one}s`): string {
  return `${number} ${number === 1 ? one : many}`
}

/** Control characters never reach a terminal: they become spaces. */
export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, ' ')
}
