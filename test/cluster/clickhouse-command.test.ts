/** `mailtrail store` as a person or an orchestrator meets it. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { openClickhouseStore } from '../../projections/clickhouse-store.ts'
import { removeFolder, temporaryFolder } from '../projections/projecting.ts'

const ROOT = resolve(import.meta.dirname, '../..')

let folder: string
let children: ChildProcess[]
beforeEach(async () => {
  children = []
  folder = await temporaryFolder()
})
afterEach(async () => {
  for (const child of children) if (child.exitCode === null && child.signalCode === null) await end(child, 'SIGKILL')
  await removeFolder(folder)
})

function run(args: readonly string[], password = ''): ChildProcess {
  const child = spawn(process.execPath, [join(ROOT, 'mailtrail.mjs'), 'store', ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env.PATH, HOME: folder, CLICKHOUSE_PASSWORD: password },
  })
  children.push(child)
  return child
}

/** Its address, once it is up. */
async function addressOf(child: ChildProcess): Promise<string> {
  const [line] = (await once(createInterface({ input: child.stdout! }), 'line')) as [string]
  return /^mailtrail store is up: (http:\S+)$/.exec(line)![1]!
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<number | null> {
  const closed = once(child, 'close')
  child.kill(signal)
  const [code] = (await closed) as [number | null]
  return code
}

async function outcomeOf(child: ChildProcess): Promise<{ code: number; words: string }> {
  let words = ''
  child.stderr!.on('data', (piece: Buffer) => {
    words += piece.toString()
  })
  const [code] = (await once(child, 'close')) as [number]
  return { code, words }
}

const here = (listen = '127.0.0.1:0') => ['--data', join(folder, 'data'), '--listen', listen]

test('it serves, ends in order when told to, and keeps what it holds', async () => {
  let child = run(here(), 'word')
  const options = { username: 'default', password: 'word', database: 'kept' }
  let store = openClickhouseStore({ url: await addressOf(child), ...options })
  await store.command('CREATE TABLE numbers (number UInt32) ENGINE = MergeTree ORDER BY number')
  await store.command('INSERT INTO numbers SELECT number FROM numbers(1000)')
  await store.close()
  expect(await end(child, 'SIGTERM')).toBe(0)
  child = run(here(), 'word')
  store = openClickhouseStore({ url: await addressOf(child), ...options })
  expect(await store.query('SELECT count() AS rows FROM numbers')).toEqual([{ rows: 1000 }])
  await store.close()
  expect(await end(child, 'SIGINT')).toBe(0)
})

test('it is open to all on loopback only', async () => {
  const { code, words } = await outcomeOf(run(here('0.0.0.0:0')))
  expect(code).toBe(2)
  expect(words).toContain('Set CLICKHOUSE_PASSWORD')
  const open = openClickhouseStore({ url: await addressOf(run(here())), username: 'default', password: '' })
  expect(await open.query('SELECT 1 AS one')).toEqual([{ one: 1 }])
  await open.close()
})

test('it says what is in its way: the address, the folder, the memory', async () => {
  const first = run(here())
  const { host } = new URL(await addressOf(first))
  const elsewhere = ['--data', join(folder, 'other'), '--listen', host]
  expect(await outcomeOf(run(elsewhere))).toEqual({ code: 1, words: expect.stringContaining(`${host} is in use`) })
  const twice = await outcomeOf(run(here()))
  expect(twice).toEqual({ code: 1, words: expect.stringContaining('is open in another process') })
  const small = await outcomeOf(run([...here(), '--memory', '1']))
  expect(small).toEqual({ code: 2, words: expect.stringContaining('--memory') })
})

test('it says so when its engine ends, and does not start another', async () => {
  const child = run(here())
  await addressOf(child)
  const outcome = outcomeOf(child)
  const engine = await readFile(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8')
  process.kill(Number(engine), 'SIGKILL')
  expect(await outcome).toEqual({ code: 1, words: expect.stringContaining('signal SIGKILL') })
})
