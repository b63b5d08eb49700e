import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { carrierDomain, clientKey, Rates } from '../../api/flood-limits.ts'
import { type ApiUnderTest, answerOf, openApi } from './api-under-test.ts'
import { mailRow } from './rows.ts'

const SECOND = 1000

describe('a rate', () => {
  test('lets a minute’s worth through at once, and then as much as comes back', () => {
    const rates = new Rates({ mails: 60, bytes: 1e9 })
    for (let i = 0; i < 60; i++) expect(rates.take('a', 1, 0)).toBe(0)
    expect(rates.take('a', 1, 0)).toBe(1)
    expect(rates.take('a', 1, 999)).toBe(1)
    expect(rates.take('a', 1, SECOND)).toBe(0)
    expect(rates.take('a', 1, SECOND)).toBe(1)
    for (let i = 0; i < 60; i++) expect(rates.take('a', 1, 3600 * SECOND)).toBe(0)
    expect(rates.take('a', 1, 3600 * SECOND)).toBe(1)
  })

  test('counts bytes, and a mail above all of them waits for a quiet minute only', () => {
    const rates = new Rates({ mails: 1000, bytes: 600 })
    expect(rates.take('a', 500, 0)).toBe(0)
    expect(rates.take('a', 200, 0)).toBe(10)
    expect(rates.take('a', 200, 10 * SECOND)).toBe(0)
    expect(rates.take('b', 5000, 0)).toBe(0)
    expect(rates.take('b', 5000, SECOND)).toBe(59)
    expect(rates.take('b', 5000, 60 * SECOND)).toBe(0)
  })

  test('of one is not that of another, and what is refused costs nothing', () => {
    const rates = new Rates({ mails: 1, bytes: 100 })
    expect([rates.take('a', 1, 0), rates.take('b', 1, 0)]).toEqual([0, 0])
    for (let i = 0; i < 100; i++) expect(rates.take('a', 1, i)).toBe(60)
    expect(rates.take('a', 1, 60 * SECOND)).toBe(0)
  })

  test('remembers no more than so many', () => {
    const rates = new Rates({ mails: 1, bytes: 100 })
    for (let i = 0; i < 50_000; i++) rates.take(`name-${i}`, 1, 0)
    expect(rates.size).toBeLessThanOrEqual(10_000)
    expect(rates.take('name-49999', 1, 0)).toBe(60)
  })
})

test.each([
  ['192.0.2.1', '192.0.2.1'],
  ['::ffff:192.0.2.1', '::ffff:192.0.2.1'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2'],
  ['2001:db8:1:2::9', '2001:db8:1:2'],
  ['2001:db8::1', '2001:db8:0:0'],
  ['fe80::1%eth0', 'fe80:0:0:0'],
  ['::1', '0:0:0:0'],
])('the client %s is known as %s', (address, key) => expect(clientKey(address)).toBe(key))

test.each([
  ['<Bounce@Carrier.Example>', 'From: a@b.example\r\n\r\n', 'carrier.example'],
  [undefined, 'Subject: x\r\nFrom: "A, B" <a@B.example>\r\n\r\nFrom: c@d.example', 'b.example'],
  [undefined, 'From: "A"\r\n <a@b.example>\r\nTo: c@d.example\r\n\r\n', 'b.example'],
  ['<>', 'From: a@b.example\n\n', 'b.example'],
  [undefined, 'Subject: x\r\n\r\nFrom: a@b.example', ''],
  [undefined, 'From: nobody\r\n\r\n', ''],
])('the carrier of %j %j is %j', (envelope, mail, domain) =>
  expect(carrierDomain(envelope, Buffer.from(mail))).toBe(domain),
)

describe('POST /mail', () => {
  let api: ApiUnderTest
  beforeAll(async () => {
    api = await openApi()
  })
  afterAll(() => api.close())

  const post = async (server: ApiUnderTest['server'], body: string, headers: Record<string, string> = {}) =>
    answerOf<{ error: { code: string; message: string } }>(
      await server.inject({
        method: 'POST',
        url: '/api/v1/mail',
        headers: { 'content-type': 'message/rfc822', ...headers },
        payload: Buffer.from(body),
      }),
    )
  const mail = (from: string, n: number) => `From: ${from}\r\nSubject: ${n}\r\n\r\ntext ${n}`

  test('of a client above its rate is 429 with Retry-After, stores nothing and is counted', async () => {
    const server = api.serve({ floodLimits: { client: { mails: 3, bytes: 1e6 }, domain: null } })
    const topic = api.dependencies.generation().topics.ingest
    const { log } = api.dependencies
    const heads = async () => (await log.lag(topic, await log.committed(topic, 'nobody'))).events
    const before = await heads()
    for (let n = 0; n < 3; n++) expect((await post(server, mail(`a@a${n}.example`, n))).status).toBe(202)
    for (let n = 3; n < 10; n++) {
      const { status, headers, body } = await post(server, mail(`a@a${n}.example`, n))
      expect({ status, code: body.error.code }).toEqual({ status: 429, code: 'rate_limited' })
      expect(Number(headers['retry-after'])).toBeGreaterThan(0)
      expect(body.error.message).toContain('127.0.0.1')
    }
    expect((await heads()) - before).toBe(3)
    const { text } = answerOf(await server.inject({ method: 'GET', url: '/metrics' }))
    expect(text).toContain('mailtrail_http_mails_limited_total{limit="client"} 7')
    expect(text).toContain('mailtrail_http_mail_bytes_in_flight 0')
  })

  test('from a domain above its rate is 429, and mail from another is taken', async () => {
    const server = api.serve({ floodLimits: { client: null, domain: { mails: 2, bytes: 1e6 } } })
    const statuses: number[] = []
    for (const [n, from] of ['x@flood.example', 'y@FLOOD.example', 'z@flood.example', 'a@calm.example'].entries())
      statuses.push((await post(server, mail(from, 100 + n))).status)
    statuses.push((await post(server, mail('b@other.example', 110), { 'envelope-from': 'v@flood.example' })).status)
    expect(statuses).toEqual([202, 202, 429, 202, 429])
  })

  test('without limits takes all', async () => {
    for (let n = 200; n < 260; n++) expect((await post(api.server, mail('a@a.example', n))).status).toBe(202)
  })
})

test('the metric of carriers names ten, and the rest together', async () => {
  const api = await openApi()
  try {
    const received_at = new Date(Date.now() - 60_000).toISOString()
    const row = (id: string, from: string, at = received_at) => ({ ...mailRow({ id, received_at: at }), from })
    const many = (count: number, from: string) => Array.from({ length: count }, (_, n) => row(`${from} ${n}`, from))
    const others = Array.from({ length: 10 }, (_, n) => many(11 - n, `"A" <a@c${n}.example>`)).flat()
    const old = row('old', 'a@old.example', new Date(Date.now() - 7_200_000).toISOString())
    await api.insert('mail', ...many(30, 'a@Flood.Example'), ...others, ...many(5, 'nobody\u0000'), old)
    const text = (await api.get('/metrics')).text
    const lines = [...text.matchAll(/^mailtrail_carrier_mails\{carrier="([^"]*)"\} (\d+)$/gm)].map(([, name, n]) => [
      name,
      Number(n),
    ])
    expect(lines).toHaveLength(11)
    expect(lines[0]).toEqual(['flood.example', 30])
    expect(Object.fromEntries(lines).other).toBe(2 + 5)
  } finally {
    await api.close()
  }
})
