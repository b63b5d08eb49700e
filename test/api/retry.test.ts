import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { mailId } from '../../topics/ingest.ts'
import { type ApiUnderTest, answerOf, openApi } from './api-under-test.ts'
import { idOf, mailRow, rejectRow } from './rows.ts'

let api: ApiUnderTest
beforeAll(async () => {
  api = await openApi()
})
afterAll(() => api.close())
beforeEach(() => api.clear())

const received_at = '2026-11-10T08:00:00.000Z'

/** Sends a mail in and writes the rows that a reader makes of one that it cannot read. */
async function rejectedMail(bytes: Buffer, code = 'gave_up'): Promise<string> {
  const headers = { 'content-type': 'message/rfc822', 'received-at': received_at }
  const response = await api.server.inject({ method: 'POST', url: '/api/v1/mail', payload: bytes, headers })
  const { id, position } = response.json<{ id: string; position: { partition: number; offset: number } }>()
  await api.insert('mail', mailRow({ id, received_at, kind: 'rejected', rejected: 1, ...position }))
  await api.insert('rejects', rejectRow({ id, received_at, code, ...position }))
  return id
}

const eventsOnLog = async () => (await api.dependencies.log.lag('ingest', new Map())).events

async function retry(payload: object) {
  return answerOf(await api.server.inject({ method: 'POST', url: '/api/v1/rejects/retry', payload }))
}

/** The event that lies last on the topic. */
async function lastEvent() {
  const { log } = api.dependencies
  const events = await Promise.all(
    (await log.watermarks('ingest')).map(({ partition, high }) => log.get('ingest', partition, high - 1)),
  )
  return events.filter((event) => event !== null && 'mailtrail-retry' in event.headers).at(-1)
}

describe('GET /mail/{id}/raw', () => {
  test('gives the exact bytes, as a download that no browser shows', async () => {
    const bytes = Buffer.from('Subject: <script>\r\n\r\n\x00\xff\xfe', 'latin1')
    const id = await rejectedMail(bytes)
    const response = await api.server.inject(`/api/v1/mail/${id}/raw`)
    expect(response.rawPayload).toEqual(bytes)
    expect(response.headers).toMatchObject({
      'content-type': 'message/rfc822',
      'content-disposition': `attachment; filename="${id}.eml"`,
      'content-security-policy': "default-src 'none'; sandbox",
      'x-content-type-options': 'nosniff',
    })
  })

  test('gives those of a large mail from the blob store', async () => {
    const bytes = Buffer.concat([Buffer.from('Subject: l\r\n\r\n'), randomBytes(400 * 1024)])
    const id = await rejectedMail(bytes)
    expect((await api.server.inject(`/api/v1/mail/${id}/raw`)).rawPayload).toEqual(bytes)
  })

  test('says when the mail is not known, or its bytes are gone', async () => {
    expect(await api.get(`/api/v1/mail/${idOf('none')}/raw`)).toMatchObject({ status: 404 })
    await api.insert('mail', mailRow({ id: idOf('gone'), received_at, offset: 999_999 }))
    expect(await api.get(`/api/v1/mail/${idOf('gone')}/raw`)).toMatchObject({
      status: 410,
      body: { error: { code: 'mail_bytes_gone' } },
    })
  })
})

describe('POST /rejects/retry', () => {
  test('wants to be told what', async () => {
    expect(await retry({})).toMatchObject({ status: 400, body: { error: { code: 'retry_selector_missing' } } })
    expect(await retry({ all: true })).toMatchObject({ status: 400, body: { error: { field: 'all' } } })
    expect(await retry({ ids: "' OR 1" })).toMatchObject({ status: 400, body: { error: { field: 'ids' } } })
  })

  test('a dry run says how many, and does nothing', async () => {
    await rejectedMail(Buffer.from('Subject: dry\r\n\r\n'))
    const before = await eventsOnLog()
    expect(await retry({ code: 'gave_up', dry_run: true })).toMatchObject({
      status: 200,
      body: { matched: 1, retried: 0, dry_run: true },
    })
    expect(await eventsOnLog()).toBe(before)
  })

  test('delivers the mail again under its first time, marked as a retry', async () => {
    const bytes = Buffer.from('Subject: again\r\n\r\n')
    const id = await rejectedMail(bytes)
    const before = await eventsOnLog()
    expect(await retry({ ids: [id] })).toMatchObject({ body: { matched: 1, retried: 1, dry_run: false } })
    expect(await eventsOnLog()).toBe(before + 1)
    const event = await lastEvent()
    expect(mailId(event!.value)).toBe(id)
    expect(event!.headers).toMatchObject({
      'received-at': received_at,
      'received-from': 'http',
      'mailtrail-retry': '2026-11-21T12:00:00.000Z',
    })
  })

  test('takes code, days and ids together, and counts what has no bytes any more as matched only', async () => {
    await rejectedMail(Buffer.from('Subject: one\r\n\r\n'), 'gave_up')
    await rejectedMail(Buffer.from('Subject: two\r\n\r\n'), 'zip_damaged')
    await api.insert('mail', mailRow({ id: idOf('gone'), received_at, kind: 'rejected', rejected: 1, offset: 999_999 }))
    await api.insert('rejects', rejectRow({ id: idOf('gone'), received_at, code: 'gave_up', offset: 999_999 }))
    expect(await retry({ code: 'zip_damaged', dry_run: true })).toMatchObject({ body: { matched: 1 } })
    expect(await retry({ from: '2026-11-11', dry_run: true })).toMatchObject({ body: { matched: 0 } })
    expect(await retry({ to: '2026-11-10', dry_run: true })).toMatchObject({ body: { matched: 3 } })
    expect(await retry({ code: 'gave_up' })).toMatchObject({ body: { matched: 2, retried: 1 } })
  })
})

describe('POST /rejects/count', () => {
  test('says how many of some mails are rejected', async () => {
    const id = await rejectedMail(Buffer.from('Subject: counted\r\n\r\n'))
    const payload = { ids: [id, idOf('other')] }
    const response = await api.server.inject({ method: 'POST', url: '/api/v1/rejects/count', payload })
    expect(response.json()).toEqual({ rejected: 1 })
  })
})

describe('POST /mail/settle', () => {
  test('waits for the offset after the highest of each partition', async () => {
    const asked: [number, number][][] = []
    const server = api.serve({
      settle: async (_signal, ends) => {
        asked.push([...(ends ?? [])])
      },
    })
    const payload = {
      positions: [
        { partition: 3, offset: 7 },
        { partition: 3, offset: 5 },
        { partition: 1, offset: 0 },
      ],
    }
    const response = await server.inject({ method: 'POST', url: '/api/v1/mail/settle', payload })
    expect(response.json()).toEqual({ settled: true })
    expect(asked).toEqual([
      [
        [3, 8],
        [1, 1],
      ],
    ])
  })
})
