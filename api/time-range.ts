/** The time range of a read: UTC days, both inclusive. */
import { ApiError } from './errors.ts'

export interface TimeRange {
  /** YYYY-MM-DD */
  readonly from: string
  readonly to: string
}

const DAY = 86_400_000
/** Today and the 29 days before. */
const DEFAULT_DAYS = 30
/** What a ClickHouse `Date` holds. */
const FIRST_DAY = '1970-01-01'
const LAST_DAY = '2149-06-06'

/** The range of what has no days, such as a list of rule sets. */
export const ALL_DAYS: TimeRange = { from: FIRST_DAY, to: LAST_DAY }

export function dayOf(instant: number | Date): string {
  return new Date(instant).toISOString().slice(0, 10)
}
export function startOfDay(day: string): number {
  return Date.parse(`${day}T00:00:00.000Z`)
}
export function addDays(day: string, days: number): string {
  return dayOf(startOfDay(day) + days * DAY)
}

function readDay(text: string, field: string): string {
  const instant = /^\d{4}-\d\d-\d\d$/.test(text) ? startOfDay(text) : Number.NaN
  // Date.parse takes 30 February for 2 March in some forms; the day must come out as it went in.
  if (Number.isNaN(instant) || dayOf(instant) !== text) throw new ApiError('day_invalid', { field })
  if (text < FIRST_DAY) return FIRST_DAY
  return text > LAST_DAY ? LAST_DAY : text
}

/** What was asked for, or today and the 29 days before. Throws `day_invalid` and `range_reversed`. */
export function timeRange(asked: { from?: string | undefined; to?: string | undefined }, now: Date): TimeRange {
  const from = asked.from === undefined ? undefined : readDay(asked.from, 'from')
  const today = dayOf(now)
  const to = asked.to === undefined ? (from !== undefined && from > today ? from : today) : readDay(asked.to, 'to')
  const range = { from: from ?? maxDay(addDays(to, 1 - DEFAULT_DAYS), FIRST_DAY), to }
  if (range.from > range.to) throw new ApiError('range_reversed', { field: 'from' })
  return range
}

function maxDay(a: string, b: string): string {
  return a > b ? a : b
}

/** Keeps a table to the range; needs the parameters `from` and `to`. */
export const inRange = 'day BETWEEN {from:Date} AND {to:Date}'

export const intervals = ['day', 'week', 'month'] as const
export type Interval = (typeof intervals)[number]

/** First day of the interval that holds the day: weeks start on Monday, months on the 1st. */
export function intervalStart(day: string, interval: Interval): string {
  if (interval === 'month') return `${day.slice(0, 8)}01`
  if (interval === 'day') return day
  const weekday = (new Date(startOfDay(day)).getUTCDay() + 6) % 7
  return addDays(day, -weekday)
}

/** More steps than this make an answer that nobody reads; 20,000 days are 54 years. */
const MAX_STEPS = 20_000

/** The starts of all intervals that touch the range, in order. Throws `range_too_long`. */
export function intervalStarts(range: TimeRange, interval: Interval): string[] {
  const starts: string[] = []
  let start = intervalStart(range.from, interval)
  while (start <= range.to) {
    if (starts.length === MAX_STEPS) throw new ApiError('range_too_long', { field: 'interval' })
    starts.push(start)
    start = nextStart(start, interval)
  }
  return starts
}

function nextStart(start: string, interval: Interval): string {
  if (interval === 'day') return addDays(start, 1)
  if (interval === 'week') return addDays(start, 7)
  return intervalStart(addDays(start, 31), 'month')
}
