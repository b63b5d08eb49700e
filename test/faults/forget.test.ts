/** What is forgotten is looked for in every file of the data folder, also when the process was killed amid the work. */
import { randomBytes } from 'node:crypto'
import { copyFile, mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, expect, test } from 'vitest'
import { filesWith } from '../bytes-on-disk.ts'
import { ALL_DAYS, endAll, mailtrail, type Running, SAMPLES, tempFolder, until, up } from '../fixtures.ts'

afterEach(endAll)

const ANNA = 'anna.zqxjkvb@people-wvz.example'
/** What must be nowhere afterwards: the address, subjects, and a piece of each body. */
const SECRETS = [ANNA, 'Pfgtz subject of a mail', 'Kwrtlm subject of a sample', 'Vbnhjk body', 'Xcvdfg large body']
const STAYS = ['Anna.zqxjkvb@people-wvz.example', 'anna.zqxjkvb@others-wvz.example']

const mail = (headers: readonly string[], body: Buffer | string) =>
  Buffer.concat([Buffer.from(`${headers.join('\r\n')}\r\n\r\n`), Buffer.from(body)])

/** No packing makes these bytes smaller: they lie on the disk as they are. */
const noise = (bytes: number) => Buffer.from(randomBytes(bytes).map((byte) => (byte === 10 || byte === 13 ? 65 : byte)))

const failureReport = mail(
  [
    'From: reporter@mailer.example',
    'To: dmarc@linden.example',
    'Subject: a failure',
    'Date: Fri, 20 Nov 2026 10:00:00 +0000',
    'Message-ID: <failure@mailer.example>',
    'MIME-Version: 1.0',
    'Content-Type: multipart/report; report-type=feedback-report; boundary=b',
  ],
  [
    '--b',
    'Content-Type: text/plain',
    '',
    'This is a failure report.',
    '--b',
    'Content-Type: message/feedback-report',
    '',
    'Feedback-Type: auth-failure',
    'Version: 1',
    'User-Agent: mailer/1',
    'Auth-Failure: dmarc',
    'Reported-Domain: linden.example',
    'Source-IP: 192.0.2.9',
    `Original-Rcpt-To: ${ANNA.replace('people-wvz', 'People-WVZ')}`,
    'Original-Mail-From: spoof@linden.example',
    '--b',
    'Content-Type: message/rfc822',
    '',
    'From: spoof@linden.example',
    `To: ${ANNA}`,
    'Subject: Kwrtlm subject of a sample',
    '',
    'Hello.',
    '--b--',
    '',
  ].join('\r\n'),
)

const mails: Readonly<Record<string, Buffer>> = {
  'from-anna.eml': mail(
    [`From: Anna <${ANNA}>`, 'To: dmarc@linden.example', 'Subject: Pfgtz subject of a mail'],
    Buffer.concat([Buffer.from('Vbnhjk body'), noise(80_000)]),
  ),
  'noise.eml': mail([`From: x@mailer.example`, `To: <${ANNA}>`, 'Subject: noise'], noise(90_000)),
  'large.eml': mail(
    [`From: ${ANNA}`, 'To: y@mailer.example'],
    Buffer.concat([Buffer.from('Xcvdfg large body'), noise(400_000)]),
  ),
  'failure.eml': failureReport,
  'joanna.eml': mail([`From: ${STAYS[0]}`, `To: ${STAYS[1]}`, 'Subject: stays'], 'Stays.'),
}

async function mailFolder(): Promise<string> {
  const folder = join(await tempFolder('forget'), 'mail')
  await mkdir(folder)
  for (const name of await readdir(SAMPLES)) await copyFile(join(SAMPLES, name), join(folder, name))
  for (const [name, bytes] of Object.entries(mails)) await writeFile(join(folder, name), bytes)
  return folder
}

interface Erasure {
  readonly erasure: number
  readonly state: string
}
interface Found {
  readonly matched: number
  readonly mails: readonly {
    readonly id: string
    readonly found_in: readonly string[]
    readonly failure_reports: number
  }[]
  readonly erasure: Erasure | null
}

async function filled(data: string): Promise<Running> {
  const running = await up(data, { paths: [await mailFolder()] })
  await running.says(/Read 21 mails/)
  await running.idle()
  return running
}

const subjects = async (running: Running) =>
  (await running.list<{ subject: string | null }>(`/mail?${ALL_DAYS}`)).map(({ subject }) => subject)
const post = async (running: Running, body: object) =>
  (await (await running.post('/forget', JSON.stringify(body), { 'content-type': 'application/json' })).json()) as Found

async function expectGone(data: string): Promise<void> {
  for (const secret of SECRETS) expect(await filesWith(data, secret), secret).toEqual([])
  for (const other of STAYS) expect((await filesWith(data, other)).length, other).toBeGreaterThan(0)
}

test('forget finds mails by every place of an address, and not one of its bytes is left in the data folder', async () => {
  const data = join(await tempFolder('forget'), 'data')
  const running = await filled(data)
  const before = await running.get<object>('/domains?from=2026-10-01&to=2026-11-30')
  for (const secret of SECRETS) expect(await filesWith(data, secret), secret).not.toEqual([])
  const plan = await mailtrail(['forget', '--address', ANNA, '--data', data, '--dry-run', '--format', 'json'])
  expect(plan).toMatchObject({ code: 0, stderr: '' })
  const found = JSON.parse(plan.stdout) as Found
  expect(found.mails.map(({ found_in }) => found_in.join()).sort()).toEqual(['failure_report', 'from', 'from', 'to'])
  expect(found.mails.find(({ found_in }) => found_in[0] === 'failure_report')!.failure_reports).toBe(1)
  expect(await subjects(running)).toHaveLength(21)

  const { code, stdout, stderr } = await mailtrail(['forget', '--address', ANNA, '--data', data, '--yes'])
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(stdout).toContain('4 mails are erased (erasure 1)')
  await expectGone(data)
  const left = await subjects(running)
  expect(left).toHaveLength(17)
  expect(left).toContain('stays')
  expect(await running.list(`/failures?${ALL_DAYS}`)).toHaveLength(1)
  expect(await running.get<object>('/domains?from=2026-10-01&to=2026-11-30')).toEqual(before)
  const raw = await fetch(`${running.url}/api/v1/mail/${found.mails[0]!.id}/raw`)
  expect([raw.status, ((await raw.json()) as { error: { code: string } }).error.code]).toEqual([410, 'mail_erased'])

  // A replay from the raw mail reads what is left, and the store filled anew from the log holds no more.
  const rule_set = (await running.get<{ rule_set: string }>('/domains')).rule_set
  const replay = await running.post('/generations', JSON.stringify({ rule_set, from: 'ingest' }), {
    'content-type': 'application/json',
  })
  const { id } = (await replay.json()) as { id: string }
  await until(`${id} to be ready`, 60, async () => {
    const { state } = await running.get<{ state: string }>(`/generations/${id}`)
    return state === 'ready'
  })
  expect(await running.list(`/mail?${ALL_DAYS}&generation=${id}`)).toHaveLength(17)
  expect(await running.list(`/rejects?${ALL_DAYS}&generation=${id}`)).toEqual(
    await running.list(`/rejects?${ALL_DAYS}`),
  )
  await expectGone(data)
  expect(await running.stop()).toBe(0)
  await expectGone(data)
}, 180_000)

test('an erased mail that is delivered again counts as new, and stays unread when it was blocked', async () => {
  const data = join(await tempFolder('forget'), 'data')
  const running = await filled(data)
  const { mails: found } = await post(running, { address: ANNA, dry_run: true })
  const small = mails['from-anna.eml']!
  const large = mails['large.eml']!
  const deliver = async (bytes: Buffer) =>
    (await (await running.post('/mail', bytes, { 'content-type': 'message/rfc822' })).json()) as {
      id: string
      duplicate: boolean
    }
  const erased = async (ids: readonly string[], block: boolean) => {
    const { erasure } = await post(running, { mail_ids: ids, block })
    await until('the erasure', 60, async () => {
      const { state } = await running.get<Erasure>(`/forget/${erasure!.erasure}`)
      return state === 'erased'
    })
  }
  const ids = found.map(({ id }) => id)
  await erased(ids, false)
  for (const bytes of [small, large]) {
    const { id, duplicate } = await deliver(bytes)
    expect({ duplicate, known: ids.includes(id) }).toEqual({ duplicate: false, known: true })
    await running.idle()
    const again = await fetch(`${running.url}/api/v1/mail/${id}/raw`)
    expect(Buffer.from(await again.arrayBuffer()).equals(bytes)).toBe(true)
    await erased([id], true)
    expect((await deliver(bytes)).duplicate).toBe(true)
    await running.idle()
    const blocked = await fetch(`${running.url}/api/v1/mail/${id}/raw`)
    expect(blocked.status).toBe(410)
    await blocked.arrayBuffer()
  }
  expect(await subjects(running)).toHaveLength(17)
  expect(await running.stop()).toBe(0)
  for (const secret of SECRETS) expect(await filesWith(data, secret), secret).toEqual([])
}, 180_000)

test('a forget that is killed at any instant is finished by the next start', async () => {
  for (const instant of [30, 60, 90, 130, 200, 300]) {
    const data = join(await tempFolder('forget'), 'data')
    const running = await filled(data)
    const asked = post(running, { address: ANNA }).catch(() => null)
    await sleep(instant)
    await running.kill()
    await asked
    const again = await up(data)
    // One that was killed before it was on record was never promised.
    const recorded = await fetch(`${again.url}/api/v1/forget/1`)
    const state = recorded.ok ? ((await recorded.json()) as Erasure).state : null
    if (state === null) await post(again, { address: ANNA })
    else expect(state, `killed after ${instant} ms`).toBe('erased')
    await until('the erasure', 60, async () => (await again.get<Erasure>('/forget/1')).state === 'erased')
    await expectGone(data)
    await again.idle()
    expect(await subjects(again), `killed after ${instant} ms`).toHaveLength(17)
    expect(await again.stop()).toBe(0)
  }
}, 300_000)
