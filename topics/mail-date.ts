/**
 * Dates as mail carries them: RFC 5322 §3.3 with its obsolete forms (§4.3), the asctime form of mbox `From ` lines,
 * and ISO 8601. Stands with the topics because both who writes `received-at` and who reads mails must agree on it.
 * No local time: a date without a zone is UTC.
 */

/** Longer texts are no dates; the patterns below never see them. */
const MAX_DATE_LENGTH = 300

const MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec']

/** Minutes east of UTC. The one-letter zones of RFC 822 are of unknown meaning and count as UTC (RFC 5322 §4.3). */
const ZONES: Readonly<Record<string, number>> = {
  EST: -300,
  EDT: -240,
  CST: -360,
  CDT: -300,
  MST: -420,
  MDT: -360,
  PST: -480,
  PDT: -420,
  BST: 60,
  WEST: 60,
  CET: 60,
  MET: 60,
  CEST: 120,
  MEST: 120,
  EET: 120,
  EEST: 180,
  MSK: 180,
  JST: 540,
}

const TIME = String.raw`(\d{1,2})[:.](\d{2})(?:[:.](\d{2})(?:[.,]\d+)?)?`
/** `Thu, 01 Oct 2026 04:05:06 +0000`; day name, seconds and zone may be missing, hyphens may join the date. */
const RFC_5322 = new RegExp(
  String.raw`^(?:[a-z]+\.?,?\s*)?(\d{1,2})[\s-]+([a-z]{3,9})\.?[\s-]+(\d{2,4}),?\s+${TIME}\s*(.*)$`,
  'i',
)
/** `Thu Oct  1 04:05:06 2026`; a zone may stand before or after the year. */
const ASCTIME = new RegExp(
  String.raw`^(?:[a-z]+,?\s+)?([a-z]{3,9})\s+(\d{1,2}),?\s+${TIME}\s+(?:(\S*[a-z+-]\S*)\s+)?(\d{2}|\d{4})(?:\s+(.*))?$`,
  'i',
)
const ISO_8601 = new RegExp(String.raw`^(\d{4})-(\d{2})-(\d{2})(?:[T\s]+${TIME}\s*(.*))?$`, 'i')

/** Takes parenthesised comments out; they nest (RFC 5322 §3.2.2). */
function withoutComments(text: string): string {
  if (!text.includes('(')) return text
  let depth = 0
  let kept = ''
  for (const character of text) {
    if (character === '(') depth++
    else if (character === ')') depth = Math.max(0, depth - 1)
    else if (depth === 0) kept += character
  }
  return kept
}

/** Minutes east of UTC that the text after the time says; what says nothing known is UTC. */
function zoneMinutes(text: string): number {
  const offset = /^(?:GMT|UTC?)?([+-])(\d{1,2}):?(\d{2})(?!\d)/i.exec(text)
  if (offset !== null) {
    const minutes = Number(offset[2]) * 60 + Number(offset[3])
    return offset[1] === '-' ? -minutes : minutes
  }
  return ZONES[/^[a-z]+/i.exec(text)?.[0].toUpperCase() ?? ''] ?? 0
}

/** RFC 5322 §4.3: 00–49 are 2000s, other years of two or three digits count from 1900. */
function fullYear(digits: string): number {
  const year = Number(digits)
  if (digits.length >= 4) return year
  return digits.length === 2 && year < 50 ? 2000 + year : 1900 + year
}

function toIso(
  year: number,
  month: number,
  day: number,
  hour: string | undefined,
  minute: string | undefined,
  second: string | undefined,
  zone: string,
): string | null {
  const [h, m, s] = [Number(hour ?? 0), Number(minute ?? 0), Number(second ?? 0)]
  if (h > 23 || m > 59 || s > 60 || day < 1 || day > daysOf(month, year)) return null
  // A leap second counts as the one before it.
  const local = Date.UTC(year, month, day, h, m, Math.min(s, 59))
  const instant = new Date(local - zoneMinutes(zone) * 60_000)
  return instant.getUTCFullYear() > 9999 ? null : `${instant.toISOString().slice(0, 19)}Z`
}

/** Days of a month (0 is January); 0 when there is no such month, or the year is before 1900, when there was no mail. */
function daysOf(month: number, year: number): number {
  if (year < 1900) return 0
  if (month === 1) return (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0 ? 29 : 28
  return [31, 0, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month] ?? 0
}

/** Instant of a mail's date, `YYYY-MM-DDTHH:MM:SSZ`; null when the text is no date. Fractions of seconds are cut. */
export function readMailDate(text: string): string | null {
  if (text.length > MAX_DATE_LENGTH) return null
  const date = withoutComments(text).trim()
  const standard = RFC_5322.exec(date)
  if (standard !== null) {
    const [, day, month, year, hour, minute, second, zone] = standard
    return toIso(fullYear(year!), monthIndex(month!), Number(day), hour, minute, second, zone!)
  }
  const asctime = ASCTIME.exec(date)
  if (asctime !== null) {
    const [, month, day, hour, minute, second, before, year, after] = asctime
    return toIso(fullYear(year!), monthIndex(month!), Number(day), hour, minute, second, before ?? after ?? '')
  }
  const iso = ISO_8601.exec(date)
  if (iso === null) return null
  const [, year, month, day, hour, minute, second, zone] = iso
  return toIso(Number(year), Number(month) - 1, Number(day), hour, minute, second, zone ?? '')
}

function monthIndex(name: string): number {
  return MONTHS.indexOf(name.slice(0, 3).toLowerCase())
}
