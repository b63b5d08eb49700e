import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { readFailureReport } from '../../../processors/formats/failure-report.ts'
import { defaultLimits } from '../../../processors/formats/limits.ts'
import { readMail } from '../../../processors/formats/mime.ts'

const read = (text: string) => {
  const mail = readMail(Buffer.from(text, 'latin1'), defaultLimits)
  return readFailureReport(mail.root, mail.fields)
}
const lines = (...all: string[]) => all.join('\r\n')
const part = (type: string, ...body: string[]) => lines('--o', `Content-Type: ${type}`, '', ...body)
const mail = (...parts: string[]) =>
  lines(
    'From: r@reporter.example',
    'Date: Thu, 01 Oct 2026 00:00:00 +0000',
    'Content-Type: multipart/report; report-type=feedback-report; boundary=o',
    '',
    ...parts,
    '--o--',
    '',
  )
const fields = [
  'Feedback-Type: auth-failure',
  'User-Agent: A/1',
  'Version: 1',
  'Source-IP: 192.0.2.1',
  'Auth-Failure: dmarc',
]
const feedback = part('message/feedback-report', ...fields)
const sampleMail = [
  'Received: by x; Thu, 01 Oct 2026 00:00:00 +0000',
  'From: Boss <boss@Victim.Example>',
  'Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=',
  'Message-ID: <1@v>',
  '',
  'body',
]
const sample = part('message/rfc822', ...sampleMail)

test('reads every field of ARF', () => {
  const block = part(
    'message/feedback-report',
    'Feedback-Type: Auth-Failure (comment)',
    'User-Agent: Reporter/2.0',
    'Version: 1',
    'Original-Mail-From: <bounce@spoof.example>',
    'Original-Rcpt-To: <a@x.example>',
    'Original-Rcpt-To: b@x.example',
    'Arrival-Date: Mon, 1 Oct 2018 11:20:27 +0200 (CEST)',
    'Source-IP: 2001:DB8:0::1 (host.example)',
    'Reported-Domain: Victim.EXAMPLE.',
    'Delivery-Result: smg-policy-action',
    'Identity-Alignment: none',
    'Auth-Failure: dmarc, SPF',
    'Incidents: 12',
    'DKIM-Domain: d.example',
    'DKIM-Selector: s1',
    'SPF-DNS: txt : d.example :',
    ' "v=spf1 -all"',
  )
  const [found, ...more] = read(mail(part('text/plain', 'An abuse report.'), block, sample))
  expect(more).toEqual([])
  expect(found!.report).toEqual({
    feedback_type: 'auth-failure',
    auth_failure: ['dmarc', 'spf'],
    source_ip: '2001:db8::1',
    reported_domain: 'victim.example',
    original_mail_from: 'bounce@spoof.example',
    original_rcpt_to: 'a@x.example, b@x.example',
    arrival: '2018-10-01T09:20:27Z',
    delivery_result: 'smg-policy-action',
    identity_alignment: 'none',
    user_agent: 'Reporter/2.0',
    incidents: 12,
    dkim_domain: 'd.example',
    dkim_selector: 's1',
    spf_dns: 'txt : d.example : "v=spf1 -all"',
    subject: 'Grüße',
    message_id: '<1@v>',
    from: 'boss@Victim.Example',
    warnings: [],
  })
  expect(found!.entities.map(({ path }) => path)).toEqual(['2', '3', '3.1'])
})

test('what is missing is null, but for what the standards give a default', () => {
  const [found] = read(mail(part('message/feedback-report', 'Original-Mail-From:', 'Incidents: many'), sample))
  expect(found!.report).toMatchObject({
    feedback_type: 'auth-failure',
    auth_failure: [],
    source_ip: null,
    reported_domain: 'victim.example',
    original_mail_from: null,
    arrival: '2026-10-01T00:00:00Z',
    delivery_result: null,
    identity_alignment: null,
    incidents: 1,
    warnings: [{ code: 'count_implausible', detail: 'Incidents is "many"; it counts as 1.' }],
  })
})

test('the null reverse-path stays what it is', () => {
  const [found] = read(mail(part('message/feedback-report', ...fields, 'Original-Mail-From: <>')))
  expect(found!.report.original_mail_from).toBe('<>')
})

test('a complaint about abuse is kept with its type', () => {
  const [found] = read(mail(part('message/feedback-report', 'Feedback-Type: abuse', 'Version: 1'), sample))
  expect(found!.report).toMatchObject({ feedback_type: 'abuse', auth_failure: [], reported_domain: 'victim.example' })
})

test('an address that is none is kept as sent, with a warning', () => {
  const [found] = read(mail(part('message/feedback-report', 'Source-IP: 10.x.x.x')))
  expect(found!.report.source_ip).toBe('10.x.x.x')
  expect(found!.report.warnings.map(({ code }) => code)).toEqual(['address_invalid'])
})

describe('the sample is found', () => {
  test.each([
    'message/rfc822',
    'message/rfc-822',
    'message/rfc822-headers',
    'message/rfc-822-headers',
    'text/rfc822',
    'text/rfc-822',
    'text/rfc822-headers',
    'text/rfc-822-headers',
  ])('as %s', (type) => {
    const [found] = read(mail(feedback, part(type, ...sampleMail)))
    expect(found!.report).toMatchObject({ subject: 'Grüße', reported_domain: 'victim.example', message_id: '<1@v>' })
  })

  test('in front of the feedback part (quirk 77)', () => {
    expect(read(mail(sample, feedback))[0]!.report.subject).toBe('Grüße')
  })

  test('as a text part without a label of its own', () => {
    expect(read(mail(feedback, part('text/plain; name=ATT00002.txt', ...sampleMail)))[0]!.report.subject).toBe('Grüße')
  })

  test('inside of another multipart', () => {
    const inner = lines('--i', 'Content-Type: message/rfc822', '', ...sampleMail, '--i--')
    expect(read(mail(feedback, part('multipart/mixed; boundary=i', inner)))[0]!.report.subject).toBe('Grüße')
  })

  test('of each of two feedback parts', () => {
    const other = part('message/rfc822', 'From: x@other.example', 'Subject: other', '', 'x')
    const found = read(mail(feedback, sample, feedback, other))
    expect(found.map(({ report }) => report.reported_domain)).toEqual(['victim.example', 'other.example'])
  })

  test('or is missing', () => {
    expect(read(mail(feedback))[0]!.report).toMatchObject({ subject: null, from: null, reported_domain: null })
  })
})

describe('the feedback part is found', () => {
  test('with quoted-printable encoding (quirk 75)', () => {
    const text = lines(
      '--o',
      'Content-Type: message/feedback-report',
      'Content-Transfer-Encoding: quoted-printable',
      '',
      'Feedback-Type: auth=',
      '-failure',
      'Source-IP: 192.0.2.1=20',
    )
    expect(read(mail(text))[0]!.report).toMatchObject({ feedback_type: 'auth-failure', source_ip: '192.0.2.1' })
  })

  test('renamed to a file of octets, in base64', () => {
    const text = lines(
      '--o',
      'Content-Type: application/octet-stream; name=ATT00001',
      'Content-Transfer-Encoding: base64',
      '',
      Buffer.from(fields.join('\n')).toString('base64'),
    )
    expect(read(mail(text, sample))[0]!.report.source_ip).toBe('192.0.2.1')
  })

  test('in a report that was forwarded as a mail', () => {
    const forwarded = lines('Subject: Fwd', 'Content-Type: message/rfc822', '', mail(feedback, sample))
    expect(read(forwarded)[0]!.report.subject).toBe('Grüße')
  })

  test('as the whole mail', () => {
    expect(read(lines('From: a@b', 'Content-Type: message/feedback-report', '', ...fields))[0]!.report.source_ip).toBe(
      '192.0.2.1',
    )
  })
})

test('a report inside of the reported mail is not ours', () => {
  const inner = part(
    'message/rfc822',
    mail(feedback, sample).replaceAll('boundary=o', 'boundary=q').replaceAll('--o', '--q'),
  )
  expect(read(mail(feedback, inner))).toHaveLength(1)
})

test('ordinary mail and other reports are none', () => {
  expect(read('Subject: x\n\nPlease set Feedback-Type: abuse in your reports.\n')).toEqual([])
  expect(read(mail(part('text/plain', 'x'), part('message/delivery-status', 'Reporting-MTA: dns; x')))).toEqual([])
})

describe('the text of Exim based gateways', () => {
  const text = (...body: string[]) =>
    lines('From: no-reply@gateway.example', 'Date: Thu, 01 Oct 2026 00:00:00 +0000', '', ...body)
  const opening = 'A message claiming to be from you has failed the published DMARC policy for your domain.'

  test('is read when it cannot be anything else', () => {
    const [found] = read(
      text(
        opening,
        '',
        '  Sender Domain: Victim.example',
        '  Sender IP Address: 203.0.113.68',
        '  Received Date: Mon, 07 Apr 2025 23:16:09 +0200',
        '  SPF Alignment: yes',
        '  DKIM Alignment: no',
        '  DMARC Results: Quarantine',
        '',
        '------ This is a copy of the headers.',
        '',
        ...sampleMail,
      ),
    )
    expect(found!.report).toMatchObject({
      feedback_type: 'auth-failure',
      auth_failure: ['dmarc'],
      source_ip: '203.0.113.68',
      reported_domain: 'victim.example',
      arrival: '2025-04-07T21:16:09Z',
      identity_alignment: 'spf',
      subject: 'Grüße',
      message_id: '<1@v>',
    })
  })

  test('is none when the address is missing', () => {
    expect(read(text(opening, 'Sender Domain: victim.example'))).toEqual([])
  })
})

const folder = join(import.meta.dirname, '..', '..', '..', '..', 'shared', 'corpus')
describe.skipIf(!existsSync(folder))('the samples', () => {
  interface Expected {
    kind: string
    source_ip: string
    reported_domain: string
    feedback_type: string
    auth_failure: string | null
    delivery: string | null
  }
  const expected: Record<string, Expected[]> = existsSync(folder)
    ? JSON.parse(readFileSync(join(folder, 'expected.json'), 'utf8'))
    : {}
  const failures = Object.entries(expected).filter(([, reports]) => reports.some(({ kind }) => kind === 'failure'))

  test('are five', () => expect(failures).toHaveLength(5))

  test.each(failures)('%s', (file, reports) => {
    const found = read(readFileSync(join(folder, file), 'latin1')).map(({ report }) => ({
      kind: 'failure',
      source_ip: report.source_ip,
      reported_domain: report.reported_domain,
      feedback_type: report.feedback_type,
      auth_failure: report.auth_failure.join(',') || null,
      delivery: report.delivery_result,
    }))
    expect(found).toEqual(
      reports.map(({ kind, source_ip, reported_domain, feedback_type, auth_failure, delivery }) => ({
        kind,
        source_ip,
        reported_domain,
        feedback_type,
        auth_failure,
        delivery,
      })),
    )
  })
})
