import { open, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { projections } from '../../projections/all.ts'
import { checkStore, createTables, layoutOf, prepareStore } from '../../projections/schema.ts'
import { viewsOf } from '../../projections/views.ts'
import { makeGeneration, tableNames } from '../../topics/generation.ts'
import type { EventMaker } from './events.ts'
import { generation, openLog, openStore, project, removeFolder, shownContent, temporaryFolder } from './projecting.ts'

const layout = layoutOf(generation)
let folder: string
let log: Awaited<ReturnType<typeof openLog>>['log']
let make: EventMaker
beforeEach(async () => {
  folder = await temporaryFolder()
  ;({ log, make } = await openLog(join(folder, 'log.sqlite')))
})
afterEach(async () => {
  await log.close()
  await removeFolder(folder)
})

const someEvents = () => [
  ...make.dmarc({
    report_id: 'a',
    records: Array.from({ length: 400 }, (_, n) => ({ source_ip: `192.0.2.${n % 256}`, count: n })),
  }),
  ...make.tls({ report_id: 't', successful: 9, failed: 1, result_types: ['certificate-expired'] }),
  make.mail({ mail: 'm', kind: 'dmarc', found: ['1'] }),
  make.failure({ mail: 'f' }),
  make.reject({ mail: 'r' }),
]

test('every projection writes exactly the columns of its table, every table has a projection', async () => {
  const store = await openStore(folder)
  await prepareStore(store, layout, { log })
  expect(projections.map(({ table }) => table).sort()).toEqual([...tableNames].sort())
  for (const { table, columnNames } of projections) {
    const rows = await store.query<{ name: string }>(
      "SELECT name FROM system.columns WHERE database = currentDatabase() AND table = {table:String} AND default_kind = ''",
      { parameters: { table: generation.tables[table] } },
    )
    expect(rows.map(({ name }) => name).sort(), table).toEqual([...columnNames].sort())
  }
  await store.close()
})

test('every view answers, and begins with the generation', async () => {
  const store = await openStore(folder)
  await prepareStore(store, layout, { log })
  await project(log, store, someEvents())
  for (const { name } of viewsOf(generation)) {
    const rows = await store.query<{ generation: string }>(`SELECT * FROM ${name} LIMIT 1`)
    expect(Object.entries(rows[0] ?? {})[0], name).toEqual(['generation', 'g1'])
  }
  await store.close()
})

describe('prepareStore', () => {
  test('makes what is missing once, and then leaves it', async () => {
    const store = await openStore(folder)
    expect(await prepareStore(store, layout, { log })).toEqual({ rebuilt: true, reason: null })
    await project(log, store, someEvents())
    expect(await prepareStore(store, layout, { log })).toEqual({ rebuilt: false, reason: null })
    expect((await shownContent(store)).v_dmarc_records).toHaveLength(400)
    expect(await checkStore(store, layout)).toBeNull()
    await store.close()
  })

  test('fills a store whose folder was deleted with the same content', async () => {
    let store = await openStore(folder)
    await project(log, store, someEvents())
    const expected = await shownContent(store)
    await store.close()
    await rm(join(folder, 'store'), { recursive: true })
    store = await openStore(folder)
    await project(log, store, [])
    expect(await shownContent(store)).toEqual(expected)
    await store.close()
  })

  test('rebuilds what another version made', async () => {
    const store = await openStore(folder)
    await project(log, store, someEvents())
    const expected = await shownContent(store)
    await store.command("ALTER TABLE store_meta UPDATE value = 'older' WHERE 1 SETTINGS mutations_sync = 2")
    const { rebuilt, reason } = await prepareStore(store, layout, { log })
    expect(rebuilt).toBe(true)
    expect(reason).toContain('another version')
    await project(log, store, [])
    expect(await shownContent(store)).toEqual(expected)
    await store.close()
  })

  test('rebuilds when a table that was filled is missing', async () => {
    const store = await openStore(folder)
    await project(log, store, someEvents())
    await store.command(`DROP TABLE ${generation.tables.mail} SYNC`)
    expect((await prepareStore(store, layout, { log })).reason).toContain(`it lacks ${generation.tables.mail}`)
    await store.close()
  })

  test('makes a view that is missing anew', async () => {
    const store = await openStore(folder)
    await project(log, store, someEvents())
    const expected = await shownContent(store)
    await store.command('DROP VIEW v_mail SYNC')
    expect(await prepareStore(store, layout, { log })).toEqual({ rebuilt: false, reason: null })
    expect(await shownContent(store)).toEqual(expected)
    await store.close()
  })

  test('makes the tables of a generation that was started, drops those of one that is gone, and switches the views', async () => {
    const store = await openStore(folder)
    await project(log, store, someEvents())
    const next = { ruleSet: null, from: 'enriched', parent: generation, epoch: 1, topicPrefix: '' } as const
    const second = makeGeneration({ ...next, number: 2 })
    const third = makeGeneration({ ...next, number: 3 })
    await createTables(store, third)
    const prepared = await prepareStore(store, { live: second, kept: [generation, second] }, { log })
    expect(prepared).toEqual({ rebuilt: false, reason: null })
    const rows = await store.query<{ name: string }>(
      "SELECT name FROM system.tables WHERE database = currentDatabase() AND name LIKE 'record_verdicts%' ORDER BY name",
    )
    expect(rows.map(({ name }) => name)).toEqual(['record_verdicts__g1', 'record_verdicts__g2'])
    const [shown] = await store.query<{ generation: string }>('SELECT generation FROM v_dmarc_reports LIMIT 1')
    expect(shown).toEqual({ generation: 'g2' })
    await store.close()
  })

  test('rebuilds when the log ends before what the store has read', async () => {
    const store = await openStore(folder)
    await project(log, store, someEvents())
    const other = await openLog(join(folder, 'restored.sqlite'))
    const { rebuilt, reason } = await prepareStore(store, layout, { log: other.log })
    expect(rebuilt).toBe(true)
    expect(reason).toContain('the log ends at 0')
    await other.log.close()
    await store.close()
  })
})

/** Overwrites the middle of the largest data file of a table. */
async function damage(table: string): Promise<void> {
  const store = await openStore(folder)
  const [part] = await store.query<{ path: string }>(
    'SELECT path FROM system.parts WHERE active AND table = {table:String} ORDER BY bytes_on_disk DESC LIMIT 1',
    { parameters: { table } },
  )
  await store.close()
  const path = part!.path
  const names = await readdir(path)
  const name = names.includes('data.bin') ? 'data.bin' : names.find((file) => file.endsWith('.bin'))!
  const file = await open(join(path, name), 'r+')
  const { size } = await file.stat()
  await file.write(Buffer.alloc(64, 0xa5), 0, 64, Math.max(0, Math.floor(size / 2) - 32))
  await file.close()
}

describe('a damaged store', () => {
  test('is found by the check, and the loops fill it again', async () => {
    let store = await openStore(folder)
    await project(log, store, someEvents())
    const expected = await shownContent(store)
    await store.close()
    await damage(generation.tables.dmarc_records)
    store = await openStore(folder)
    const before = await prepareStore(store, layout, { log })
    const found = before.rebuilt ? before.reason : await checkStore(store, layout)
    expect(found).toContain(generation.tables.dmarc_records)
    const { recreateStore } = await import('../../projections/schema.ts')
    await recreateStore(store, layout)
    await project(log, store, [])
    expect(await shownContent(store)).toEqual(expected)
    await store.close()
  })

  test('a part that cannot be loaded is rebuilt at the start', async () => {
    let store = await openStore(folder)
    await project(log, store, someEvents())
    const expected = await shownContent(store)
    const [part] = await store.query<{ path: string }>(
      'SELECT path FROM system.parts WHERE active AND table = {table:String} LIMIT 1',
      { parameters: { table: generation.tables.dmarc_reports } },
    )
    await store.close()
    await rm(join(part!.path, 'checksums.txt'))
    await rm(join(part!.path, 'columns.txt'))
    await rm(join(part!.path, 'data.bin'))
    store = await openStore(folder)
    const { rebuilt, reason } = await prepareStore(store, layout, { log })
    expect(reason).toContain('broken')
    expect(rebuilt).toBe(true)
    await project(log, store, [])
    expect(await shownContent(store)).toEqual(expected)
    await store.close()
  })
})
