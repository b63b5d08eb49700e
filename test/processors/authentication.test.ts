import { expect, test } from 'vitest'
import { Sender } from '../../processors/authentication.ts'
import { scanHeader } from '../../processors/formats/header-fields.ts'
import type { CheckedSignature } from '../../processors/verify-signatures.ts'
import type { AuthenticationReason } from '../../topics/authentication.ts'

const signature = (domain: string, reason: AuthenticationReason = 'signature_aligned', onlyTls = false) =>
  ({ domain, reason, onlyTls }) satisfies CheckedSignature
const OURS = ['mx.linden.example']

/** A sender with these signatures and this header. */
function senderOf(signatures: readonly CheckedSignature[], ...fields: readonly string[]): Sender {
  const sender = new Sender(signatures, OURS)
  sender.readHeader(scanHeader(`${fields.join('\r\n')}\r\n\r\n`, true, () => false)!.fields)
  return sender
}
const from = (address: string) => `From: ${address}`
const reason = (sender: Sender, address: string | null, what: 'dmarc' | 'tls' = 'dmarc') =>
  sender.authenticate(address, what).authentication_reason

test('the submitter is who the report names, else the author of the mail', () => {
  const sender = senderOf([signature('google.com')], from('noreply@google.com'))
  expect(reason(sender, 'dmarc@google.com')).toBe('signature_aligned')
  expect(reason(sender, 'dmarc@yahoo.com')).toBe('signed_by_other')
  for (const none of [null, 'nobody', 'a@b', 'a@google.com, b@yahoo.com', '@google.com'])
    expect(reason(sender, none)).toBe('signature_aligned')
})

test('domains are compared by their organisation, and a public suffix is none', () => {
  const aligned = (signer: string, submitter: string) =>
    reason(senderOf([signature(signer)], from('a@x.example')), `a@${submitter}`) === 'signature_aligned'
  expect(aligned('mail.google.com', 'google.com')).toBe(true)
  expect(aligned('google.com', 'dmarc.Google.COM')).toBe(true)
  expect(aligned('a.co.uk', 'b.co.uk')).toBe(false)
  expect(aligned('co.uk', 'b.co.uk')).toBe(false)
  expect(aligned('one.github.io', 'two.github.io')).toBe(false)
  expect(aligned('evilgoogle.com', 'google.com')).toBe(false)
  expect(aligned('xn--bcher-kva.example', 'bücher.example')).toBe(true)
})

test('of several signatures the one that says most decides', () => {
  const said = (...signatures: readonly CheckedSignature[]) =>
    senderOf(signatures, from('a@own.example')).authenticate('a@own.example', 'dmarc')
  const broken = signature('own.example', 'signature_invalid')
  const open = signature('own.example', 'key_unanswered')
  const other = signature('relay.example')
  expect(said(other, broken, open, signature('own.example'))).toMatchObject({
    authenticated: 'pass',
    authenticated_domain: 'own.example',
  })
  expect(said(other, broken, open)).toMatchObject({ authenticated: 'none', authentication_reason: 'key_unanswered' })
  expect(said(other, broken)).toMatchObject({ authenticated: 'fail', authentication_reason: 'signature_invalid' })
  expect(said(signature('relay.example', 'body_changed'), other)).toEqual({
    authenticated: 'fail',
    authentication_reason: 'signed_by_other',
    authenticated_domain: 'relay.example',
  })
  expect(said()).toMatchObject({ authenticated: 'none', authentication_reason: 'not_signed' })
})

test('a mail with two authors, or two From fields, has nobody who vouches for it', () => {
  for (const header of [
    [from('a@own.example'), from('a@own.example')],
    [from('a@own.example, b@own.example')],
    ['To: x'],
  ])
    expect(reason(senderOf([signature('own.example')], ...header), null)).toBe('submitter_unknown')
})

test('a key that is for TLS reports vouches for nothing else', () => {
  const sender = senderOf([signature('own.example', 'signature_aligned', true)], from('a@own.example'))
  expect(reason(sender, null, 'tls')).toBe('signature_aligned')
  expect(reason(sender, null)).toBe('key_unusable')
})

test('a server of ours is believed, its topmost field alone, and nobody else', () => {
  const results = (text: string) => `Authentication-Results: ${text}`
  const said = (...fields: readonly string[]) =>
    senderOf([signature('own.example', 'body_changed')], ...fields, from('a@own.example')).authenticate(null, 'dmarc')
  const passed = results('MX.linden.example; spf=pass smtp.mailfrom=x; dkim=pass header.d=own.example')
  expect(said(passed)).toEqual({
    authenticated: 'pass',
    authentication_reason: 'trusted_header',
    authenticated_domain: 'own.example',
  })
  expect(said(results('mx.linden.example; dmarc=pass header.from=own.example')).authenticated).toBe('pass')
  for (const useless of [
    [results('mx.evil.example; dkim=pass header.d=own.example')],
    [results('mx.linden.example; dkim=pass header.d=evil.example')],
    [results('mx.linden.example; spf=pass smtp.mailfrom=a@own.example')],
    [results('mx.linden.example; none'), passed],
    [results('mx.linden.example.evil.example; dkim=pass header.d=own.example')],
  ])
    expect(said(...useless).authentication_reason).toBe('body_changed')
  const unsigned = senderOf([], results('mx.linden.example; dkim=fail header.d=own.example'), from('a@own.example'))
  expect(reason(unsigned, null)).toBe('trusted_header_fails')
})
