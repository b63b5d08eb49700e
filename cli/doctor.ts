import { spawn } from 'node:child_process'
import { mkdir, open, rm, statfs } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { execPath } from 'node:process'
import type { Config } from '../config.ts'
import { openClickhouse, openKafkaLog, openS3 } from '../ports.ts'
import { type Command, counted, exitCode, printable } from './command.ts'
import { findServer, type ServerClient } from './server-client.ts'

/** What a check found: a sentence, and what to do when it is not well. */
interface Finding {
  readonly well: boolean
  readonly sentence: string
}
const well = (sentence: string): Finding => ({ well: true, sentence })
const ill = (sentence: string): Finding => ({ well: false, sentence })

type Check = (config: Config, server: ServerClient | null) => Promise<Finding>

const MIN_FREE_BYTES = 2 * 1024 * 1024 * 1024

const checks: Readonly<Record<string, Check>> = {
  async node() {
    const [major = 0] = process.versions.node.split('.').map(Number)
    return major >= 24
      ? well(`Node ${process.versions.node}.`)
      : ill(`Node ${process.versions.node} is too old; install Node 24 or newer.`)
  },

  async 'data folder'(config) {
    const folder = config.MAILTRAIL_DATA
    const probe = join(folder, `.doctor-${process.pid}`)
    try {
      await mkdir(folder, { recursive: true })
      const file = await open(probe, 'wx')
      await file.write('probe')
      await file.sync()
      await file.close()
      await rm(probe)
      return well(`${folder} can be written.`)
    } catch (error) {
      return ill(
        `${folder} cannot be written (${(error as Error).message}). Give this user the right to, or set MAILTRAIL_DATA.`,
      )
    }
  },

  async 'disk space'(config) {
    const { bavail, bsize } = await statfs(config.MAILTRAIL_DATA)
    const free = bavail * bsize
    const sentence = `${(free / 1024 ** 3).toFixed(1)} GB free for ${config.MAILTRAIL_DATA}`
    return free > MIN_FREE_BYTES
      ? well(`${sentence}.`)
      : ill(`${sentence}; below 2 GB. Make room before mail is refused.`)
  },

  async owner(_config, server) {
    return well(server === null ? 'No other process has the data folder open.' : `mailtrail runs at ${server.url}.`)
  },

  async 'http address'(config, server) {
    if (server !== null) return well('In use by the running mailtrail.')
    const { host, port } = config.MAILTRAIL_LISTEN
    return new Promise((resolve) => {
      const probe = createServer()
      probe.once('error', (error: NodeJS.ErrnoException) =>
        resolve(
          ill(
            `${host}:${port} cannot be listened on (${error.code}). Stop what uses it, or name another with --listen.`,
          ),
        ),
      )
      probe.listen(port, host, () => probe.close(() => resolve(well(`${host}:${port} is free.`))))
    })
  },

  async 'store engine'() {
    const sentence = await new Promise<string | null>((resolve) => {
      const script =
        "import('chdb').then((chdb) => process.stdout.write(String(typeof chdb.query ?? typeof chdb.default)))"
      const child = spawn(execPath, ['-e', script], {
        stdio: ['ignore', 'pipe', 'pipe'],
        cwd: join(import.meta.dirname, '..'),
      })
      let complaint = ''
      child.stderr.on('data', (bytes: Buffer) => {
        complaint += bytes.toString()
      })
      child.once('error', (error) => resolve(error.message))
      child.once('exit', (code) =>
        resolve(code === 0 ? null : (complaint.split('\n').find((line) => line.trim() !== '') ?? `exit code ${code}`)),
      )
    })
    return sentence === null
      ? well('chDB loads.')
      : ill(`chDB cannot be loaded (${sentence}). Run npm ci again on this machine; chDB needs Linux or macOS.`)
  },

  async service(_config, server) {
    if (server === null) return well('Not running; nothing to ask.')
    const response = await fetch(`${server.url}/health/ready`)
    const body = await response.text()
    return response.ok ? well('Ready.') : ill(`Not ready: ${body.slice(0, 300)}`)
  },

  async 'unfinished reports'(_config, server) {
    if (server === null) return well('Start mailtrail to look for reports whose end never came.')
    const { unfinished } = await server.json<{
      unfinished: { report_key: string; policy_domain: string; day: string; records: number }[]
    }>('GET', '/reports/unfinished')
    if (unfinished.length === 0) return well('Every report that was begun was read to its end.')
    const [first] = unfinished
    return ill(
      `${counted(unfinished.length, 'report has', 'reports have')} records but no end, and ${unfinished.length === 1 ? 'does' : 'do'} not count (one is of ${first!.policy_domain}, ${first!.day}). ` +
        'Their mails are read again at the next start; if they stay, report a bug.',
    )
  },
}

/** The servers that the settings name; each answers within this time or is not well. */
const ANSWER_MILLISECONDS = 10_000

/** What the part said while it was opened is what an operator wants to know when it fails. */
async function answering(
  work: (opening: { onProblem: (message: string) => void; signal: AbortSignal }) => Promise<string>,
) {
  const said: string[] = []
  const late = AbortSignal.timeout(ANSWER_MILLISECONDS)
  const never = new Promise<never>((_, reject) =>
    late.addEventListener('abort', () => reject(new Error(`No answer within ${ANSWER_MILLISECONDS / 1000} s.`)), {
      once: true,
    }),
  )
  try {
    return well(await Promise.race([work({ onProblem: (message) => said.push(message), signal: late }), never]))
  } catch (error) {
    return ill([(error as Error).message, ...said].join(' '))
  }
}

/** Only those that are used. */
function serverChecks(config: Config): Readonly<Record<string, Check>> {
  const used: Record<string, Check> = {}
  if (config.KAFKA_BROKERS.length > 0) {
    used.kafka = () =>
      answering(async (opening) => {
        const log = await openKafkaLog(config, opening)
        try {
          const ours = (await log.topics()).filter((name) => name.startsWith(config.MAILTRAIL_TOPIC_PREFIX))
          return `${config.KAFKA_BROKERS.join(', ')} answers; ${ours.length} topics can be seen.`
        } finally {
          await log.close()
        }
      })
    used['schema registry'] = () => answering((opening) => askRegistry(config, opening.signal))
  }
  if (config.CLICKHOUSE_URL !== null)
    used.clickhouse = () =>
      answering(async (opening) => {
        const { write, read } = await openClickhouse(config, opening)
        try {
          const [row] = await read.query<{ version: string }>('SELECT version() AS version')
          return `ClickHouse ${row!.version} at ${config.CLICKHOUSE_URL} answers, database ${config.CLICKHOUSE_DATABASE}.`
        } finally {
          await write.close()
          await read.close()
        }
      })
  if (config.DATABASE_URL !== null)
    used.postgres = () =>
      answering(async ({ onProblem, signal }) => {
        const { openPostgresLocks } = await import('../state/postgres-locks.ts')
        const locks = openPostgresLocks({ url: config.DATABASE_URL!, scope: config.MAILTRAIL_TOPIC_PREFIX, onProblem })
        try {
          await locks.hold('doctor', async () => undefined, signal)
          return `Postgres at ${new URL(config.DATABASE_URL!).host} answers and gives locks.`
        } finally {
          await locks.close()
        }
      })
  if (config.MAILTRAIL_BLOBS?.kind === 's3')
    used['blob store'] = () =>
      answering(async ({ onProblem }) => {
        await openS3(config, onProblem).check()
        return `The bucket at ${config.MAILTRAIL_S3_ENDPOINT} can be read and written.`
      })
  return used
}

async function askRegistry(config: Config, signal: AbortSignal): Promise<string> {
  const { SCHEMA_REGISTRY_URL: url, SCHEMA_REGISTRY_USER: user, SCHEMA_REGISTRY_PASSWORD: password } = config
  if (url === null) throw new Error('SCHEMA_REGISTRY_URL is not set; Kafka needs it.')
  const authorization = `Basic ${Buffer.from(`${user ?? ''}:${password ?? ''}`).toString('base64')}`
  const answer = await fetch(`${url}/subjects`, { signal, ...(user === null ? {} : { headers: { authorization } }) })
  const text = await answer.text()
  if (!answer.ok)
    throw new Error(`${url}/subjects answered ${answer.status}. Is the path of the API part of SCHEMA_REGISTRY_URL?`)
  try {
    return `${url} answers; it has ${(JSON.parse(text) as unknown[]).length} subjects.`
  } catch {
    throw new Error(
      `${url}/subjects answered something else than JSON. Is the path of the API part of SCHEMA_REGISTRY_URL?`,
    )
  }
}

export const doctor: Command = {
  name: 'doctor',
  usage: 'doctor',
  about: 'Tries everything that "up" needs, and says in a sentence each what is wrong and what to do.',
  options: {
    server: {
      type: 'string',
      value: 'URL',
      about: 'the mailtrail to ask (default: the one that owns the data folder)',
    },
  },
  example: 'mailtrail doctor --data /var/lib/mailtrail',

  async run(args, context) {
    const data = args.text('data')
    const config = context.config(data === undefined ? {} : { MAILTRAIL_DATA: data })
    const server = await findServer(args.text('server'), config)
    let allWell = true
    const { 'store engine': storeEngine, ...others } = checks
    const used = {
      ...others,
      ...(config.CLICKHOUSE_URL === null ? { 'store engine': storeEngine! } : {}),
      ...serverChecks(config),
    }
    for (const [name, check] of Object.entries(used)) {
      const finding = await check(config, server).catch((error: Error) => ill(error.message))
      allWell &&= finding.well
      context.stdout.write(`${finding.well ? 'ok  ' : 'BAD '} ${name.padEnd(20)} ${printable(finding.sentence)}\n`)
    }
    context.stdout.write(allWell ? 'All is well.\n' : 'Something is wrong; see the lines marked BAD.\n')
    return allWell ? exitCode.fine : exitCode.failed
  },
}
