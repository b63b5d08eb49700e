/** Conversions that several tables share: days and addresses. */

const DAY_MILLISECONDS = 86_400_000
/** `Date` is a UInt16: 1970-01-01 to 2149-06-06. */
const LAST_DAY = 65_535

/** Days that were read lately: events of a day come in runs, and reading one costs as much as a record. */
const dayNumbers = new Map<string, number>()
const MAX_DAYS_KEPT = 1000

/** `YYYY-MM-DD` to days since 1970, held within what ClickHouse's Date can say. Throws on anything else. */
export function dayNumber(day: string): number {
  const known = dayNumbers.get(day)
  if (known !== undefined) return known
  const number = readDay(day)
  if (dayNumbers.size >= MAX_DAYS_KEPT) dayNumbers.clear()
  dayNumbers.set(day, number)
  return number
}

function readDay(day: string): number {
  const days = Math.floor(Date.parse(`${day}T00:00:00Z`) / DAY_MILLISECONDS)
  if (Number.isNaN(days)) throw new Error(`Expected a day as YYYY-MM-DD and got ${JSON.stringify(day)}.`)
  return Math.min(Math.max(days, 0), LAST_DAY)
}

/** UTC day of an instant in milliseconds, as days since 1970. */
export function dayOfInstant(milliseconds: number): number {
  return Math.min(Math.max(Math.floor(milliseconds / DAY_MILLISECONDS), 0), LAST_DAY)
}

/**
 * Writes an address as 16 bytes (IPv4 as ::ffff:a.b.c.d) to `target` at `at`.
 * Returns false, with zeros written, when `text` is no address.
 */
export function parseAddress(text: string, target: Uint8Array, at: number): boolean {
  target.fill(0, at, at + 16)
  const valid = text.includes(':') ? parseIpv6(text, target, at) : parseIpv4(text, 0, target, at + 12)
  if (!valid) {
    target.fill(0, at, at + 16)
  } else if (!text.includes(':')) {
    target[at + 10] = 0xff
    target[at + 11] = 0xff
  }
  return valid
}

const DOT = 46
const ZERO = 48
const COLON = 58

/** Dotted decimal without leading zeros from `from` to the end of the text. */
function parseIpv4(text: string, from: number, target: Uint8Array, at: number): boolean {
  let part = 0
  let value = 0
  let digits = 0
  for (let index = from; index <= text.length; index++) {
    const code = index === text.length ? DOT : text.charCodeAt(index)
    if (code === DOT) {
      if (digits === 0 || part === 4) return false
      target[at + part++] = value
      value = 0
      digits = 0
    } else {
      const digit = code - ZERO
      if (digit < 0 || digit > 9 || (digits > 0 && value === 0)) return false
      value = value * 10 + digit
      digits++
      if (value > 255) return false
    }
  }
  return part === 4
}

function hexDigit(code: number): number {
  if (code >= 48 && code <= 57) return code - 48
  const lower = code | 32
  return lower >= 97 && lower <= 102 ? lower - 87 : -1
}

/** RFC 4291 §2.2, the three text forms; no zone. */
function parseIpv6(text: string, target: Uint8Array, at: number): boolean {
  let written = 0
  let gap = -1
  let index = 0
  if (text.charCodeAt(0) === COLON) {
    if (text.charCodeAt(1) !== COLON) return false
    gap = 0
    index = 2
  }
  while (index < text.length) {
    const start = index
    let value = 0
    while (index < text.length && index - start < 5) {
      const digit = hexDigit(text.charCodeAt(index))
      if (digit < 0) break
      value = value * 16 + digit
      index++
    }
    if (text.charCodeAt(index) === DOT) {
      if (written > 12 || !parseIpv4(text, start, target, at + written)) return false
      written += 4
      index = text.length
      break
    }
    if (index === start || index - start > 4 || written > 14) return false
    target[at + written++] = value >> 8
    target[at + written++] = value & 255
    if (index === text.length) break
    if (text.charCodeAt(index++) !== COLON) return false
    if (text.charCodeAt(index) === COLON) {
      if (gap >= 0) return false
      gap = written
      index++
    } else if (index === text.length) return false
  }
  if (gap < 0) return written === 16
  if (written > 14) return false
  target.copyWithin(at + 16 - (written - gap), at + gap, at + written)
  target.fill(0, at + gap, at + 16 - (written - gap))
  return true
}
