/** `POST /mail`, one mail a request, 32 connections, alone and while an import runs; then freshness when idle. */
import { spawn } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { join } from 'node:path'
import { entry, inTemporaryFolder, median, mix20k, percentile, ROUNDS, report, small20k } from './measure.ts'
import { type RunningServer, startServer } from './server.ts'

const CONNECTIONS = 32
const POSTS = 6000
const FRESH = 60

const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS })

function post(url: string, body: Buffer): Promise<{ id: string; milliseconds: number }> {
  const begun = performance.now()
  return new Promise((resolve, reject) => {
    const call = request(
      `${url}/api/v1/mail`,
      { method: 'POST', agent, headers: { 'content-type': 'message/rfc822' } },
      (response) => {
        let text = ''
        response.on('data', (bytes: Buffer) => {
          text += bytes.toString()
        })
        response.on('end', () => {
          if (response.statusCode !== 202) reject(new Error(`${response.statusCode}: ${text}`))
          else resolve({ id: (JSON.parse(text) as { id: string }).id, milliseconds: performance.now() - begun })
        })
      },
    )
    call.on('error', reject)
    call.end(body)
  })
}

async function load(url: string, mails: readonly Buffer[]): Promise<{ rate: number; p99: number }> {
  const times: number[] = []
  let next = 0
  const begun = performance.now()
  const connection = async () => {
    for (let index = next++; index < mails.length; index = next++)
      times.push((await post(url, mails[index]!)).milliseconds)
  }
  await Promise.all(Array.from({ length: CONNECTIONS }, connection))
  return { rate: mails.length / ((performance.now() - begun) / 1000), p99: percentile(times, 0.99) }
}

async function freshness(server: RunningServer, mails: readonly Buffer[]): Promise<number[]> {
  const seconds: number[] = []
  for (const mail of mails) {
    const begun = performance.now()
    const { id } = await post(server.url, mail)
    for (;;) {
      const answer = await fetch(`${server.url}/api/v1/mail/${id}`)
      await answer.body?.cancel()
      if (answer.ok) break
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    seconds.push((performance.now() - begun) / 1000)
  }
  return seconds
}

async function idle(url: string): Promise<void> {
  for (;;) {
    const status = (await (await fetch(`${url}/api/v1/status`)).json()) as { idle: boolean }
    if (status.idle) return
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
}

const { mail } = small20k()
const mails = readdirSync(mail)
  .sort()
  .map((file) => readFileSync(join(mail, file)))
const alone: { rate: number; p99: number }[] = []
const busy: { rate: number; p99: number }[] = []
const fresh: number[] = []
for (let round = 0; round < ROUNDS; round++) {
  await inTemporaryFolder(async (folder) => {
    const data = join(folder, 'data')
    const server = await startServer(data)
    alone.push(await load(server.url, mails.slice(0, POSTS)))
    await idle(server.url)
    const importing = spawn(process.execPath, [entry, 'import', mix20k().mail, '--server', server.url], {
      stdio: 'ignore',
    })
    const imported = new Promise((resolve) => importing.once('exit', resolve))
    await new Promise((resolve) => setTimeout(resolve, 1500))
    busy.push(await load(server.url, mails.slice(POSTS, 2 * POSTS)))
    importing.kill('SIGTERM')
    await imported
    await idle(server.url)
    fresh.push(percentile(await freshness(server, mails.slice(2 * POSTS, 2 * POSTS + FRESH)), 0.99))
    await server.stop()
  })
}
agent.destroy()
report('post-mail', `${POSTS} mails of 3 records over ${CONNECTIONS} connections`, [
  {
    what: 'POST /mail, durable',
    unit: 'mails/s',
    values: alone.map(({ rate }) => rate),
    goal: { relation: '>=', value: 2000 },
  },
  { what: 'p99', unit: 'ms', values: alone.map(({ p99 }) => p99), goal: { relation: '<=', value: 50 } },
  {
    what: 'POST /mail while an import runs',
    unit: 'mails/s',
    values: busy.map(({ rate }) => rate),
    goal: { relation: '>=', value: 2000 },
  },
  {
    what: 'p99 while an import runs',
    unit: 'ms',
    values: busy.map(({ p99 }) => p99),
    goal: { relation: '<=', value: 50 },
  },
  {
    what: `freshness when idle, p99 of ${FRESH}`,
    unit: 's',
    values: fresh,
    goal: { relation: '<=', value: 2 },
    note: `median ${median(fresh).toFixed(2)} s`,
  },
])
