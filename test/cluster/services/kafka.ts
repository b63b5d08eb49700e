/**
 * A real Apache Kafka for tests: one broker or three, started with the scripts of ../shared/tools/kafka. Needs Java 17, and
 * Maven for the first install.
 */
import { execFile, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { mkdtemp, symlink, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)
const ROOT = join(import.meta.dirname, '../../..')
const SCRIPT = join(ROOT, '../shared/tools/kafka/kafka.sh')
const CACHE = join(ROOT, 'node_modules/.cache/mailtrail/kafka')
const INSTALL_MILLISECONDS = 180_000
const CONTROLLER_AT = 1000

export interface KafkaOptions {
  /** 1 (default) or 3. */
  readonly brokers?: 1 | 3
  /** Properties of the brokers, besides or instead of the script's. */
  readonly properties?: Readonly<Record<string, string>>
  /** Of the Java machine of each broker, such as `384m`; default 512m. */
  readonly heap?: string
  /** Clients are told to connect here instead of to the broker: the port of a proxy in front of it. One broker only. */
  readonly advertisedPort?: number
  /** Port of the broker, when something must know it before it starts. */
  readonly port?: number
}

export interface Kafka {
  /** `HOST:PORT` of each broker (of the proxy, when there is one). */
  readonly brokers: readonly string[]
  readonly ports: readonly number[]
  /** Ends a broker (from 1) with kill -9. Its data stay. */
  kill(broker?: number): Promise<void>
  /** Starts a broker again and waits until all answer. */
  restart(broker?: number): Promise<void>
  /** Runs a class of Kafka's command-line tools, with `input` as its standard input; answers its output. */
  tool(className: string, args: readonly string[], input?: string | Buffer): Promise<string>
  stop(): Promise<void>
}

/** Whether a program is there. */
export const hasCommand = (name: string, ...args: readonly string[]) => spawnSync(name, args).error === undefined

/** Why no Kafka can be started here; null when it can. */
export function unavailable(): string | null {
  if (!existsSync(SCRIPT)) return 'the scripts of ../shared/tools/kafka are not there'
  if (!hasCommand('java', '-version')) return 'there is no Java'
  if (!existsSync(join(CACHE, 'lib')) && !hasCommand('mvn', '-v')) return 'there is no Maven'
  return null
}

/** Fetches the broker's jars once. */
export async function install(): Promise<void> {
  await withLock(() => run(SCRIPT, ['install', CACHE], { timeout: INSTALL_MILLISECONDS }))
}

/** Two test files may ask at the same time. */
async function withLock(work: () => Promise<unknown>): Promise<void> {
  await run('mkdir', ['-p', CACHE])
  const lock = spawn('flock', [join(CACHE, 'install.lock'), 'cat'], { stdio: ['pipe', 'pipe', 'inherit'] })
  lock.stdin.write('held\n')
  await new Promise((resolve, reject) => {
    lock.stdout.once('data', resolve)
    lock.once('error', reject)
  })
  try {
    await work()
  } finally {
    lock.stdin.end()
  }
}

/** A port below which nothing listens, nor so many above it, nor at those of their controllers. */
async function freePorts(count: number): Promise<number> {
  for (;;) {
    const first = 20_000 + Math.floor(Math.random() * 10_000)
    const wanted = Array.from({ length: count }, (_, i) => [first + i, first + i + CONTROLLER_AT]).flat()
    if ((await Promise.all(wanted.map(isFree))).every(Boolean)) return first
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}

/** A port that nobody listens on now. */
export const freePort = () => freePorts(1)

/** Starts a cluster with data in a fresh folder, and waits until it answers. */
export async function start(options: KafkaOptions = {}): Promise<Kafka> {
  const { brokers: count = 1, properties = {}, heap = '512m', advertisedPort } = options
  const folder = await mkdtemp(join(tmpdir(), 'mailtrail-kafka-'))
  await symlink(join(CACHE, 'lib'), join(folder, 'lib'))
  const first = options.port ?? (await freePorts(count))
  const all = { ...properties }
  if (advertisedPort !== undefined) Object.assign(all, throughProxy(first, advertisedPort))
  const propertiesFile = join(folder, 'more.properties')
  await writeFile(
    propertiesFile,
    Object.entries(all)
      .map(([name, value]) => `${name}=${value}\n`)
      .join(''),
  )
  const env = { ...process.env, KAFKA_HEAP: heap, KAFKA_PROPS: propertiesFile, LC_ALL: 'C' }
  const script = (...args: string[]) => run(SCRIPT, args, { env })
  const wait = () => script('wait', String(first), '90', String(count))
  const stop = guard(folder)
  try {
    await script(count === 3 ? 'start3' : 'start', folder, String(first))
    await wait()
  } catch (error) {
    const log = join(folder, 'node-1', 'log')
    const tail = existsSync(log) ? readFileSync(log, 'utf8').slice(-4000) : ''
    await stop()
    throw new Error(`Kafka did not start: ${(error as Error).message}\n${tail}`)
  }
  const ports = Array.from({ length: count }, (_, i) => first + i)
  return {
    ports,
    brokers: (advertisedPort === undefined ? ports : [advertisedPort]).map((port) => `127.0.0.1:${port}`),
    kill: async (broker = 1) => void (await script('kill', folder, String(broker))),
    restart: async (broker = 1) => {
      await script('start', folder, String(first + broker - 1), String(broker))
      await wait()
    },
    tool: (className, args, input) => runTool(folder, className, args, input),
    stop,
  }
}

/** Brokers speak to one another at the broker's own port, clients go through the proxy. */
function throughProxy(port: number, advertisedPort: number): Readonly<Record<string, string>> {
  const inner = port + 2 * CONTROLLER_AT
  return {
    listeners: `PLAINTEXT://127.0.0.1:${port},INNER://127.0.0.1:${inner},CONTROLLER://127.0.0.1:${port + CONTROLLER_AT}`,
    'advertised.listeners': `PLAINTEXT://127.0.0.1:${advertisedPort},INNER://127.0.0.1:${inner}`,
    'listener.security.protocol.map': 'PLAINTEXT:PLAINTEXT,INNER:PLAINTEXT,CONTROLLER:PLAINTEXT',
    'inter.broker.listener.name': 'INNER',
  }
}

/**
 * Kills the brokers and removes their folder when asked to, and also when this process ends in any way, kill -9 included:
 * a shell of its own session waits for the end of its input.
 */
function guard(folder: string): () => Promise<void> {
  const work = 'cat > /dev/null; "$0" kill "$1"; rm -rf "$1"'
  const child = spawn('sh', ['-c', work, SCRIPT, folder], { stdio: ['pipe', 'ignore', 'inherit'], detached: true })
  child.unref()
  const ended = once(child, 'exit')
  return async () => {
    child.stdin.end()
    child.ref()
    await ended
  }
}

function runTool(folder: string, className: string, args: readonly string[], input?: string | Buffer): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(SCRIPT, ['tool', folder, className, ...args], { stdio: ['pipe', 'pipe', 'pipe'] })
    let output = ''
    let complaints = ''
    child.stdout.on('data', (chunk: Buffer) => {
      output += chunk.toString('utf8')
    })
    child.stderr.on('data', (chunk: Buffer) => {
      complaints += chunk.toString('utf8')
    })
    child.once('error', reject)
    child.once('close', (code) => {
      if (code === 0) resolve(output)
      else reject(new Error(`${className} ended with ${code}: ${complaints}${output}`))
    })
    child.stdin.end(input ?? '')
  })
}
