/**
 * The composition root: reads the command line, puts the parts together, ends them in order. Whoever opens something
 * here pushes its closer.
 */
import { mkdir, rm } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { type Logger, pino } from 'pino'
import { countRejected } from './api/rejected-mails.ts'
import { createServer } from './api/server.ts'
import { settle } from './api/settle.ts'
import { readStages, type StageSource } from './api/stages.ts'
import { commands } from './cli/all.ts'
import {
  type Command,
  CommandError,
  type Context,
  type Delivered,
  exitCode,
  helpOf,
  type IncomingMail,
  type Mailtrail,
  type OpenOptions,
  parseArguments,
  UsageError,
} from './cli/command.ts'
import { type Config, ConfigError, nearest, readConfig, wantsStackTraces } from './config.ts'
import { blobPath, openBlobFolder } from './edges/blob-folder.ts'
import { processors } from './processors/all.ts'
import { defaultLimits } from './processors/formats/limits.ts'
import { EventWriter } from './processors/mail-events.ts'
import { openParsePool } from './processors/parse-pool.ts'
import { PARSER_VERSION } from './processors/parser-version.ts'
import { type LoopState, runProcessor } from './processors/run.ts'
import { openEmbeddedStore } from './projections/embedded-store.ts'
import { eventReader, runProjections } from './projections/run.ts'
import { checkStore, prepareStore, projectedTopics } from './projections/schema.ts'
import { ProjectionState } from './projections/state.ts'
import type { Store } from './projections/store.ts'
import { type AnyEventType, eventTypes, topicSettings } from './topics/all.ts'
import { EventCodec } from './topics/avro.ts'
import { type Blobs, INLINE_BYTES } from './topics/blobs.ts'
import { acquireDataLock, DataFolderInUse } from './topics/data-lock.ts'
import { ingestEvent } from './topics/deliver.ts'
import { firstGeneration, type Generation } from './topics/generation.ts'
import type { Log } from './topics/log.ts'
import { openSqliteLog, type SqliteLog } from './topics/sqlite-log.ts'

export const VERSION = '0.1.0'

/** Retention is applied this often. */
const RETENTION_MILLISECONDS = 10 * 60 * 1000
/** After the first signal everything is ended in order; what hangs longer than this is left. */
const SHUTDOWN_MILLISECONDS = 30_000
const SECOND_SIGNAL_MILLISECONDS = 1000

/** Things that were opened, closed in reverse order. Each is closed even when another fails to. */
class Closers {
  readonly #closers: (() => Promise<unknown>)[] = []

  push(close: () => Promise<unknown>): void {
    this.#closers.push(close)
  }

  async close(): Promise<void> {
    const failures: unknown[] = []
    for (let close = this.#closers.pop(); close !== undefined; close = this.#closers.pop()) {
      await close().catch((error: unknown) => failures.push(error))
    }
    if (failures.length > 0) throw failures[0]
  }
}

/** A promise that something may reject, once. */
function breakable(): { broken: Promise<never>; breakWith: (error: unknown) => void } {
  const { promise, reject } = Promise.withResolvers<never>()
  promise.catch(() => undefined) // who waits for it hears of it; nobody has to
  return { broken: promise, breakWith: reject }
}

/** Opens all parts on the embedded implementations and sets them going. */
export async function openMailtrail(config: Config, options: OpenOptions = {}): Promise<Mailtrail> {
  const closers = new Closers()
  try {
    return await assemble(config, options, closers)
  } catch (error) {
    await closers.close()
    throw error
  }
}

/** What `assemble` hands from one part to the next. */
interface Parts {
  readonly config: Config
  readonly closers: Closers
  readonly logger: Logger
  readonly log: SqliteLog
  readonly generation: Generation
  readonly codec: EventCodec<AnyEventType>
  readonly blobs: Blobs
  readonly blobFolder: string
  readonly spoolFolder: string
  /** Aborts when everything is to stop. */
  readonly stop: AbortController
  readonly breakWith: (error: unknown) => void
}

async function assemble(config: Config, options: OpenOptions, closers: Closers): Promise<Mailtrail> {
  const data = config.MAILTRAIL_DATA
  const temporary = config.MAILTRAIL_TMP ?? join(data, 'tmp')
  const spoolFolder = join(temporary, 'spool')
  const blobFolder = config.MAILTRAIL_BLOBS ?? join(data, 'blobs')
  const logger = pino({ level: config.LOG_LEVEL }, pino.destination({ dest: 2, sync: true }))

  await mkdir(data, { recursive: true })
  const lock = await acquireDataLock(data, { pid: process.pid })
  closers.push(() => lock.release())
  await rm(spoolFolder, { recursive: true, force: true })
  await mkdir(spoolFolder, { recursive: true })
  await mkdir(blobFolder, { recursive: true })

  const { broken, breakWith } = breakable()
  const stop = new AbortController()
  const projected = new ProjectionState()
  let isProjecting = false
  // The store's child process starts while the log is opened.
  const opening = openEmbeddedStore({
    folder: join(data, 'store'),
    tmp: temporary,
    onRestart: (pid) => logger.warn(`The store had ended and was started again as process ${pid}.`),
    onDamaged: (reason) => {
      logger.warn(`The store cannot be opened and is rebuilt from the log: ${reason}`)
      if (isProjecting) projected.requestRebuild('it was found damaged and began anew.')
    },
  })
  closers.push(async () => (await opening.catch(() => undefined))?.close())
  opening.catch(() => undefined) // awaited below; until then a failure is not unhandled
  const log = await openSqliteLog({ path: join(data, 'log.sqlite') })
  closers.push(() => log.close())
  void log.broken.then(breakWith)
  const generation = firstGeneration(config.MAILTRAIL_TOPIC_PREFIX)
  await createTopics(config, log, generation)
  const codec = await EventCodec.open(log, eventTypes)
  const blobs = openBlobFolder(blobFolder)
  const parts = { config, closers, logger, log, generation, codec, blobs, blobFolder, spoolFolder, stop, breakWith }

  const applyRetention = setInterval(() => void log.applyRetention().catch(breakWith), RETENTION_MILLISECONDS)
  closers.push(async () => clearInterval(applyRetention))
  const store = await opening
  const prepared = await prepareStore(store, generation, { log })
  if (prepared.reason !== null) logger.warn(prepared.reason)
  const processing = startProcessing(parts)
  const projecting = startProjecting(parts, store, projected, prepared.rebuilt)
  isProjecting = true
  closers.push(async () => {
    stop.abort()
    await Promise.allSettled([processing.done, projecting])
  })
  const stages = stageSources(parts, processing, projected)
  const url = options.serve === false ? null : await serve(parts, store, stages, projected)
  if (url !== null) await lock.setUrl(url)
  return {
    url,
    description:
      `Data in ${data}: log in SQLite ${process.versions.sqlite}, store in chDB, ` +
      `${processing.workers} threads read mail. Log level ${config.LOG_LEVEL}, messages on standard error.`,
    broken,
    deliver: (mails) => deliver(parts, mails),
    settled: () => settle(log, stages, stop.signal),
    countRejected: (ids) => countRejected(store, generation, ids),
    close: () => closers.close(),
  }
}

async function createTopics(config: Config, log: Log, generation: Generation): Promise<void> {
  const settings = topicSettings(
    {
      prefix: config.MAILTRAIL_TOPIC_PREFIX,
      maxMailBytes: config.MAILTRAIL_MAX_MAIL_BYTES,
      retentionIngest: config.MAILTRAIL_RETENTION_INGEST,
      retentionPrivate: config.MAILTRAIL_RETENTION_PRIVATE,
    },
    (topic) => generation.topics[topic],
  )
  for (const topic of settings) await log.createTopic(topic)
}

interface Processing {
  readonly done: Promise<void>
  readonly group: string
  readonly state: LoopState
  readonly workers: number
}

function startProcessing(parts: Parts): Processing {
  const { config, closers, logger, log, generation, codec, blobFolder, spoolFolder, stop, breakWith } = parts
  const limits = {
    ...defaultLimits,
    mailBytes: config.MAILTRAIL_MAX_MAIL_BYTES,
    inflatedBytes: config.MAILTRAIL_MAX_INFLATED_BYTES,
  }
  const workers = config.MAILTRAIL_WORKERS > 0 ? config.MAILTRAIL_WORKERS : availableParallelism()
  const pool = openParsePool({ schemaIds: codec.ids(), spoolFolder, limits, workers })
  closers.push(() => pool.close())
  const writer = new EventWriter(codec.ids())
  const blobFile = (sha256: string) => blobPath(blobFolder, sha256)
  const all = processors({ parseMail: { pool, writer, spoolFolder, blobFile } })
  const state: LoopState = { handled: 0, bytes: 0 }
  const group = `${config.MAILTRAIL_TOPIC_PREFIX}parse-mail.${generation.name}`
  const loops = all.map((processor) =>
    runProcessor(
      {
        log,
        processor,
        physical: (topic) => generation.topics[topic],
        group,
        signal: stop.signal,
        onProblem: (message, event) => logger.error({ partition: event?.partition, offset: event?.offset }, message),
      },
      state,
    ),
  )
  const done = Promise.all(loops).then(() => undefined)
  done.catch(breakWith)
  return { done, group, state, workers }
}

function startProjecting(parts: Parts, store: Store, state: ProjectionState, rebuilt: boolean): Promise<void> {
  const { config, logger, log, generation, codec, stop, breakWith } = parts
  const done = runProjections(
    {
      log,
      codec: eventReader(codec),
      store,
      generation,
      signal: stop.signal,
      groupPrefix: config.MAILTRAIL_TOPIC_PREFIX,
      rebuilt,
      onProblem: (message) => logger.warn(message),
    },
    state,
  )
  done.catch(breakWith)
  checkStore(store, generation).then(
    (damage) => damage !== null && state.requestRebuild(damage),
    (error: Error) => stop.signal.aborted || logger.warn(`The store could not be checked: ${error.message}`),
  )
  return done
}

/** The stages from upstream to downstream, as `/status`, `--wait` and the metrics see them. */
function stageSources({ log, generation }: Parts, processing: Processing, projected: ProjectionState): StageSource[] {
  const ingest = generation.topics.ingest
  const rate = rateOf(() => processing.state.handled)
  return [
    {
      stage: 'parse-mail',
      generation: generation.name,
      topic: ingest,
      positions: () => log.committed(ingest, processing.group),
      rate,
    },
    ...projectedTopics.map((topic) => ({
      stage: `project-${topic}`,
      generation: generation.name,
      topic: generation.topics[topic],
      positions: async () => projected.positions(topic),
      rate: () => projected.eventRate(topic),
    })),
  ]
}

const RATE_MILLISECONDS = 10_000

/** Per second, between now and the oldest look of the last ten seconds. */
function rateOf(count: () => number): () => number {
  const looks = [{ at: performance.now(), count: 0 }]
  return () => {
    const now = { at: performance.now(), count: count() }
    looks.push(now)
    while (looks.length > 2 && looks[0]!.at < now.at - RATE_MILLISECONDS) looks.shift()
    const seconds = (now.at - looks[0]!.at) / 1000
    return seconds > 0 ? (now.count - looks[0]!.count) / seconds : 0
  }
}

async function serve(
  parts: Parts,
  store: Store,
  stages: readonly StageSource[],
  projected: ProjectionState,
): Promise<string> {
  const { config, closers, logger, log, generation, blobs, stop } = parts
  const now = () => new Date()
  const parserChanged = await otherReader(store, generation)
  const server = createServer({
    log,
    store,
    blobs,
    generation: () => generation,
    inlineBytes: INLINE_BYTES,
    maxMailBytes: config.MAILTRAIL_MAX_MAIL_BYTES,
    keys: config.MAILTRAIL_API_KEYS,
    now,
    version: VERSION,
    parserVersion: PARSER_VERSION,
    status: () => ({ stages: () => readStages(log, stages, now) }),
    settle: (signal, ends) => settle(log, stages, AbortSignal.any([signal, stop.signal]), ends),
    rebuilding: () => projected.rebuilding(),
    parserChanged: () => parserChanged,
    // The address is printed by the command; what the web framework says of itself matters only when it is a warning.
    logger: logger.child({}, { level: logger.isLevelEnabled('debug') ? 'debug' : 'warn' }),
  })
  const { host, port } = config.MAILTRAIL_LISTEN
  closers.push(() => server.close())
  try {
    return await server.listen({ host, port })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error
    throw new CommandError(`${host}:${port} is in use. Stop what uses it, or name another address with --listen.`)
  }
}

/** Whether something in the store was read by another version of the reader. */
async function otherReader(store: Store, generation: Generation): Promise<boolean> {
  const rows = await store.query(
    `SELECT 1 FROM ${generation.tables.mail} WHERE parser_version != {version:String} LIMIT 1`,
    {
      parameters: { version: PARSER_VERSION },
    },
  )
  return rows.length > 0
}

async function deliver(
  { log, generation, blobs }: Parts,
  mails: readonly IncomingMail[],
): Promise<readonly Delivered[]> {
  const importedAt = new Date().toISOString()
  const made = await Promise.all(
    mails.map(({ bytes, source, receivedAt, receivedFrom }) =>
      ingestEvent(bytes, { source, receivedAt: receivedAt ?? importedAt, receivedFrom }, blobs),
    ),
  )
  const events = made.map(({ event }) => event)
  const appended = await log.append(generation.topics.ingest, events)
  return appended.map((position, index) => ({ id: made[index]!.id, ...position }))
}

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
  const rows = commands.map((command: Command) => `  ${command.name.padEnd(10)}${command.about.split('\n')[0]}`)
  return `mailtrail ${VERSION}: keeps report mail, and answers who sends in your name.\n\n${rows.join('\n')}\n\nmailtrail COMMAND --help says more about each.\n`
}

/** One sentence on standard error and the exit code that goes with it. */
function explain(error: unknown): number {
  if (isReaderGone(error)) return exitCode.fine
  const known =
    error instanceof UsageError ||
    error instanceof ConfigError ||
    error instanceof CommandError ||
    error instanceof DataFolderInUse
  const message = error instanceof Error ? error.message : String(error)
  process.stderr.write(`${message}\n`)
  if (!known && error instanceof Error && wantsStackTraces()) process.stderr.write(`${error.stack}\n`)
  return error instanceof UsageError || error instanceof ConfigError ? exitCode.usage : exitCode.failed
}
