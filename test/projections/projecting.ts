/** A real log and a real store in a temporary folder, and the loops between them. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type EmbeddedStore, type EmbeddedStoreOptions, openEmbeddedStore } from '../../projections/embedded-store.ts'
import { FeedList, feedsOf, projectedTopics } from '../../projections/feeds.ts'
import { eventReader, type RunProjectionsOptions, runProjections, untilStoreAnswers } from '../../projections/run.ts'
import { layoutOf, prepareStore, recreateStore } from '../../projections/schema.ts'
import { ProjectionState } from '../../projections/state.ts'
import type { Store } from '../../projections/store.ts'
import { eventTypes, topicSettings } from '../../topics/all.ts'
import { EventCodec } from '../../topics/avro.ts'
import { firstGeneration } from '../../topics/generation.ts'
import { openSqliteLog, type SqliteLog } from '../../topics/sqlite-log.ts'
import { EventMaker, type PlacedEvent } from './events.ts'

export const generation = firstGeneration('')
const layout = layoutOf(generation)

export async function temporaryFolder(): Promise<string> {
  return mkdtemp(join(tmpdir(), 'mailtrail-projections-'))
}

export function openStore(folder: string, options: Partial<EmbeddedStoreOptions> = {}): Promise<EmbeddedStore> {
  return openEmbeddedStore({ folder: join(folder, 'store'), tmp: join(folder, 'tmp'), ...options })
}

/** A log with all topics, its codec, and a maker of events. */
export async function openLog(path: string) {
  const log = await openSqliteLog({ path })
  const options = { maxMailBytes: 1e6, retentionIngest: null, retentionPrivate: null }
  for (const topic of topicSettings(options, generation)) await log.createTopic(topic)
  const codec = await EventCodec.open(log, eventTypes)
  return { log, codec, make: new EventMaker(codec, generation) }
}

export async function append(log: SqliteLog, events: readonly PlacedEvent[]): Promise<void> {
  for (const { topic, ...event } of events) await log.append(topic, [event])
}

export interface Running {
  readonly state: ProjectionState
  /** Resolves when all that is on the log now is in the store. */
  settled(): Promise<void>
  stop(): Promise<void>
}

/** Prepares the store and starts the loops. */
export async function startProjecting(
  log: SqliteLog,
  store: Store,
  options: Partial<RunProjectionsOptions> = {},
  state = new ProjectionState(),
): Promise<Running> {
  const { rebuilt } = await untilStoreAnswers({ signal: new AbortController().signal }, () =>
    prepareStore(store, layout, { log }),
  )
  const codec = await EventCodec.open(log, eventTypes)
  const ending = new AbortController()
  const run = runProjections(
    {
      log,
      codec: eventReader(codec),
      store,
      feeds: new FeedList(feedsOf([generation])),
      recreate: (lost) => recreateStore(store, layout, { log, lost }),
      signal: ending.signal,
      rebuilt,
      ...options,
    },
    state,
  )
  // Seen at once by whoever waits, and again by stop.
  const failed = run.then(() => new Promise<never>(() => {}))
  failed.catch(() => {})
  return {
    state,
    async settled() {
      const caughtUp = async () => {
        for (const topic of projectedTopics)
          while (!(await state.caughtUp(generation.topics[topic], log))) await sleep(5)
      }
      await Promise.race([caughtUp(), failed])
    },
    async stop() {
      ending.abort()
      await run
    },
  }
}

/** Appends, projects and stops. */
export async function project(log: SqliteLog, store: Store, events: readonly PlacedEvent[]): Promise<void> {
  await append(log, events)
  const running = await startProjecting(log, store)
  await running.settled()
  await running.stop()
}

const views = [
  'v_dmarc_records',
  'v_dmarc_reports',
  'v_tls_policies',
  'v_tls_failures',
  'v_failure_reports',
  'v_rejects',
  'v_mail',
]

/** All that the views show, sorted: equal texts mean equal answers. */
export async function shownContent(store: Store): Promise<Record<string, string[]>> {
  const content: Record<string, string[]> = {}
  for (const view of views) {
    const rows = await store.query<object>(`SELECT * FROM ${view}`)
    content[view] = rows.map((row) => JSON.stringify(row)).sort()
  }
  return content
}

export async function removeFolder(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true })
}
