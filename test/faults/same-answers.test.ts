/** What must not change an answer: the time zone of the machine, and mail that comes again. */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { viewChecksums } from '../answers.ts'
import { ALL_DAYS, endAll, importMail, mailtrail, SAMPLES, tempFolder, up } from '../fixtures.ts'
import { mailIdOf } from '../report-mail.ts'

const LIMIT = 120_000
/** A day ahead of and behind UTC for most of the day, and one with half an hour and a change of clocks. */
const ZONES = ['Pacific/Kiritimati', 'Pacific/Pago_Pago', 'Australia/Lord_Howe']

afterEach(endAll)

test(
  'the time zone of the machine changes nothing that parse says',
  async () => {
    const said = await Promise.all(
      ['UTC', ...ZONES].map(async (TZ) => (await mailtrail(['parse', SAMPLES], { env: { TZ } })).stdout),
    )
    expect(said[0]).toContain('"kind":"tls"')
    for (const other of said.slice(1)) expect(other).toBe(said[0])
  },
  LIMIT,
)

test(
  'the time zone of the machine changes no row of the store and no day of an answer',
  async () => {
    const folder = await tempFolder('zone')
    const answers: string[] = []
    const checksums: unknown[] = []
    for (const TZ of ['UTC', ZONES[0]!]) {
      const data = join(folder, TZ.replaceAll('/', '-'))
      await importMail(data, [SAMPLES], { TZ })
      const running = await up(data, { env: { TZ } })
      const { items } = await running.get<{ items: { domain: string }[] }>(`/domains?${ALL_DAYS}`)
      const days = 'from=2025-01-01&to=2026-12-31&interval=week'
      const summaries = items.map(({ domain }) => running.get(`/domains/${domain}/summary?${days}`))
      answers.push(JSON.stringify([items, await Promise.all(summaries)]))
      expect(await running.stop()).toBe(0)
      checksums.push(await viewChecksums(data))
    }
    expect(answers[1]).toBe(answers[0])
    expect(checksums[1]).toEqual(checksums[0])
  },
  LIMIT,
)

test(
  'a mail that is posted again is told to be a duplicate, and nothing is appended',
  async () => {
    const running = await up(join(await tempFolder('again'), 'data'))
    const names = (await readdir(SAMPLES)).filter((name) => name.endsWith('.eml'))
    const post = async (bytes: Uint8Array) => {
      const response = await running.post('/mail', bytes, { 'content-type': 'message/rfc822' })
      expect(response.status).toBe(202)
      return (await response.json()) as { id: string; duplicate: boolean; position: unknown }
    }
    const ingested = async () => {
      const { stages } = await running.get<{ stages: { topic: string; position: number }[] }>('/status')
      return stages.find(({ topic }) => topic === 'ingest')!.position
    }
    for (const name of names) {
      const bytes = await readFile(join(SAMPLES, name))
      const first = await post(bytes)
      expect(first).toMatchObject({ id: mailIdOf(bytes), duplicate: false })
      expect(await post(bytes)).toEqual({ ...first, duplicate: true })
    }
    await running.idle()
    const before = await ingested()
    const totals = (await running.get<{ totals: { mails: number } }>('/status')).totals
    expect(totals.mails).toBe(names.length)
    for (const name of names) expect(await post(await readFile(join(SAMPLES, name)))).toMatchObject({ duplicate: true })
    await running.idle()
    expect(await ingested()).toBe(before)
    expect((await running.get<{ totals: unknown }>('/status')).totals).toEqual(totals)
  },
  LIMIT,
)
