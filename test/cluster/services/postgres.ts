/** A real PostgreSQL of the test's own: loopback only, a password, data in a temporary folder. */
import { execFile, spawn, spawnSync } from 'node:child_process'
import { chownSync, existsSync, globSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import pg from 'pg'

const run = promisify(execFile)
const PASSWORD = 'a password: with @ and /'
const USER = 'mailtrail'

export interface PostgresServer {
  /** With user, password and the database `postgres`. */
  readonly url: string
  readonly port: number
  /** One statement of the owner. */
  query(text: string, values?: readonly unknown[]): Promise<Record<string, unknown>[]>
  /** An orderly stop that does not wait for clients; the data stays. */
  pause(): Promise<void>
  /** kill -9 of the server. */
  kill(): Promise<void>
  /** After `pause` or `kill`. */
  resume(): Promise<void>
  /** Ends it and removes the data. */
  stop(): Promise<void>
}

export interface PostgresOptions {
  /** Settings of the server, such as `max_connections`. */
  readonly settings?: Readonly<Record<string, string>>
  /** Files with the server's certificate and key: then only TLS is spoken. */
  readonly tls?: { readonly cert: string; readonly key: string }
  readonly encoding?: string
}

function binaries(): string {
  const version = (path: string) => Number(/postgresql\/(\d+)/.exec(path)?.[1] ?? 0)
  const [newest] = globSync('/usr/lib/postgresql/*/bin').sort((a, b) => version(b) - version(a))
  if (newest === undefined || !existsSync(join(newest, 'initdb')))
    throw new Error('There is no PostgreSQL server here (/usr/lib/postgresql/*/bin). Run: apt-get install postgresql')
  return newest
}

/** Debian's package is all it needs; nothing is downloaded here. Throws what is missing. */
export async function install(): Promise<void> {
  await run(join(binaries(), 'postgres'), ['--version'])
}

/** PostgreSQL refuses to run as root: then it runs as the user that Debian's package makes. */
function unprivileged(): { readonly uid: number; readonly gid: number } | null {
  if (process.getuid?.() !== 0) return null
  const id = (flag: string) => Number(spawnSync('id', [flag, 'postgres'], { encoding: 'utf8' }).stdout)
  return { uid: id('-u'), gid: id('-g') }
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  return port
}

export async function start(options: PostgresOptions = {}): Promise<PostgresServer> {
  const folder = await mkdtemp(join(tmpdir(), 'mailtrail-postgres-'))
  const identity = unprivileged()
  const own = (path: string) => identity !== null && chownSync(path, identity.uid, identity.gid)
  const data = join(folder, 'data')
  const passwordFile = join(folder, 'password')
  await writeFile(passwordFile, PASSWORD)
  for (const path of [folder, passwordFile]) own(path)
  await run(
    join(binaries(), 'initdb'),
    ['-D', data, '-U', USER, '--auth=scram-sha-256', `--pwfile=${passwordFile}`, '--no-sync', '--locale=C'].concat([
      '-E',
      options.encoding ?? 'UTF8',
    ]),
    { ...identity, cwd: folder },
  )
  const port = await freePort()
  const settings: Record<string, string> = {
    listen_addresses: '127.0.0.1',
    port: String(port),
    unix_socket_directories: '',
    fsync: 'off',
    ...options.settings,
  }
  if (options.tls !== undefined) {
    await writeFile(join(data, 'pg_hba.conf'), 'hostssl all all 127.0.0.1/32 scram-sha-256\n')
    for (const path of Object.values(options.tls)) own(path)
    Object.assign(settings, { ssl: 'on', ssl_cert_file: options.tls.cert, ssl_key_file: options.tls.key })
  }
  const server = new RunningPostgres(folder, data, port, settings, identity, options.tls !== undefined)
  try {
    await server.resume()
  } catch (error) {
    await server.stop()
    throw error
  }
  return server
}

class RunningPostgres implements PostgresServer {
  readonly port: number
  readonly #folder: string
  readonly #command: readonly string[]
  readonly #identity: { readonly uid: number; readonly gid: number } | null
  readonly #tls: boolean
  #child: ReturnType<typeof spawn> | undefined
  #output = ''
  /** Of a server that ends by SIGQUIT its children end, too. */
  readonly #atExit = () => void this.#child?.kill('SIGQUIT')

  constructor(
    folder: string,
    data: string,
    port: number,
    settings: Readonly<Record<string, string>>,
    identity: { readonly uid: number; readonly gid: number } | null,
    tls: boolean,
  ) {
    this.#folder = folder
    this.port = port
    this.#identity = identity
    this.#tls = tls
    const given = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
    this.#command = ['-D', data, ...given]
    process.on('exit', this.#atExit)
  }

  get url(): string {
    return `postgres://${USER}:${encodeURIComponent(PASSWORD)}@127.0.0.1:${this.port}/postgres`
  }

  async query(text: string, values: readonly unknown[] = []): Promise<Record<string, unknown>[]> {
    const ssl = this.#tls ? { rejectUnauthorized: false } : false
    const client = new pg.Client({ connectionString: this.url, ssl, connectionTimeoutMillis: 3000 })
    client.on('error', () => undefined) // the query, or `connect`, rejects with it
    try {
      await client.connect()
      return (await client.query(text, [...values])).rows
    } finally {
      await client.end()
    }
  }

  async resume(): Promise<void> {
    const until = performance.now() + 30_000
    for (;;) {
      // After kill -9 the children of the former one may still be ending, which refuses a new one.
      if (this.#child === undefined || this.#child.exitCode !== null) this.#spawn()
      try {
        await this.query('SELECT 1')
        return
      } catch (error) {
        if (performance.now() > until) throw new Error(`PostgreSQL did not start: ${this.#output}`, { cause: error })
        await sleep(50)
      }
    }
  }

  #spawn(): void {
    this.#output = ''
    // `setpriv` becomes the server; it ends it when we end, even by kill -9.
    const user = this.#identity
    const as = user === null ? [] : [`--reuid=${user.uid}`, `--regid=${user.gid}`, '--clear-groups']
    const child = spawn('setpriv', [...as, '--pdeathsig=QUIT', join(binaries(), 'postgres'), ...this.#command], {
      cwd: this.#folder,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const collect = (bytes: Buffer) => {
      this.#output = (this.#output + bytes.toString()).slice(-4000)
    }
    child.stdout.on('data', collect)
    child.stderr.on('data', collect)
    this.#child = child
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child
    if (child === undefined) return
    this.#child = undefined
    if (child.exitCode !== null || child.signalCode !== null) return
    const ended = new Promise((resolve) => child.once('exit', resolve))
    child.kill(signal)
    await ended
  }

  pause(): Promise<void> {
    return this.#end('SIGINT')
  }

  kill(): Promise<void> {
    return this.#end('SIGKILL')
  }

  async stop(): Promise<void> {
    await this.#end('SIGINT')
    process.off('exit', this.#atExit)
    await rm(this.#folder, { recursive: true, force: true })
  }
}
