/** A replay asks nobody: what DNS said once is read from the log, also by a replay of the raw mail. */
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { a, type DnsServer, NXDOMAIN, ptr, startDnsServer } from '../edges/dns-server.ts'
import { ALL_DAYS, endAll, type Running, SAMPLES, tempFolder, until, up } from '../fixtures.ts'

let dns: DnsServer | undefined
afterEach(async () => {
  await endAll()
  await dns?.close()
})

const records = (running: Running, generation: string) =>
  running.list<{ source_ip: string; ptr: string | null; observed: boolean }>(
    `/dmarc/records?${ALL_DAYS}&generation=${generation}`,
  )

test('a replay from the raw mail gives the names that were observed, and asks no name server', async () => {
  // Every IPv4 address has a name that is confirmed.
  dns = await startDnsServer((name, type) => {
    const reverse = /^(\d+)\.(\d+)\.(\d+)\.(\d+)\.in-addr\.arpa$/.exec(name)
    const forward = /^host-(\d+-\d+-\d+-\d+)\.mx\.example$/.exec(name)
    if (type === 'PTR' && reverse !== null)
      return { answers: [ptr(name, `host-${reverse.slice(1).reverse().join('-')}.mx.example`)] }
    if (type === 'A' && forward !== null) return { answers: [a(name, forward[1]!.replaceAll('-', '.'))] }
    return { rcode: NXDOMAIN }
  })
  const data = join(await tempFolder('no-look-ups'), 'data')
  const running = await up(data, { paths: [SAMPLES], env: { MAILTRAIL_RESOLVERS: dns.address } })
  await running.says(/Read 16 mails/)
  await running.idle()
  const live = await records(running, 'g1')
  expect(live.find(({ source_ip }) => source_ip === '198.51.100.77')).toMatchObject({
    ptr: 'host-198-51-100-77.mx.example',
    observed: true,
  })
  const asked = dns.asked.length
  expect(asked).toBeGreaterThan(10)

  const { rule_set } = await running.get<{ rule_set: string }>('/status')
  for (const from of ['ingest', 'enriched']) {
    const body = JSON.stringify({ rule_set, from })
    const response = await running.post('/generations', body, { 'content-type': 'application/json' })
    const { id } = (await response.json()) as { id: string }
    await until(`${id} to be ready`, 60, async () => {
      const { state } = await running.get<{ state: string }>(`/generations/${id}`)
      return state === 'ready'
    })
    expect(await records(running, id)).toEqual(live)
  }
  expect(dns.asked.length).toBe(asked)
}, 120_000)
