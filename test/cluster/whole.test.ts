/**
 * mailtrail as several processes on Kafka, a schema registry, Postgres, an S3-compatible store and a ClickHouse over HTTP:
 * the same answers as one process gives on its embedded parts, whoever dies meanwhile.
 */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Kafka, logLevel } from 'kafkajs'
import { afterAll, afterEach, beforeAll, describe, expect, onTestFailed, test } from 'vitest'
import { expectTruth } from '../answers.ts'
import { ALL_DAYS, endAll, mailtrail, type Running, tempFolder, until, up } from '../fixtures.ts'
import { aggregateXml, mailOf, makeMails, writeMails } from '../report-mail.ts'
import { type Cluster, startCluster } from './cluster.ts'

let cluster: Cluster
beforeAll(async () => {
  cluster = await startCluster()
})
afterAll(() => cluster?.stop())
afterEach(endAll)

const json = { 'content-type': 'application/json' }

/** Five processes: three process, two project, one of which answers and one of which takes mail. */
async function startFive(
  env: Readonly<Record<string, string>>,
): Promise<{ api: Running; ingest: Running; workers: Running[] }> {
  const start = async (roles: string, name: string) =>
    up(join(await tempFolder(name), 'data'), { env: { ...env, MAILTRAIL_ROLES: roles } })
  const api = await start('project,api', 'api')
  const [ingest, ...workers] = await Promise.all([
    start('project,ingest', 'ingest'),
    start('process', 'one'),
    start('process', 'two'),
    start('process', 'three'),
  ])
  onTestFailed(() => {
    for (const { pid, said } of [api, ingest!, ...workers])
      console.error(`process ${pid}: ${said().stderr.slice(-4000)}`)
  })
  return { api, ingest: ingest!, workers }
}

/** Writes mails to the topic as any program could: no key, no headers. */
async function produce(brokers: readonly string[], topic: string, mails: readonly Uint8Array[]): Promise<void> {
  const kafka = new Kafka({ brokers: [...brokers], logLevel: logLevel.NOTHING })
  const producer = kafka.producer()
  await producer.connect()
  for (let at = 0; at < mails.length; at += 50)
    await producer.send({ topic, messages: mails.slice(at, at + 50).map((bytes) => ({ value: Buffer.from(bytes) })) })
  await producer.disconnect()
}

async function postAll(running: Running, mails: readonly Uint8Array[]): Promise<void> {
  let next = 0
  const post = async () => {
    for (let index = next++; index < mails.length; index = next++) {
      const response = await running.post('/mail', mails[index]!, { 'content-type': 'message/rfc822' })
      if (response.status !== 202) throw new Error(`POST /mail answered ${response.status}: ${await response.text()}`)
      await response.body?.cancel()
    }
  }
  await Promise.all(Array.from({ length: 8 }, post))
}

/** A report with so many records, as plain XML. */
function largeMail(records: number): Buffer {
  const begin = Date.UTC(2026, 9, 5) / 1000
  const made = Array.from({ length: records }, (_, i) => ({
    source_ip: `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`,
    count: 1 + (i % 7),
    dkim: i % 2 === 0,
    spf: i % 3 === 0,
  }))
  const content = Buffer.from(aggregateXml({ id: 'large', domain: 'large.example', begin, records: made }))
  const name = `reporter.example!large.example!${begin}!${begin + 86_399}.xml`
  return mailOf('Report Domain: large.example', begin + 90_000, { type: 'text/xml', name, content })
}

describe('five processes', () => {
  test('answer as one does, whether the mail was posted or produced by a stranger', async () => {
    const { env, topic } = cluster.fresh()
    const { api, ingest } = await startFive(env)
    const { mails, truth } = makeMails(41, 1200)
    const bytes = mails.map((mail) => mail.bytes)
    await Promise.all([
      postAll(ingest, bytes.slice(0, 600)),
      produce(cluster.brokers, topic('ingest'), bytes.slice(600)),
    ])
    await expectTruth(api, truth)

    // One process of all roles, on its embedded parts.
    const folder = await tempFolder('one-process')
    await writeMails(join(folder, 'mail'), mails)
    const single = await up(join(folder, 'data'), { paths: [join(folder, 'mail')] })
    await single.says(/Read \d+ mails/)
    await single.idle()
    for (const path of ['/domains', '/dmarc/reports', '/tls/reports', '/failures']) {
      const theirs = await single.list<Record<string, unknown>>(`${path}?${ALL_DAYS}`)
      const ours = await api.list<Record<string, unknown>>(`${path}?${ALL_DAYS}`)
      expect(ours.length, path).toBe(theirs.length)
    }
    const records = async (running: Running) =>
      (
        await running.list<{ id: string; verdict: string; sender: string | null; rule: string }>(
          `/dmarc/records?${ALL_DAYS}`,
        )
      )
        .map(({ id, verdict, sender, rule }) => `${id} ${verdict} ${sender} ${rule}`)
        .sort()
    expect(await records(api)).toEqual(await records(single))
  })

  test('give the roles that they have, and say so of those they have not', async () => {
    const { env } = cluster.fresh()
    const { api, ingest, workers } = await startFive(env)
    const refused = await api.post('/mail', 'x', { 'content-type': 'message/rfc822' })
    expect([refused.status, await refused.json()]).toMatchObject([404, { error: { code: 'role_missing' } }])
    const question = await fetch(`${ingest.url}/api/v1/domains`)
    expect([question.status, await question.json()]).toMatchObject([404, { error: { code: 'role_missing' } }])
    for (const { url } of [api, ingest, ...workers]) {
      expect((await fetch(`${url}/health/ready`)).status).toBe(200)
      expect(await (await fetch(`${url}/metrics`)).text()).toContain('mailtrail_stage_lag_events')
      expect((await fetch(`${url}/api/v1/status`)).status).toBe(200)
    }
  })

  test('lose nothing and count nothing twice while processes and the broker are killed', async () => {
    const { env } = cluster.fresh()
    const { api, ingest, workers } = await startFive(env)
    const { mails, truth } = makeMails(42, 1500)
    const posting = postAll(
      ingest,
      mails.map(({ bytes }) => bytes),
    )
    await sleep(1500)
    await workers[0]!.kill()
    await sleep(1500)
    await cluster.kafka.kill()
    await sleep(2000)
    await cluster.kafka.restart()
    const replacement = await up(join(await tempFolder('replacement'), 'data'), {
      env: { ...env, MAILTRAIL_ROLES: 'process' },
    })
    await workers[1]!.kill()
    await posting
    await expectTruth(api, truth)
    expect(await replacement.stop()).toBe(0)
  })

  test('lose nothing and count nothing twice while every other server is killed and comes back', async () => {
    const { env } = cluster.fresh()
    const { api, ingest } = await startFive(env)
    const { mails, truth } = makeMails(46, 900)
    const bytes = mails.map((mail) => mail.bytes)
    const posting = postAll(ingest, bytes.slice(0, 600))
    for (const server of [cluster.store, cluster.registry, cluster.postgres]) {
      await sleep(1000)
      await server.kill()
      await sleep(2000)
      await ('restart' in server ? server.restart() : server.resume())
    }
    await posting
    // A process that starts while the registry is away waits for nothing that it has seen before.
    await postAll(ingest, bytes.slice(600))
    await expectTruth(api, truth)
  })

  test('share large mails through the blob store, which may be away for a while', async () => {
    const { env } = cluster.fresh()
    const { api, ingest } = await startFive(env)
    const large = largeMail(3000)
    expect(large.length).toBeGreaterThan(512 * 1024)
    const refusing = await (async () => {
      await cluster.s3.kill()
      const answer = ingest.post('/mail', large, { 'content-type': 'message/rfc822' })
      await sleep(2000)
      await cluster.s3.restart()
      return answer
    })()
    const answer =
      refusing.status === 202 ? refusing : await ingest.post('/mail', large, { 'content-type': 'message/rfc822' })
    expect(answer.status, await answer.clone().text()).toBe(202)
    const { id } = (await answer.json()) as { id: string }
    await api.idle()
    const { totals } = await api.get<{ totals: { records: number } }>('/status')
    expect(totals.records).toBe(3000)
    const raw = await fetch(`${api.url}/api/v1/mail/${id}/raw`)
    expect(Buffer.from(await raw.arrayBuffer()).equals(large)).toBe(true)
  })

  test('join and leave every few seconds while mail comes in', async () => {
    const { env } = cluster.fresh()
    const { api, ingest } = await startFive(env)
    const { mails, truth } = makeMails(47, 1500)
    const done = new AbortController()
    const churning = (async () => {
      for (let visit = 0; !done.signal.aborted && visit < 8; visit++) {
        const roles = visit % 2 === 0 ? 'process' : 'project'
        const visitor = await up(join(await tempFolder('visitor'), 'data'), { env: { ...env, MAILTRAIL_ROLES: roles } })
        await sleep(1500)
        if (visit % 3 === 2) await visitor.kill()
        else expect(await visitor.stop()).toBe(0)
      }
    })()
    await postAll(
      ingest,
      mails.map(({ bytes }) => bytes),
    )
    done.abort()
    await churning
    await expectTruth(api, truth)
  })

  test('replay together: a generation is built, compared, promoted and cancelled', async () => {
    const { env } = cluster.fresh()
    const { api, ingest } = await startFive(env)
    const second = await up(join(await tempFolder('second'), 'data'), { env: { ...env, MAILTRAIL_ROLES: 'api' } })
    const { mails } = makeMails(43, 400)
    await postAll(
      ingest,
      mails.map(({ bytes }) => bytes),
    )
    await api.idle()
    const published = await api.post(
      '/rule-sets',
      'version: 1\nname: all spoofed\nverdicts:\n  - { id: rest, verdict: spoofed }\n',
      { 'content-type': 'application/yaml' },
    )
    const { id: rule_set } = (await published.json()) as { id: string }
    const started = await second.post('/generations', JSON.stringify({ rule_set, from: 'enriched' }), json)
    expect(started.status, await started.clone().text()).toBe(202)
    const { id } = (await started.json()) as { id: string }
    await until(`${id} to be ready`, 60, async () => {
      const { state } = await api.get<{ state: string }>(`/generations/${id}`)
      return state === 'ready'
    })
    const promoted = await second.post(`/generations/${id}/promote`, '{}', json)
    expect(promoted.status, await promoted.clone().text()).toBe(200)
    expect((await second.get<{ generation: string }>('/status')).generation).toBe(id)
    await until('the other process to have switched', 2, async () => {
      return (await api.get<{ generation: string }>('/status')).generation === id
    })
    const verdicts = new Set(
      (await api.list<{ verdict: string }>(`/dmarc/records?${ALL_DAYS}`)).map(({ verdict }) => verdict),
    )
    expect([...verdicts]).toEqual(['spoofed'])

    const another = await api.post('/generations', JSON.stringify({ rule_set, from: 'ingest' }), json)
    const { id: third } = (await another.json()) as { id: string }
    await api.post(`/generations/${third}/cancel`, '{}', json)
    await until('the topics of the cancelled generation to be gone', 30, async () => {
      const topics = await cluster.topics()
      return !topics.some((name) => name.endsWith(`.${third}`) && name.startsWith(env.MAILTRAIL_TOPIC_PREFIX!))
    })
  })
})

describe('one process on Kafka with a store of its own', () => {
  test('answers, comes back after kill -9, and is the only one: a second would have a part of the answers', async () => {
    const { env: all } = cluster.fresh()
    const { KAFKA_BROKERS, SCHEMA_REGISTRY_URL, MAILTRAIL_TOPIC_PREFIX } = all as Record<string, string>
    const env = {
      KAFKA_BROKERS: KAFKA_BROKERS!,
      SCHEMA_REGISTRY_URL: SCHEMA_REGISTRY_URL!,
      MAILTRAIL_TOPIC_PREFIX: MAILTRAIL_TOPIC_PREFIX!,
    }
    const data = join(await tempFolder('alone'), 'data')
    const first = await up(data, { env })
    const { mails, truth } = makeMails(48, 200)
    await postAll(
      first,
      mails.map(({ bytes }) => bytes),
    )
    await expectTruth(first, truth)
    const other = join(await tempFolder('other'), 'data')
    const refused = await mailtrail(['up', '--data', other, '--listen', '127.0.0.1:0'], { env })
    expect([refused.code, refused.stderr]).toEqual([
      1,
      expect.stringContaining('Another mailtrail works on the topics'),
    ])
    await first.kill()
    await expectTruth(await up(data, { env }), truth)
  })
})

describe('moving house', () => {
  test('a data folder goes to Kafka with its mail, its times and its decisions, also when the copy is cut off', async () => {
    const folder = await tempFolder('moving')
    const data = join(folder, 'data')
    const { mails, truth } = makeMails(44, 400)
    await writeMails(join(folder, 'mail'), mails)
    const { env } = cluster.fresh()
    const prefix = { MAILTRAIL_TOPIC_PREFIX: env.MAILTRAIL_TOPIC_PREFIX! }
    const before = await up(data, { paths: [join(folder, 'mail')], env: prefix })
    await before.says(/Read \d+ mails/)
    await before.idle()
    const rules = 'version: 1\nname: all spoofed\nverdicts:\n  - { id: rest, verdict: spoofed }\n'
    const published = await before.post('/rule-sets', rules, { 'content-type': 'application/yaml' })
    const { id: rule_set } = (await published.json()) as { id: string }
    await before.post('/generations', JSON.stringify({ rule_set, from: 'enriched' }), json)
    await until(
      'g2 to be ready',
      60,
      async () => (await before.get<{ state: string }>('/generations/g2')).state === 'ready',
    )
    await before.post('/generations/g2/promote', '{}', json)
    const records = async (running: Running) =>
      (await running.list<{ id: string; verdict: string; received_at: string }>(`/dmarc/records?${ALL_DAYS}`))
        .map(({ id, verdict }) => `${id} ${verdict}`)
        .sort()
    const wanted = await records(before)
    const received = async (running: Running) =>
      (await running.list<{ id: string; received_at: string }>(`/mail?${ALL_DAYS}`))
        .map(({ id, received_at }) => `${id} ${received_at}`)
        .sort()
    const times = await received(before)

    const refused = await mailtrail(['export', '--to', 'kafka', '--data', data], { env })
    expect(refused.code).toBe(1)
    expect(refused.stderr).toContain('is in use by process')
    await before.stop()

    const first = await mailtrail(['export', '--to', 'kafka', '--data', data], { env })
    expect(first.code, first.stderr).toBe(0)
    expect(first.stdout).toMatch(/ingest: \d+ events copied\./)
    const again = await mailtrail(['export', '--to', 'kafka', '--data', data], { env })
    expect(again.stdout).toMatch(/ingest: 0 events copied, after \d+ that were there\./)

    const { api } = await startFive(env)
    await api.idle()
    expect((await api.get<{ generation: string }>('/status')).generation).toBe('g2')
    expect(await records(api)).toEqual(wanted)
    expect(await received(api)).toEqual(times)
    await expectTruth(api, truth)

    // A data folder of another prefix is not taken for this one.
    const other = join(folder, 'other')
    await (await up(other, { env: { MAILTRAIL_TOPIC_PREFIX: `other-${env.MAILTRAIL_TOPIC_PREFIX}` } })).stop()
    const astray = await mailtrail(['export', '--to', 'kafka', '--data', other], { env })
    expect([astray.code, astray.stderr]).toEqual([1, expect.stringContaining('topic prefix')])
  })

  test('mail on a topic of another cluster is imported, and only once', async () => {
    const { mails, truth } = makeMails(45, 200)
    await cluster.createTopic('reports-inbox', 3)
    await produce(
      cluster.brokers,
      'reports-inbox',
      mails.map(({ bytes }) => bytes),
    )
    const data = join(await tempFolder('from-kafka'), 'data')
    const from = `kafka://${cluster.brokers[0]}/reports-inbox`
    const first = await mailtrail(['import', '--from', from, '--data', data, '--wait', '--format', 'json'])
    expect(first.code, first.stderr).toBe(0)
    expect(JSON.parse(first.stdout)).toMatchObject({ read: mails.length, duplicates: truth.duplicates })
    const again = await mailtrail(['import', '--from', from, '--data', data, '--wait', '--format', 'json'])
    expect(JSON.parse(again.stdout)).toMatchObject({ read: 0 })
    await expectTruth(await up(data), truth)
  })
})
