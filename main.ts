/** The composition root: reads the command line and runs the command on what `pipeline.ts` puts together. */
import { commands } from './cli/all.ts'
import {
  type Command,
  CommandError,
  type Context,
  exitCode,
  helpOf,
  parseArguments,
  UsageError,
} from './cli/command.ts'
import { ConfigError, nearest, readConfig, wantsStackTraces } from './config.ts'
import { RulesInvalid } from './generations/begin.ts'
import { openMailtrail, VERSION } from './pipeline.ts'
import { StoreRefused } from './projections/store.ts'
import { DataFolderInUse } from './topics/data-lock.ts'
import { OffsetGone } from './topics/log.ts'

/** After the first signal everything is ended in order; what hangs longer than this is left. */
const SHUTDOWN_MILLISECONDS = 30_000
const SECOND_SIGNAL_MILLISECONDS = 1000

/** Runs the command line. Returns the exit code; errors are one sentence on standard error. */
export async function main(argv: readonly string[]): Promise<number> {
  const stopping = new AbortController()
  let signalled = 0
  const onSignal = () => {
    // npm and a terminal both pass Ctrl-C on, so one key press may come twice: only a later one means "now".
    if (stopping.signal.aborted && performance.now() - signalled > SECOND_SIGNAL_MILLISECONDS) process.exit(130)
    if (stopping.signal.aborted) return
    signalled = performance.now()
    stopping.abort()
    setTimeout(() => {
      process.stderr.write('Could not stop in order; ending now. Nothing acknowledged is lost.\n')
      process.exit(1)
    }, SHUTDOWN_MILLISECONDS).unref()
  }
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal)
  // Without a listener an output that fails, or closes early (`| head`), throws where nobody catches.
  let outputFailure: Error | undefined
  process.stdout.on('error', (error) => {
    outputFailure ??= error
  })
  const context: Context = {
    config: (overrides) => readConfig(overrides),
    open: openMailtrail,
    stdout: process.stdout,
    stderr: process.stderr,
    stdin: process.stdin,
    signal: stopping.signal,
  }
  try {
    const code = await runCommand(argv, context)
    return outputFailure === undefined ? code : explain(outputFailure)
  } catch (error) {
    return explain(error)
  } finally {
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal)
  }
}

/** The reader of our output went away, as `head` does: it has seen enough, and nothing is wrong. */
function isReaderGone(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  return code === 'EPIPE' || code === 'ERR_STREAM_DESTROYED'
}

async function runCommand(argv: readonly string[], context: Context): Promise<number> {
  const [name, ...rest] = argv
  if (name === undefined || name === 'help' || name === '--help' || name === '-h') {
    context.stdout.write(overview())
    return name === undefined ? exitCode.usage : exitCode.fine
  }
  if (name === '--version') {
    context.stdout.write(`${VERSION}\n`)
    return exitCode.fine
  }
  const command = commands.find((known) => known.name === name)
  if (command === undefined) {
    throw new UsageError(
      `There is no command ${name}. Did you mean ${nearest(
        name,
        commands.map((known) => known.name),
      )}? See mailtrail --help.`,
    )
  }
  if (rest.includes('--help')) {
    context.stdout.write(helpOf(command))
    return exitCode.fine
  }
  return command.run(parseArguments(command, rest), context)
}

function overview(): string {
  const width = Math.max(...commands.map(({ name }) => name.length)) + 2
  const rows = commands.map((command: Command) => `  ${command.name.padEnd(width)}${command.about.split('\n')[0]}`)
  return `mailtrail ${VERSION}: keeps report mail, and answers who sends in your name.\n\n${rows.join('\n')}\n\nmailtrail COMMAND --help says more about each.\n`
}

/** One sentence on standard error and the exit code that goes with it. */
function explain(error: unknown): number {
  if (isReaderGone(error)) return exitCode.fine
  const known =
    error instanceof UsageError ||
    error instanceof ConfigError ||
    error instanceof CommandError ||
    error instanceof RulesInvalid ||
    error instanceof DataFolderInUse ||
    error instanceof StoreRefused ||
    error instanceof OffsetGone
  const message = error instanceof Error ? error.message : String(error)
  process.stderr.write(`${message}\n`)
  if (!known && error instanceof Error && wantsStackTraces()) process.stderr.write(`${error.stack}\n`)
  return error instanceof UsageError || error instanceof ConfigError ? exitCode.usage : exitCode.failed
}
