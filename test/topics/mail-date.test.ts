import { expect, test } from 'vitest'
import { readMailDate } from '../../topics/mail-date.ts'

test.each([
  ['the standard form', 'Thu, 01 Oct 2026 04:05:06 +0200', '2026-10-01T02:05:06Z'],
  ['a comment after the zone', 'Mon, 1 Oct 2018 11:20:27 +0200 (CEST)', '2018-10-01T09:20:27Z'],
  ['nested comments', 'Mon, 1 Oct 2018 (a (b) c) 11:20:27 +0200', '2018-10-01T09:20:27Z'],
  ['a year of two digits, no seconds', '01 Oct 18 11:20 -0000', '2018-10-01T11:20:00Z'],
  ['a year of the last century', '1 Oct 98 11:20 GMT', '1998-10-01T11:20:00Z'],
  ['a zone by name', 'Thu, 01 Oct 2026 00:00:00 EST', '2026-10-01T05:00:00Z'],
  ['no zone, which is UTC', 'Tue, 30 Apr 2019 02:09:00', '2019-04-30T02:09:00Z'],
  ['hyphens and a full day name', 'Thursday, 01-Oct-2026 00:00:00 GMT', '2026-10-01T00:00:00Z'],
  ['an offset after GMT', 'Fri, 28 Sep 2018 16:48:42 GMT+0800', '2018-09-28T08:48:42Z'],
  ['a leap second', 'Sat, 31 Dec 2016 23:59:60 +0000', '2016-12-31T23:59:59Z'],
  ['asctime', 'Fri Jul  5 14:25:00 2022', '2022-07-05T14:25:00Z'],
  ['asctime with a zone in front of the year', 'Mon Apr 01 12:34:56 +0100 2024', '2024-04-01T11:34:56Z'],
  ['asctime with a zone after the year', 'Mon Apr 01 12:34:56 2024 +0100', '2024-04-01T11:34:56Z'],
  ['ISO 8601', '2026-10-01T01:00:00+01:00', '2026-10-01T00:00:00Z'],
  ['what Go prints', '2018-09-28 08:48:36.858842501 +0000 UTC m=+1856335.5', '2018-09-28T08:48:36Z'],
])('reads %s', (_, text, instant) => {
  expect(readMailDate(text)).toBe(instant)
})

test.each([
  '',
  'yesterday',
  '31 Feb 2020 00:00 +0000',
  'Mon, 1 Oct 2018 24:20:27 +0200',
  '1 Foo 2020 00:00:00 +0000',
  '('.repeat(10_000),
])('%j is no date', (text) => {
  expect(readMailDate(text)).toBeNull()
})
