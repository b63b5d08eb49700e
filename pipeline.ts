/**
 * The composition root's second half: opens all parts on the implementations that the settings choose, sets them going,
 * and ends them in order. Whoever opens something here pushes its closer.
 */
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Logger, pino } from 'pino'
import { MeasuredLog } from './api/measured-log.ts'
import { measureStore } from './api/measured-store.ts'
import { type Meters, type ObservationCounts, openMeters } from './api/metrics.ts'
import { PostPressure } from './api/post-pressure.ts'
import { countRejected } from './api/rejected-mails.ts'
import { createServer } from './api/server.ts'
import { settle } from './api/settle.ts'
import { readStages, type StageSource } from './api/stages.ts'
import { CommandError, type Delivered, type IncomingMail, type Mailtrail, type OpenOptions } from './cli/command.ts'
import { type Config, type Role, roleNames } from './config.ts'
import { openAddressData } from './edges/addresses.ts'
import type { ObserveKeysOptions } from './edges/key-observer.ts'
import type { KeyDay } from './edges/observation-state.ts'
import { type Observer, openObserver } from './edges/observer.ts'
import { reobserve } from './edges/re-observe.ts'
import { openResolver } from './edges/resolver.ts'
import { systemResolvers } from './edges/system-resolvers.ts'
import { beginGenerations } from './generations/begin.ts'
import { Epochs } from './generations/epochs.ts'
import { Erasures } from './generations/erasures.ts'
import { expireMail } from './generations/expire-mail.ts'
import { openForgetting } from './generations/forget.ts'
import { activeGenerations, loopsOf, ProcessorLoops, type ProcessorMakers } from './generations/loops.ts'
import { createTopics, Reconciler, storeLayout } from './generations/reconcile.ts'
import { openReplays } from './generations/replays.ts'
import { type OwnWork, type Projected, stagesOfGeneration } from './generations/stages.ts'
import { Closers, checkSettings, type Folders, openPorts, type Ports, takeFolders } from './ports.ts'
import { processors } from './processors/all.ts'
import { defaultLimits } from './processors/formats/limits.ts'
import { EventWriter } from './processors/mail-events.ts'
import { openParsePool, type ParsePool } from './processors/parse-pool.ts'
import { readerVersion } from './processors/redaction.ts'
import { FeedList, feedsOf } from './projections/feeds.ts'
import { eventReader, type RunProjectionsOptions, runProjections, untilStoreAnswers } from './projections/run.ts'
import { checkStore, prepareStore, recreateStore } from './projections/schema.ts'
import { ProjectionState } from './projections/state.ts'
import type { Store } from './projections/store.ts'
import { StoredProgress } from './projections/stored-progress.ts'
import { compileRules } from './rules/compile.ts'
import { DEFAULT_RULES } from './rules/default-rules.ts'
import { readRules } from './rules/read.ts'
import { type AnyEventType, eventTypes, settingsOf, type TopicOptions } from './topics/all.ts'
import { EventCodec } from './topics/avro.ts'
import { INLINE_BYTES } from './topics/blobs.ts'
import { GapAccepted } from './topics/control.ts'
import { ControlLog } from './topics/control-log.ts'
import { ingestEvent } from './topics/deliver.ts'
import { firstGeneration, type Generation, sharedTopics } from './topics/generation.ts'
import { mailId } from './topics/ingest.ts'
import { type Gap, type Log, OffsetGone } from './topics/log.ts'
import { mailIdOf } from './topics/mail-of-event.ts'
import { printableJson } from './topics/printable.ts'

export const VERSION = '0.1.0'

/** How long DNS may hold up a batch of reports; what is not answered by then is recorded as such. */
const LOOK_UP_BUDGET_MILLISECONDS = 1000
/** How often a mail that is being erased is looked at, before it is taken again. */
const ERASING_MILLISECONDS = 100
/** Retention is applied, and generations that were live long ago are retired, this often. */
const UPKEEP_MILLISECONDS = 10 * 60 * 1000

/** A promise that something may reject, once. */
function breakable(): { broken: Promise<never>; breakWith: (error: unknown) => void } {
  const { promise, reject } = Promise.withResolvers<never>()
  promise.catch(() => undefined) // who waits for it hears of it; nobody has to
  return { broken: promise, breakWith: reject }
}

/** Opens all parts on the implementations that the settings choose, and sets going what the roles of this process are. */
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
  readonly ports: Ports
  readonly log: Log
  readonly codec: EventCodec<AnyEventType>
  readonly control: ControlLog
  readonly folders: Folders
  readonly topicOptions: TopicOptions
  readonly posting: PostPressure
  /** Aborts when everything is to stop. */
  readonly stop: AbortController
  readonly breakWith: (error: unknown) => void
}

async function assemble(config: Config, options: OpenOptions, closers: Closers): Promise<Mailtrail> {
  const hooks = { streamWrite: printableJson }
  const logger = pino({ level: config.LOG_LEVEL, hooks }, pino.destination({ dest: 2, sync: true }))
  checkSettings(config)
  const { folders, lock } = await takeFolders(config, closers)
  const { broken, breakWith } = breakable()
  const stop = new AbortController()
  const abandon = () => stop.abort(options.signal?.reason)
  options.signal?.addEventListener('abort', abandon, { once: true })
  const projected = new ProjectionState()
  let isProjecting = false
  const opened = await openPorts({
    config,
    closers,
    logger,
    folders,
    signal: stop.signal,
    onBroken: breakWith,
    onStoreDamaged: () => isProjecting && projected.requestRebuild('it was found damaged and began anew.'),
  })
  const meters = openMeters({ system: config.KAFKA_BROKERS.length > 0 ? 'kafka' : 'sqlite', folder: folders.data })
  const ports = measured(opened, meters)
  const { log, locks } = ports
  const roles = new Set(options.roles ?? config.MAILTRAIL_ROLES)
  const { parts, store, rebuilt } = await locks.hold(
    'setup',
    async () => {
      const opened = await openControl({ config, closers, logger, ports, folders, stop, breakWith })
      const { tables } = await ports.stores
      const layout = storeLayout(opened.control.state)
      const prepared = await untilStoreAnswers(waiting(opened), () => prepareStore(tables, layout, { log }))
      if (prepared.reason !== null) logger.warn(prepared.reason)
      return { parts: opened, store: tables, rebuilt: prepared.rebuilt }
    },
    stop.signal,
  )
  const { control } = parts
  const { answers } = await ports.stores
  if (config.KAFKA_BROKERS.length > 0 && !ports.isShared) await expectToBeAlone(parts)

  const observe = await openObservations(parts)
  const gaps = options.acceptGap === true ? { onGap: (gap: Gap) => acceptGap(parts, gap) } : {}
  const loops = new ProcessorLoops({
    log,
    make: processorMakers(parts, observe),
    signal: stop.signal,
    giveWay: (signal) => parts.posting.giveWay(signal),
    isLive: (physical) => isLiveTopic(control, physical),
    onProblem: (message, event) => logger.error(event === null ? {} : { mail_id: mailIdOf(event) }, message),
    onFailure: breakWith,
    ...gaps,
  })
  const feeds = new FeedList([])
  const projecting = roles.has('project')
    ? startProjecting(parts, store, feeds, projected, rebuilt, gaps)
    : Promise.resolve()
  isProjecting = true
  closers.push(async () => {
    stop.abort()
    await Promise.allSettled([loops.ended(), projecting])
  })
  const leadership = { leads: !ports.isShared }
  const reconcile = openReconciler(parts, store, loops, feeds, roles, leadership)
  control.onChange(() => void reconcile().catch(breakWith))
  const following = ports.isShared ? followLeadership(parts, reconcile, leadership) : Promise.resolve()
  closers.push(() => {
    stop.abort()
    return following
  })
  await reconcile()

  // Where others project, too, only the store knows how far all have got.
  const stored = new StoredProgress(store, () => feedsOf(control.state.kept().map(({ generation }) => generation)))
  const progress = ports.isShared ? stored : { positions: async (physical: string) => projected.positions(physical) }
  const epochs = openEpochs(parts, observe)
  const replays = openReplays({
    epochs,
    log,
    store: answers,
    control,
    projected: progress,
    topicPrefix: config.MAILTRAIL_TOPIC_PREFIX,
    parserVersion: readerVersion(config.MAILTRAIL_REDACT),
    now: Date.now,
    reconcile,
  })
  keepUp(parts, store, replays, leadership)

  const own = ports.isShared
    ? null
    : {
        handled: (writes: string) => loops.handled(writes),
        projectedRate: (physical: string) => projected.eventRate(physical),
      }
  const stages = stageLists(parts, progress, own)
  observe.whenLiveIsSettled((signal) => settle(log, stages.enriching(), AbortSignal.any([signal, stop.signal])))
  const live = () => control.state.live()!.generation
  if (ports.isShared) await stored.rebuildingNow()
  const url =
    options.serve === false
      ? null
      : await serve(parts, answers, stages, ports.isShared ? stored : projected, replays, roles, meters, () =>
          observe.observer.counters(),
        )
  if (url !== null) await lock.setUrl(url)
  if (roles.has('project')) checkInBackground(parts, store, projected)
  options.signal?.removeEventListener('abort', abandon)
  return {
    url,
    description: describe(parts, roles),
    broken,
    deliver: (mails) => deliver(parts, mails),
    settled: () => settle(log, stages.live(), stop.signal),
    countRejected: (ids) => countRejected(answers, live(), ids),
    close: () => closers.close(),
  }
}

function describe({ config, ports, folders, control }: Parts, roles: ReadonlySet<Role>): string {
  const { generation } = control.state.live()!
  const does = roles.size === roleNames.length ? '' : ` Roles ${[...roles].join(', ')}.`
  const reads = roles.has('process') ? `, ${workersOf(config)} threads read mail` : ''
  return (
    `Data in ${folders.data}: ${ports.description}${reads}.${does} ` +
    `Generation ${generation.name}, rule set ${generation.ruleSet!.slice(0, 12)}. ` +
    `Log level ${config.LOG_LEVEL}, messages on standard error.`
  )
}

const waiting = ({ stop, logger }: Pick<Parts, 'stop' | 'logger'>) => ({
  signal: stop.signal,
  onProblem: (message: string) => logger.warn(message),
})

/** The same ports, counted and timed. */
function measured(ports: Ports, meters: Meters): Ports {
  const stores = ports.stores.then(({ tables, answers }) => ({
    tables: measureStore(tables, meters),
    answers: measureStore(answers, meters),
  }))
  stores.catch(() => undefined) // awaited by whoever needs it; until then a failure is not unhandled
  return { ...ports, log: new MeasuredLog(ports.log, meters), stores }
}

/** Writes down that a group goes on behind events that are gone. */
async function acceptGap({ control, logger }: Parts, gap: Gap): Promise<void> {
  await control.append(GapAccepted, { at: Date.now(), ...gap })
  logger.warn(`${new OffsetGone(gap).message.split(' Start with')[0]} It goes on without them, as was asked for.`)
}

/** Whoever ended without leaving its groups is still a member for ten seconds. */
const ALONE_MILLISECONDS = 20_000

/**
 * On Kafka with a store or a state of its own: a second process would share the groups, and each would have a part of the
 * answers. Throws when there is another one.
 */
async function expectToBeAlone({ config, log, control, stop, logger }: Parts): Promise<void> {
  const groups = [
    ...loopsOf(control.state, config.MAILTRAIL_TOPIC_PREFIX).map(({ group }) => group),
    ...feedsOf(activeGenerations(control.state).map(({ generation }) => generation)).map(
      ({ topic, owner }) => `${config.MAILTRAIL_TOPIC_PREFIX}project.${topic}.g${owner}`,
    ),
  ]
  const until = performance.now() + ALONE_MILLISECONDS
  for (let told = false; ; ) {
    const members = await Promise.all(groups.map((group) => log.members(group)))
    if (members.every((count) => count === 0)) return
    if (performance.now() > until)
      throw new CommandError(
        `Another mailtrail works on the topics of this Kafka (prefix "${config.MAILTRAIL_TOPIC_PREFIX}"), and this one would keep tables of its own: ` +
          'each would have a part of the answers. Set CLICKHOUSE_URL and DATABASE_URL for all of them, or another MAILTRAIL_TOPIC_PREFIX for this one.',
      )
    if (!told)
      logger.warn('Waiting until no other process reads the topics: with a store of its own there can be only one.')
    told = true
    await sleep(500, undefined, { signal: stop.signal })
  }
}

interface Leadership {
  leads: boolean
}

function openReconciler(
  { config, log, control, topicOptions, stop, logger, ports }: Parts,
  store: Store,
  loops: ProcessorLoops,
  feeds: FeedList,
  roles: ReadonlySet<Role>,
  leadership: Leadership,
): () => Promise<void> {
  const reconciler = new Reconciler(
    {
      log,
      store,
      control: control.state,
      loops,
      feeds,
      topicPrefix: config.MAILTRAIL_TOPIC_PREFIX,
      topicOptions,
      roles: { process: roles.has('process'), project: roles.has('project') },
      leads: () => leadership.leads,
      erasures: new Erasures({
        log,
        store,
        blobs: ports.blobs,
        control,
        topicPrefix: config.MAILTRAIL_TOPIC_PREFIX,
        now: Date.now,
        ...waiting({ stop, logger }),
      }),
      ...waiting({ stop, logger }),
    },
    control.state.live()!.generation.name,
  )
  return () => reconciler.reconcile()
}

/** Leads whenever the lock can be had, and follows when it is lost. Resolves when the signal has aborted. */
async function followLeadership(
  { ports, stop, logger, breakWith }: Parts,
  reconcile: () => Promise<void>,
  leadership: Leadership,
): Promise<void> {
  while (!stop.signal.aborted) {
    try {
      await ports.locks.hold(
        'reconcile',
        async (held) => {
          leadership.leads = true
          logger.debug('This process makes and removes topics and tables now.')
          reconcile().catch(breakWith)
          await aborted(held)
          leadership.leads = false
        },
        stop.signal,
      )
    } catch (error) {
      leadership.leads = false
      if (!stop.signal.aborted) logger.warn(`The lock of the reconciler was lost: ${(error as Error).message}`)
    }
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    signal.addEventListener('abort', () => resolve(), { once: true })
  })
}

/** Applies retention to log and tables, and retires what was live long ago, now and every ten minutes. */
function keepUp(
  { config, ports, closers, control, logger, breakWith }: Parts,
  store: Store,
  replays: ReturnType<typeof openReplays>,
  leadership: Leadership,
): void {
  const once = () => {
    ports.applyRetention().catch(breakWith)
    const kept = config.MAILTRAIL_RETENTION_PRIVATE
    if (kept !== null && leadership.leads)
      expireMail(store, control.state, kept, Date.now()).catch((error: Error) =>
        logger.warn(`Rows of old mail stay until the next round, in ten minutes: ${error.message}`),
      )
    const age = config.MAILTRAIL_KEEP_FORMER
    if (age !== null && leadership.leads) replays.retireFormer(age).catch(breakWith)
  }
  const upkeep = setInterval(once, UPKEEP_MILLISECONDS)
  closers.push(async () => clearInterval(upkeep))
  once()
}

const workersOf = ({ MAILTRAIL_WORKERS: wanted }: Config) => (wanted > 0 ? wanted : availableParallelism())

/** The topics of all generations, and the control topic folded. */
async function openControl(
  given: Pick<Parts, 'config' | 'closers' | 'logger' | 'ports' | 'folders' | 'stop' | 'breakWith'>,
): Promise<Parts> {
  const { config, logger, ports, stop, breakWith } = given
  const { log } = ports
  const topicOptions = {
    maxMailBytes: config.MAILTRAIL_MAX_MAIL_BYTES,
    retentionIngest: config.MAILTRAIL_RETENTION_INGEST,
    retentionPrivate: config.MAILTRAIL_RETENTION_PRIVATE,
  }
  const topicPrefix = config.MAILTRAIL_TOPIC_PREFIX
  const first = firstGeneration(topicPrefix)
  for (const topic of sharedTopics) await log.createTopic(settingsOf(topic, first, topicOptions))
  const codec = await EventCodec.open(ports.registry, eventTypes)
  const topic = first.topics.control
  const control = await ControlLog.open({ log, codec, topic, topicPrefix, signal: stop.signal })
  control.done.catch((error: unknown) => stop.signal.aborted || breakWith(error))
  const { yaml, source } = await chosenRules(config)
  const notice = await beginGenerations(control, {
    yaml,
    source,
    parserVersion: readerVersion(config.MAILTRAIL_REDACT),
    now: Date.now,
  })
  if (notice !== null) logger.warn(notice)
  await createTopics(
    log,
    control.state.kept().map(({ generation }) => generation),
    topicOptions,
  )
  return { ...given, log, codec, control, topicOptions, posting: new PostPressure() }
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
  ports,
  log,
  codec,
  control,
  folders,
}: Parts): Promise<Observations> {
  let settledLive: (signal: AbortSignal) => Promise<void> = async () => {}
  const state = await ports.openState()
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
  { config, closers, ports, codec, control, folders }: Parts,
  { observer }: Observations,
): ProcessorMakers {
  const limits = {
    ...defaultLimits,
    mailBytes: config.MAILTRAIL_MAX_MAIL_BYTES,
    inflatedBytes: config.MAILTRAIL_MAX_INFLATED_BYTES,
  }
  const { spool: spoolFolder } = folders
  let pool: ParsePool | undefined
  closers.push(async () => pool?.close())
  const redaction = config.MAILTRAIL_REDACT
  const writer = new EventWriter(codec.ids(), redaction)
  const { blobs } = ports
  return {
    parseMail({ generation }, isLive) {
      pool ??= openParsePool({
        schemaIds: codec.ids(),
        spoolFolder,
        limits,
        redaction,
        authservIds: config.MAILTRAIL_AUTHSERV_ID,
        workers: workersOf(config),
      })
      const keys = {
        observe: (requests: readonly KeyDay[], options: ObserveKeysOptions) => observer.observeKeys(requests, options),
        epoch: generation.epoch,
        ask: isLive,
      }
      return processors['parse-mail']({ pool, writer, spoolFolder, blobs, keys, unread: control.state })
    },
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
  gaps: Pick<RunProjectionsOptions, 'onGap'>,
): Promise<void> {
  const { config, logger, ports, log, control, codec, posting, stop, breakWith } = parts
  const recreate = (lost: Parameters<RunProjectionsOptions['recreate']>[0]) =>
    ports.locks.hold('setup', () => recreateStore(store, storeLayout(control.state), { log, lost }), stop.signal)
  const done = runProjections(
    {
      log,
      giveWay: (signal) => posting.giveWay(signal),
      codec: eventReader(codec),
      store,
      feeds,
      recreate,
      signal: stop.signal,
      ...gaps,
      groupPrefix: config.MAILTRAIL_TOPIC_PREFIX,
      rebuilt,
      unread: control.state,
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

function stageLists({ log, control, config }: Parts, projected: Projected, own: OwnWork | null): StageLists {
  const topicPrefix = config.MAILTRAIL_TOPIC_PREFIX
  // A stage remembers how fast it was, so it is kept.
  const known = new Map<string, readonly StageSource[]>()
  const stagesOf = (generation: Generation) => {
    const stages = known.get(generation.name) ?? stagesOfGeneration(generation, { log, own, projected, topicPrefix })
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
  projected: Pick<ProjectionState, 'rebuilding'>,
  replays: ReturnType<typeof openReplays>,
  roles: ReadonlySet<Role>,
  meters: Meters,
  observations: () => ObservationCounts,
): Promise<string> {
  const { config, closers, logger, ports, log, control, stop } = parts
  const now = () => new Date()
  const live = () => control.state.live()!.generation
  const parserChanged = await otherReader(store, live(), readerVersion(config.MAILTRAIL_REDACT))
  const server = createServer({
    log,
    store,
    blobs: ports.blobs,
    generation: live,
    generationNamed(name) {
      const entry = control.state.generation(name)
      const gone = entry?.state === 'retired' || entry?.state === 'cancelled'
      return entry === null ? null : { generation: entry.generation, gone }
    },
    replays,
    forgetting: openForgetting({
      log,
      store,
      blobs: ports.blobs,
      control,
      replays,
      retentionIngest: config.MAILTRAIL_RETENTION_INGEST,
      now: Date.now,
    }),
    roles,
    observations,
    meters,
    posting: parts.posting,
    inlineBytes: INLINE_BYTES,
    floodLimits: { client: config.MAILTRAIL_LIMIT_CLIENT, domain: config.MAILTRAIL_LIMIT_DOMAIN },
    maxMailBytes: config.MAILTRAIL_MAX_MAIL_BYTES,
    keys: config.MAILTRAIL_API_KEYS,
    now,
    version: VERSION,
    parserVersion: readerVersion(config.MAILTRAIL_REDACT),
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
async function otherReader(store: Store, generation: Generation, version: string): Promise<boolean> {
  const rows = await store.query<object>(
    `SELECT 1 FROM ${generation.tables.mail} WHERE parser_version != {version:String} LIMIT 1`,
    { parameters: { version } },
  )
  return rows.length > 0
}

async function deliver(
  { log, control, stop, ports: { blobs } }: Parts,
  mails: readonly IncomingMail[],
): Promise<readonly Delivered[]> {
  // Taken now, a mail that is being erased would be erased with the deliveries before.
  const ids = control.state.leavesUnread() ? mails.map(({ bytes }) => mailId(bytes)) : []
  while (ids.some((id) => control.state.isBeingErased(id)))
    await sleep(ERASING_MILLISECONDS, undefined, { signal: stop.signal })
  const importedAt = new Date().toISOString()
  const made = await Promise.all(
    mails.map(({ bytes, receivedAt, ...origin }) =>
      ingestEvent(bytes, { ...origin, receivedAt: receivedAt ?? importedAt }, blobs, control.state),
    ),
  )
  const events = made.map(({ event }) => event)
  const appended = await log.append(control.state.live()!.generation.topics.ingest, events)
  return appended.map((position, index) => ({ id: made[index]!.id, ...position }))
}
