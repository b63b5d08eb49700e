/**
 * A real schema registry with Confluent's API (Apicurio) of the test's own, on loopback. Its schemas are in a temporary
 * folder, or in a topic of a broker, and outlive kill -9.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { existsSync, globSync, rmSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'

const run = promisify(execFile)
const ROOT = join(import.meta.dirname, '..', '..', '..')
const SCRIPT = join(ROOT, '..', 'shared', 'tools', 'kafka', 'registry.sh')
const INSTALLED = join(ROOT, 'node_modules', '.cache', 'mailtrail', 'registry')

export interface RegistryServer {
  /** Of Confluent's API. */
  readonly url: string
  /** kill -9. */
  kill(): Promise<void>
  /** After `kill`: the same address, the same schemas. */
  resume(): Promise<void>
  /** Takes requests and answers none, until `thaw`. */
  freeze(): void
  thaw(): void
  /** Ends it and removes its data. */
  stop(): Promise<void>
}

/** Downloads the server once (109 MB through Maven). Throws what is missing. */
export async function install(): Promise<void> {
  if (!existsSync(SCRIPT)) throw new Error('../shared/tools/kafka/registry.sh is not there; it downloads the registry.')
  await run('java', ['-version']).catch(() => {
    throw new Error('There is no java here. Run: apt-get install openjdk-17-jre-headless maven')
  })
  await run('bash', [SCRIPT, 'install', INSTALLED])
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  return port
}

/** `broker` is HOST:PORT of a Kafka broker that keeps the schemas. */
export async function start(options: { readonly broker?: string } = {}): Promise<RegistryServer> {
  const folder = await mkdtemp(join(tmpdir(), 'mailtrail-registry-'))
  const storage =
    options.broker === undefined
      ? {
          APICURIO_STORAGE_KIND: 'sql',
          // Written at once: otherwise kill -9 takes the last second.
          APICURIO_DATASOURCE_URL: `jdbc:h2:file:${join(folder, 'schemas')};DB_CLOSE_ON_EXIT=FALSE;WRITE_DELAY=0`,
        }
      : { APICURIO_STORAGE_KIND: 'kafkasql', APICURIO_KAFKASQL_BOOTSTRAP_SERVERS: options.broker }
  const server = new RunningRegistry(folder, await freePort(), storage)
  try {
    await server.resume()
  } catch (error) {
    await server.stop()
    throw error
  }
  return server
}

class RunningRegistry implements RegistryServer {
  readonly url: string
  readonly #folder: string
  readonly #environment: Readonly<Record<string, string>>
  #child: ChildProcess | undefined
  #output = ''
  readonly #atExit = () => {
    this.#child?.kill('SIGKILL')
    rmSync(this.#folder, { recursive: true, force: true })
  }

  constructor(folder: string, port: number, storage: Readonly<Record<string, string>>) {
    this.#folder = folder
    this.url = `http://127.0.0.1:${port}/apis/ccompat/v7`
    this.#environment = {
      ...storage,
      QUARKUS_HTTP_HOST: '127.0.0.1',
      QUARKUS_HTTP_PORT: String(port),
      QUARKUS_HTTP_ACCESS_LOG_ENABLED: 'false',
    }
    process.on('exit', this.#atExit)
  }

  async resume(): Promise<void> {
    this.#spawn()
    const until = performance.now() + 90_000
    for (;;) {
      const isReady = await fetch(`${this.url}/subjects`, { signal: AbortSignal.timeout(5000) }).then(
        async (response) => (await response.text()) !== '' && response.ok,
        () => false, // not yet
      )
      if (isReady) return
      if (this.#child?.exitCode !== null || performance.now() > until)
        throw new Error(`The registry did not start: ${this.#output}`)
      await sleep(100)
    }
  }

  #spawn(): void {
    const [jar] = globSync(join(INSTALLED, 'lib', 'apicurio-registry-app-*-runner.jar'))
    const jvm = ['-Xmx256m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1']
    // `setpriv` becomes java, and java ends when we do, even by kill -9.
    const child = spawn('setpriv', ['--pdeathsig=KILL', 'java', ...jvm, '-jar', jar!], {
      cwd: this.#folder,
      env: { ...process.env, ...this.#environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const collect = (bytes: Buffer) => {
      this.#output = (this.#output + bytes.toString()).slice(-4000)
    }
    child.stdout.on('data', collect)
    child.stderr.on('data', collect)
    this.#child = child
  }

  async kill(): Promise<void> {
    const child = this.#child
    this.#child = undefined
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const ended = new Promise((resolve) => child.once('exit', resolve))
    child.kill('SIGKILL')
    await ended
  }

  freeze(): void {
    this.#child?.kill('SIGSTOP')
  }

  thaw(): void {
    this.#child?.kill('SIGCONT')
  }

  async stop(): Promise<void> {
    await this.kill()
    process.off('exit', this.#atExit)
    await rm(this.#folder, { recursive: true, force: true })
  }
}
