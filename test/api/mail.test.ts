import { randomBytes } from 'node:crypto'
import { request as httpRequest } from 'node:http'
import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { mailId, parseBlobReference } from '../../topics/ingest.ts'
import { LogFull } from '../../topics/log.ts'
import { type ApiUnderTest, answerOf, openApi } from './api-under-test.ts'

let api: ApiUnderTest
let address: string
beforeAll(async () => {
  api = await openApi()
  address = await api.server.listen({ host: '127.0.0.1', port: 0 })
})
afterAll(() => api.close())

interface Accepted {
  id: string
  duplicate: boolean
  position: { partition: number; offset: number }
}
interface Refused {
  error: { code: string; message: string; field: string | null }
}

async function post<Body>(
  body: string | Buffer,
  headers: Record<string, string> = { 'content-type': 'message/rfc822' },
) {
  return answerOf<Body>(await api.server.inject({ method: 'POST', url: '/api/v1/mail', payload: body, headers }))
}
const stored = ({ position }: Accepted) => api.dependencies.log.get('ingest', position.partition, position.offset)

describe('POST /mail', () => {
  test('answers after the mail is on the log, byte by byte', async () => {
    const mail = Buffer.from('Subject: x\r\n\r\n\xff\x00bytes', 'latin1')
    const { status, body } = await post<Accepted>(mail, {
      'content-type': 'application/octet-stream',
      'x-mailtrail-source': 'a test',
      'envelope-from': 'a@example.org',
      'envelope-to': 'b@example.org',
    })
    expect(status).toBe(202)
    expect(body).toMatchObject({ id: mailId(mail), duplicate: false })
    const event = await stored(body)
    expect(Buffer.from(event!.value)).toEqual(mail)
    expect(event!.headers).toEqual({
      'received-at': '2026-11-21T12:00:00.000Z',
      'received-from': 'http',
      'mailtrail-source': 'a test',
      'envelope-from': 'a@example.org',
      'envelope-to': 'b@example.org',
    })
  })

  test('says that a mail was known, and where', async () => {
    const first = await post<Accepted>('Subject: twice\r\n\r\n')
    const second = await post<Accepted>('Subject: twice\r\n\r\n')
    expect(second.body).toEqual({ ...first.body, duplicate: true })
  })

  test('takes any octets: text, unknown types, no type at all', async () => {
    for (const type of ['text/plain; charset=utf-8', 'message/global', 'application/zip', 'Message/RFC822']) {
      expect((await post(`Subject: ${type}\r\n\r\n`, { 'content-type': type })).status).toBe(202)
    }
    const untyped = await fetch(`${address}/api/v1/mail`, {
      method: 'POST',
      body: Buffer.from('Subject: untyped\r\n\r\n'),
    })
    expect(untyped.status).toBe(202)
  })

  test('keeps the time that the sender states, but none after now', async () => {
    const headers = (at: string) => ({ 'content-type': 'message/rfc822', 'received-at': at, 'received-from': 'mbox' })
    const past = await post<Accepted>('Subject: past\r\n\r\n', headers('2026-01-02T03:04:05+01:00'))
    expect((await stored(past.body))!.headers).toMatchObject({
      'received-at': '2026-01-02T02:04:05.000Z',
      'received-from': 'mbox',
    })
    const future = await post<Accepted>('Subject: future\r\n\r\n', headers('2031-01-01T00:00:00Z'))
    expect((await stored(future.body))!.headers['received-at']).toBe('2026-11-21T12:00:00.000Z')
    const wrong = await post<Refused>('Subject: wrong\r\n\r\n', headers('yesterday'))
    expect([wrong.status, wrong.body.error.code, wrong.body.error.field]).toEqual([
      400,
      'header_invalid',
      'received-at',
    ])
  })

  test('puts a large mail into the blob store and its reference on the log', async () => {
    const mail = Buffer.concat([Buffer.from('Subject: large\r\n\r\n'), randomBytes(300 * 1024)])
    const { status, body } = await post<Accepted>(mail)
    expect(status).toBe(202)
    expect(body.id).toBe(mailId(mail))
    const event = await stored(body)
    expect(event!.value.length).toBe(0)
    expect(parseBlobReference(event!.headers['mailtrail-blob']!)).toEqual({ sha256: body.id, size: mail.length })
    expect(Buffer.from((await api.dependencies.blobs.get(body.id))!)).toEqual(mail)
    expect((await post<Accepted>(mail)).body).toEqual({ ...body, duplicate: true })
  })

  test.each([
    ['application/json', '{"a":1}'],
    ['application/json; charset=utf-8', '{"a":1}'],
    ['application/problem+json', '{}'],
    ['application/x-www-form-urlencoded', 'a=1'],
    ['multipart/form-data; boundary=x', '--x--'],
  ])('refuses %s with 415', async (type, payload) => {
    const { status, body } = await post<Refused>(payload, { 'content-type': type })
    expect([status, body.error.code]).toEqual([415, 'content_type_unsupported'])
  })

  test('refuses a compressed body, which it would keep as it is', async () => {
    const { status, body } = await post<Refused>('x', { 'content-type': 'message/rfc822', 'content-encoding': 'gzip' })
    expect([status, body.error.code]).toEqual([415, 'content_encoding_unsupported'])
  })

  test('refuses an empty mail with 400', async () => {
    const { status, body } = await post<Refused>('')
    expect([status, body.error.code]).toEqual([400, 'mail_empty'])
    const bare = await fetch(`${address}/api/v1/mail`, { method: 'POST' })
    expect([bare.status, await bare.json()]).toMatchObject([400, { error: { code: 'mail_empty' } }])
  })

  test('refuses more bytes than a mail may have, stated or not, and the client gets to read why', async () => {
    const limit = api.dependencies.maxMailBytes
    const stated = await fetch(`${address}/api/v1/mail`, { method: 'POST', body: Buffer.alloc(limit + 1, 'a') })
    expect([stated.status, await stated.json()]).toMatchObject([413, { error: { code: 'mail_too_large' } }])
    const answer = await new Promise<number>((resolve, reject) => {
      const request = httpRequest(`${address}/api/v1/mail`, { method: 'POST' }, ({ statusCode }) =>
        resolve(statusCode!),
      )
      request.on('error', reject)
      for (let i = 0; i < 40; i++) request.write(Buffer.alloc(limit / 20, 'a'))
      request.end()
    })
    expect(answer).toBe(413)
    const exact = await fetch(`${address}/api/v1/mail`, { method: 'POST', body: Buffer.alloc(limit, 'a') })
    expect(exact.status).toBe(202)
  })

  test('answers 503 with Retry-After when the disk of the log is full, and stores nothing', async () => {
    const { log } = api.dependencies
    const full = api.serve({
      log: {
        ...log,
        append: async () => {
          throw new LogFull('No space is left.')
        },
      },
    })
    const response = await full.inject({
      method: 'POST',
      url: '/api/v1/mail',
      payload: 'Subject: x\r\n\r\n',
      headers: { 'content-type': 'message/rfc822' },
    })
    expect(response.statusCode).toBe(503)
    expect(response.json()).toMatchObject({ error: { code: 'log_full' } })
    expect(Number(response.headers['retry-after'])).toBeGreaterThan(0)
  })

  test('a body that stops halfway stores nothing and holds no memory', async () => {
    const before = await api.dependencies.log.watermarks('ingest')
    const { port } = new URL(address)
    await new Promise<void>((resolve) => {
      const socket = connect(Number(port), '127.0.0.1', () => {
        socket.write(
          'POST /api/v1/mail HTTP/1.1\r\nHost: x\r\nContent-Type: message/rfc822\r\nContent-Length: 1000\r\n\r\nSub',
        )
        setTimeout(() => socket.destroy(), 50)
      })
      socket.on('close', () => setTimeout(resolve, 50))
    })
    expect(await api.dependencies.log.watermarks('ingest')).toEqual(before)
    const { text } = await api.get('/metrics')
    expect(text).toMatch(/^mailtrail_http_mail_bytes_in_flight 0$/m)
  })

  test('is measured', async () => {
    await post('Subject: measured\r\n\r\n')
    const { text } = await api.get('/metrics')
    expect(text).toMatch(/^mailtrail_http_mails_accepted_total\{duplicate="false"\} [1-9]/m)
    expect(text).toMatch(
      /mailtrail_http_request_seconds_bucket\{le="0.05",method="POST",route="\/api\/v1\/mail",status="202"\}/,
    )
  })
})

describe('connections', () => {
  test('many that are idle do not keep a fresh request out', async () => {
    const server = api.serve({})
    const { port } = new URL(await server.listen({ host: '127.0.0.1', port: 0 }))
    const sockets = Array.from({ length: 5000 }, () => connect(Number(port), '127.0.0.1').on('error', () => {}))
    await Promise.all(sockets.slice(-500).map((socket) => new Promise((resolve) => socket.once('connect', resolve))))
    // This process is client and server at once: the first answer may still wait for the clients' own work.
    const times: number[] = []
    for (let fresh = 0; fresh < 5; fresh++) {
      const began = performance.now()
      const response = await fetch(`http://127.0.0.1:${port}/health/live`, { headers: { connection: 'close' } })
      expect(response.status).toBe(200)
      times.push(performance.now() - began)
    }
    expect(times.toSorted((a, b) => a - b)[2]).toBeLessThan(1000)
    for (const socket of sockets) socket.destroy()
  })
})
