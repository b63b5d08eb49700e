import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { addDays, dayOf, intervalStart, intervalStarts, startOfDay, timeRange } from '../../api/time-range.ts'

const now = new Date('2026-11-21T00:30:00.000Z')
const anyDay = fc.integer({ min: 0, max: 60_000 }).map((days) => addDays('1970-01-01', days))

describe('the range of a read', () => {
  test.each([
    [{}, '2026-10-23', '2026-11-21'],
    [{ from: '2026-11-01' }, '2026-11-01', '2026-11-21'],
    [{ to: '2026-11-01' }, '2026-10-03', '2026-11-01'],
    [{ from: '2026-12-01' }, '2026-12-01', '2026-12-01'],
    [{ from: '1900-01-01', to: '2900-01-01' }, '1970-01-01', '2149-06-06'],
    [{ to: '1970-01-02' }, '1970-01-01', '1970-01-02'],
  ])('%o is %s to %s', (asked, from, to) => {
    expect(timeRange(asked, now)).toEqual({ from, to })
  })

  test.each(['2026-02-29', '2026-13-01', '2026-1-1', '20261101', '2026-11-01T00:00:00Z', '', 'today', '+2026-11-01'])(
    '%s is no day',
    (day) => {
      expect(() => timeRange({ from: day }, now)).toThrow(
        expect.objectContaining({ code: 'day_invalid', field: 'from' }),
      )
    },
  )
})

describe('intervals', () => {
  test('weeks start on Monday', () => {
    fc.assert(
      fc.property(anyDay, (day) => {
        const start = intervalStart(day, 'week')
        expect(new Date(startOfDay(start)).getUTCDay()).toBe(1)
        expect(start <= day && day < addDays(start, 7)).toBe(true)
      }),
    )
  })

  test('each day of a range lies in exactly one of its intervals, and there are no others', () => {
    fc.assert(
      fc.property(
        anyDay,
        fc.integer({ min: 0, max: 800 }),
        fc.constantFrom('day' as const, 'week' as const, 'month' as const),
        (from, length, interval) => {
          const days = Array.from({ length: length + 1 }, (_, i) => addDays(from, i))
          const starts = intervalStarts({ from, to: days.at(-1)! }, interval)
          expect(starts).toEqual([...new Set(days.map((day) => intervalStart(day, interval)))])
        },
      ),
      { numRuns: 50 },
    )
  })

  test('days are UTC, whatever the time zone', () => {
    expect(dayOf(new Date('2026-11-21T23:59:59.999Z'))).toBe('2026-11-21')
    expect(addDays('2026-03-28', 1)).toBe('2026-03-29')
  })
})
