/** `re-observe` asks anew about every address that was observed, so that a replay in the new epoch has new names. */
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { a, type DnsServer, NXDOMAIN, ptr, startDnsServer } from '../edges/dns-server.ts'
import { ALL_DAYS, endAll, mailtrail, type Running, SAMPLES, tempFolder, until, up } from '../fixtures.ts'
import { makeMails, writeMails } from '../report-mail.ts'

let dns: DnsServer | undefined
afterEach(async () => {
  await endAll()
  await dns?.close()
})

interface Observed {
  readonly source_ip: string
  readonly ptr: string | null
  readonly observed: boolean
  readonly asn: number | null
}
const records = (running: Running, generation: string) =>
  running.list<Observed>(`/dmarc/records?${ALL_DAYS}&generation=${generation}`)

/** A name server that gives every IPv4 address a confirmed name below the domain of now. */
async function startNames(): Promise<{ dns: DnsServer; below(domain: string): void }> {
  let domain = 'old.example'
  const server = await startDnsServer((name, type) => {
    const reverse = /^(\d+)\.(\d+)\.(\d+)\.(\d+)\.in-addr\.arpa$/.exec(name)
    const forward = /^host-(\d+-\d+-\d+-\d+)\./.exec(name)
    if (type === 'PTR' && reverse !== null)
      return { answers: [ptr(name, `host-${reverse.slice(1).reverse().join('-')}.${domain}`)] }
    if (type === 'A' && forward !== null) return { answers: [a(name, forward[1]!.replaceAll('-', '.'))] }
    return { rcode: NXDOMAIN }
  })
  return {
    dns: server,
    below(other) {
      domain = other
    },
  }
}

const isIPv4 = ({ source_ip }: Observed) => source_ip.includes('.')
const domainsOf = (rows: readonly Observed[]) =>
  new Set(rows.filter(isIPv4).map(({ ptr }) => ptr?.split('.').slice(1).join('.')))

test('a replay in the epoch after re-observe has the names of now, and asks nobody itself', async () => {
  const names = await startNames()
  dns = names.dns
  const folder = await tempFolder('re-observe')
  const data = join(folder, 'data')
  const env = { MAILTRAIL_RESOLVERS: dns.address }
  const first = await up(data, { paths: [SAMPLES], env })
  await first.says(/Read 16 mails/)
  await first.idle()
  const before = await records(first, 'g1')
  expect(domainsOf(before)).toEqual(new Set(['old.example']))
  // The cache of answers, which would live for an hour, ends with the process.
  await first.stop()

  names.below('new.example')
  const running = await up(data, { env })
  const { code, stdout, stderr } = await mailtrail(['re-observe', '--data', data])
  expect(code, stderr).toBe(0)
  expect(stdout).toMatch(/Epoch 2 begins.*mailtrail replay start --from ingest --epoch 2/s)
  const asked = dns.asked.length
  expect(await records(running, 'g1')).toEqual(before)

  // Mail that comes between is observed by the live generation, in its own epoch; the replay takes that over.
  const { mails } = makeMails(5, 40)
  await writeMails(join(folder, 'mail'), mails)
  const late = await mailtrail(['import', join(folder, 'mail'), '--data', data, '--wait'])
  expect(late.code, late.stderr).toBe(0)
  const live = await records(running, 'g1')
  expect(live.length).toBeGreaterThan(before.length)
  const askedByLive = dns.asked.length
  expect(askedByLive).toBeGreaterThan(asked)

  const start = await mailtrail(['replay', 'start', '--from', 'ingest', '--epoch', '2', '--wait', '--data', data])
  expect(start.code, start.stderr).toBe(0)
  const replayed = await records(running, 'g2')
  expect(dns.asked.length).toBe(askedByLive)
  expect(replayed).toHaveLength(live.length)
  expect(replayed.every(({ observed }) => observed)).toBe(true)
  const ofSamples = new Set(before.map(({ source_ip }) => source_ip))
  expect(domainsOf(replayed.filter(({ source_ip }) => ofSamples.has(source_ip)))).toEqual(new Set(['new.example']))
  expect(replayed.map(({ asn }) => asn)).toEqual(live.map(({ asn }) => asn))
}, 120_000)

test('a re-observation that was killed goes on where it was', async () => {
  const names = await startNames()
  dns = names.dns
  const folder = await tempFolder('re-observe-killed')
  const data = join(folder, 'data')
  const env = { MAILTRAIL_RESOLVERS: dns.address }
  const { mails } = makeMails(6, 300)
  await writeMails(join(folder, 'mail'), mails)
  const first = await up(data, { paths: [join(folder, 'mail')], env })
  await first.says(/Read 300 mails/)
  await first.idle()
  const answer = await first.post('/observation-epochs', '{}', { 'content-type': 'application/json' })
  expect(answer.status).toBe(202)
  await first.kill()

  const running = await up(data, { env })
  const refused = await running.post(
    '/generations',
    JSON.stringify({
      rule_set: (await running.get<{ rule_set: string }>('/status')).rule_set,
      from: 'ingest',
      epoch: 2,
    }),
    { 'content-type': 'application/json' },
  )
  // The epoch begins when everything is observed; until then no generation can name it.
  if (!refused.ok) expect(((await refused.json()) as { error: { code: string } }).error.code).toBe('epoch_unknown')
  await running.post('/observation-epochs', '{}', { 'content-type': 'application/json' })
  await until('the epoch to begin', 60, async () => {
    const { state } = await running.get<{ state: string }>('/observation-epochs/2')
    return state === 'begun'
  })
}, 120_000)
