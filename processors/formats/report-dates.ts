/** Begin and end of reports: seconds since 1970, or RFC 3339, or what comes close enough to leave no doubt. */

/** Seconds since 1970 of a report's bounds; the upper one is 2106-02-07T06:28:15Z, the end of 32 bits. */
export const MAX_SECONDS = 0xffff_ffff

export interface ReadDate {
  /** Seconds since 1970 UTC, whole. */
  readonly seconds: number
  /** The text was in the form that the standard asks for. */
  readonly standard: boolean
}

const within = (seconds: number, standard: boolean): ReadDate | null =>
  seconds >= 0 && seconds <= MAX_SECONDS ? { seconds, standard } : null

/**
 * Seconds since 1970, as aggregate reports give them. Fractions are cut. Thirteen digits are milliseconds: as seconds they
 * would lie 30,000 years ahead. Dates of `readDateTime` are read, too. Null when it is none of these or out of range.
 */
export function readSeconds(text: string): ReadDate | null {
  if (/^[0-9]{1,10}$/.test(text)) return within(Number(text), true)
  if (/^[0-9]{13}$/.test(text)) return within(Math.floor(Number(text) / 1000), false)
  const fraction = /^([0-9]{1,10})\.[0-9]*$/.exec(text)
  if (fraction !== null) return within(Number(fraction[1]), false)
  const date = readDateTime(text)
  return date === null ? null : { ...date, standard: false }
}

const dateTime =
  /^(\d{4})-(\d{2})-(\d{2})(?:[T ](\d{2}):(\d{2})(?::(\d{2})(?:[.,]\d+)?)?)? ?(Z|UTC|GMT|[+-](?:[01]\d|2[0-3]):?[0-5]\d)?$/i

/** A date-time of RFC 3339; one without zone is UTC (Microsoft), one without time is midnight. Null when it is none. */
export function readDateTime(text: string): ReadDate | null {
  const parts = dateTime.exec(text)
  if (parts === null) return null
  const [year, month, day, hour, minute, second] = parts.slice(1, 7).map((part) => Number(part ?? 0))
  const midnight = Date.UTC(year!, month! - 1, day!)
  const date = new Date(midnight)
  if (date.getUTCMonth() !== month! - 1 || date.getUTCDate() !== day) return null
  // 24:00:00 and second 60 exist (ISO 8601, RFC 3339 §5.7).
  if (hour! > 24 || minute! > 59 || second! > 60 || (hour === 24 && (minute !== 0 || second !== 0))) return null
  const zone = /^([+-])(\d{2}):?(\d{2})$/.exec(parts[7] ?? '')
  const shift = zone === null ? 0 : (zone[1] === '-' ? -1 : 1) * (Number(zone[2]) * 60 + Number(zone[3])) * 60
  const standard = parts[4] !== undefined && parts[6] !== undefined && parts[7] !== undefined && /t/i.test(text)
  return within(midnight / 1000 + hour! * 3600 + minute! * 60 + second! - shift, standard)
}
