/** Rows of mails taken out of a real store. What is left on the disk: test/faults/forget.test.ts. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { expireMail, expiryOf } from '../../generations/expire-mail.ts'
import { deleteMails, deleteReceivedBefore, personalTables } from '../../projections/erase.ts'
import { type ApiUnderTest, openApi } from '../api/api-under-test.ts'
import { failureReport, generation, idOf, mailRow, rejectRow } from '../api/rows.ts'

const OLD = '2024-03-01T08:00:00.000Z'
const NEW = '2026-11-10T08:00:00.000Z'
const DAY = 86_400_000
let api: ApiUnderTest
beforeAll(async () => {
  api = await openApi()
})
afterAll(() => api.close())

async function fill(): Promise<void> {
  await api.clear()
  for (const [name, received_at] of [
    ['old', OLD],
    ['new', NEW],
  ] as const) {
    await api.insert('mail', mailRow({ id: idOf(name), received_at, subject: `subject of ${name}` }))
    await api.insert('rejects', rejectRow({ id: idOf(name), received_at, detail: `detail of ${name}` }))
    await api.insert(
      'failure_reports',
      failureReport({ name, domain: 'a.example', received_at, subject: `sample of ${name}` }),
    )
  }
}
const rowsOf = async (table: string) => (await api.store.query<object>(`SELECT 1 FROM ${table}`)).length
const counts = () => Promise.all(personalTables.map((table) => rowsOf(generation.tables[table])))

describe('rows of mails that are erased', () => {
  test('are gone from every table that is about them, and a second time changes nothing', async () => {
    await fill()
    const [failure] = await api.store.query<{ id: string }>(
      `SELECT lower(hex(mail_id)) AS id FROM ${generation.tables.failure_reports} WHERE received_at < '2025-01-01'`,
    )
    const ids = [idOf('old'), failure!.id]
    for (const _ of [1, 2]) {
      expect(await deleteMails(api.store, [generation, generation], ids)).toBe(true)
      expect(await counts()).toEqual([1, 1, 1])
    }
    expect(await api.store.query(`SELECT 1 FROM system.parts WHERE NOT active AND table LIKE 'mail__g%'`)).toEqual([])
  })
})

describe('rows of mail that is older than is kept', () => {
  test('go by when it was received, and only those', async () => {
    await fill()
    expect(await deleteReceivedBefore(api.store, [generation], Date.parse(OLD))).toBe(0)
    expect(await counts()).toEqual([2, 2, 2])
    const control = api.dependencies.replays.control
    expect(await expireMail(api.store, control, 90 * DAY, Date.parse('2026-11-21T12:00:00Z'))).toBe(3)
    expect(await counts()).toEqual([1, 1, 1])
    expect(await expireMail(api.store, control, 90 * DAY, Date.parse('2026-11-21T12:00:00Z'))).toBe(0)
  })

  test('go once a day, or often within a short retention', () => {
    const at = (time: string) => Date.parse(`2026-11-21T${time}Z`)
    expect(new Date(expiryOf(at('00:00:00'), 90 * DAY)).toISOString()).toBe('2026-08-23T00:00:00.000Z')
    expect(expiryOf(at('23:59:59'), 90 * DAY)).toBe(expiryOf(at('00:00:00'), 90 * DAY))
    expect(expiryOf(at('12:00:00'), 30 * 60_000)).toBe(at('11:30:00'))
    expect(expiryOf(at('12:00:30'), 60_000)).toBe(at('11:59:00'))
  })
})
