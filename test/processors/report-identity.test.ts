import { expect, test } from 'vitest'
import { placePeriod, submitter } from '../../processors/report-identity.ts'

const at = (text: string) => Date.parse(text) / 1000
const received = Date.parse('2026-11-02T05:00:00Z')

test.each([
  ['whole day, last second', '2026-11-01T00:00:00Z', '2026-11-01T23:59:59Z', '2026-11-01', 1],
  ['whole day, next midnight', '2026-11-01T00:00:00Z', '2026-11-02T00:00:00Z', '2026-11-01', 1],
  ['a local day', '2026-10-31T22:00:00Z', '2026-11-01T22:00:00Z', '2026-11-01', 1],
  ['an instant', '2026-11-01T17:07:12Z', '2026-11-01T17:07:12Z', '2026-11-01', 1],
  ['a week', '2026-10-25T00:00:00Z', '2026-10-31T23:59:59Z', '2026-10-28', 7],
  ['97 hours', '2026-10-28T16:35:00Z', '2026-11-01T17:38:03Z', '2026-10-30', 5],
])('%s belongs to the day of its middle', (_what, begin, end, day, span_days) => {
  expect(placePeriod(at(begin), at(end), received)).toEqual({ day, span_days, implausible_period: false })
})

test('a day 400 days before the mail or 2 days after it is plausible, one more is not', () => {
  const day = (text: string) =>
    placePeriod(at(`${text}T00:00:00Z`), at(`${text}T23:59:59Z`), received).implausible_period
  expect([day('2025-09-28'), day('2025-09-27'), day('2026-11-04'), day('2026-11-05')]).toEqual([
    false,
    true,
    false,
    true,
  ])
})

test('the submitter is org_name in lower case, else the domain of the address, else nothing', () => {
  expect([
    submitter('Mail.Ru', 'x@y.example'),
    submitter(null, 'admin@Accurate.example'),
    submitter(null, null),
    submitter(null, 'nobody'),
  ]).toEqual(['mail.ru', 'accurate.example', '', ''])
})
