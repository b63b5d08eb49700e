/** A real Prometheus with promtool, from the Debian package: unpacked beside the other servers, never installed. */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'

const run = promisify(execFile)
const CACHE = resolve(import.meta.dirname, '../../../node_modules/.cache/mailtrail/prometheus')
const BINARIES = join(CACHE, 'usr/bin')
export const PROMTOOL = join(BINARIES, 'promtool')
const READY_MILLISECONDS = 30_000

/** Unpacks the package once: 19 MB, two seconds. Rejects where there is no apt or no network. */
export async function install(): Promise<void> {
  if (existsSync(PROMTOOL)) return
  await mkdir(resolve(CACHE, '..'), { recursive: true })
  const place = await mkdtemp(`${CACHE}-`)
  try {
    const download = () => run('apt-get', ['download', 'prometheus'], { cwd: place })
    // A machine that never fetched the lists of packages knows of none.
    await download().catch(() => run('apt-get', ['update']).then(download))
    const [file] = (await readdir(place)).filter((name) => name.endsWith('.deb'))
    await run('dpkg-deb', ['-x', file!, join(place, 'unpacked')], { cwd: place })
    // Two that install at once make the same; the second keeps what the first put there.
    await rename(join(place, 'unpacked'), CACHE).catch((error: unknown) => {
      if (!existsSync(PROMTOOL)) throw error
    })
  } finally {
    await rm(place, { recursive: true, force: true })
  }
}

export interface Series {
  readonly metric: Readonly<Record<string, string>>
  readonly value: readonly [number, string]
}

export interface PrometheusServer {
  readonly url: string
  /** Answers of an expression now. Throws with Prometheus's words when it cannot be evaluated. */
  query(expression: string): Promise<readonly Series[]>
  /** Rules that it has loaded, with the error of the last evaluation, empty when there was none. */
  rules(): Promise<readonly { readonly name: string; readonly lastError: string; readonly health: string }[]>
  stop(): Promise<void>
}

const running = new Set<ChildProcess>()
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})
// Without a listener a process that is told to end does so without 'exit'.
process.once('SIGTERM', () => process.exit(143))

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
  const address = server.address()
  await new Promise((closed) => server.close(closed))
  if (address === null || typeof address === 'string') throw new Error('No free port.')
  return address.port
}

/** Starts a server that scrapes the targets (`127.0.0.1:PORT`) as the job `mailtrail` each second, with the rules. */
export async function start(targets: readonly string[], rulesFile: string): Promise<PrometheusServer> {
  const folder = await mkdtemp(join(tmpdir(), 'mailtrail-prometheus-'))
  const config = join(folder, 'prometheus.yml')
  const scrape = { job_name: 'mailtrail', static_configs: [{ targets }] }
  // JSON is YAML.
  const settings = {
    global: { scrape_interval: '1s', scrape_timeout: '1s', evaluation_interval: '1s' },
    rule_files: [rulesFile],
    scrape_configs: [scrape],
  }
  await writeFile(config, JSON.stringify(settings))
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const flags = [`--config.file=${config}`, `--storage.tsdb.path=${join(folder, 'data')}`]
  const child = spawn(join(BINARIES, 'prometheus'), [...flags, `--web.listen-address=127.0.0.1:${port}`], {
    stdio: 'ignore',
  })
  running.add(child)
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()))
  const stop = async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
    await ended
    running.delete(child)
    await rm(folder, { recursive: true, force: true })
  }
  const ask = async <Data>(path: string): Promise<Data> => {
    const answer = (await (await fetch(`${url}/api/v1${path}`)).json()) as { data: Data; error?: string }
    if (answer.error !== undefined) throw new Error(`Prometheus refuses ${path}: ${answer.error}`)
    return answer.data
  }
  const ends = performance.now() + READY_MILLISECONDS
  while ((await fetch(`${url}/-/ready`).catch(() => null))?.ok !== true) {
    if (child.exitCode !== null || performance.now() > ends) {
      await stop()
      throw new Error(`Prometheus did not start (it ended with ${child.exitCode}).`)
    }
    await sleep(100)
  }
  return {
    url,
    async query(expression) {
      const { result } = await ask<{ result: readonly Series[] }>(`/query?query=${encodeURIComponent(expression)}`)
      return result
    },
    async rules() {
      const { groups } = await ask<{ groups: { rules: { name: string; lastError?: string; health: string }[] }[] }>(
        '/rules',
      )
      return groups.flatMap(({ rules }) => rules.map((rule) => ({ ...rule, lastError: rule.lastError ?? '' })))
    },
    stop,
  }
}
