/** A generation that would lose answers, because the mail behind them is no longer on the log, is not promoted unasked. */
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { openBlobFolder } from '../../edges/blob-folder.ts'
import { ingestEvent } from '../../topics/deliver.ts'
import { openSqliteLog } from '../../topics/sqlite-log.ts'
import { endAll, mailtrail, type Running, tempFolder, until, up } from '../fixtures.ts'
import { makeMails } from '../report-mail.ts'

afterEach(endAll)

const DAY = 86_400_000
const json = { 'content-type': 'application/json' }

/** Puts mail on the log of a stopped mailtrail as it would lie there had it come so long ago. */
async function deliverLongAgo(data: string, mails: readonly Uint8Array[], age: number): Promise<void> {
  const log = await openSqliteLog({ path: join(data, 'log.sqlite') })
  const blobs = openBlobFolder(join(data, 'blobs'))
  const timestamp = Date.now() - age
  const receivedAt = new Date(timestamp).toISOString()
  for (const bytes of mails) {
    const { event } = await ingestEvent(bytes, { source: 'test', receivedAt, receivedFrom: 'import' }, blobs)
    await log.append('ingest', [{ ...event, timestamp }])
  }
  await log.close()
}

/** A mailtrail whose log no longer has the oldest mail that its answers are about. */
async function trimmed(): Promise<{ data: string; running: Running }> {
  const data = join(await tempFolder('coverage'), 'data')
  await (await up(data)).stop()
  const mails = makeMails(3, 30).mails.map(({ bytes }) => bytes)
  await deliverLongAgo(data, mails.slice(0, 20), 5 * DAY)
  const whole = await up(data)
  await whole.idle()
  const old = await mailsOf(whole)
  expect(old).toBeGreaterThan(10)
  await whole.stop()

  const running = await up(data, { env: { MAILTRAIL_RETENTION_INGEST: '2d' } })
  for (const mail of mails.slice(20)) await running.post('/mail', mail, { 'content-type': 'message/rfc822' })
  await running.idle()
  // Retention takes from the log, not from the answers.
  expect(await mailsOf(running)).toBeGreaterThan(old)
  return { data, running }
}

const mailsOf = async (running: Running) => (await running.get<{ totals: { mails: number } }>('/status')).totals.mails

async function builtFrom(running: Running, from: string): Promise<string> {
  const { rule_set } = await running.get<{ rule_set: string }>('/status')
  const response = await running.post('/generations', JSON.stringify({ rule_set, from }), json)
  const { id } = (await response.json()) as { id: string }
  await until(`${id} to be ready`, 60, async () => {
    const { state } = await running.get<{ state: string }>(`/generations/${id}`)
    return state === 'ready'
  })
  return id
}

test('a replay that covers less than the live generation, for its mail is gone, is promoted only with accept-gap', async () => {
  const { data, running } = await trimmed()
  const id = await builtFrom(running, 'ingest')
  const refused = await mailtrail(['replay', 'promote', id, '--data', data])
  expect(refused.code).toBe(1)
  expect(refused.stderr).toContain('begins with mail of')
  expect(refused.stderr).toContain('--accept-gap')
  expect((await running.get<{ generation: string }>('/status')).generation).toBe('g1')

  const accepted = await mailtrail(['replay', 'promote', id, '--accept-gap', '--data', data])
  expect(accepted.code, accepted.stderr).toBe(0)
  expect((await running.get<{ generation: string }>('/status')).generation).toBe(id)
}, 120_000)

test('facts that are kept longer than the mail they were read from are covered by a replay of the rules', async () => {
  const { data, running } = await trimmed()
  const id = await builtFrom(running, 'enriched')
  const promoted = await mailtrail(['replay', 'promote', id, '--data', data])
  expect(promoted.code, promoted.stderr).toBe(0)
}, 120_000)
