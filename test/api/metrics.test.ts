/** What is counted at the log and the store, and what /metrics makes of it. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { MeasuredLog } from '../../api/measured-log.ts'
import { measureStore, rowsOfBlock } from '../../api/measured-store.ts'
import { type Meters, openMeters } from '../../api/metrics.ts'
import { encodeBlock, uint32 } from '../../projections/native.ts'
import type { Store } from '../../projections/store.ts'
import { mailIdOf } from '../../topics/mail-of-event.ts'
import { openSqliteLog, type SqliteLog } from '../../topics/sqlite-log.ts'
import { endAll, ROOT, tempFolder } from '../fixtures.ts'
import { logContract } from '../topics/log.contract.ts'
import { type ApiUnderTest, openApi } from './api-under-test.ts'
import { idOf, rejectRow } from './rows.ts'

/** All lines of one metric. */
const linesOf = (text: string, name: string) =>
  text.split('\n').filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))

/** To its users it is the log that it measures. */
logContract('A measured log', async () => {
  const folder = await tempFolder('metrics')
  const path = join(folder, 'log.sqlite')
  const inner = new Map<unknown, SqliteLog>()
  return {
    async open() {
      const log = await openSqliteLog({ path })
      const measured = new MeasuredLog(log, openMeters({ system: 'sqlite', folder }))
      inner.set(measured, log)
      return measured
    },
    async appendThenKill(topic) {
      const program = join(ROOT, 'test/topics/append-until-killed.ts')
      const child = spawn(process.execPath, [program, path, topic, '0'], { stdio: ['ignore', 'pipe', 'inherit'] })
      let output = ''
      child.stdout.on('data', (chunk: Buffer) => {
        output += chunk.toString('latin1')
        if (output.split('\n').length > 50) child.kill('SIGKILL')
      })
      await once(child, 'close')
      return output.split('\n').slice(0, -1)
    },
    expire: async (log) => inner.get(log)?.applyRetention(),
    exactOnce: true,
    refusesOtherPartitions: true,
    remove: endAll,
  }
})

describe('a measured log', () => {
  let folder: string
  let inner: SqliteLog
  let meters: Meters
  let log: MeasuredLog
  beforeEach(async () => {
    folder = await tempFolder('metrics')
    inner = await openSqliteLog({ path: `${folder}/log.sqlite` })
    meters = openMeters({ system: 'sqlite', folder })
    log = new MeasuredLog(inner, meters)
    await log.createTopic({ name: 'ingest', partitions: 2, maxValueBytes: 1000 })
  })
  afterEach(async () => {
    await log.close()
    await endAll()
  })
  const event = (text: string) => ({ key: null, value: Buffer.from(text), onceId: text })

  test('counts what was appended, and not what was known', async () => {
    await log.append('ingest', [event('a'), event('b')])
    await log.append('ingest', [event('b'), event('c')])
    const text = await meters.text()
    expect(linesOf(text, 'messaging_client_sent_messages_total')).toEqual([
      'messaging_client_sent_messages_total{messaging_system="sqlite",messaging_destination_name="ingest"} 3',
    ])
    expect(text).toMatch(
      /^messaging_client_operation_duration_seconds_count\{messaging_system="sqlite",messaging_destination_name="ingest",messaging_operation_name="send"\} 2$/m,
    )
  })

  test('says why an append failed', async () => {
    await expect(log.append('ingest', [event('x'.repeat(2000))])).rejects.toThrow('larger than')
    expect(await meters.text()).toMatch(/messaging_operation_name="send",error_type="OversizedEvent"\} 1$/m)
    expect(linesOf(await meters.text(), 'messaging_client_sent_messages_total')).toEqual([])
  })

  test('counts what a group read and times what it committed; its series begins at 0', async () => {
    const stop = new AbortController()
    const reader = log.read('ingest', { group: 'parse-mail.g1', signal: stop.signal })
    const consumed = 'messaging_client_consumed_messages_total'
    const labels =
      'messaging_system="sqlite",messaging_destination_name="ingest",messaging_consumer_group_name="parse-mail.g1"'
    expect(linesOf(await meters.text(), consumed)).toEqual([`${consumed}{${labels}} 0`])
    await log.append('ingest', [event('a'), event('b'), event('c')])
    let read = 0
    for await (const batch of reader) {
      read += batch.events.length
      await batch.commit()
      if (read === 3) stop.abort()
    }
    const text = await meters.text()
    expect(linesOf(text, consumed)).toEqual([`${consumed}{${labels}} 3`])
    expect(text).toMatch(new RegExp(`^messaging_process_duration_seconds_count\\{${labels}\\} [1-9]`, 'm'))
    expect(text).toMatch(/messaging_operation_name="commit"\} [1-9]/)
    expect((await log.lag('ingest', await log.committed('ingest', 'parse-mail.g1'))).events).toBe(0)
  })
})

describe('a measured store', () => {
  test('counts rows by table, whatever the generation, and times statements', async () => {
    const folder = await tempFolder('metrics')
    const meters = openMeters({ system: 'sqlite', folder })
    const column = uint32()
    for (let i = 0; i < 300; i++) column.push(i)
    const block = encodeBlock({ number: column })
    expect(rowsOfBlock(block)).toBe(300)
    const api = await openApi()
    try {
      const store = measureStore(api.store, meters)
      await store.command('CREATE TABLE counted__g7 (number UInt32) ENGINE = MergeTree ORDER BY number')
      await store.insert('counted__g7', block)
      await store.insert('counted__g7', block)
      expect(await store.query('SELECT count() AS rows FROM counted__g7')).toEqual([{ rows: 600 }])
      await expect(store.query('SELECT nonsense')).rejects.toThrow()
      const text = await meters.text()
      expect(linesOf(text, 'mailtrail_store_rows_inserted_total')).toEqual([
        'mailtrail_store_rows_inserted_total{table="counted"} 600',
      ])
      const count = 'db_client_operation_duration_seconds_count'
      expect(linesOf(text, count).map((line) => line.replace(/error_type="\w+"/, 'error_type=…'))).toEqual([
        `${count}{db_system_name="clickhouse",db_operation_name="COMMAND"} 1`,
        `${count}{db_system_name="clickhouse",db_operation_name="INSERT",db_collection_name="counted"} 2`,
        `${count}{db_system_name="clickhouse",db_operation_name="SELECT"} 1`,
        `${count}{db_system_name="clickhouse",db_operation_name="SELECT",error_type=…} 1`,
      ])
    } finally {
      await api.close()
      await endAll()
    }
  })
})

describe('/metrics', () => {
  let api: ApiUnderTest
  beforeEach(async () => {
    api = await openApi()
  })
  afterEach(async () => {
    await api.close()
    await endAll()
  })

  test('has what the meters counted, beside its own', async () => {
    const meters = openMeters({ system: 'kafka', folder: await tempFolder('metrics') })
    meters.sent('ingest', 5)
    const { body } = await api.serve({ meters }).inject('/metrics')
    expect(body).toMatch(
      /^messaging_client_sent_messages_total\{messaging_system="kafka",messaging_destination_name="ingest"\} 5$/m,
    )
    expect(body).toMatch(/^mailtrail_disk_free_bytes [1-9]/m)
    expect(body).toMatch(/^process_start_time_seconds [1-9]/m)
    const helped = body
      .split('\n')
      .filter((line) => line.startsWith('# HELP '))
      .map((line) => line.split(' ')[2])
    expect(new Set(helped).size).toBe(helped.length)
  })

  test('names the live generation and what runs', async () => {
    const { text } = await api.get('/metrics')
    expect(text).toMatch(/^mailtrail_generation_live\{generation="g1",rule_set=""\} 1$/m)
    expect(text).toMatch(/^mailtrail_build_info\{version="0.0.0-test",parser_version="test"\} 1$/m)
  })

  test('tells stages of the live generation from those of a replay', async () => {
    const stage = (name: string, generation: string) => ({
      ...{ stage: name, generation, topic: 'enriched.g1', position: 1, lag: 0, lag_seconds: 0, rate: 0 },
    })
    api.stages.push(stage('evaluate', 'g1'), stage('evaluate', 'g2'), stage('project-verdicts', 'g1'))
    const { text } = await api.get('/metrics')
    expect(linesOf(text, 'mailtrail_stage_live')).toEqual([
      'mailtrail_stage_live{stage="evaluate",generation="g1"} 1',
      'mailtrail_stage_live{stage="evaluate",generation="g2"} 0',
      'mailtrail_stage_live{stage="project-verdicts",generation="g1"} 1',
    ])
  })

  test('says whether the store answers and how far it is rebuilt', async () => {
    expect((await api.get('/metrics')).text).toMatch(/^mailtrail_store_up 1$/m)
    const away: Store = {
      ...api.store,
      query: () => Promise.reject(new Error('away')),
      stream: () => {
        throw new Error('away')
      },
      command: () => Promise.reject(new Error('away')),
      insert: () => Promise.reject(new Error('away')),
      close: async () => undefined,
    }
    const server = api.serve({ store: away, rebuilding: () => ({ done: 1, total: 4 }) })
    const { body, statusCode } = await server.inject('/metrics')
    expect(statusCode).toBe(200)
    expect(body).toMatch(/^mailtrail_store_up 0$/m)
    expect(body).toMatch(/^mailtrail_store_rebuilding 1$/m)
    expect(body).toMatch(/^mailtrail_store_rebuilt_ratio 0.25$/m)
  })

  test('only a process that answers questions looks through the store', async () => {
    const counted = /^mailtrail_rejected_mails\{/m
    const reject = (id: string, code: string) =>
      rejectRow({ id: idOf(id), code, received_at: '2026-11-10T08:00:00.000Z' })
    await api.insert('rejects', reject('a', 'xml_malformed'), reject('b', 'xml_malformed'), reject('c', 'zip_bomb'))
    const other = await api.serve({ roles: new Set(['process']) }).inject('/metrics')
    expect(other.body).not.toMatch(counted)
    const { body } = await api.serve({}).inject('/metrics')
    expect(linesOf(body, 'mailtrail_rejected_mails').sort()).toEqual([
      'mailtrail_rejected_mails{code="xml_malformed"} 2',
      'mailtrail_rejected_mails{code="zip_bomb"} 1',
    ])
  })
})

test('the id of a mail is found in its event, also when its bytes lie elsewhere', () => {
  const id = 'a'.repeat(64)
  expect(mailIdOf({ headers: { 'mailtrail-blob': `sha256:${id};size=5` }, value: new Uint8Array() })).toBe(id)
  expect(mailIdOf({ headers: {}, value: Buffer.from('') })).toBe(
    'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
  )
})
