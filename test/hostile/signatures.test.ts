/** Signatures that are built to exhaust or to mislead: each is answered soon, and none is believed. */
import { createHash } from 'node:crypto'
import { expect, test } from 'vitest'
import { canonicalBody } from '../../processors/formats/dkim-body.ts'
import { headerText, keyNames, MAX_SIGNATURES, readSignatures } from '../../processors/formats/dkim-signatures.ts'
import { verifySignatures } from '../../processors/verify-signatures.ts'
import { makeSigner, RECEIVED, received, reportMail, signMail } from '../signed-mail.ts'

const signer = makeSigner('reporter.example')
const keys = [{ name: signer.name, outcome: 'answered', records: [signer.record] }]
const genuine = signMail(reportMail(), signer)

async function check(
  mail: Uint8Array,
): Promise<{ reasons: readonly string[]; names: readonly string[]; seconds: number }> {
  const begun = performance.now()
  const header = headerText(mail)
  const signatures = header === null ? [] : readSignatures(header)
  const checked = header === null ? [] : await verifySignatures(mail, header, signatures, keys, RECEIVED * 1000)
  const seconds = (performance.now() - begun) / 1000
  return { reasons: checked.map(({ reason }) => reason), names: keyNames(signatures), seconds }
}
const octets = (text: string) => Buffer.from(text, 'latin1')

test('of as many signatures as a header holds five are looked at, and of a thousand none', async () => {
  const fakes = Array.from({ length: 1000 }, (_, n) =>
    genuine.slice(0, genuine.indexOf('From:')).replace('s=s1', `s=x${n}`),
  )
  const { reasons, names, seconds } = await check(octets(fakes.slice(0, 300).join('') + genuine))
  expect(await check(octets(fakes.join('') + genuine))).toMatchObject({ reasons: [], names: [] })
  expect(reasons).toHaveLength(MAX_SIGNATURES)
  expect(names).toHaveLength(MAX_SIGNATURES)
  expect(reasons).not.toContain('signature_aligned')
  expect(seconds).toBeLessThan(5)
})

const bodies: Readonly<Record<string, string>> = {
  blanks: ' ',
  'line feeds': '\n',
  'carriage returns': '\r',
  'blank lines': ' \t\r\n',
  'single letters': 'x\r\n',
  'one line': 'x',
}
for (const [name, piece] of Object.entries(bodies))
  test(`20 MB of ${name}, with the right hash of the body, are checked in some seconds`, async () => {
    const body = Buffer.alloc(20_000_000, piece)
    for (const form of ['relaxed', 'simple'] as const) {
      const bodyHash = createHash('sha256').update(canonicalBody(body, form)).digest('base64')
      const header = genuine.slice(0, genuine.indexOf('\r\n\r\n') + 4)
      const forged = header.replace(/bh=[^;]+;/, `bh=${bodyHash};`).replace('relaxed/relaxed', `relaxed/${form}`)
      const { reasons, seconds } = await check(Buffer.concat([octets(forged), body]))
      expect(reasons).toEqual(['signature_invalid'])
      expect(seconds).toBeLessThan(10)
    }
  })

test('headers at their limits are checked soon', async () => {
  const fields = [
    'X-A: b\r\n'.repeat(20_000),
    `X-A: ${'b'.repeat(200_000)}\r\n`,
    `From: ${'a <b@c>, ('.repeat(15_000)}\r\n`,
  ]
  const signed = genuine.replace(/h=[^;]+;/, `h=${'x:'.repeat(3000)}from;`)
  for (const mail of [
    ...fields.map((text) => text + genuine),
    signed,
    `${genuine.slice(0, 40)}${';'.repeat(100_000)}`,
  ]) {
    const { reasons, seconds } = await check(octets(mail))
    expect(reasons.every((reason) => reason !== 'body_changed')).toBe(true)
    expect(seconds).toBeLessThan(5)
  }
})

test('tricks with line ends and names make no signature valid that is none, and none of another', async () => {
  const evil = makeSigner('evil.example')
  const tricks = [
    genuine.replace('d=reporter.example;', 'd=evil.example; d=reporter.example;'),
    genuine.replace('d=reporter.example;', 'D=evil.example; d=reporter.example;').replace('h=from', 'h=from:from'),
    genuine.replace('\r\nTo:', '\rTo:'),
    genuine.replace('From: ', 'From: x@evil.example\n '),
    genuine.replace('DKIM-Signature: ', 'DKIM-Signature\r\n : '),
    genuine.replace('s=s1;', 's=s1\0;'),
    genuine.replace('d=reporter.example', 'd=reporter.example.'),
    signMail(reportMail(), { ...evil, domain: 'reporter.example' }),
    signMail(reportMail(), { ...evil, name: signer.name, selector: 's1', domain: 'reporter.example' }),
  ]
  for (const trick of tricks) expect((await check(received(trick))).reasons).not.toContain('signature_aligned')
})
