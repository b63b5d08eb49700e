/**
 * The settings: one table over the environment, read once, frozen. The only reader of `process.env`. The README's table
 * of settings is made from it.
 */
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'

export class ConfigError extends Error {}

interface Setting<T> {
  /** Shown in the README and by `mailtrail up --help`. */
  readonly about: string
  readonly fallback: string
  readonly read: (text: string) => T
  /** May also come from NAME_FILE. */
  readonly secret?: boolean
}
const setting = <T>(about: string, fallback: string, read: (text: string) => T, secret = false): Setting<T> => ({
  about,
  fallback,
  read,
  secret,
})

const text = (value: string) => value
const textOrNull = (value: string) => (value === '' ? null : value)

function wholeNumber(value: string): number {
  if (!/^\d{1,15}$/.test(value)) throw new ConfigError('must be a whole number')
  return Number(value)
}

/** Milliseconds of `forever` (null) or a number with d, h or m. */
function duration(value: string): number | null {
  if (value === 'forever') return null
  const match = /^(\d{1,6})(d|h|m)$/.exec(value)
  if (match === null) throw new ConfigError('must be "forever" or a time such as 730d, 12h or 30m')
  return Number(match[1]) * { d: 86_400_000, h: 3_600_000, m: 60_000 }[match[2] as 'd' | 'h' | 'm']
}

export interface ListenAddress {
  readonly host: string
  readonly port: number
}

/** `HOST:PORT`, `[IPv6]:PORT` or `:PORT`. */
export function listenAddress(value: string): ListenAddress {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:\s]*)):(\d{1,5})$/.exec(value)
  const port = Number(match?.[3])
  if (match === null || port > 65535) throw new ConfigError('must be HOST:PORT, such as 127.0.0.1:7489')
  return { host: match[1] ?? (match[2] === '' ? '0.0.0.0' : match[2]!), port }
}

export interface RateLimit {
  readonly mails: number
  readonly bytes: number
}

/** `MAILS/MEGABYTES` a minute, such as 600/500; null for `off`. */
function rateLimit(value: string): RateLimit | null {
  if (value === 'off') return null
  const match = /^([1-9]\d{0,8})\/([1-9]\d{0,8})$/.exec(value)
  if (match === null) throw new ConfigError('must be off, or MAILS/MEGABYTES a minute such as 600/500')
  return { mails: Number(match[1]), bytes: Number(match[2]) * 1024 * 1024 }
}

const levels = ['trace', 'debug', 'info', 'warn', 'error', 'silent'] as const
function logLevel(value: string): (typeof levels)[number] {
  const level = levels.find((known) => known === value)
  if (level === undefined) throw new ConfigError(`must be one of ${levels.join(', ')}`)
  return level
}

export const roleNames = ['ingest', 'process', 'project', 'api'] as const
export type Role = (typeof roleNames)[number]

export function roleList(value: string): readonly Role[] {
  const roles = value.split(',').map((name) => {
    const role = roleNames.find((known) => known === name.trim())
    if (role === undefined) throw new ConfigError(`"${name.trim()}" is no role; roles are ${roleNames.join(', ')}`)
    return role
  })
  return [...new Set(roles)]
}

export const scopes = ['ingest', 'read', 'admin'] as const
export type Scope = (typeof scopes)[number]
export interface ApiKey {
  readonly name: string
  /** Lower-case hex SHA-256 of the key. */
  readonly sha256: string
  readonly scopes: readonly Scope[]
}

/** `name:sha256-of-key:scopes` entries by white space or comma-less lines; scopes joined by `+` or `,`. */
function apiKeys(value: string): readonly ApiKey[] {
  return value
    .split(/[\s;]+/)
    .filter((entry) => entry !== '')
    .map((entry) => {
      const [name = '', sha256 = '', list = ''] = entry.split(':')
      const wanted = list.split(/[+,]/)
      if (
        name === '' ||
        !/^[0-9a-fA-F]{64}$/.test(sha256) ||
        !wanted.every((one) => scopes.some((scope) => scope === one))
      ) {
        throw new ConfigError(
          `has an entry that is not NAME:SHA256-OF-KEY:SCOPES (64 hex digits; scopes of ${scopes.join(', ')}, joined by +)`,
        )
      }
      return { name, sha256: sha256.toLowerCase(), scopes: wanted as Scope[] }
    })
}

export type BlobPlace =
  | { readonly kind: 'folder'; readonly path: string }
  | { readonly kind: 's3'; readonly bucket: string; readonly prefix: string }

/** `file:PATH` or `s3://BUCKET/PREFIX`; null when not set. */
function blobPlace(value: string): BlobPlace | null {
  if (value === '') return null
  if (value.startsWith('file:')) return { kind: 'folder', path: resolve(value.slice('file:'.length)) }
  const match = /^s3:\/\/([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:\/(.*))?$/.exec(value)
  if (match === null) throw new ConfigError('must be file:PATH or s3://BUCKET/PREFIX')
  return { kind: 's3', bucket: match[1]!, prefix: (match[2] ?? '').replace(/\/+$/, '') }
}

function yesOrNo(value: string): boolean {
  const said = { true: true, yes: true, on: true, '1': true, false: false, no: false, off: false, '0': false }[value]
  if (said === undefined) throw new ConfigError('must be true or false')
  return said
}

/** `HOST:PORT,…`; an empty list when not set. */
function brokerList(value: string): readonly string[] {
  const brokers = value.split(',').map((broker) => broker.trim())
  if (brokers.length === 1 && brokers[0] === '') return []
  for (const broker of brokers)
    if (!/^(\[[0-9a-fA-F:.]+\]|[^:\s]+):\d{1,5}$/.test(broker))
      throw new ConfigError('must be HOST:PORT,…, such as kafka-1:9092,kafka-2:9092')
  return brokers
}

/** An http(s) address without a slash at its end; null when not set. */
function httpAddress(value: string): string | null {
  if (value === '') return null
  const url = URL.canParse(value) ? new URL(value) : null
  if (url === null || !/^https?:$/.test(url.protocol))
    throw new ConfigError('must be an address such as https://host:8443')
  return value.replace(/\/+$/, '')
}

function postgresAddress(value: string): string | null {
  if (value === '') return null
  if (!/^postgres(ql)?:\/\/./.test(value)) throw new ConfigError('must be postgres://USER:PASSWORD@HOST:PORT/DATABASE')
  return value
}

const saslMechanisms = ['plain', 'scram-sha-256', 'scram-sha-512'] as const
function saslMechanism(value: string): (typeof saslMechanisms)[number] | null {
  if (value === '') return null
  const mechanism = saslMechanisms.find((known) => known === value.toLowerCase())
  if (mechanism === undefined) throw new ConfigError(`must be one of ${saslMechanisms.join(', ')}`)
  return mechanism
}

function identifier(value: string): string {
  if (!/^[A-Za-z_][A-Za-z0-9_]{0,62}$/.test(value))
    throw new ConfigError('must be a name of letters, digits and underscores')
  return value
}
const identifierOrNull = (value: string) => (value === '' ? null : identifier(value))

/** Addresses of name servers, the machine's own, or none. */
function resolvers(value: string): 'system' | readonly string[] {
  if (value === 'system' || value === 'off') return value === 'system' ? value : []
  const servers = value.split(',').map((server) => server.trim())
  for (const server of servers) {
    try {
      if (listenAddress(server).port > 0 && !server.startsWith(':')) continue
    } catch {
      // Said below, with the name of the setting.
    }
    throw new ConfigError('must be off, system, or name servers as HOST:PORT, such as 192.0.2.53:53,[2001:db8::53]:53')
  }
  return servers
}

export const redactions = ['local-parts', 'subjects', 'samples'] as const

/** What is left out of what is stored of mails; an empty list for `none`. */
function redactionList(value: string): readonly (typeof redactions)[number][] {
  if (value === 'none') return []
  return value.split(',').map((name) => {
    const part = redactions.find((known) => known === name.trim())
    if (part === undefined) throw new ConfigError(`must be none, or a list of ${redactions.join(', ')}`)
    return part
  })
}

/** Names of mail servers as they write them into Authentication-Results, in lower case; none when not set. */
function authservIds(value: string): readonly string[] {
  const ids = value
    .split(',')
    .map((id) => id.trim().toLowerCase())
    .filter((id) => id !== '')
  for (const id of ids)
    if (!/^[a-z0-9._:-]{1,255}$/.test(id))
      throw new ConfigError('must be names of mail servers as they write them, such as mx1.example.org,mx2.example.org')
  return ids
}

export const settings = {
  MAILTRAIL_DATA: setting('Folder for everything that is kept', './data', (value) => resolve(value)),
  MAILTRAIL_LISTEN: setting('Address of the HTTP interface', '127.0.0.1:7489', listenAddress),
  MAILTRAIL_ROLES: setting(
    'What this process does: ingest, process, project, api',
    'ingest,process,project,api',
    roleList,
  ),
  MAILTRAIL_TOPIC_PREFIX: setting('In front of every topic and group name', '', text),
  MAILTRAIL_MAX_MAIL_BYTES: setting('Largest mail that is taken', '52428800', wholeNumber),
  MAILTRAIL_MAX_INFLATED_BYTES: setting('Largest report, unpacked', '1073741824', wholeNumber),
  MAILTRAIL_LIMIT_CLIENT: setting(
    'What one client address may post in a minute, as MAILS/MEGABYTES such as 600/500; off = no limit',
    'off',
    rateLimit,
  ),
  MAILTRAIL_LIMIT_DOMAIN: setting('The same of mail from one domain (of the envelope, else of From)', 'off', rateLimit),
  MAILTRAIL_RETENTION_INGEST: setting('How long raw mail is kept: forever, or days such as 730d', 'forever', duration),
  MAILTRAIL_RETENTION_PRIVATE: setting(
    'How long mail fields and failure reports are kept, in the log and in tables',
    'forever',
    duration,
  ),
  MAILTRAIL_REDACT: setting(
    'What is left out of mail fields and failure reports: none, or a list of local-parts, subjects, samples',
    'none',
    redactionList,
  ),
  MAILTRAIL_BLOBS: setting(
    'Where mails above 256 KB lie: file:PATH or s3://BUCKET/PREFIX; default: blobs in the data folder',
    '',
    blobPlace,
  ),
  MAILTRAIL_BLOBS_SHARED: setting('Whether every process sees the same files at file:PATH', 'false', yesOrNo),
  MAILTRAIL_S3_ENDPOINT: setting('Address of the S3-compatible store', '', httpAddress),
  MAILTRAIL_S3_REGION: setting('Its region', 'us-east-1', text),
  MAILTRAIL_S3_PATH_STYLE: setting('Whether the bucket is part of the path, not of the host name', 'true', yesOrNo),
  MAILTRAIL_S3_ACCESS_KEY_ID: setting('Its access key', '', textOrNull, true),
  MAILTRAIL_S3_SECRET_ACCESS_KEY: setting('Its secret key', '', textOrNull, true),
  MAILTRAIL_TMP: setting('Folder for temporary files; default: tmp in the data folder', '', (value) =>
    value === '' ? null : resolve(value),
  ),
  MAILTRAIL_RULES: setting(
    'Rule file to begin with; default: rules.yaml in the data folder, else the rules that came with mailtrail',
    '',
    (value) => (value === '' ? null : resolve(value)),
  ),
  MAILTRAIL_RESOLVERS: setting(
    'Name servers for the names of addresses and the keys of signatures, as HOST:PORT,…; system = those of the machine; off = no look-ups',
    'system',
    resolvers,
  ),
  MAILTRAIL_AUTHSERV_ID: setting(
    'Mail servers of ours whose Authentication-Results are believed, by the names that they write there; none = no server',
    '',
    authservIds,
  ),
  MAILTRAIL_KEEP_FORMER: setting('How long a generation that was live can be gone back to', '7d', duration),
  MAILTRAIL_WORKERS: setting('Threads that read mail; 0 = one a core', '0', wholeNumber),
  MAILTRAIL_API_KEYS: setting('Keys as NAME:SHA256-OF-KEY:SCOPES, by white space; none = open', '', apiKeys, true),
  MAILTRAIL_API_KEY: setting('The key that this command sends to a server', '', textOrNull, true),
  MAILTRAIL_REGISTER_SCHEMAS: setting(
    'Whether a start registers schemas; false: mailtrail schemas register does it at deploy',
    'true',
    yesOrNo,
  ),
  KAFKA_BROKERS: setting('Kafka instead of the embedded log: HOST:PORT,…', '', brokerList),
  KAFKA_SSL: setting('Whether to speak TLS to the brokers', 'false', yesOrNo),
  KAFKA_SSL_CA: setting('File with the certificates (PEM) that vouch for the brokers', '', textOrNull),
  KAFKA_SASL_MECHANISM: setting('plain, scram-sha-256 or scram-sha-512; default: none', '', saslMechanism),
  KAFKA_USERNAME: setting('User of the brokers', '', textOrNull),
  KAFKA_PASSWORD: setting('Its password', '', textOrNull, true),
  KAFKA_REPLICATION: setting(
    'Replicas of a topic that is made; 0 = three, or one a broker when they are fewer',
    '0',
    wholeNumber,
  ),
  KAFKA_FETCH_BYTES: setting(
    'Bytes that one read holds of one partition; memory is this × partitions × stages',
    '1048576',
    wholeNumber,
  ),
  SCHEMA_REGISTRY_URL: setting('Confluent-compatible schema registry; required with Kafka', '', httpAddress),
  SCHEMA_REGISTRY_USER: setting('User of the registry', '', textOrNull),
  SCHEMA_REGISTRY_PASSWORD: setting('Its password', '', textOrNull, true),
  CLICKHOUSE_URL: setting('A ClickHouse server instead of the embedded store', '', httpAddress),
  CLICKHOUSE_USER: setting('User of the server; makes and fills tables', 'default', text),
  CLICKHOUSE_PASSWORD: setting('Its password', '', text, true),
  CLICKHOUSE_DATABASE: setting('Database; made when it is not there', 'mailtrail', identifier),
  CLICKHOUSE_CLUSTER: setting('Cluster name: tables are then replicated and sharded', '', identifierOrNull),
  CLICKHOUSE_READ_USER: setting('User that answers are read with; default: the same', '', textOrNull),
  CLICKHOUSE_READ_PASSWORD: setting('Its password', '', text, true),
  DATABASE_URL: setting(
    'Postgres instead of the embedded state: postgres://USER:PASSWORD@HOST:PORT/DATABASE',
    '',
    postgresAddress,
    true,
  ),
  LOG_LEVEL: setting('trace, debug, info, warn, error or silent', 'info', logLevel),
} as const

export type Config = { readonly [K in keyof typeof settings]: ReturnType<(typeof settings)[K]['read']> }

/**
 * Reads and checks the settings. Throws `ConfigError`, one sentence that names the setting and what it must be. Unknown
 * MAILTRAIL_* names are errors: a misspelt setting must not be ignored in silence.
 */
export function readConfig(
  overrides: Partial<Record<keyof typeof settings, string>> = {},
  environment: Readonly<Record<string, string | undefined>> = process.env,
): Config {
  const known = new Set<string>(Object.keys(settings))
  for (const name of Object.keys(environment)) {
    const base = name.replace(/_FILE$/, '')
    if (name.startsWith('MAILTRAIL_') && !known.has(name) && !(known.has(base) && isSecret(base))) {
      throw new ConfigError(`${name} is no setting of mailtrail. Did you mean ${nearest(name, [...known])}?`)
    }
  }
  const values = Object.entries(settings).map(([name, { fallback, read, secret }]) => {
    const override = overrides[name as keyof typeof settings]
    const given = override ?? environment[name] ?? (secret ? fromFile(environment, name) : undefined)
    const value = given === undefined || given === '' ? fallback : given
    try {
      return [name, read(value)]
    } catch (error) {
      if (error instanceof ConfigError) throw new ConfigError(`${name} ${error.message}.`)
      throw error
    }
  })
  return Object.freeze(Object.fromEntries(values)) as Config
}

function isSecret(name: string): boolean {
  return (settings as Record<string, Setting<unknown>>)[name]?.secret === true
}

function fromFile(environment: Readonly<Record<string, string | undefined>>, name: string): string | undefined {
  const path = environment[`${name}_FILE`]
  if (path === undefined || path === '') return undefined
  try {
    return readFileSync(path, 'utf8').trim()
  } catch (error) {
    throw new ConfigError(
      `${name}_FILE names ${path}, which cannot be read (${(error as NodeJS.ErrnoException).code}).`,
    )
  }
}

/** Whether errors are to be shown with their stack trace. Reads nothing else, so that it works when settings are wrong. */
export function wantsStackTraces(environment: Readonly<Record<string, string | undefined>> = process.env): boolean {
  return environment.LOG_LEVEL === 'debug' || environment.LOG_LEVEL === 'trace'
}

/** The known name with the smallest edit distance. */
export function nearest(name: string, known: readonly string[]): string {
  const distance = (a: string, b: string): number => {
    let row = Array.from({ length: b.length + 1 }, (_, index) => index)
    for (let i = 1; i <= a.length; i++) {
      const next = [i]
      for (let j = 1; j <= b.length; j++) {
        next[j] = Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1))
      }
      row = next
    }
    return row[b.length]!
  }
  return known.reduce((best, candidate) => (distance(name, candidate) < distance(name, best) ? candidate : best))
}
