/** Domain names as mailtrail stores them: lower case, no trailing dot, IDNA A-labels. */
import { domainToASCII } from 'node:url'

const isPlain = (c: number): boolean =>
  (c >= 0x61 && c <= 0x7a) || c === 0x2e || c === 0x2d || (c >= 0x30 && c <= 0x39) || c === 0x5f

const isAscii = (text: string): boolean => !/[^\p{ASCII}]/u.test(text)

/**
 * Normalises a domain name; what is none is kept in lower case, because a report counts for the name that it gives.
 * @returns null when there is nothing but white space and one dot
 */
export function normaliseDomain(text: string): string | null {
  const length = text.length
  let plain = 0
  while (plain < length && isPlain(text.charCodeAt(plain))) plain++
  if (plain === length && length > 0 && text.charCodeAt(length - 1) !== 0x2e) return text
  const trimmed = text.trim().toLowerCase()
  const name = trimmed.endsWith('.') ? trimmed.slice(0, -1) : trimmed
  if (name === '') return null
  if (isAscii(name)) return name
  const ascii = domainToASCII(name)
  return ascii === '' ? name : ascii.endsWith('.') ? ascii.slice(0, -1) : ascii
}
