/** The image, as far as it can be had without an engine: built by its own commands on this machine, and run. */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { chmodSync, copyFileSync, existsSync, globSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { until } from '../fixtures.ts'
import { buildImage, dockerIgnore, type Image, readDockerfile } from './dockerfile.ts'

const ROOT = join(import.meta.dirname, '../..')
const isRoot = process.getuid?.() === 0
/** A mount namespace of its own, in which the root is made read-only, as `docker run --read-only` does. */
const canMount = isRoot && spawnSync('unshare', ['--mount', 'true']).status === 0

describe('the Dockerfile', () => {
  const instructions = readDockerfile(readFileSync(join(ROOT, 'Dockerfile'), 'utf8'))
  const all = (name: string) => instructions.filter((each) => each.name === name).map(({ text }) => text)

  test('stands on a pinned Node as new as the package wants', () => {
    const { devDependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
      devDependencies: Record<string, string>
    }
    for (const base of all('FROM')) {
      expect(base).toMatch(new RegExp(`^node:${devDependencies.node}-bookworm-slim( AS \\w+)?$`))
    }
  })

  test('does not run as root, opens the port that it listens on, and needs no shell when it runs', () => {
    expect(all('USER')).toEqual(['1000:1000'])
    expect(all('EXPOSE')).toEqual(['7489'])
    expect(all('ENV')).toContain('MAILTRAIL_LISTEN=0.0.0.0:7489')
    expect(all('STOPSIGNAL')).toEqual(['SIGTERM'])
    for (const name of ['ENTRYPOINT', 'CMD']) expect(all(name)[0]).toMatch(/^\["/)
    expect(all('HEALTHCHECK')[0]).toMatch(/CMD \["node", /)
  })

  test('an instruction that is misspelt would be found', () => {
    expect(() => readDockerfile('FROM a\nCOPPY b c\n')).toThrow('COPPY b c')
  })

  test('.dockerignore keeps secrets, data and history out and the program in', () => {
    const passes = dockerIgnore(readFileSync(join(ROOT, '.dockerignore'), 'utf8'))
    const kept = [
      'main.ts',
      'package-lock.json',
      'api/routes/all.ts',
      'projections/mail.sql',
      'samples/01-aggregate-zip.eml',
    ]
    expect(kept.filter((path) => !passes(path))).toEqual([])
    const out = [
      'docker/secrets/api_key',
      '.git/config',
      'data/log.sqlite',
      'node_modules/a/b.js',
      '.env',
      'test/run.mjs',
    ]
    expect(out.filter(passes)).toEqual([])
  })
})

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
  const address = server.address()
  await new Promise((closed) => server.close(closed))
  if (address === null || typeof address === 'string') throw new Error('No free port.')
  return address.port
}

describe('the image', () => {
  let place: string
  let image: Image
  const children = new Set<ChildProcess>()
  const killAll = () => {
    for (const child of children)
      if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, 'SIGKILL')
  }
  process.on('exit', killAll)

  beforeAll(async () => {
    place = await mkdtemp(join(tmpdir(), 'mailtrail-image-'))
    chmodSync(place, 0o755)
    // The base image brings Node along.
    const nodeFolder = join(place, 'base')
    mkdirSync(nodeFolder)
    copyFileSync(process.execPath, join(nodeFolder, 'node'))
    image = buildImage({ context: ROOT, folder: join(place, 'stages'), nodeFolder })
  }, 300_000)

  afterAll(async () => {
    killAll()
    process.off('exit', killAll)
    await rm(place, { recursive: true, force: true })
  })

  test('holds the program, its packages, and nothing to build it with', () => {
    const app = join(image.root, 'app')
    const there = ['LICENSE', 'NOTICE', 'dist', 'mailtrail.mjs', 'node_modules', 'package.json', 'samples']
    expect(readdirSync(app).sort()).toEqual(there.sort())
    expect(globSync('dist/**/*.ts', { cwd: app })).toEqual([])
    const { dependencies, devDependencies } = JSON.parse(readFileSync(join(app, 'package.json'), 'utf8')) as Record<
      'dependencies' | 'devDependencies',
      Record<string, string>
    >
    const has = (name: string) => existsSync(join(app, 'node_modules', name))
    expect(Object.keys(dependencies).filter((name) => !has(name))).toEqual([])
    // Types come along with packages that need them; what builds and tests does not.
    const tools = Object.keys(devDependencies).filter((name) => !name.startsWith('@types/'))
    expect(tools.filter(has)).toEqual([])
  })

  const where = canMount ? ' on a root that it cannot write' : ''
  test(`runs as another user${where}, is healthy, takes a mail, answers, and ends when told`, () => takeAMail(canMount))

  async function takeAMail(readOnly: boolean): Promise<void> {
    const secrets = join(place, 'secrets')
    execFileSync(join(ROOT, 'docker/make-secrets.sh'), [secrets], { stdio: 'ignore' })
    // The engine puts each secret where the container can read it, whatever the folder allows.
    const keys = join(place, 'api_keys')
    copyFileSync(join(secrets, 'api_keys'), keys)
    const authorization = `Bearer ${readFileSync(join(secrets, 'api_key'), 'utf8')}`
    const port = await freePort()
    const data = join(image.root, image.environment.MAILTRAIL_DATA!)
    const temporary = join(place, 'tmp')
    mkdirSync(temporary)
    const env = {
      TMPDIR: temporary,
      PATH: `${join(place, 'base')}:${process.env.PATH}`,
      ...image.environment,
      MAILTRAIL_DATA: data,
      MAILTRAIL_LISTEN: `127.0.0.1:${port}`,
      MAILTRAIL_API_KEYS_FILE: keys,
      MAILTRAIL_RESOLVERS: 'off',
    }
    const inImage = (words: readonly string[]) => words.map((word) => word.replace(/^\/app\//, `${image.root}/app/`))
    const command = contained(
      [...inImage(image.entrypoint), ...image.command],
      image.user,
      readOnly ? { data, temporary } : null,
    )
    const child = spawn(command[0]!, command.slice(1), {
      cwd: join(image.root, image.workingFolder),
      detached: true,
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    children.add(child)
    let said = ''
    for (const output of [child.stdout, child.stderr])
      output.setEncoding('utf8').on('data', (text: string) => {
        said += text
      })
    const ended = new Promise<number | null>((resolve) => child.once('close', resolve))

    const [first = '', ...rest] = image.healthcheck
    await until('the health check to end with 0', 90, () => {
      if (child.exitCode !== null) throw new Error(`The container ended with ${child.exitCode}: ${said}`)
      return spawnSync(first, rest, { env }).status === 0
    })
    const url = `http://127.0.0.1:${port}/api/v1`
    const mail = readFileSync(join(image.root, 'app/samples/01-aggregate-zip.eml'))
    const posted = await fetch(`${url}/mail?wait=true`, {
      method: 'POST',
      body: mail,
      headers: { authorization, 'content-type': 'message/rfc822' },
    })
    expect(posted.status).toBeLessThan(300)
    const everything = 'from=1970-01-02&to=2100-12-31'
    await until('the report to be counted', 60, async () => {
      const answer = await fetch(`${url}/domains?${everything}`, { headers: { authorization } })
      return ((await answer.json()) as { items: unknown[] }).items.length === 1
    })
    expect((await fetch(`${url}/domains?${everything}`)).status).toBe(401)

    process.kill(-child.pid!, image.stopSignal as NodeJS.Signals)
    expect({ code: await ended, said }).toMatchObject({ code: 0 })
    children.delete(child)
    expect(spawnSync(first, rest, { env }).status).toBe(1)
  }
})

/**
 * The command as the image's user (when we may become one), on a root without a writable place but the volume and a
 * temporary folder in memory (when these are given), as docker-compose.yml has it.
 */
function contained(
  command: readonly string[],
  user: string,
  writable: { readonly data: string; readonly temporary: string } | null,
): readonly string[] {
  if (!isRoot) return command
  const [uid, gid] = user.split(':')
  const as = ['setpriv', `--reuid=${uid}`, `--regid=${gid}`, '--clear-groups', '--no-new-privs', '--bounding-set=-all']
  if (writable === null) return [...as, ...command]
  const script = [
    'set -e',
    'mount --make-rprivate /',
    `mount --bind ${writable.data} ${writable.data}`,
    `mount -t tmpfs -o mode=1777 tmpfs ${writable.temporary}`,
    'mount -o remount,bind,ro /',
    'if touch /written 2>/dev/null; then echo "The root can be written." >&2; exit 1; fi',
    'exec "$@"',
  ].join('\n')
  return ['unshare', '--mount', '--', 'sh', '-c', script, 'sh', ...as, ...command]
}
