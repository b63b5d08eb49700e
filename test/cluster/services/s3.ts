/**
 * A real S3-compatible server: the Versity S3 Gateway (Apache-2.0) over a folder. It verifies signatures and payload
 * hashes, knows users and rights, and is built from the Go module registry: no container, no download site.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const MODULE = 'github.com/versity/versitygw/cmd/versitygw'
const VERSION = 'v1.8.0'
const CACHE = resolve(import.meta.dirname, '../../../node_modules/.cache/mailtrail/s3')
export const BINARY = join(CACHE, `versitygw-${VERSION}`)
/** From nothing it takes 75 s on two cores, most of it compiling. */
const BUILD_MILLISECONDS = 600_000
const READY_MILLISECONDS = 15_000

export interface S3Server {
  /** `http://127.0.0.1:PORT` */
  readonly endpoint: string
  readonly region: string
  /** The owner of everything. */
  readonly owner: S3Keys
  /** A user who is known but may do nothing. */
  readonly stranger: S3Keys
  /** Where a bucket's objects lie as files: `FOLDER/BUCKET/KEY`. */
  readonly folder: string
  makeBucket(name: string): Promise<void>
  /** Ends the server as `kill -9` does; `restart` brings it back on the same port with the same objects. */
  kill(): Promise<void>
  restart(): Promise<void>
  stop(): Promise<void>
}

export interface S3Keys {
  readonly accessKeyId: string
  readonly secretAccessKey: string
}

/** Builds the server once. Rejects when there is no Go or no network. */
export async function install(): Promise<void> {
  if (existsSync(BINARY)) return
  await mkdir(CACHE, { recursive: true })
  // Two that build at once do so in places of their own; the last rename wins, and both are the same.
  const place = await mkdtemp(join(CACHE, 'build-'))
  try {
    await run('go', ['install', `${MODULE}@${VERSION}`], { ...process.env, GOBIN: place, GOFLAGS: '-mod=mod' })
    await rename(join(place, 'versitygw'), BINARY)
  } finally {
    await rm(place, { recursive: true, force: true })
  }
}

function run(command: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<void> {
  return new Promise((fulfil, reject) => {
    const child = spawn(command, args, { env, stdio: ['ignore', 'ignore', 'pipe'], timeout: BUILD_MILLISECONDS })
    let said = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-2000)
    })
    child.on('error', (error) => reject(new Error(`${command} cannot be run: ${error.message}`)))
    child.on('close', (code) => {
      if (code === 0) fulfil()
      else reject(new Error(`${command} ${args.join(' ')} ended with ${code}: ${said}`))
    })
  })
}

async function freePort(): Promise<number> {
  const server = createServer((socket: Socket) => socket.destroy())
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
  const address = server.address()
  await new Promise((closed) => server.close(closed))
  if (address === null || typeof address === 'string') throw new Error('No free port.')
  return address.port
}

const running = new Set<ChildProcess>()
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})
// Without a listener a process that is told to end does so without 'exit'.
process.once('SIGTERM', () => process.exit(143))

/** Starts a server with an empty folder. `install` must have been called. */
export async function start(): Promise<S3Server> {
  const place = await mkdtemp(join(tmpdir(), 'mailtrail-s3-'))
  const folder = join(place, 'objects')
  const users = join(place, 'users')
  for (const each of [folder, users, join(place, 'sidecar')]) await mkdir(each)
  const owner = { accessKeyId: 'mailtrail', secretAccessKey: 'a secret of the tests' }
  const stranger = { accessKeyId: 'stranger', secretAccessKey: 'another secret' }
  const account = {
    access: stranger.accessKeyId,
    secret: stranger.secretAccessKey,
    role: 'user',
    userID: 0,
    groupID: 0,
  }
  await writeFile(join(users, 'users.json'), JSON.stringify({ accessAccounts: { stranger: account } }))
  const port = await freePort()
  const endpoint = `http://127.0.0.1:${port}`
  let child: ChildProcess | undefined

  const launch = async () => {
    child = launchServer(port, owner, place)
    await untilReady(endpoint, child)
  }
  const kill = async () => {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const ended = new Promise((gone) => child?.once('close', gone))
    child.kill('SIGKILL')
    await ended
  }
  try {
    await launch()
  } catch (error) {
    await kill()
    await rm(place, { recursive: true, force: true })
    throw error
  }
  return {
    endpoint,
    region: 'us-east-1',
    owner,
    stranger,
    folder,
    makeBucket: (name) => mkdir(join(folder, name)).then(() => undefined),
    kill,
    restart: launch,
    async stop() {
      await kill()
      await rm(place, { recursive: true, force: true })
    },
  }
}

function launchServer(port: number, owner: S3Keys, place: string): ChildProcess {
  const flags = ['--port', `127.0.0.1:${port}`, '--health', '/health', '--keep-alive', '--quiet']
  const child = spawn(
    BINARY,
    // The sidecar keeps what the server notes of objects in files: not every /tmp takes extended attributes.
    [...flags, '--iam-dir', join(place, 'users'), 'posix', '--sidecar', join(place, 'sidecar'), join(place, 'objects')],
    {
      env: { ROOT_ACCESS_KEY: owner.accessKeyId, ROOT_SECRET_KEY: owner.secretAccessKey },
      stdio: 'ignore',
    },
  )
  running.add(child)
  child.once('close', () => running.delete(child))
  return child
}

async function untilReady(endpoint: string, child: ChildProcess): Promise<void> {
  const ends = performance.now() + READY_MILLISECONDS
  for (;;) {
    if (child.exitCode !== null) throw new Error(`The S3 server ended with ${child.exitCode}.`)
    const answer = await fetch(`${endpoint}/health`).catch(() => null)
    if (answer?.ok === true) return
    if (performance.now() > ends) throw new Error(`The S3 server was not ready after ${READY_MILLISECONDS / 1000} s.`)
    await sleep(50)
  }
}
