/** docker-compose.yml and docker-compose.single.yml without an engine: what they say must be what mailtrail understands. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Type, { type Static } from 'typebox'
import { Value } from 'typebox/value'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { commands } from '../cli/all.ts'
import { type Config, readConfig, roleNames, settings } from '../config.ts'
import { checkSettings } from '../ports.ts'

const ROOT = join(import.meta.dirname, '..')
const only = { additionalProperties: false }
const Texts = Type.Array(Type.String())
const Settings = Type.Record(Type.String(), Type.String())

/** The part of the Compose Specification that these files use; what is not here is a misspelling until it is added. */
const Service = Type.Object(
  {
    image: Type.String(),
    build: Type.Optional(Type.String()),
    profiles: Type.Optional(Texts),
    restart: Type.Optional(Type.Enum(['unless-stopped', 'no', 'always', 'on-failure'])),
    init: Type.Optional(Type.Boolean()),
    read_only: Type.Optional(Type.Boolean()),
    tmpfs: Type.Optional(Texts),
    cap_drop: Type.Optional(Texts),
    security_opt: Texts,
    network_mode: Type.Optional(Type.Literal('none')),
    stop_grace_period: Type.Optional(Type.String({ pattern: '^\\d+s$' })),
    shm_size: Type.Optional(Type.String({ pattern: '^\\d+m$' })),
    ulimits: Type.Optional(
      Type.Object({ nofile: Type.Object({ soft: Type.Integer(), hard: Type.Integer() }, only) }, only),
    ),
    entrypoint: Type.Optional(Texts),
    command: Type.Optional(Texts),
    environment: Type.Optional(Settings),
    secrets: Type.Optional(Texts),
    ports: Type.Optional(Texts),
    volumes: Type.Optional(Texts),
    depends_on: Type.Optional(
      Type.Record(
        Type.String(),
        Type.Object({ condition: Type.Enum(['service_healthy', 'service_completed_successfully']) }, only),
      ),
    ),
    healthcheck: Type.Optional(
      Type.Object(
        {
          test: Texts,
          interval: Type.String({ pattern: '^\\d+s$' }),
          timeout: Type.String({ pattern: '^\\d+s$' }),
          retries: Type.Integer({ minimum: 1 }),
        },
        only,
      ),
    ),
    deploy: Type.Object(
      {
        replicas: Type.Optional(Type.Integer({ minimum: 1 })),
        resources: Type.Object(
          {
            limits: Type.Object(
              { cpus: Type.String({ pattern: '^[\\d.]+$' }), memory: Type.String({ pattern: '^\\d+[mg]$' }) },
              only,
            ),
          },
          only,
        ),
      },
      only,
    ),
  },
  only,
)
const ComposeFile = Type.Object(
  {
    name: Type.String({ pattern: '^[a-z][a-z0-9_-]*$' }),
    services: Type.Record(Type.String({ pattern: '^[a-z][a-z0-9-]*$' }), Service),
    volumes: Type.Record(Type.String(), Type.Null()),
    secrets: Type.Record(Type.String(), Type.Object({ file: Type.String() }, only)),
  },
  only,
)
type Service = Static<typeof Service>

/** Anchors are put in place and `x-…` members left out, as the engine does. */
function readCompose(file: string): Record<string, unknown> {
  const document = parse(readFileSync(join(ROOT, file), 'utf8'), { merge: true }) as Record<string, unknown>
  return Object.fromEntries(Object.entries(document).filter(([name]) => !name.startsWith('x-')))
}

let secretsFolder: string
beforeAll(() => {
  secretsFolder = mkdtempSync(join(tmpdir(), 'mailtrail-secrets-'))
  execFileSync(join(ROOT, 'docker/make-secrets.sh'), [secretsFolder], { stdio: 'ignore' })
})
afterAll(() => rmSync(secretsFolder, { recursive: true, force: true }))

const isMailtrail = (service: Service) => service.image.startsWith('mailtrail:')

/** The settings that a container would read, secrets from the files that the script makes. */
function configOf(service: Service): Config {
  const environment = Object.entries({ MAILTRAIL_DATA: '/var/lib/mailtrail', ...service.environment }).map(
    ([name, value]) => [name, value.replace('/run/secrets/', `${secretsFolder}/`)],
  )
  const at = service.command?.indexOf('--roles') ?? -1
  const roles = at === -1 ? undefined : service.command?.[at + 1]
  return readConfig(roles === undefined ? {} : { MAILTRAIL_ROLES: roles }, Object.fromEntries(environment))
}

describe.each(['docker-compose.yml', 'docker-compose.single.yml'])('%s', (file) => {
  const raw = readCompose(file)
  const compose = raw as Static<typeof ComposeFile>
  const services = Object.entries(compose.services)
  const ours = services.filter(([, service]) => isMailtrail(service))

  test('follows the schema', () => {
    const errors = Value.Errors(ComposeFile, raw)
    expect(errors.map(({ instancePath, message }) => `${instancePath} ${message}`)).toEqual([])
  })

  test('every image is pinned by its version, ours by the version of the package', () => {
    const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string }
    for (const [name, { image }] of services) {
      expect(`${name} ${image}`).toMatch(/ [a-z0-9./-]+:v?\d+\.\d+(\.\d+)?(-[a-z0-9]+)?$/)
    }
    for (const [, { image, build }] of ours)
      expect({ image, build }).toEqual({ image: `mailtrail:${version}`, build: '.' })
  })

  test('every setting of mailtrail is one, and its value is accepted', () => {
    expect(ours.length).toBeGreaterThan(0)
    const known = Object.keys(settings)
    for (const [name, service] of ours) {
      const unknown = Object.keys(service.environment ?? {}).filter(
        (setting) => !known.includes(setting) && !known.includes(setting.replace(/_FILE$/, '')),
      )
      expect({ name, unknown }).toEqual({ name, unknown: [] })
      checkSettings(configOf(service))
    }
  })

  test('a setting that is misspelt or wrong would be found', () => {
    const [, service] = ours[0]!
    const with_ = (more: Record<string, string>) =>
      configOf({ ...service, environment: { ...service.environment, ...more } })
    expect(() => with_({ MAILTRAIL_BLOB: 's3://mails' })).toThrow('is no setting of mailtrail')
    expect(() => with_({ MAILTRAIL_WORKERS: 'two' })).toThrow('must be a whole number')
    expect(() => with_({ MAILTRAIL_API_KEYS_FILE: '/run/secrets/nothing' })).toThrow('cannot be read')
  })

  test('what mailtrail is told to do is a command of it', () => {
    for (const [, { command }] of ours) expect(commands.map(({ name }) => name)).toContain(command?.[0])
  })

  test('every role is taken by somebody', () => {
    const taken = ours.flatMap(([, service]) => configOf(service).MAILTRAIL_ROLES)
    expect([...taken].sort()).toEqual([...roleNames].sort())
  })

  test('mailtrail runs without rights, on a root that it cannot write, and has time to end', () => {
    for (const [, { read_only, tmpfs, cap_drop, init, stop_grace_period }] of ours) {
      expect({ read_only, tmpfs, cap_drop, init }).toEqual({
        read_only: true,
        tmpfs: ['/tmp'],
        cap_drop: ['ALL'],
        init: true,
      })
      expect(Number.parseInt(stop_grace_period ?? '0', 10)).toBeGreaterThan(30)
    }
    for (const [, { security_opt }] of services) expect(security_opt).toEqual(['no-new-privileges:true'])
  })

  test('every service that stays is looked after', () => {
    // The image of mailtrail brings its own health check along.
    const unwatched = services.filter(
      ([, { healthcheck, restart, image }]) =>
        healthcheck === undefined && restart !== undefined && !image.startsWith('mailtrail:'),
    )
    expect(unwatched.map(([name]) => name)).toEqual([])
    expect(readFileSync(join(ROOT, 'Dockerfile'), 'utf8')).toMatch(/^HEALTHCHECK /m)
  })

  test('what is waited for exists and can be waited for', () => {
    for (const [, { depends_on = {} }] of services) {
      for (const [name, { condition }] of Object.entries(depends_on)) {
        const other = compose.services[name]
        expect(other?.healthcheck === undefined).toBe(condition === 'service_completed_successfully')
        expect(other?.restart === undefined).toBe(condition === 'service_completed_successfully')
      }
    }
  })

  test('addresses in settings name a service and the port that it listens on', () => {
    const ports: Record<string, number> = { kafka: 9092, registry: 8080, clickhouse: 8123, postgres: 5432, s3: 7070 }
    for (const [name, { healthcheck }] of services) {
      if (name === 'postgres' || ports[name] === undefined) continue
      expect(healthcheck?.test.join(' ')).toMatch(new RegExp(`127\\.0\\.0\\.1[:/]${ports[name]}\\b`))
    }
    for (const [, service] of ours) {
      const config = configOf(service)
      const addresses = [
        ...config.KAFKA_BROKERS.map((broker) => `tcp://${broker}`),
        ...[config.SCHEMA_REGISTRY_URL, config.CLICKHOUSE_URL, config.DATABASE_URL, config.MAILTRAIL_S3_ENDPOINT],
      ].filter((address) => address !== null)
      for (const address of addresses) {
        const { hostname, port } = new URL(address)
        expect(compose.services).toHaveProperty(hostname)
        expect(Number(port)).toBe(ports[hostname])
        expect(service.depends_on).toHaveProperty(hostname)
      }
      if (config.MAILTRAIL_BLOBS?.kind === 's3') {
        const made = compose.services['s3-bucket']?.entrypoint?.at(-1)
        expect(made).toMatch(new RegExp(`/${config.MAILTRAIL_BLOBS.bucket}$`))
      }
    }
  })

  test('ports are open to this machine only, and lead to where the service listens', () => {
    const published = services.flatMap(([name, { ports = [] }]) => ports.map((port) => `${name} ${port}`))
    expect(published.length).toBeGreaterThan(0)
    for (const port of published) expect(port).toMatch(/^[a-z-]+ 127\.0\.0\.1:(\d+):\1$/)
    for (const [, service] of ours)
      for (const port of service.ports ?? [])
        expect(port).toMatch(new RegExp(`:${configOf(service).MAILTRAIL_LISTEN.port}$`))
    expect(readFileSync(join(ROOT, 'Dockerfile'), 'utf8')).toMatch(/^EXPOSE 7489$/m)
  })

  test('volumes are named or are files of this repository, and all that is named is used', () => {
    const used = new Set<string>()
    for (const [, { volumes = [] }] of services) {
      for (const volume of volumes) {
        const [from] = volume.split(':')
        if (from!.startsWith('./')) {
          expect(existsSync(join(ROOT, from!))).toBe(true)
          expect(volume).toMatch(/:ro$/)
        } else used.add(from!)
      }
    }
    expect([...used].sort()).toEqual(Object.keys(compose.volumes).sort())
  })

  test('every secret is made by the script, named, given to who reads it, and used', () => {
    const used = new Set<string>()
    for (const [name, service] of services) {
      const read = [...JSON.stringify([service.environment, service.entrypoint]).matchAll(/\/run\/secrets\/(\w+)/g)]
      const scripts = (service.volumes ?? []).filter((volume) => volume.startsWith('./') && !volume.includes('grafana'))
      const text = scripts.map((volume) => textBelow(volume.split(':')[0]!)).join('\n')
      const wanted = [...read, ...text.matchAll(/\/run\/secrets\/(\w+)/g)].map((match) => match[1]!)
      expect({ name, secrets: [...(service.secrets ?? [])].sort() }).toEqual({
        name,
        secrets: [...new Set(wanted)].sort(),
      })
      for (const secret of wanted) used.add(secret)
    }
    expect([...used].sort()).toEqual(Object.keys(compose.secrets).sort())
    for (const [name, { file: path }] of Object.entries(compose.secrets)) {
      expect(path).toBe(`./docker/secrets/${name}`)
      expect(readFileSync(join(secretsFolder, name), 'utf8')).not.toBe('')
    }
  })
})

function textBelow(path: string): string {
  const whole = join(ROOT, path)
  if (statSync(whole).isFile()) return readFileSync(whole, 'utf8')
  return readdirSync(whole)
    .map((name) => readFileSync(join(whole, name), 'utf8'))
    .join('\n')
}

test('the reading user of ClickHouse is the one that docs/clickhouse.md describes', () => {
  const statement = /^CREATE SETTINGS PROFILE[^;]+;/m
  const [documented] = statement.exec(readFileSync(join(ROOT, 'docs/clickhouse.md'), 'utf8')) ?? []
  const [made] = statement.exec(readFileSync(join(ROOT, 'docker/clickhouse/reader.sh'), 'utf8')) ?? []
  expect(documented).toBeDefined()
  expect(made).toBe(documented)
})

describe('docker/make-secrets.sh', () => {
  test('keeps what is there, and nobody else on the machine sees it', () => {
    const before = readdirSync(secretsFolder).map((name) => readFileSync(join(secretsFolder, name), 'utf8'))
    execFileSync(join(ROOT, 'docker/make-secrets.sh'), [secretsFolder], { stdio: 'ignore' })
    expect(readdirSync(secretsFolder).map((name) => readFileSync(join(secretsFolder, name), 'utf8'))).toEqual(before)
    expect((statSync(secretsFolder).mode & 0o777).toString(8)).toBe('700')
  })

  test('what it makes is kept out of the repository and of the image', () => {
    expect(readFileSync(join(ROOT, 'docker/secrets/.gitignore'), 'utf8')).toBe('*\n!.gitignore\n')
    expect(readFileSync(join(ROOT, '.dockerignore'), 'utf8')).not.toMatch(/^!docker/m)
  })
})
