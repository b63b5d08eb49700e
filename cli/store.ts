import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { listenAddress } from '../config.ts'
import { DEFAULT_MEMORY_BYTES, isLocked, startChdb } from '../projections/chdb-child.ts'
import { type Command, CommandError, exitCode, UsageError } from './command.ts'

/** How long running statements may take to end once it is told to stop, and how long it is then waited for. */
const DRAIN_MILLISECONDS = 10_000
const STOP_MILLISECONDS = 15_000
const MEGABYTE = 1_000_000
const SMALLEST_MEGABYTES = 200

export const store: Command = {
  name: 'store',
  usage: 'store [--listen HOST:PORT] [--data DIR] [--memory MB]',
  about:
    "Serves the embedded store alone, as a small ClickHouse over ClickHouse's HTTP interface: for a cluster of mailtrail\n" +
    'processes where no ClickHouse can be installed, for tests, and for small installations. Others reach it with\n' +
    'CLICKHOUSE_URL, as user default with the password in CLICKHOUSE_PASSWORD. What it holds stays in DIR/store; only one\n' +
    'process may have that folder open. It runs on one machine, replicates nothing, and is not started again when it ends:\n' +
    'let what runs your services do that. Ctrl-C or SIGTERM stops it in order.',
  options: {
    listen: { type: 'string', value: 'HOST:PORT', about: 'address to serve at (default 127.0.0.1:8123)' },
    memory: {
      type: 'string',
      value: 'MB',
      about: `what it may take (default ${DEFAULT_MEMORY_BYTES / MEGABYTE}); statements beyond it fail, inserts wait`,
    },
  },
  example: 'mailtrail store --listen 127.0.0.1:8123 --data ./store',

  async run(args, context) {
    if (args.positionals.length > 0) throw new UsageError('store takes no names.')
    const { host, port } = addressOf(args.text('listen') ?? '127.0.0.1:8123')
    const memoryBytes = memoryOf(args.text('memory'))
    const data = args.text('data')
    const config = context.config(data === undefined ? {} : { MAILTRAIL_DATA: data })
    const secret = config.CLICKHOUSE_PASSWORD
    if (secret === '' && !isLoopback(host)) {
      throw new UsageError(
        `Refusing to listen on ${host} without a password: anyone could read and write. Set CLICKHOUSE_PASSWORD, or listen on 127.0.0.1.`,
      )
    }
    const folder = join(config.MAILTRAIL_DATA, 'store')
    const tmp = config.MAILTRAIL_TMP ?? join(config.MAILTRAIL_DATA, 'tmp')
    await mkdir(folder, { recursive: true })
    await mkdir(tmp, { recursive: true })
    const start = await startChdb({
      folder,
      tmp,
      secret,
      memoryBytes,
      host,
      port,
      drainMilliseconds: DRAIN_MILLISECONDS,
    })
    if (start.kind !== 'serving') throw new CommandError(whyNot(folder, `${host}:${port}`, start.reason))
    const shown = host.includes(':') ? `[${host}]` : host
    context.stdout.write(
      `mailtrail store is up: http://${shown}:${start.port}\nData in ${folder}, at most ${memoryBytes / MEGABYTE} MB of memory.\n`,
    )
    await Promise.race([aborted(context.signal), start.ended])
    if (!context.signal.aborted) {
      const { signalCode, exitCode: code } = start.child
      const end = signalCode === null ? `code ${code}` : `signal ${signalCode}`
      throw new CommandError(
        `The store ended by itself (${end}). Start it again: what it acknowledged is kept. ${start.lastWords()}`.trim(),
      )
    }
    context.stdout.write('Stopping: finishing what is under way …\n')
    start.child.stdin?.end()
    start.child.kill('SIGTERM')
    const late = setTimeout(() => start.child.kill('SIGKILL'), STOP_MILLISECONDS)
    await start.ended
    clearTimeout(late)
    return exitCode.fine
  },
}

function addressOf(text: string): { host: string; port: number } {
  try {
    return listenAddress(text)
  } catch (error) {
    throw new UsageError(`--listen ${(error as Error).message}.`)
  }
}

function memoryOf(text: string | undefined): number {
  if (text === undefined) return DEFAULT_MEMORY_BYTES
  const megabytes = /^\d{1,7}$/.test(text) ? Number(text) : 0
  if (megabytes < SMALLEST_MEGABYTES)
    throw new UsageError(`--memory must be a whole number of megabytes, ${SMALLEST_MEGABYTES} or more.`)
  return megabytes * MEGABYTE
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host)
}

function whyNot(folder: string, address: string, reason: string): string {
  if (/EADDRINUSE/.test(reason))
    return `${address} is in use. Stop what uses it, or name another address with --listen.`
  if (/EADDRNOTAVAIL|EACCES.*listen|listen EACCES|ENOTFOUND/.test(reason))
    return `The store cannot listen on ${address} (${reason}). Name another address with --listen.`
  if (isLocked(reason)) return `The store in ${folder} is open in another process. Stop that, or name another --data.`
  return (
    `The store in ${folder} does not start: ${reason} Check the folder's rights and the free space. If it is damaged, ` +
    'move it away and start again: projections fill an empty store from the log.'
  )
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
