/** Mail that retention removed before it was read: nobody goes on as if it had never come, unless told to. */
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { eventTypes, PARTITIONS } from '../../topics/all.ts'
import { EventCodec } from '../../topics/avro.ts'
import { openSqliteLog } from '../../topics/sqlite-log.ts'
import { endAll, mailtrail, tempFolder, up } from '../fixtures.ts'
import { makeMails } from '../report-mail.ts'

afterEach(endAll)

const DAY = 86_400_000

test('a group that was away for longer than mail is kept refuses to run, and goes on when the gap is accepted', async () => {
  const data = join(await tempFolder('gap'), 'data')
  const mails = makeMails(9, 30).mails.map(({ bytes }) => bytes)
  const first = await up(data)
  for (const mail of mails) await first.post('/mail', mail, { 'content-type': 'message/rfc822' })
  await first.idle()
  await first.stop()

  // Mail came and went while nobody read.
  const log = await openSqliteLog({ path: join(data, 'log.sqlite') })
  const old = Date.now() - 3 * DAY
  for (const value of mails) await log.append('ingest', [{ key: null, value, timestamp: old }])
  const forADay = { milliseconds: DAY }
  await log.createTopic({ name: 'ingest', partitions: PARTITIONS, maxValueBytes: 52_428_800, retention: forADay })
  for (const value of mails) await log.append('ingest', [{ key: null, value }])
  const before = await log.watermarks('ingest')
  await log.close()
  expect(before.some(({ low }) => low === 0)).toBe(true)

  // All that is older than a day goes, read or not; at the start nothing of it has been read since.
  const trimmer = await openSqliteLog({ path: join(data, 'log.sqlite'), now: () => Date.now() + 2 * DAY })
  await trimmer.applyRetention()
  await trimmer.close()

  const refused = await mailtrail(['up', '--data', data, '--listen', '127.0.0.1:0'])
  expect(refused.code).toBe(1)
  expect(refused.stderr).toMatch(/Group parse-mail\.g1 has read ingest, partition \d+, up to \d+, but it begins at \d+/)
  expect(refused.stderr).toContain('--accept-gap')

  const running = await up(data, { args: ['--accept-gap'] })
  await running.idle()
  expect(running.said().stderr).toContain('It goes on without them, as was asked for.')
  await running.stop()

  const after = await openSqliteLog({ path: join(data, 'log.sqlite') })
  const codec = await EventCodec.open(after, eventTypes)
  const gaps: unknown[] = []
  const stop = new AbortController()
  const high = (await after.watermarks('control'))[0]!.high
  for await (const events of after.follow('control', { signal: stop.signal })) {
    for (const { value, offset } of events) {
      const { type, data: said } = await codec.read(value)
      if (type === 'GapAccepted') gaps.push(said)
      if (offset + 1 === high) stop.abort()
    }
  }
  await after.close()
  expect(gaps.length).toBeGreaterThan(0)
  expect(gaps[0]).toMatchObject({ topic: 'ingest', group: 'parse-mail.g1' })

  // What was accepted once is not asked about again.
  expect(await (await up(data)).stop()).toBe(0)
}, 120_000)
