/**
 * A ClickHouse server for tests: the one at CLICKHOUSE_URL when that is given, else `mailtrail store` as a process of its
 * own. Each test works in a database of its own, which is dropped afterwards.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'

const ROOT = resolve(import.meta.dirname, '../../..')
const PASSWORD = 'store: a password with @ and /'
const READY_MILLISECONDS = 60_000

export interface ClickhouseOptions {
  /** What the server may take, in megabytes; only of our own. */
  readonly memory?: number
}

export interface ClickhouseServer {
  readonly url: string
  readonly username: string
  readonly password: string
  /** Whether it is our own, whose process may be stopped and killed. */
  readonly isOurs: boolean
  /** kill -9. */
  kill(): Promise<void>
  /** Starts it again on the same data and address, after `kill`. */
  restart(): Promise<void>
  /** The process stands still, its connections stay open. */
  freeze(): void
  thaw(): void
  /** A name that no database has yet. */
  newDatabase(): string
  /** Drops the databases that were named and ends the server, if it is ours. */
  stop(): Promise<void>
}

/** Nothing has to be brought along: the embedded engine comes with mailtrail. */
export async function install(): Promise<void> {}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}

const running = new Set<ChildProcess>()
/** The child and what it started. */
function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  try {
    process.kill(-child.pid!, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}
process.on('exit', () => {
  for (const child of running) signalGroup(child, 'SIGKILL')
})
process.once('SIGTERM', () => process.exit(143))

async function launch(folder: string, port: number, memory: number): Promise<ChildProcess> {
  const args = ['store', '--data', folder, '--listen', `127.0.0.1:${port}`, '--memory', String(memory)]
  const child = spawn(process.execPath, [join(ROOT, 'mailtrail.mjs'), ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env.PATH, HOME: folder, CLICKHOUSE_PASSWORD: PASSWORD },
    detached: true,
  })
  running.add(child)
  child.once('close', () => running.delete(child))
  let words = ''
  child.stderr.on('data', (piece: Buffer) => {
    words += piece.toString()
  })
  const timer = setTimeout(() => signalGroup(child, 'SIGKILL'), READY_MILLISECONDS)
  const line = await Promise.race([
    once(createInterface({ input: child.stdout }), 'line').then(([text]) => text as string),
    once(child, 'close').then(() => null),
  ])
  clearTimeout(timer)
  if (!line?.startsWith('mailtrail store is up')) throw new Error(`mailtrail store does not start: ${words || line}`)
  return child
}

let databases = 0
/** Names that two test runs on one server do not share. */
const ownName = () => `mailtrail_test_${process.pid}_${Date.now().toString(36)}_${databases++}`

async function drop(url: string, username: string, password: string, names: readonly string[]): Promise<void> {
  const authorization = `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`
  for (const name of names) {
    const body = `DROP DATABASE IF EXISTS ${name} SYNC`
    const response = await fetch(url, { method: 'POST', headers: { authorization }, body })
    if (!response.ok) throw new Error(`${body}: ${await response.text()}`)
  }
}

export async function start({ memory = 600 }: ClickhouseOptions = {}): Promise<ClickhouseServer> {
  const named: string[] = []
  const newDatabase = () => {
    const name = ownName()
    named.push(name)
    return name
  }
  const given = process.env.CLICKHOUSE_URL
  if (given !== undefined && given !== '') {
    const { CLICKHOUSE_USER: username = 'default', CLICKHOUSE_PASSWORD: password = '' } = process.env
    const notOurs = () => {
      throw new Error('The server at CLICKHOUSE_URL is not ours to stop.')
    }
    return {
      url: given,
      username,
      password,
      isOurs: false,
      kill: notOurs,
      restart: notOurs,
      freeze: notOurs,
      thaw: notOurs,
      newDatabase,
      stop: () => drop(given, username, password, named),
    }
  }
  const folder = await mkdtemp(join(tmpdir(), 'mailtrail-store-'))
  const port = await freePort()
  let child = await launch(folder, port, memory).catch(async (error: unknown) => {
    await rm(folder, { recursive: true, force: true })
    throw error
  })
  const end = async (signal: NodeJS.Signals) => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const closed = once(child, 'close')
    signalGroup(child, signal)
    await closed
  }
  return {
    url: `http://127.0.0.1:${port}`,
    username: 'default',
    password: PASSWORD,
    isOurs: true,
    kill: () => end('SIGKILL'),
    async restart() {
      child = await launch(folder, port, memory)
    },
    freeze: () => signalGroup(child, 'SIGSTOP'),
    thaw: () => signalGroup(child, 'SIGCONT'),
    newDatabase,
    async stop() {
      signalGroup(child, 'SIGCONT')
      await end('SIGTERM')
      await rm(folder, { recursive: true, force: true })
    },
  }
}
