/** A server over a real store, a real log and a real blob folder, filled with rows by plain inserts. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { PostPressure } from '../../api/post-pressure.ts'
import type { ApiDependencies, Server } from '../../api/route.ts'
import { createServer } from '../../api/server.ts'
import type { StageStatus } from '../../api/stages.ts'
import { openBlobFolder } from '../../edges/blob-folder.ts'
import { openForgetting } from '../../generations/forget.ts'
import { type EmbeddedStore, openEmbeddedStore } from '../../projections/embedded-store.ts'
import { layoutOf, prepareStore } from '../../projections/schema.ts'
import { type ControlEventType, topicSettings } from '../../topics/all.ts'
import type { ControlState } from '../../topics/control-state.ts'
import { type TableName, tableNames } from '../../topics/generation.ts'
import { openSqliteLog } from '../../topics/sqlite-log.ts'
import { begun } from './replays-under-test.ts'
import { generation, insertRows, type Row } from './rows.ts'

export const NOW = new Date('2026-11-21T12:00:00.000Z')
const MAX_MAIL_BYTES = 2 * 1024 * 1024

export interface Answer<Body> {
  readonly status: number
  readonly body: Body
  readonly text: string
  readonly headers: Readonly<Record<string, unknown>>
}

export interface ApiUnderTest {
  readonly store: EmbeddedStore
  readonly dependencies: ApiDependencies
  readonly server: Server
  /** What the pipeline says of its stages; a test may change it. */
  readonly stages: StageStatus[]
  get<Body = unknown>(url: string, headers?: Record<string, string>): Promise<Answer<Body>>
  /** Another server over the same store and log, closed with this one. */
  serve(changes: Partial<ApiDependencies>): Server
  insert(table: TableName, ...rows: readonly Row[]): Promise<void>
  /** Empties all tables. */
  clear(): Promise<void>
  close(): Promise<void>
}

export async function openApi(): Promise<ApiUnderTest> {
  const folder = await mkdtemp(join(tmpdir(), 'mailtrail-api-'))
  const store = await openEmbeddedStore({ folder: join(folder, 'store'), tmp: folder })
  const log = await openSqliteLog({ path: join(folder, 'log.sqlite') })
  const options = { maxMailBytes: MAX_MAIL_BYTES, retentionIngest: null, retentionPrivate: null }
  for (const topic of topicSettings(options, generation)) await log.createTopic(topic)
  await prepareStore(store, layoutOf(generation), { log })
  const stages: StageStatus[] = []
  const blobs = openBlobFolder(join(folder, 'blobs'))
  const replays = await begun()
  const append = async (type: ControlEventType, data: object) =>
    replays.control.apply({ type: type.name, data } as Parameters<ControlState['apply']>[0])
  const control = { state: replays.control, append }
  const dependencies: ApiDependencies = {
    log,
    store,
    blobs,
    generation: () => generation,
    generationNamed: (name) => (['g1', '1'].includes(name) ? { generation, gone: false } : null),
    observations: () => ({ answered: 2, unanswered: 1, hits: 7 }),
    roles: new Set(['ingest', 'process', 'project', 'api']),
    posting: new PostPressure(),
    inlineBytes: 256 * 1024,
    maxMailBytes: MAX_MAIL_BYTES,
    keys: [],
    now: () => NOW,
    version: '0.0.0-test',
    parserVersion: 'test',
    status: () => ({ stages: async () => stages }),
    settle: async () => {},
    rebuilding: () => null,
    parserChanged: () => false,
    replays,
    forgetting: openForgetting({ log, store, blobs, control, replays, retentionIngest: null, now: () => +NOW }),
    logger: pino({ level: 'error' }),
  }
  const servers: Server[] = []
  const serve = (changes: Partial<ApiDependencies>) => {
    const server = createServer({ ...dependencies, ...changes })
    servers.push(server)
    return server
  }
  const server = serve({})
  return {
    store,
    dependencies,
    server,
    stages,
    serve,
    async get<Body>(url: string, headers: Record<string, string> = {}) {
      return answerOf<Body>(await server.inject({ method: 'GET', url, headers }))
    },
    insert: (table, ...rows) => insertRows(store, table, rows),
    async clear() {
      for (const name of tableNames) await store.command(`TRUNCATE TABLE ${generation.tables[name]}`)
    },
    async close() {
      for (const each of servers) await each.close()
      await log.close()
      await store.close()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

interface Injected {
  readonly statusCode: number
  readonly body: string
  readonly headers: Readonly<Record<string, unknown>>
}

export function answerOf<Body = unknown>(response: Injected): Answer<Body> {
  const json = String(response.headers['content-type'] ?? '').startsWith('application/json')
  const body = (json ? JSON.parse(response.body) : null) as Body
  return { status: response.statusCode, body, text: response.body, headers: response.headers }
}
