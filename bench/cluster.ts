/**
 * Several processes on Kafka, a registry, Postgres, S3 and a ClickHouse over HTTP (`mailtrail store`), all on this machine:
 * from the first mail on `ingest` until every answer is there, and what each role takes. Broker, registry, Postgres
 * and store run on the same cores.
 */
import { spawn } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { startCluster } from '../test/cluster/cluster.ts'
import { type Corpus, entry, inTemporaryFolder, mix20k, ROUNDS, report, small20k, treeBytes } from './measure.ts'

interface Process {
  readonly role: string
  readonly url: string
  readonly pid: number
  stop(): Promise<void>
}

async function startProcess(role: string, folder: string, env: Readonly<Record<string, string>>): Promise<Process> {
  const child = spawn(process.execPath, [entry, 'up', '--data', folder, '--listen', '127.0.0.1:0'], {
    env: { PATH: process.env.PATH!, ...env, MAILTRAIL_ROLES: role, MAILTRAIL_RESOLVERS: 'off', MAILTRAIL_WORKERS: '1' },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()))
  let said = ''
  for await (const piece of child.stdout) {
    said += String(piece)
    if (/mailtrail is up: (\S+)/.test(said)) break
  }
  const url = /mailtrail is up: (\S+)/.exec(said)![1]!
  const stop = async () => {
    child.kill('SIGTERM')
    await ended
  }
  return { role, url, pid: child.pid!, stop }
}

interface Status {
  readonly idle: boolean
  readonly totals: { readonly mails: number; readonly records: number }
}

const cluster = await startCluster()
try {
  for (const [name, corpus] of [
    ['small', small20k()],
    ['mix', mix20k()],
  ] as const) {
    if (process.argv.length > 2 && !process.argv.includes(name)) continue
    const seconds: number[] = []
    const peaks = new Map<string, number[]>()
    for (let round = 0; round < ROUNDS; round++) {
      await inTemporaryFolder(async (folder) => {
        const { env } = cluster.fresh()
        // The first one makes topics and tables; the others then start side by side.
        const [first, ...roles] = ['project,api', 'ingest', 'process', 'process', 'project'] as const
        const started = [await startProcess(first, join(folder, 'p0'), env)]
        started.push(...(await Promise.all(roles.map((role, i) => startProcess(role, join(folder, `p${i + 1}`), env)))))
        const peak = started.map(() => 0)
        const begun = performance.now()
        await produce(corpus, env)
        for (;;) {
          for (const [i, { pid }] of started.entries()) peak[i] = Math.max(peak[i]!, treeBytes(pid))
          const answer = await fetch(`${started[0]!.url}/api/v1/status`)
          const { idle, totals } = (await answer.json()) as Status
          if (idle && totals.mails > 0) break
          await sleep(200)
        }
        seconds.push((performance.now() - begun) / 1000)
        for (const [i, { role }] of started.entries()) peaks.set(role, [...(peaks.get(role) ?? []), peak[i]! / 1e6])
        await Promise.all(started.map((one) => one.stop()))
      })
    }
    const { mails, aggregate } = corpus.truth
    report(
      `cluster-${name}`,
      `${mails} mails from \`ingest\` to answers, five processes and their servers on one machine`,
      [
        { what: 'mails', unit: 'mails/s', values: seconds.map((one) => mails / one) },
        { what: 'records', unit: 'records/s', values: seconds.map((one) => aggregate.records / one) },
        ...[...peaks].map(([role, values]) => ({ what: `memory of a process: ${role}`, unit: 'MB', values })),
      ],
    )
  }
} finally {
  await cluster.stop()
}

/** All mails of the corpus onto `ingest`, by another program. */
async function produce(corpus: Corpus, env: Readonly<Record<string, string>>): Promise<void> {
  const { Kafka, logLevel } = await import('kafkajs')
  const producer = new Kafka({ brokers: [...cluster.brokers], logLevel: logLevel.NOTHING }).producer()
  await producer.connect()
  const names = readdirSync(corpus.mail)
  for (let at = 0; at < names.length; at += 200) {
    const messages = names.slice(at, at + 200).map((name) => ({ value: readFileSync(join(corpus.mail, name)) }))
    await producer.send({ topic: `${env.MAILTRAIL_TOPIC_PREFIX}ingest`, messages })
  }
  await producer.disconnect()
}
