/** Who sent a report: signatures are checked with the keys of the day, once; a replay and a second delivery say the same. */

import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Answer } from 'dns-packet'
import { afterEach, expect, test } from 'vitest'
import { type DnsServer, NXDOMAIN, startDnsServer } from '../edges/dns-server.ts'
import { ALL_DAYS, endAll, importMail, type Running, tempFolder, until, up } from '../fixtures.ts'
import { makeSigner, received, reportMail, signMail } from '../signed-mail.ts'

let dns: DnsServer | undefined
afterEach(async () => {
  await endAll()
  await dns?.close()
  dns = undefined
})

interface Shown {
  readonly authenticated: string
  readonly authentication: { readonly reason: string; readonly domain: string | null; readonly explanation: string }
  readonly report: { readonly report_id: string }
}

const reports = (running: Running, query = '') => running.list<Shown>(`/dmarc/reports?${ALL_DAYS}${query}`)
const said = (shown: readonly Shown[]) =>
  Object.fromEntries(
    shown.map(({ report, authenticated, authentication }) => [
      report.report_id,
      `${authenticated} ${authentication.reason} ${authentication.domain}`,
    ]),
  )

const genuine = makeSigner('mail.reporter.example')
const ed25519 = makeSigner('reporter.example', { ed25519: true, selector: 'ed' })
const stranger = makeSigner('evil.example')
const unpublished = makeSigner('reporter.example', { selector: 'old' })
const silent = makeSigner('reporter.example', { selector: 'silent' })

/** What is to be said of each mail, by the id of its report. */
const trusted = 'Authentication-Results: mx.linden.example; dkim=pass header.d=reporter.example'
const mails: Readonly<Record<string, readonly [mail: string, expected: string]>> = {
  rsa: [signMail(reportMail({ id: 'rsa' }), genuine), 'pass signature_aligned mail.reporter.example'],
  ed: [signMail(reportMail({ id: 'ed' }), ed25519), 'pass signature_aligned reporter.example'],
  simple: [
    signMail(reportMail({ id: 'simple' }), genuine, { header: 'simple', body: 'simple' }),
    'pass signature_aligned mail.reporter.example',
  ],
  tampered: [
    signMail(reportMail({ id: 'tampered' }), genuine).replace('<count>3<', '<count>9<'),
    'fail body_changed null',
  ],
  stranger: [signMail(reportMail({ id: 'stranger' }), stranger), 'fail signed_by_other evil.example'],
  // The report names another submitter than the mail: what is signed is not what is said.
  guise: [signMail(reportMail({ id: 'guise', from: 'x@evil.example' }), stranger), 'fail signed_by_other evil.example'],
  nameless: [
    signMail(reportMail({ id: 'nameless', email: '', from: 'x@evil.example' }), stranger),
    'pass signature_aligned evil.example',
  ],
  unsigned: [reportMail({ id: 'unsigned' }), 'none not_signed null'],
  unpublished: [signMail(reportMail({ id: 'unpublished' }), unpublished), 'none key_missing null'],
  silent: [signMail(reportMail({ id: 'silent' }), silent), 'none key_unanswered null'],
  header: [`${trusted}\r\n${reportMail({ id: 'header' })}`, 'pass trusted_header reporter.example'],
  forged: [
    `Authentication-Results: mx.linden.example; dkim=none\r\n${trusted}\r\n${reportMail({ id: 'forged' })}`,
    'none not_signed null',
  ],
}
const expected = Object.fromEntries(Object.entries(mails).map(([id, [, outcome]]) => [id, outcome]))

async function startKeys(): Promise<DnsServer> {
  const keys = new Map([genuine, ed25519, stranger].map(({ name, record }) => [name, record]))
  return startDnsServer((name, type) => {
    if (name.startsWith('silent.')) return null
    const record = keys.get(name)
    if (type !== 'TXT' || record === undefined) return { rcode: NXDOMAIN }
    const answer: Answer = { type: 'TXT', name, data: record.match(/.{1,200}/g)!, ttl: 60 }
    return { answers: [answer] }
  })
}

async function writeAll(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true })
  for (const [id, [mail]] of Object.entries(mails)) await writeFile(join(folder, `${id}.eml`), received(mail))
}

test('each report says whether its submitter vouches for it, and why; a replay asks nobody and says the same', async () => {
  dns = await startKeys()
  const folder = await tempFolder('authenticated')
  await writeAll(join(folder, 'mail'))
  const env = { MAILTRAIL_RESOLVERS: dns.address, MAILTRAIL_AUTHSERV_ID: 'mx.linden.example' }
  const running = await up(join(folder, 'data'), { paths: [join(folder, 'mail')], env })
  await running.says(/Read 12 mails/)
  await running.idle()
  const live = await reports(running)
  expect(said(live)).toEqual(expected)
  expect(Object.keys(said(await reports(running, '&authenticated=pass'))).sort()).toEqual(
    Object.keys(expected)
      .filter((id) => expected[id]!.startsWith('pass'))
      .sort(),
  )
  expect(await reports(running, '&authenticated=!pass&authenticated=!fail')).toHaveLength(4)
  const mail = await running.list<Shown>(`/mail?${ALL_DAYS}&authenticated=fail`)
  expect(mail.map(({ authentication }) => authentication.reason).sort()).toEqual(['body_changed', 'signed_by_other'])

  // Keys change, and nobody is asked: neither by a replay, nor because the same mail came once more.
  // (What a silent server was asked may be asked once more, when the time for an answer is over.)
  const keysAsked = () => dns!.asked.filter((question) => /^TXT (?!silent)/.test(question)).length
  const asked = keysAsked()
  expect(asked).toBe(4)
  dns.say = () => ({ rcode: NXDOMAIN })
  const again = await importMail(join(folder, 'data'), [join(folder, 'mail')])
  expect(again).toMatchObject({ read: 12 })
  await running.idle()
  expect(said(await reports(running))).toEqual(expected)
  const { rule_set } = await running.get<{ rule_set: string }>('/status')
  const body = JSON.stringify({ rule_set, from: 'ingest' })
  const response = await running.post('/generations', body, { 'content-type': 'application/json' })
  const { id } = (await response.json()) as { id: string }
  await until(`${id} to be ready`, 60, async () => {
    const { state } = await running.get<{ state: string }>(`/generations/${id}`)
    return state === 'ready'
  })
  expect(said(await reports(running, `&generation=${id}`))).toEqual(expected)
  expect(keysAsked()).toBe(asked)
}, 120_000)

test('with look-ups off nobody is asked, and that is what is said', async () => {
  const folder = await tempFolder('unasked')
  await writeAll(join(folder, 'mail'))
  const running = await up(join(folder, 'data'), { paths: [join(folder, 'mail')] })
  await running.says(/Read 12 mails/)
  await running.idle()
  const found = said(await reports(running))
  const { unsigned, header, forged, ...signed } = found
  expect([unsigned, header, forged]).toEqual(Array(3).fill('none not_signed null'))
  expect(new Set(Object.values(signed))).toEqual(new Set(['none keys_not_looked_up null']))
}, 60_000)
