/** The store on a server of its own: what every store does, and what only a shared one must. */
import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openClickhouseStore } from '../../projections/clickhouse-store.ts'
import { feedsOf } from '../../projections/feeds.ts'
import { encodeBlock, string, uint32 } from '../../projections/native.ts'
import {
  layoutOf,
  prepareStore,
  rebuildProgress,
  recreateStore,
  storedIncarnation,
  storedPositions,
} from '../../projections/schema.ts'
import { openServerStore } from '../../projections/server-store.ts'
import { type Store, StoreRefused, StoreUnavailable } from '../../projections/store.ts'
import { StoredProgress } from '../../projections/stored-progress.ts'
import {
  append,
  generation,
  openLog,
  project,
  removeFolder,
  shownContent,
  temporaryFolder,
} from '../projections/projecting.ts'
import { storeContract } from '../projections/store.contract.ts'
import { type ClickhouseServer, install, start } from './services/clickhouse.ts'

let server: ClickhouseServer
beforeAll(async () => {
  await install()
  server = await start()
})
afterAll(() => server?.stop())

const never = new AbortController().signal
const problems: string[] = []

async function open(database = server.newDatabase()): Promise<Store> {
  const { url, username, password } = server
  const nobody = { cluster: null, readUsername: null, readPassword: '' }
  const onProblem = (message: string) => problems.push(message)
  const options = { url, username, password, database, ...nobody, signal: never, onProblem }
  return (await openServerStore(options)).write
}

storeContract('on a server', async () => {
  const store = await open()
  return { store, close: () => store.close() }
})

const layout = layoutOf(generation)
const numbers = (count: number) => {
  const columns = { number: uint32(), text: string() }
  for (let number = 0; number < count; number++) {
    columns.number.push(number)
    columns.text.push(`text ${number}`)
  }
  return encodeBlock(columns)
}
const TABLE = 'CREATE TABLE numbered (number UInt32, text String) ENGINE = MergeTree ORDER BY number'

describe('a database', () => {
  test('is made when it is not there, and again when somebody drops it', async () => {
    const store = await open()
    const [{ name }] = (await store.query('SELECT currentDatabase() AS name')) as [{ name: string }]
    await expect(store.insert('numbered', numbers(1))).rejects.toMatchObject({ type: 'UNKNOWN_TABLE' })
    const other = await open(name)
    await other.command(`DROP DATABASE ${name} SYNC`)
    await expect(store.insert('numbered', numbers(1))).rejects.toMatchObject({
      type: expect.stringMatching(/^UNKNOWN_(DATABASE|TABLE)$/),
    })
    await expect.poll(() => store.command(TABLE).then(() => 'made')).toBe('made')
    for (const opened of [store, other]) await opened.close()
  })

  test('keeps its tables apart from those of others, with many clients at once', async () => {
    const stores = await Promise.all(Array.from({ length: 4 }, () => open()))
    await Promise.all(stores.map((store) => store.command(TABLE)))
    const work = stores.flatMap((store, index) =>
      Array.from({ length: 6 }, () => async () => {
        await store.insert('numbered', numbers(100 * (index + 1)))
        const texts = await store.query<{ text: string }>('SELECT {text:String} AS text, currentDatabase() AS name', {
          parameters: { text: `of ${index}` },
        })
        expect(texts[0]?.text).toBe(`of ${index}`)
      }),
    )
    await Promise.all(work.map((one) => one()))
    for (const [index, store] of stores.entries()) {
      const [row] = await store.query('SELECT count() AS rows FROM numbered')
      expect(row).toEqual({ rows: 600 * (index + 1) })
      await store.close()
    }
  })
})

describe('a packed insert', () => {
  test.each(['zstd', 'gzip'])('in %s arrives as it was', async (coding) => {
    const store = await open()
    await store.command(TABLE)
    const block = numbers(5000)
    const { url, username, password } = server
    if (coding === 'gzip') {
      const [{ name }] = (await store.query('SELECT currentDatabase() AS name')) as [{ name: string }]
      const query = new URLSearchParams({ database: name, query: 'INSERT INTO numbered FORMAT Native' })
      const authorization = `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`
      const headers = { authorization, 'content-encoding': 'gzip' }
      const response = await fetch(`${url}/?${query}`, { method: 'POST', headers, body: gzipSync(block) })
      expect([response.status, await response.text()]).toEqual([200, ''])
    } else {
      const [{ database }] = (await store.query('SELECT currentDatabase() AS database')) as [{ database: string }]
      const packing = openClickhouseStore({ url, username, password, database, compress: true })
      await packing.insert('numbered', block)
      await expect(packing.insert('numbered', block.subarray(0, block.length / 2))).rejects.toThrow()
      await packing.close()
    }
    const sums = 'SELECT count() AS rows, sum(number) AS sum, uniqExact(text) AS texts FROM numbered'
    expect(await store.query(sums)).toEqual([{ rows: 5000, sum: 12_497_500, texts: 5000 }])
    await store.close()
  })
})

test('a body that is not packed as it says is refused, and nothing else is', async () => {
  const { url, username, password } = server
  const authorization = `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`
  for (const body of ['SELECT 1', gzipSync('SELECT 1').subarray(0, 12)]) {
    const headers = { authorization, 'content-encoding': 'gzip' }
    const response = await fetch(url, { method: 'POST', headers, body })
    expect(response.status).toBeGreaterThanOrEqual(400)
    await response.text()
  }
  const store = await open()
  expect(await store.query('SELECT 1 AS one')).toEqual([{ one: 1 }])
  await store.close()
})

describe('what a person must mend', () => {
  test('a wrong password is refused with the names of the settings', async () => {
    const { url, username } = server
    const store = openClickhouseStore({ url, username, password: 'guess', database: 'mailtrail' })
    const failure = await store.query('SELECT 1').catch((error: unknown) => error)
    expect(failure).toBeInstanceOf(StoreRefused)
    expect((failure as Error).message).toContain('CLICKHOUSE_USER and CLICKHOUSE_PASSWORD')
    expect((failure as Error).message).not.toContain('guess')
    await store.close()
  })

  test('a user for reading who is refused ends the start', async () => {
    const { url, username, password } = server
    const readers = { readUsername: username, readPassword: 'guess' }
    const database = server.newDatabase()
    const options = { url, username, password, database, cluster: null, ...readers, signal: never, onProblem: () => {} }
    await expect(openServerStore(options)).rejects.toThrow('CLICKHOUSE_READ_USER and CLICKHOUSE_READ_PASSWORD')
  })
})

describe('what passes', () => {
  const answering = async (answer: (response: ServerResponse) => void) => {
    const proxy = createServer((request, response) => {
      request.resume()
      answer(response)
    }).listen(0, '127.0.0.1')
    await once(proxy, 'listening')
    const { port } = proxy.address() as AddressInfo
    const store = openClickhouseStore({
      url: `http://127.0.0.1:${port}`,
      username: 'default',
      password: '',
      database: 'mailtrail',
      insertSeconds: 0.5,
    })
    return {
      store,
      async close() {
        await store.close()
        proxy.closeAllConnections()
        proxy.close()
      },
    }
  }

  test.each([
    ['a page of a proxy', (response: ServerResponse) => response.writeHead(503).end(`<html>${'x'.repeat(5000)}`)],
    ['a connection that is cut', (response: ServerResponse) => response.destroy()],
    [
      'a server that is starting',
      (response: ServerResponse) => response.writeHead(500).end('Code: 236. DB::Exception: Shutting down. (ABORTED)'),
    ],
    [
      'half an answer',
      (response: ServerResponse) => response.writeHead(200, { 'content-length': 10 }).write('{"one":1'),
    ],
  ])('%s is a store that is away', async (what, answer) => {
    const { store, close } = await answering((response) => {
      answer(response)
      if (what === 'half an answer') setTimeout(() => response.destroy(), 50)
    })
    const failure = await store.query('SELECT 1 AS one').catch((error: unknown) => error)
    expect(failure).toBeInstanceOf(StoreUnavailable)
    expect((failure as Error).message.length).toBeLessThan(400)
    await close()
  })

  test('an insert that a server took too long over', async () => {
    const words = 'Code: 159. DB::Exception: Timeout exceeded: elapsed 41 seconds. (TIMEOUT_EXCEEDED)'
    let asked = 0
    const { store, close } = await answering((response) => {
      if (asked++ === 0) response.writeHead(200).end('{"1":1}\n')
      else response.writeHead(500).end(words)
    })
    await expect(store.insert('numbered', numbers(1))).rejects.toThrow(StoreUnavailable)
    await expect(store.query('SELECT 1')).rejects.toMatchObject({ type: 'TIMEOUT_EXCEEDED' })
    await close()
  })

  test('a server that says nothing is given up in time', async () => {
    let asked = 0
    const { store, close } = await answering((response) => {
      if (asked++ === 0) response.writeHead(200).end('{"1":1}\n')
    })
    const began = performance.now()
    await expect(store.insert('numbered', numbers(1))).rejects.toThrow(StoreUnavailable)
    expect(performance.now() - began).toBeLessThan(8000)
    await close()
  })
})

describe('a store that processes share', () => {
  test('is made by the first, and left by the next', async () => {
    const folder = await temporaryFolder()
    const { log } = await openLog(`${folder}/log.sqlite`)
    const store = await open()
    expect(await prepareStore(store, layout, { log })).toEqual({ rebuilt: true, reason: null })
    const incarnation = await storedIncarnation(store)
    expect(await prepareStore(store, layout, { log })).toEqual({ rebuilt: false, reason: null })
    expect(await storedIncarnation(store)).toBe(incarnation)
    await log.close()
    await store.close()
    await removeFolder(folder)
  })

  test('that was found lost is made anew once, however many found it', async () => {
    const store = await open()
    await recreateStore(store, layout)
    const lost = await storedIncarnation(store)
    await recreateStore(store, layout, { lost })
    const anew = await storedIncarnation(store)
    expect(anew).not.toBe(lost)
    for (const found of [lost, null]) await recreateStore(store, layout, { lost: found })
    expect(await storedIncarnation(store)).toBe(anew)
    await store.command('DROP TABLE store_meta SYNC')
    await recreateStore(store, layout, { lost: null })
    expect(await storedIncarnation(store)).not.toBe(anew)
    await store.close()
  })

  test('tells any process how far it is filled, and where the projections are', async () => {
    const folder = await temporaryFolder()
    const { log, make } = await openLog(`${folder}/log.sqlite`)
    const store = await open()
    await recreateStore(store, layout, { log })
    const feeds = feedsOf([generation])
    const progress = new StoredProgress(store, () => feeds)
    expect(await progress.rebuildingNow()).toBeNull()
    const events = make.dmarc({ report_id: 'a', records: [{ source_ip: '192.0.2.1', count: 3 }] })
    await append(log, events)
    await recreateStore(store, layout, { log })
    expect(await rebuildProgress(store, feeds)).toEqual({ done: 0, total: events.length })
    expect((await storedPositions(store, feeds)).size).toBe(0)
    await project(log, store, [])
    expect(await rebuildProgress(store, feeds)).toBeNull()
    await expect.poll(() => progress.positions('enriched.g1').then((positions) => positions.size)).toBe(1)
    expect((await shownContent(store)).v_dmarc_records).toHaveLength(1)
    expect(progress.rebuilding()).toBeNull()
    await store.command('DROP TABLE store_meta SYNC')
    expect(await rebuildProgress(store, feeds)).toEqual({ done: 0, total: 1 })
    await log.close()
    await store.close()
    await removeFolder(folder)
  })

  test('forgets what was reached before it was emptied', async () => {
    const folder = await temporaryFolder()
    const { log, make } = await openLog(`${folder}/log.sqlite`)
    const store = await open()
    await project(log, store, make.dmarc({ report_id: 'a', records: [{ source_ip: '192.0.2.1', count: 3 }] }))
    const feeds = feedsOf([generation])
    expect((await storedPositions(store, feeds)).size).toBe(1)
    const stale = await store.query<object>('SELECT * FROM positions')
    await recreateStore(store, layout)
    // A process that has not heard of it writes where it is.
    for (const row of stale) {
      const values = Object.values(row).map((value) => (typeof value === 'number' ? value : `'${value}'`))
      await store.command(`INSERT INTO positions SELECT ${values.join(', ')}`)
    }
    expect((await storedPositions(store, feeds)).size).toBe(0)
    await log.close()
    await store.close()
    await removeFolder(folder)
  })
})
