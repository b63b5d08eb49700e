import { beforeAll, describe, expect, test } from 'vitest'
import { headerText, keyNames, readSignatures } from '../../processors/formats/dkim-signatures.ts'
import { verifySignatures } from '../../processors/verify-signatures.ts'
import type { KeyObservation, KeyOutcome } from '../../topics/observations.ts'
import { makeSigner, RECEIVED, received, reportMail, type Signer, type SignOptions, signMail } from '../signed-mail.ts'

let rsa: Signer
let ed25519: Signer
beforeAll(() => {
  rsa = makeSigner('reporter.example')
  ed25519 = makeSigner('reporter.example', { ed25519: true, selector: 'ed' })
})

const keyOf = (signer: Signer, outcome: KeyOutcome = 'answered', ...records: readonly string[]): KeyObservation => ({
  name: signer.name,
  outcome,
  records: outcome === 'answered' ? (records.length === 0 ? [signer.record] : [...records]) : [],
})

async function reasons(mail: Uint8Array, keys: readonly KeyObservation[], receivedAt = RECEIVED): Promise<string[]> {
  const header = headerText(mail)!
  const checked = await verifySignatures(mail, header, readSignatures(header), keys, receivedAt * 1000)
  return checked.map(({ reason }) => reason)
}
const signed = (signer: Signer, options: SignOptions = {}) => received(signMail(reportMail(), signer, options))
const check = (options: SignOptions, key = keyOf(rsa)) => reasons(signed(rsa, options), [key])

describe('a signature that holds', () => {
  const canons = ['relaxed', 'simple'] as const
  for (const header of canons)
    for (const body of canons)
      test(`is valid with ${header}/${body}, by RSA and by Ed25519`, async () => {
        const [first, second] = [signed(rsa, { header, body }), signed(ed25519, { header, body })]
        expect(await reasons(first, [keyOf(rsa)])).toEqual(['signature_aligned'])
        expect(await reasons(second, [keyOf(ed25519)])).toEqual(['signature_aligned'])
      })

  test('is valid when the file came without CRs, or with an mbox line in front', async () => {
    const mail = signed(rsa).toString('latin1')
    expect(await reasons(Buffer.from(mail.replaceAll('\r\n', '\n'), 'latin1'), [keyOf(rsa)])).toEqual([
      'signature_aligned',
    ])
    const fromLine = `From reports@reporter.example Thu Oct  1 10:00:00 2026\r\n${mail}`
    expect(await reasons(Buffer.from(fromLine, 'latin1'), [keyOf(rsa)])).toEqual(['signature_aligned'])
  })

  test('is valid beside others that are not, each with its own reason', async () => {
    const other = makeSigner('relay.example')
    const mail = received(signMail(signMail(reportMail(), rsa), other))
    expect(await reasons(mail, [keyOf(rsa), keyOf(other)])).toEqual(['signature_aligned', 'signature_aligned'])
    expect(await reasons(mail, [keyOf(rsa), keyOf(other, 'answered', rsa.record)])).toEqual([
      'signature_invalid',
      'signature_aligned',
    ])
    expect(await reasons(mail, [keyOf(rsa, 'no_answer'), keyOf(other)])).toEqual([
      'signature_aligned',
      'key_unanswered',
    ])
  })

  test('is found although DNS has other texts under the name', async () => {
    expect(await check({}, keyOf(rsa, 'answered', 'google-site-verification=1', rsa.record))).toEqual([
      'signature_aligned',
    ])
  })
})

describe('a signature that does not hold', () => {
  const changed = (from: string | RegExp, to: string) =>
    reasons(Buffer.from(signed(rsa).toString('latin1').replace(from, to), 'latin1'), [keyOf(rsa)])

  test('because the body, or a field that it covers, is another', async () => {
    expect(await changed('<count>3</count>', '<count>9</count>')).toEqual(['body_changed'])
    expect(await changed('To: <rua@', 'To: <x@')).toEqual(['signature_invalid'])
    expect(await changed(/b=(.{8})/, 'b=AAAAAAAA')).toEqual(['signature_invalid'])
  })

  test('because it had expired when the mail was received, or is of later; now does not matter', async () => {
    expect(await check({ tags: `t=${RECEIVED - 60}; x=${RECEIVED - 1}; ` })).toEqual(['signature_expired'])
    expect(await check({ tags: `t=${RECEIVED + 2 * 86_400}; ` })).toEqual(['signature_expired'])
    const expiring = signed(rsa, { tags: `t=${RECEIVED - 60}; x=${RECEIVED + 60}; ` })
    expect(await reasons(expiring, [keyOf(rsa)])).toEqual(['signature_aligned'])
    expect(await reasons(expiring, [keyOf(rsa)], RECEIVED + 61)).toEqual(['signature_expired'])
  })

  test('because it covers the beginning of the body only, be it all of it', async () => {
    expect(await check({ tags: 'l=10; ' })).toEqual(['body_partly_signed'])
    expect(await check({ tags: `l=${reportMail().split('\r\n\r\n')[1]!.length}; ` })).toEqual(['body_partly_signed'])
  })

  test('because it does not cover From', async () => {
    expect(await check({ signedFields: 'to:subject:date' })).toEqual(['signature_unreadable'])
  })

  test('because its algorithm proves nothing', async () => {
    expect(await check({ algorithm: 'rsa-sha1' })).toEqual(['algorithm_unusable'])
    expect(await check({ algorithm: 'none' })).toEqual(['algorithm_unusable'])
  })

  test('because the key is not there, was withdrawn, is damaged, too short, for other uses or for testing', async () => {
    expect(await check({}, { name: rsa.name, outcome: 'answered', records: [] })).toEqual(['key_missing'])
    expect(await check({}, keyOf(rsa, 'answered', 'v=DKIM1; p='))).toEqual(['key_unusable'])
    expect(await check({}, keyOf(rsa, 'answered', rsa.record.slice(0, 100)))).toEqual(['key_unusable'])
    expect(await check({}, keyOf(rsa, 'answered', ed25519.record))).toEqual(['key_unusable'])
    expect(await check({}, keyOf(rsa, 'answered', `${rsa.record}; s=other`))).toEqual(['key_unusable'])
    expect(await check({}, keyOf(rsa, 'answered', `${rsa.record}; h=sha1`))).toEqual(['key_unusable'])
    expect(await check({}, keyOf(rsa, 'answered', `${rsa.record}; t=y`))).toEqual(['key_for_testing'])
    const short = makeSigner('reporter.example', { bits: 768 })
    expect(await reasons(signed(short), [keyOf(short)])).toEqual(['key_unusable'])
  })

  test('because nobody said what the key is, or nobody was asked', async () => {
    expect(await check({}, keyOf(rsa, 'no_answer'))).toEqual(['key_unanswered'])
    expect(await check({}, keyOf(rsa, 'not_looked_up'))).toEqual(['keys_not_looked_up'])
    expect(await reasons(signed(rsa), [])).toEqual(['keys_not_looked_up'])
  })
})

test('a key for TLS reports alone is marked as such', async () => {
  const mail = signed(rsa)
  const header = headerText(mail)!
  const keys = [keyOf(rsa, 'answered', rsa.record.replace('k=rsa', 'k=rsa; s=tlsrpt'))]
  const [checked] = await verifySignatures(mail, header, readSignatures(header), keys, RECEIVED * 1000)
  expect(checked).toEqual({ domain: 'reporter.example', reason: 'signature_aligned', onlyTls: true })
})

test('the keys that a mail needs are named, each once', () => {
  const mail = signMail(signMail(reportMail(), rsa), { ...rsa, domain: 'Other.EXAMPLE', selector: 'A.b' })
  expect(keyNames(readSignatures(headerText(received(mail))!))).toEqual([
    'a.b._domainkey.other.example',
    's1._domainkey.reporter.example',
  ])
  expect(keyNames(readSignatures(headerText(received(signMail(signMail(reportMail(), rsa), rsa)))!))).toHaveLength(1)
})
