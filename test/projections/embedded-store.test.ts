import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir, readFile, readlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { openClickhouseStore } from '../../projections/clickhouse-store.ts'
import { StoreUnavailable } from '../../projections/store.ts'
import { openStore, removeFolder, temporaryFolder } from './projecting.ts'
import { storeContract } from './store.contract.ts'

storeContract('embedded', async () => {
  const folder = await temporaryFolder()
  const store = await openStore(folder)
  const close = async () => {
    await store.close()
    expect(await readdir(join(folder, 'tmp'))).toEqual([])
    await removeFolder(folder)
  }
  return { store, close }
})

let folder: string
beforeEach(async () => {
  folder = await temporaryFolder()
})
afterEach(() => removeFolder(folder))

describe('the child process of the embedded store', () => {
  test('is started anew when it is killed, and a read that it was killed under is answered', async () => {
    const restarts: number[] = []
    const store = await openStore(folder, { onRestart: (pid) => restarts.push(pid) })
    await store.command('CREATE TABLE kept (number UInt32) ENGINE = MergeTree ORDER BY number')
    await store.command('INSERT INTO kept SELECT number FROM numbers(1000)')
    const first = store.pid()
    const reading = store.query('SELECT count() AS rows, sum(sleepEachRow(0.001)) FROM kept')
    setTimeout(() => process.kill(first, 'SIGKILL'), 150)
    expect(await reading).toMatchObject([{ rows: 1000 }])
    expect(store.pid()).not.toBe(first)
    expect(restarts).toEqual([store.pid()])
    await store.close()
  })

  test('ends with the store', async () => {
    const store = await openStore(folder)
    const pid = store.pid()
    await store.close()
    expect(() => process.kill(pid, 0)).toThrow('ESRCH')
    await expect(store.query('SELECT 1')).rejects.toThrow(StoreUnavailable)
  })

  test('ends when its parent is killed, and lets go of the folder', async () => {
    const program = `
      import { openEmbeddedStore } from ${JSON.stringify(new URL('../../projections/embedded-store.ts', import.meta.url).href)}
      const store = await openEmbeddedStore({ folder: ${JSON.stringify(join(folder, 'store'))}, tmp: ${JSON.stringify(join(folder, 'tmp'))} })
      await store.command('CREATE TABLE kept (number UInt32) ENGINE = MergeTree ORDER BY number')
      await store.command('INSERT INTO kept SELECT 1')
      process.stdout.write(store.pid() + '\\n')
      await store.query('SELECT max(sipHash64(number)) FROM numbers(100000000000)')`
    const parent = spawn(process.execPath, ['--input-type=module', '--eval', program], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const [line] = (await once(createInterface({ input: parent.stdout }), 'line')) as [string]
    parent.kill('SIGKILL')
    const damages: string[] = []
    const store = await openStore(folder, { onDamaged: (reason) => damages.push(reason) })
    expect(await store.query('SELECT count() AS rows FROM kept')).toEqual([{ rows: 1 }])
    expect(damages).toEqual([])
    // Gone, or a dead entry that nobody has collected.
    expect(await readFile(`/proc/${Number(line)}/stat`, 'utf8').catch(() => ') Z')).toMatch(/\) Z/)
    await store.close()
  })

  test('answers nobody without the secret, which is not on its command line', async () => {
    const store = await openStore(folder)
    const sockets = await readFile(`/proc/${store.pid()}/net/tcp`, 'utf8')
    const inodes = new Set<string>()
    for (const name of await readdir(`/proc/${store.pid()}/fd`)) {
      const target = await readlink(`/proc/${store.pid()}/fd/${name}`).catch(() => '')
      const inode = /^socket:\[(\d+)\]$/.exec(target)?.[1]
      if (inode !== undefined) inodes.add(inode)
    }
    const listening = sockets
      .split('\n')
      .map((entry) => entry.trim().split(/\s+/))
      .find((fields) => fields[3] === '0A' && inodes.has(fields[9] ?? ''))!
    const [address, port] = listening[1]!.split(':') as [string, string]
    expect(address).toBe('0100007F')
    const url = `http://127.0.0.1:${Number.parseInt(port, 16)}`
    const stranger = openClickhouseStore({ url, username: 'default', password: 'guess' })
    await expect(stranger.query('SELECT 1')).rejects.toThrow('secret')
    await stranger.close()
    const commandLine = await readFile(`/proc/${store.pid()}/cmdline`, 'utf8')
    const environment = await readFile(`/proc/${store.pid()}/environ`, 'utf8')
    expect(`${commandLine}${environment}`).not.toMatch(/[\w-]{43}/)
    await store.close()
  })
})

test('a folder that cannot be opened is started anew, and the reason told', async () => {
  const store = await openStore(folder)
  await store.command('CREATE TABLE lost (number UInt32) ENGINE = MergeTree ORDER BY number')
  await store.close()
  for (const name of await readdir(join(folder, 'store', 'metadata'), { recursive: true }))
    if (name.endsWith('.sql')) await writeFile(join(folder, 'store', 'metadata', name), 'not a statement')
  const reasons: string[] = []
  const again = await openStore(folder, { onDamaged: (reason) => reasons.push(reason) })
  expect(reasons).toHaveLength(1)
  expect(await again.query("SELECT count() AS tables FROM system.tables WHERE name = 'lost'")).toEqual([{ tables: 0 }])
  await again.close()
})

test('a folder that another process uses is refused in words, and left alone', async () => {
  const store = await openStore(folder)
  await store.command('CREATE TABLE kept (number UInt32) ENGINE = MergeTree ORDER BY number')
  await expect(openStore(folder)).rejects.toThrow('no other process uses it')
  expect(await store.query('SELECT count() AS rows FROM kept')).toEqual([{ rows: 0 }])
  await store.close()
})

test('a server that is not there is unavailable', async () => {
  const store = openClickhouseStore({ url: 'http://127.0.0.1:1', username: 'default', password: '' })
  await expect(store.query('SELECT 1')).rejects.toThrow(StoreUnavailable)
  await expect(store.insert('t', new Uint8Array(1))).rejects.toThrow(StoreUnavailable)
  await store.close()
})
