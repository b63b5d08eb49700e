/**
 * What the tests of the whole program share: the command as a process, a running server, temporary folders, and the
 * samples beside the checkout. Whatever is started here is ended by `endAll`, which each file calls after each test.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'

export const ROOT = join(import.meta.dirname, '..')
export const SAMPLES = join(ROOT, 'samples')
const COMMAND = join(ROOT, 'mailtrail.mjs')

/** Samples and the generator lie beside the checkout. Null where they do not. */
const beside = resolve(ROOT, '../shared')
export const SHARED = existsSync(join(beside, 'corpus', 'expected.json')) ? beside : null
/** Where everything must be there, a test that passes over it would be a lie. */
export const MUST_HAVE_SHARED = (process.env.CI ?? '') !== '' && process.env.CI !== 'false'

/** All days there are: reports of any age, mail of today. */
export const ALL_DAYS = 'from=1970-01-02&to=2100-12-31'

type Environment = Readonly<Record<string, string>>

/** Nothing of the machine's own settings reaches the program under test. */
function environment(changes: Environment): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(
    ([name]) =>
      !/^(MAILTRAIL_|KAFKA_|SCHEMA_REGISTRY_|CLICKHOUSE_|DATABASE_URL|LOG_LEVEL|NODE_OPTIONS|VITEST|TZ$)/.test(name),
  )
  // No test asks a name server that it did not start itself.
  return { ...Object.fromEntries(kept), MAILTRAIL_RESOLVERS: 'off', ...changes }
}

const folders = new Set<string>()
const groups = new Set<ChildProcess>()

/** A folder that `endAll` removes. */
export async function tempFolder(name: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), `mailtrail-${name}-`))
  folders.add(folder)
  return folder
}

/** Ends every process that was started here, with its children, and removes the folders. */
export async function endAll(): Promise<void> {
  await Promise.all([...groups].map((child) => killGroup(child)))
  for (const folder of folders) await rm(folder, { recursive: true, force: true, maxRetries: 5 })
  folders.clear()
}

/** `kill -9` of the process and everything that it started. Resolves when it is gone. */
export async function killGroup(child: ChildProcess): Promise<void> {
  const ended = hasEnded(child) ? Promise.resolve() : new Promise((resolve) => child.once('close', resolve))
  try {
    process.kill(-child.pid!, 'SIGKILL')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
  await ended
  groups.delete(child)
}

const hasEnded = (child: ChildProcess) => child.exitCode !== null || child.signalCode !== null

export interface Outcome {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface RunOptions {
  readonly env?: Environment
  readonly stdin?: string | Uint8Array
  readonly cwd?: string
}

/** Starts the command in a process group of its own. */
export function start(args: readonly string[], { env = {}, stdin, cwd = ROOT }: RunOptions = {}): ChildProcess {
  const child = spawn(process.execPath, [COMMAND, ...args], {
    cwd,
    detached: true,
    env: environment(env),
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  groups.add(child)
  child.stdin!.on('error', () => undefined) // a command that ends without reading its input closes it
  child.stdin!.end(stdin)
  return child
}

/** Collects what a child says until it ends. */
export function outcomeOf(child: ChildProcess): Promise<Outcome> {
  const said = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]!.setEncoding('utf8').on('data', (text: string) => {
      said[name] += text
    })
  }
  return new Promise((resolve) => {
    child.once('close', (code) => {
      groups.delete(child)
      resolve({ code, ...said })
    })
  })
}

/** Runs the command to its end. */
export function mailtrail(args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  return outcomeOf(start(args, options))
}

export interface ImportSummary {
  readonly read: number
  readonly new: number
  readonly duplicates: number
  readonly rejects: number | null
}

/** Runs `import --wait --format json`. Throws with what the command said when it fails. */
export async function importMail(
  data: string,
  paths: readonly string[],
  env: Environment = {},
): Promise<ImportSummary> {
  const { code, stdout, stderr } = await mailtrail(['import', ...paths, '--data', data, '--wait', '--format', 'json'], {
    env,
  })
  if (code !== 0) throw new Error(`import ended with ${code}: ${stderr}`)
  return JSON.parse(stdout) as ImportSummary
}

export interface Running {
  readonly url: string
  readonly pid: number
  readonly child: ChildProcess
  /** From the start of the process to the address on its output, in milliseconds. */
  readonly startedIn: number
  /** What it has said until now. */
  said(): { readonly stdout: string; readonly stderr: string }
  /** Resolves when its output or its errors match. Throws when it ends before, or after the seconds. */
  says(pattern: RegExp, seconds?: number): Promise<void>
  /** JSON of a GET below /api/v1. Throws when the status is not 2xx. */
  get<Body>(path: string): Promise<Body>
  /** Every item of a list, as it comes: a list may be longer than a string can be. */
  items<Item>(path: string): AsyncIterable<Item>
  /** All items of a list. */
  list<Item>(path: string): Promise<Item[]>
  post(path: string, body: Uint8Array | string, headers?: Record<string, string>): Promise<Response>
  /** Resolves when everything on the log is in the store. */
  idle(): Promise<void>
  /** SIGTERM; resolves with the exit code. */
  stop(): Promise<number | null>
  /** kill -9 of the whole process group. */
  kill(): Promise<void>
}

const READY_SECONDS = 60
const LOOK_MILLISECONDS = 50

/** Starts `up` on a free port and waits until it says where it answers. */
export async function up(
  data: string,
  options: RunOptions & { readonly paths?: readonly string[]; readonly args?: readonly string[] } = {},
): Promise<Running> {
  const began = performance.now()
  const args = ['up', ...(options.paths ?? []), '--data', data, '--listen', '127.0.0.1:0', ...(options.args ?? [])]
  const child = start(args, options)
  const said = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]!.setEncoding('utf8').on('data', (text: string) => {
      said[name] += text
    })
  }
  const closed = new Promise<number | null>((resolve) => child.once('close', resolve))
  const says = (pattern: RegExp, seconds = READY_SECONDS) =>
    until(`mailtrail to say ${pattern}`, seconds, () => {
      if (pattern.test(said.stdout) || pattern.test(said.stderr)) return true
      if (hasEnded(child)) throw new Error(`mailtrail ended with ${child.exitCode}: ${said.stdout}${said.stderr}`)
      return false
    })
  await says(/mailtrail is up: (\S+)/)
  const startedIn = performance.now() - began
  const url = /mailtrail is up: (\S+)/.exec(said.stdout)![1]!
  const request = async (path: string, init: RequestInit = {}) => {
    const response = await fetch(`${url}/api/v1${path}`, init)
    if (!response.ok) throw new Error(`${path} answered ${response.status}: ${await response.text()}`)
    return response
  }
  const get = async <Body>(path: string) => (await (await request(path)).json()) as Body
  async function* items<Item>(path: string): AsyncIterable<Item> {
    const response = await request(path, { headers: { accept: 'application/x-ndjson' } })
    const lines = createInterface({ input: Readable.fromWeb(response.body!) })
    for await (const line of lines) if (line !== '') yield JSON.parse(line) as Item
  }
  return {
    url,
    pid: child.pid!,
    child,
    startedIn,
    said: () => said,
    says,
    get,
    items,
    async list<Item>(path: string) {
      const all: Item[] = []
      for await (const item of items<Item>(path)) all.push(item)
      return all
    },
    post: (path, body, headers = {}) =>
      fetch(`${url}/api/v1${path}`, { method: 'POST', body: body as string | Uint8Array<ArrayBuffer>, headers }),
    idle: () =>
      until('the pipeline to be idle', 120, async () => {
        const response = await fetch(`${url}/api/v1/status`)
        const { idle } = (await response.json()) as { idle?: boolean }
        if (!response.ok && response.status !== 503) throw new Error(`/status answered ${response.status}.`)
        return idle === true // while the store is rebuilt the answer is 503
      }),
    async stop() {
      child.kill('SIGTERM')
      const code = await closed
      groups.delete(child)
      return code
    },
    kill: () => killGroup(child),
  }
}

/** Looks until the condition holds; throws after the seconds. */
export async function until(what: string, seconds: number, condition: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + seconds * 1000
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`Waited ${seconds} s for ${what}.`)
    await sleep(LOOK_MILLISECONDS)
  }
}

/** Processes whose parent is `parent`, with their command lines. */
export function childrenOf(parent: number): Promise<readonly { readonly pid: number; readonly command: string }[]> {
  return new Promise((resolve, reject) => {
    execFile('ps', ['-A', '-o', 'pid=,ppid=,args='], { maxBuffer: 16 << 20 }, (error, stdout) => {
      if (error !== null) return reject(error)
      const rows = stdout.split('\n').flatMap((line) => {
        const [, pid, ppid, command] = /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line) ?? []
        return Number(ppid) === parent ? [{ pid: Number(pid), command: command! }] : []
      })
      resolve(rows)
    })
  })
}

/** The process that holds the store of a running mailtrail, or null while it is being started again. */
export async function storeProcess(owner: number): Promise<number | null> {
  const children = await childrenOf(owner)
  return children.find(({ command }) => command.includes('chdb-server'))?.pid ?? null
}
