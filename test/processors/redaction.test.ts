import { describe, expect, test } from 'vitest'
import { redactions } from '../../config.ts'
import type { FailureReport } from '../../processors/formats/shapes.ts'
import { Redactor, readerVersion, redactable, withoutLocalParts } from '../../processors/redaction.ts'

const report = {
  feedback_type: 'auth-failure',
  original_mail_from: 'anna@linden.example',
  original_rcpt_to: '<bob@people.example>',
  from: 'Anna Example <anna@linden.example>',
  subject: 'about Bob',
  message_id: '<anna.1@linden.example>',
  warnings: [],
} as unknown as FailureReport
const fields = {
  from: 'Anna <anna@a.example>',
  to: 'a@a.example, b@b.example',
  subject: 's',
  date: null,
  message_id: 'm',
  size: 1,
}

test('the settings take what the reader can leave out', () => {
  expect(redactions).toEqual(redactable)
})

test('of addresses the domains are left, and no names', () => {
  expect(withoutLocalParts('Anna Example <anna@A.example>, "b c"@b.example; d@[192.0.2.1]')).toBe(
    '…@A.example, …@b.example, …@[192.0.2.1]',
  )
  expect(withoutLocalParts('Anna Example')).toBeNull()
  expect(withoutLocalParts(null)).toBeNull()
})

describe('with', () => {
  test('none everything stays as it is', () => {
    const redactor = new Redactor([])
    expect(redactor.mail(fields)).toEqual(fields)
    expect(redactor.failure(report)).toEqual(report)
    expect(redactor.detail('from a@a.example')).toBe('from a@a.example')
  })

  test('local-parts no address is left anywhere, also not in a sentence', () => {
    const redactor = new Redactor(['local-parts'])
    expect(redactor.mail(fields)).toMatchObject({ from: '…@a.example', to: '…@a.example, …@b.example', subject: 's' })
    const redacted = redactor.failure(report)
    expect(redacted).toMatchObject({ original_mail_from: '…@linden.example', original_rcpt_to: '…@people.example' })
    expect(redacted.from).toBe('…@linden.example')
    expect(redactor.detail('From <anna@a.example> is "b c"@b.example.')).toBe('From <…@a.example> is …@b.example.')
    expect(redactor.warnings([{ code: 'implausible_period', detail: 'of a@a.example' }])[0]!.detail).toBe(
      'of …@a.example',
    )
  })

  test('subjects and samples these are left out', () => {
    expect(new Redactor(['subjects']).mail(fields)).toEqual({ ...fields, subject: null })
    expect(new Redactor(['subjects']).failure(report)).toEqual({ ...report, subject: null })
    const { from, subject, message_id, original_rcpt_to } = new Redactor(['samples']).failure(report)
    expect({ from, subject, message_id }).toEqual({ from: null, subject: null, message_id: null })
    expect(original_rcpt_to).toBe(report.original_rcpt_to)
  })
})

test('what is left out is part of the version, in whatever order it was set', () => {
  expect(readerVersion([])).toBe(readerVersion([]).split('+')[0])
  expect(readerVersion(['subjects', 'local-parts'])).toBe(`${readerVersion([])}+local-parts+subjects`)
})
