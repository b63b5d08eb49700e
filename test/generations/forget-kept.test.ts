/** Where the log cannot take single events out (Kafka) nothing reads an erased mail any more, and nobody calls that done. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { MeasuredLog } from '../../api/measured-log.ts'
import { openMeters } from '../../api/metrics.ts'
import { openBlobFolder } from '../../edges/blob-folder.ts'
import { beginGenerations } from '../../generations/begin.ts'
import { Erasures } from '../../generations/erasures.ts'
import { openForgetting } from '../../generations/forget.ts'
import { type EmbeddedStore, openEmbeddedStore } from '../../projections/embedded-store.ts'
import { layoutOf, prepareStore } from '../../projections/schema.ts'
import { DEFAULT_RULES } from '../../rules/default-rules.ts'
import { eventTypes, topicSettings } from '../../topics/all.ts'
import { EventCodec } from '../../topics/avro.ts'
import { GenerationStarted } from '../../topics/control.ts'
import { ControlLog } from '../../topics/control-log.ts'
import { firstGeneration } from '../../topics/generation.ts'
import { openSqliteLog } from '../../topics/sqlite-log.ts'

/** A real log that says of itself what Kafka says. */
class KeepingLog extends MeasuredLog {
  override get canErase(): boolean {
    return false
  }
  override erase(): Promise<number> {
    return Promise.reject(new Error('It cannot.'))
  }
}

const ID = 'ab'.repeat(32)
const DAY = 86_400_000
const NOW = Date.parse('2026-11-21T12:00:00Z')
const first = firstGeneration('')
let folder: string
let log: KeepingLog
let store: EmbeddedStore
let control: ControlLog
const stop = new AbortController()

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mailtrail-kept-'))
  const file = await openSqliteLog({ path: join(folder, 'log.sqlite') })
  log = new KeepingLog(file, openMeters({ system: 'sqlite', folder }))
  const options = { maxMailBytes: 1e6, retentionIngest: null, retentionPrivate: null }
  for (const settings of topicSettings(options, first)) await log.createTopic(settings)
  const codec = await EventCodec.open(file, eventTypes)
  control = await ControlLog.open({ log, codec, topic: 'control', topicPrefix: '', signal: stop.signal })
  await beginGenerations(control, { yaml: DEFAULT_RULES, source: 'test', parserVersion: '1', now: () => NOW })
  store = await openEmbeddedStore({ folder: join(folder, 'store'), tmp: folder })
  await prepareStore(store, layoutOf(first), { log })
})
afterEach(async () => {
  stop.abort()
  await control.done.catch(() => undefined)
  await store.close()
  await log.close()
  await rm(folder, { recursive: true })
})

test('a mail is unread at once and for good, and the answer says how long the raw mail lies there', async () => {
  const blobs = openBlobFolder(join(folder, 'blobs'))
  const start = async (ruleSet: string) => {
    const data = { at: NOW, rule_set: ruleSet, from: 'ingest', parent: 1, epoch: 1, parser_version: '1' }
    await control.append(GenerationStarted, data)
    return undefined as never
  }
  const shared = { log, store, blobs, control, now: () => NOW }
  const open = (retentionIngest: number | null) => openForgetting({ ...shared, replays: { start }, retentionIngest })
  const begun = await open(30 * DAY).begin([ID], { reason: 'mail_id', block: false })
  expect(begun).toMatchObject({ state: 'erasing', block: true, rebuilt_by: 'g2' })
  expect([control.state.isUnread(ID), control.state.isUnread('cd'.repeat(32))]).toEqual([true, false])

  let rested = false
  const erasures = new Erasures({
    ...shared,
    topicPrefix: '',
    signal: stop.signal,
    onProblem: (text) => expect(text).toBe(''),
  })
  await prepareStore(store, { live: first, kept: control.state.kept().map(({ generation }) => generation) }, { log })
  const rest = async () => {
    rested = true
  }
  await erasures.finish(rest, (work) => work())
  expect({ rested, pending: erasures.pending() }).toEqual({ rested: false, pending: false })
  expect(control.state.isUnread(ID)).toBe(true)
  const until = new Date(NOW + 30 * DAY).toISOString()
  expect(open(30 * DAY).status(1)).toMatchObject({ state: 'unreadable', raw_until: until, raw_for_ever: false })
  expect(open(null).status(1)).toMatchObject({ state: 'unreadable', raw_until: null, raw_for_ever: true })
}, 60_000)
