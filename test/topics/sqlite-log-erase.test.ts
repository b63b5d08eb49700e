/** What is erased is looked for in the bytes of the files, as somebody would who has the disk. */
import { randomBytes } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { isErased } from '../../topics/log.ts'
import { openSqliteLog, type SqliteLog } from '../../topics/sqlite-log.ts'
import { followEvents, text, textOf } from './log.contract.ts'

const TOPIC = 'mail'
let folder: string
let log: SqliteLog

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mailtrail-erase-'))
  log = await openSqliteLog({ path: join(folder, 'log.sqlite') })
  await log.createTopic({ name: TOPIC, partitions: 4, maxValueBytes: 1024 * 1024 })
})
afterEach(async () => {
  await log.close()
  await rm(folder, { recursive: true })
})

/** Files that hold the bytes. */
async function filesWith(bytes: Buffer): Promise<string[]> {
  const names = await readdir(folder)
  const held = await Promise.all(names.map(async (name) => (await readFile(join(folder, name))).includes(bytes)))
  return names.filter((_, i) => held[i])
}

/** No packing makes these smaller, so they lie in the file as they are. */
const secrets = (count: number, bytes: number) => Array.from({ length: count }, () => randomBytes(bytes))
const head = (secret: Buffer) => secret.subarray(0, 24)

describe.each([
  ['small values, many in a block', 60, 300],
  ['values of several blocks', 20, 20_000],
  ['values larger than a block', 3, 300_000],
])('%s', (_name, count, bytes) => {
  test('are nowhere in the files after they were erased, and the others are', async () => {
    const values = secrets(count, bytes)
    const appended = await log.append(
      TOPIC,
      values.map((value, i) => ({ key: `zqxjk-${i}`, value, headers: { to: `wvbnm-${i}` } })),
    )
    for (const value of values) expect(await filesWith(head(value))).not.toEqual([])
    const isGone = (i: number) => i % 3 === 1
    await log.erase(
      TOPIC,
      appended.filter((_, i) => isGone(i)),
    )
    await log.scrub()
    for (const [i, value] of values.entries()) {
      expect((await filesWith(head(value))).length, `value ${i}`).toBe(isGone(i) ? 0 : 1)
      expect((await filesWith(text(`zqxjk-${i}"`))).length).toBe(0)
      if (isGone(i)) expect(await filesWith(text(`{"to":"wvbnm-${i}"}`))).toEqual([])
    }
    const events = await followEvents(log, TOPIC, count)
    expect(events.filter(isErased)).toHaveLength(values.filter((_, i) => isGone(i)).length)
    for (const { offset, value } of events.filter((event) => !isErased(event)))
      expect(Buffer.from(value).equals(values[appended.findIndex((place) => place.offset === offset)]!)).toBe(true)
  })
})

test('what a deleted topic, or retention, left on free pages is gone after a scrub', async () => {
  await log.createTopic({ name: 'old', partitions: 1, maxValueBytes: 1024 * 1024 })
  const values = secrets(40, 70_000)
  await log.append(
    'old',
    values.map((value) => ({ key: null, value })),
  )
  await log.append(TOPIC, [{ key: null, value: text('stays') }])
  await log.deleteTopic('old')
  const left = await Promise.all(values.map((value) => filesWith(head(value))))
  expect(left.flat().length).toBeGreaterThan(0)
  await log.scrub()
  for (const value of values) expect(await filesWith(head(value))).toEqual([])
  expect((await followEvents(log, TOPIC, 1)).map(textOf)).toEqual(['stays'])
  await log.append(TOPIC, [{ key: null, value: text('goes on') }])
  await log.close()
  log = await openSqliteLog({ path: join(folder, 'log.sqlite') })
  expect((await followEvents(log, TOPIC, 2)).map(textOf)).toEqual(['stays', 'goes on'])
})
