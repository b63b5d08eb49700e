/**
 * The composition root's second half: opens all parts on the implementations that the settings choose, sets them going,
 * and ends them in order. Whoever opens something here pushes its closer.
 */
import { existsSync } from 'node:fs'
import { mkdir, readFile, rm } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { type Logger, pino } from 'pino'
import type { ObservationCounts } from './api/metrics.ts'
import { PostPressure } from './api/post-pressure.ts'
import { countRejected } from './api/rejected-mails.ts'
import { createServer } from './api/server.ts'
import { settle } from './api/settle.ts'
import { readStages, type StageSource } from './api/stages.ts'
import { CommandError, type Delivered, type IncomingMail, type Mailtrail, type OpenOptions } from './cli/command.ts'
import type { Config } from './config.ts'
import { openAddressData } from './edges/addresses.ts'
import { blobPath, openBlobFolder } from './edges/blob-folder.ts'
import { type Observer, openObserver } from './edges/observer.ts'
import { reobserve } from './edges/re-observe.ts'
import { openResolver } from './edges/resolver.ts'
import { systemResolvers } from './edges/system-resolvers.ts'
import { beginGenerations } from './generations/begin.ts'
import { Epochs } from './generations/epochs.ts'
import { activeGenerations, ProcessorLoops, type ProcessorMakers } from './generations/loops.ts'
import { createTopics, Reconciler, storeLayout } from './generations/reconcile.ts'
import { openReplays } from './generations/replays.ts'
import { stagesOfGeneration } from './generations/stages.ts'
import { processors } from './processors/all.ts'
import { defaultLimits } from './processors/formats/limits.ts'
import { EventWriter } from './processors/mail-events.ts'
import { openParsePool } from './processors/parse-pool.ts'
import { PARSER_VERSION } from './processors/parser-version.ts'
import { openEmbeddedStore } from './projections/embedded-store.ts'
import { FeedList, feedsOf } from './projections/feeds.ts'
import { eventReader, runProjections } from './projections/run.ts'
import { checkStore, prepareStore, recreateStore } from './projections/schema.ts'
import { ProjectionState } from './projections/state.ts'
import type { Store } from './projections/store.ts'
import { compileRules } from './rules/compile.ts'
import { DEFAULT_RULES } from './rules/default-rules.ts'
import { readRules } from './rules/read.ts'
import { openSqliteState } from './state/sqlite-state.ts'
import { type AnyEventType, eventTypes, settingsOf, type TopicOptions } from './topics/all.ts'
import { EventCodec } from './topics/avro.ts'
import { type Blobs, INLINE_BYTES } from './topics/blobs.ts'
import { ControlLog } from './topics/control-log.ts'
import { acquireDataLock } from './topics/data-lock.ts'
import { ingestEvent } from './topics/deliver.ts'
import { firstGeneration, type Generation, sharedTopics } from './topics/generation.ts'
import type { Log } from './topics/log.ts'
import { openSqliteLog, type SqliteLog } from './topics/sqlite-log.ts'

export const VERSION = '0.1.0'

/** How long DNS may hold up a batch of reports; what is not answered by then is recorded as such. */
const LOOK_UP_BUDGET_MILLISECONDS = 1000
/** Retention is applied, and generations that were live long ago are retired, this often. */
const UPKEEP_MILLISECONDS = 10 * 60 * 1000

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
  readonly codec: EventCodec<AnyEventType>
  readonly control: ControlLog
  readonly blobs: Blobs
  readonly folders: Folders
  readonly topicOptions: TopicOptions
  readonly posting: PostPressure
  /** Aborts when everything is to stop. */
  readonly stop: AbortController
  readonly breakWith: (error: unknown) => void
}

interface Folders {
  readonly data: string
  readonly temporary: string
  readonly spool: string
  readonly blobs: string
}

async function assemble(config: Config, options: OpenOptions, closers: Closers): Promise<Mailtrail> {
  const logger = pino({ level: config.LOG_LEVEL }, pino.destination({ dest: 2, sync: true }))
  const folders = foldersOf(config)
  await mkdir(folders.data, { recursive: true })
  const lock = await acquireDataLock(folders.data, { pid: process.pid })
  closers.push(() => lock.release())
  await rm(folders.spool, { recursive: true, force: true })
  for (const folder of [folders.spool, folders.blobs]) await mkdir(folder, { recursive: true })

  const { broken, breakWith } = breakable()
  const stop = new AbortController()
  const projected = new ProjectionState()
  let isProjecting = false
  // The store's child process starts while the log is opened.
  const opening = openEmbeddedStore({
    folder: join(folders.data, 'store'),
    tmp: folders.temporary,
    onRestart: (pid) => logger.warn(`The store had ended and was started again as process ${pid}.`),
    onDamaged: (reason) => {
      logger.warn(`The store cannot be opened and is rebuilt from the log: ${reason}`)
      if (isProjecting) projected.requestRebuild('it was found damaged and began anew.')
    },
  })
  closers.push(async () => (await opening.catch(() => undefined))?.close())
  opening.catch(() => undefined) // awaited below; until then a failure is not unhandled
  const parts = await openLog(config, closers, logger, folders, stop, breakWith)
  const { log, control } = parts
  const store = await opening
  const layout = storeLayout(control.state)
  const prepared = await prepareStore(store, layout, { log })
  if (prepared.reason !== null) logger.warn(prepared.reason)

  const observe = await openObservations(parts)
  const loops = new ProcessorLoops({
    log,
    make: processorMakers(parts, observe),
    signal: stop.signal,
    giveWay: (signal) => parts.posting.giveWay(signal),
    isLive: (physical) => isLiveTopic(control, physical),
    onProblem: (message) => logger.error(message),
    onFailure: breakWith,
  })
  const feeds = new FeedList(feedsOf(activeGenerations(control.state).map(({ generation }) => generation)))
  const projecting = startProjecting(parts, store, feeds, projected, prepared.rebuilt)
  isProjecting = true
  closers.push(async () => {
    stop.abort()
    await Promise.allSettled([loops.ended(), projecting])
  })
  const { topicOptions } = parts
  const topicPrefix = config.MAILTRAIL_TOPIC_PREFIX
  const onProblem = (message: string) => logger.warn(message)
  const reconciler = new Reconciler(
    { log, store, control: control.state, loops, feeds, topicPrefix, topicOptions, signal: stop.signal, onProblem },
    layout.live.name,
  )
  const reconcile = () => reconciler.reconcile()
  control.onChange(() => void reconcile().catch(breakWith))
  await reconcile()
  const epochs = openEpochs(parts, observe)
  const replays = openReplays({
    epochs,
    log,
    store,
    control,
    loops,
    projected,
    topicPrefix,
    parserVersion: PARSER_VERSION,
    now: Date.now,
    reconcile,
  })
  const { breakWith: failed } = parts
  const retireFormer = () => {
    const age = config.MAILTRAIL_KEEP_FORMER
    if (age !== null) replays.retireFormer(age).catch(failed)
  }
  const keepUp = () => {
    log.applyRetention().catch(failed)
    retireFormer()
  }
  const upkeep = setInterval(keepUp, UPKEEP_MILLISECONDS)
  keepUp()
  closers.push(async () => clearInterval(upkeep))

  const stages = stageLists(parts, loops, projected)
  observe.whenLiveIsSettled((signal) => settle(log, stages.enriching(), AbortSignal.any([signal, stop.signal])))
  const live = () => control.state.live()!.generation
  const url =
    options.serve === false
      ? null
      : await serve(parts, store, stages, projected, replays, () => observe.observer.counters())
  if (url !== null) await lock.setUrl(url)
  checkInBackground(parts, store, projected)
  return {
    url,
    description:
      `Data in ${folders.data}: log in SQLite ${process.versions.sqlite}, store in chDB, ` +
      `${workersOf(config)} threads read mail. Generation ${live().name}, rule set ${live().ruleSet!.slice(0, 12)}. ` +
      `Log level ${config.LOG_LEVEL}, messages on standard error.`,
    broken,
    deliver: (mails) => deliver(parts, mails),
    settled: () => settle(log, stages.live(), stop.signal),
    countRejected: (ids) => countRejected(store, live(), ids),
    close: () => closers.close(),
  }
}

function foldersOf(config: Config): Folders {
  const data = config.MAILTRAIL_DATA
  const temporary = config.MAILTRAIL_TMP ?? join(data, 'tmp')
  return {
    data,
    temporary,
    spool: join(temporary, 'spool'),
    blobs: config.MAILTRAIL_BLOBS?.kind === 'folder' ? config.MAILTRAIL_BLOBS.path : join(data, 'blobs'),
  }
}

const workersOf = ({ MAILTRAIL_WORKERS: wanted }: Config) => (wanted > 0 ? wanted : availableParallelism())

/** The log with the topics of all generations, and the control topic folded. */
async function openLog(
  config: Config,
  closers: Closers,
  logger: Logger,
  folders: Folders,
  stop: AbortController,
  breakWith: (error: unknown) => void,
): Promise<Parts> {
  const log = await openSqliteLog({ path: join(folders.data, 'log.sqlite') })
  closers.push(() => log.close())
  void log.broken.then(breakWith)
  const topicOptions = {
    maxMailBytes: config.MAILTRAIL_MAX_MAIL_BYTES,
    retentionIngest: config.MAILTRAIL_RETENTION_INGEST,
    retentionPrivate: config.MAILTRAIL_RETENTION_PRIVATE,
  }
  const topicPrefix = config.MAILTRAIL_TOPIC_PREFIX
  const first = firstGeneration(topicPrefix)
  for (const topic of sharedTopics) await log.createTopic(settingsOf(topic, first, topicOptions))
  const codec = await EventCodec.open(log, eventTypes)
  const topic = first.topics.control
  const control = await ControlLog.open({ log, codec, topic, topicPrefix, signal: stop.signal })
  control.done.catch((error: unknown) => stop.signal.aborted || breakWith(error))
  const { yaml, source } = await chosenRules(config)
  const notice = await beginGenerations(control, { yaml, source, parserVersion: PARSER_VERSION, now: Date.now })
  if (notice !== null) logger.warn(notice)
  await createTopics(
    log,
    control.state.kept().map(({ generation }) => generation),
    topicOptions,
  )
  const blobs = openBlobFolder(folders.blobs)
  const posting = new PostPressure()
  return { config, closers, logger, log, codec, control, blobs, folders, topicOptions, posting, stop, breakWith }
}

/** The rule file that the settings name, the one in the data folder, or the shipped one. */
async function chosenRules(config: Config): Promise<{ yaml: string; source: string }> {
  const inData = join(config.MAILTRAIL_DATA, 'rules.yaml')
  const path = config.MAILTRAIL_RULES ?? (existsSync(inData) ? inData : null)
  if (path === null) return { yaml: DEFAULT_RULES, source: 'the rules that came with mailtrail' }
  try {
    return { yaml: await readFile(path, 'utf8'), source: path }
  } catch (error) {
    throw new CommandError(`The rule file ${path} cannot be read (${(error as NodeJS.ErrnoException).code}).`)
  }
}

/** Whether the live generation's answers come through this topic. */
function isLiveTopic(control: ControlLog, physical: string): boolean {
  return Object.values(control.state.live()!.generation.topics).includes(physical)
}

interface Observations {
  readonly observer: Observer
  /** Says how to wait until the live generation has enriched all that is on the log now. */
  whenLiveIsSettled(wait: (signal: AbortSignal) => Promise<void>): void
}

async function openObservations({
  config,
  closers,
  log,
  codec,
  control,
  folders,
  logger,
}: Parts): Promise<Observations> {
  let settledLive: (signal: AbortSignal) => Promise<void> = async () => {}
  const state = await openSqliteState({
    path: join(folders.data, 'state.sqlite'),
    onRebuild: (reason) => logger.warn(`The state file is made anew from the log: ${reason}`),
  })
  closers.push(() => state.close())
  const data = openAddressData({ folder: folders.data })
  const servers = config.MAILTRAIL_RESOLVERS === 'system' ? systemResolvers() : config.MAILTRAIL_RESOLVERS
  const resolver = servers.length === 0 ? null : openResolver({ servers })
  if (resolver !== null) closers.push(() => resolver.close())
  const observer = openObserver({
    log,
    topic: control.state.live()!.generation.topics.observations,
    codec,
    state,
    resolver,
    data,
    now: Date.now,
    budgetMilliseconds: LOOK_UP_BUDGET_MILLISECONDS,
    settledLive: (signal) => settledLive(signal),
  })
  closers.push(() => observer.close())
  return {
    observer,
    whenLiveIsSettled(wait) {
      settledLive = wait
    },
  }
}

function openEpochs({ log, codec, control, stop, closers }: Parts, { observer }: Observations): Epochs {
  const topic = control.state.live()!.generation.topics.observations
  const epochs = new Epochs({
    control,
    now: Date.now,
    observe: (epoch, onProgress, signal) => reobserve({ log, topic, codec, observer, epoch, onProgress, signal }),
    signal: stop.signal,
  })
  closers.push(() => {
    stop.abort()
    return epochs.ended()
  })
  return epochs
}

function processorMakers(
  { config, closers, codec, control, folders }: Parts,
  { observer }: Observations,
): ProcessorMakers {
  const limits = {
    ...defaultLimits,
    mailBytes: config.MAILTRAIL_MAX_MAIL_BYTES,
    inflatedBytes: config.MAILTRAIL_MAX_INFLATED_BYTES,
  }
  const { spool: spoolFolder } = folders
  const pool = openParsePool({ schemaIds: codec.ids(), spoolFolder, limits, workers: workersOf(config) })
  closers.push(() => pool.close())
  const writer = new EventWriter(codec.ids())
  const blobFile = (sha256: string) => blobPath(folders.blobs, sha256)
  return {
    parseMail: () => processors['parse-mail']({ pool, writer, spoolFolder, blobFile }),
    enrich: ({ generation }, isLive) =>
      processors.enrich({
        codec,
        observe: (requests, options) => observer.observe(requests, options),
        epoch: generation.epoch,
        ask: isLive,
      }),
    evaluate: ({ generation }) => {
      const { yaml } = control.state.ruleSet(generation.ruleSet!)!
      const { ruleSet, problems } = readRules(yaml)
      if (ruleSet === null)
        throw new Error(
          `The rules of generation ${generation.name} cannot be read by this version (${problems[0]?.message}). Go back to the version that published them.`,
        )
      return processors.evaluate({ rules: compileRules(ruleSet), codec })
    },
  }
}

function startProjecting(
  parts: Parts,
  store: Store,
  feeds: FeedList,
  state: ProjectionState,
  rebuilt: boolean,
): Promise<void> {
  const { config, logger, log, control, codec, posting, stop, breakWith } = parts
  const done = runProjections(
    {
      log,
      giveWay: (signal) => posting.giveWay(signal),
      codec: eventReader(codec),
      store,
      feeds,
      recreate: () => recreateStore(store, storeLayout(control.state)),
      signal: stop.signal,
      groupPrefix: config.MAILTRAIL_TOPIC_PREFIX,
      rebuilt,
      onProblem: (message) => logger.warn(message),
    },
    state,
  )
  done.catch(breakWith)
  return done
}

/** Reads the whole store beside the work; what is damaged is made anew. */
function checkInBackground({ control, logger, stop }: Parts, store: Store, state: ProjectionState): void {
  checkStore(store, storeLayout(control.state)).then(
    (damage) => damage !== null && state.requestRebuild(damage),
    (error: Error) => stop.signal.aborted || logger.warn(`The store could not be checked: ${error.message}`),
  )
}

interface StageLists {
  /** All that the live generation's answers come through. */
  live(): readonly StageSource[]
  /** The stages of the live generation up to its facts. */
  enriching(): readonly StageSource[]
  /** Every stage at work, of any generation. */
  all(): readonly StageSource[]
}

function stageLists({ log, control, config }: Parts, loops: ProcessorLoops, projected: ProjectionState): StageLists {
  const topicPrefix = config.MAILTRAIL_TOPIC_PREFIX
  // A stage remembers how fast it was, so it is kept.
  const known = new Map<string, readonly StageSource[]>()
  const stagesOf = (generation: Generation) => {
    const stages = known.get(generation.name) ?? stagesOfGeneration(generation, { log, loops, projected, topicPrefix })
    known.set(generation.name, stages)
    return stages
  }
  const live = () => stagesOf(control.state.live()!.generation)
  return {
    live,
    enriching: () => live().filter(({ stage }) => stage === 'parse-mail' || stage === 'enrich'),
    all() {
      const active = activeGenerations(control.state).map(({ generation }) => generation)
      const stages = new Map<string, StageSource>()
      for (const generation of active)
        for (const stage of stagesOf(generation)) {
          const key = `${stage.stage} ${stage.topic} ${stage.generation}`
          if (!stages.has(key)) stages.set(key, stage)
        }
      return [...stages.values()]
    },
  }
}

async function serve(
  parts: Parts,
  store: Store,
  stages: StageLists,
  projected: ProjectionState,
  replays: ReturnType<typeof openReplays>,
  observations: () => ObservationCounts,
): Promise<string> {
  const { config, closers, logger, log, control, blobs, stop } = parts
  const now = () => new Date()
  const live = () => control.state.live()!.generation
  const parserChanged = await otherReader(store, live())
  const server = createServer({
    log,
    store,
    blobs,
    generation: live,
    generationNamed(name) {
      const entry = control.state.generation(name)
      const gone = entry?.state === 'retired' || entry?.state === 'cancelled'
      return entry === null ? null : { generation: entry.generation, gone }
    },
    replays,
    observations,
    posting: parts.posting,
    inlineBytes: INLINE_BYTES,
    maxMailBytes: config.MAILTRAIL_MAX_MAIL_BYTES,
    keys: config.MAILTRAIL_API_KEYS,
    now,
    version: VERSION,
    parserVersion: PARSER_VERSION,
    status: () => ({ stages: () => readStages(log, stages.all(), now) }),
    settle: (signal, ends) => settle(log, stages.live(), AbortSignal.any([signal, stop.signal]), ends),
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
  const rows = await store.query<object>(
    `SELECT 1 FROM ${generation.tables.mail} WHERE parser_version != {version:String} LIMIT 1`,
    { parameters: { version: PARSER_VERSION } },
  )
  return rows.length > 0
}

async function deliver(
  { log, control, blobs }: { log: Log; control: ControlLog; blobs: Blobs },
  mails: readonly IncomingMail[],
): Promise<readonly Delivered[]> {
  const importedAt = new Date().toISOString()
  const made = await Promise.all(
    mails.map(({ bytes, source, receivedAt, receivedFrom }) =>
      ingestEvent(bytes, { source, receivedAt: receivedAt ?? importedAt, receivedFrom }, blobs),
    ),
  )
  const events = made.map(({ event }) => event)
  const appended = await log.append(control.state.live()!.generation.topics.ingest, events)
  return appended.map((position, index) => ({ id: made[index]!.id, ...position }))
}
