/** The setting through the whole program: what is stored, what status says of the past, and what a replay makes of it. */
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { ALL_DAYS, endAll, type Running, SAMPLES, tempFolder, until, up } from '../fixtures.ts'

afterEach(endAll)

interface Mail {
  readonly id: string
  readonly from: string | null
  readonly to: string | null
  readonly subject: string | null
}
const mailsOf = (running: Running, more = '') => running.list<Mail>(`/mail?${ALL_DAYS}${more}`)
const failuresOf = (running: Running, more = '') =>
  running.list<Record<string, unknown>>(`/failures?${ALL_DAYS}${more}`)

const facts = (items: readonly object[]) => JSON.stringify(items)

async function replayed(running: Running): Promise<string> {
  const { rule_set } = await running.get<{ rule_set: string }>('/domains')
  const response = await running.post('/generations', JSON.stringify({ rule_set, from: 'ingest' }), {
    'content-type': 'application/json',
  })
  const { id } = (await response.json()) as { id: string }
  await until(`${id} to be ready`, 60, async () => {
    const { state } = await running.get<{ state: string }>(`/generations/${id}`)
    return state === 'ready'
  })
  return id
}

test('what is left out is in no answer, and a replay from ingest leaves it out of the past as well', async () => {
  const data = join(await tempFolder('redaction'), 'data')
  const plain = await up(data, { paths: [SAMPLES] })
  await plain.says(/Read 16 mails/)
  await plain.idle()
  expect(facts(await mailsOf(plain))).toMatch(/[a-z]@/)
  expect(await plain.stop()).toBe(0)

  const redacting = await up(data, { env: { MAILTRAIL_REDACT: 'local-parts,subjects,samples' } })
  await redacting.idle()
  expect(await redacting.get('/status')).toMatchObject({ parser_changed: true })
  const id = await replayed(redacting)
  const mails = await mailsOf(redacting, `&generation=${id}`)
  const failures = await failuresOf(redacting, `&generation=${id}`)
  expect(mails).toHaveLength(16)
  for (const { from, to, subject } of mails) {
    expect(`${from} ${to}`).not.toMatch(/[^…]@/)
    expect(subject).toBeNull()
  }
  expect(mails.some(({ from }) => from?.startsWith('…@') === true)).toBe(true)
  expect(failures).toHaveLength(1)
  for (const field of ['original_mail_from', 'original_rcpt_to']) expect(`${failures[0]![field]}`).not.toMatch(/[^…]@/)
  for (const field of ['from', 'subject', 'message_id']) expect(failures[0]![field], field).toBeNull()

  // The same log, rules and setting give the same again; and the raw mail is as it was.
  const again = await replayed(redacting)
  const [one, other] = await Promise.all([id, again].map((name) => mailsOf(redacting, `&generation=${name}`)))
  expect(facts(one!)).toBe(facts(other!))
  const raw = await fetch(`${redacting.url}/api/v1/mail/${mails[0]!.id}/raw`)
  expect(await raw.text()).toContain('@')
  expect(await redacting.stop()).toBe(0)
}, 180_000)
