/** IP addresses in the one form that mailtrail stores: dotted IPv4, IPv6 by RFC 5952, IPv4-mapped IPv6 as IPv4. */

export interface NormalAddress {
  /** The address, or the text as it came (trimmed) when it is none. */
  readonly address: string
  readonly valid: boolean
}

/**
 * Normalises an address. Brackets around it (RFC 5321 §4.1.3) are taken off, `IPv6:` too. Numbers with leading zeros
 * are no IPv4 address: some read them as octal.
 */
export function normaliseAddress(text: string): NormalAddress {
  if (isIPv4(text)) return { address: text, valid: true }
  const trimmed = text.trim()
  const bare = trimmed.startsWith('[') ? trimmed.replace(/^\[(?:ipv6:)?(.*)\]$/i, '$1') : trimmed
  if (isIPv4(bare)) return { address: bare, valid: true }
  const groups = bare.length <= 45 ? parseIPv6(bare) : null
  return groups === null ? { address: trimmed, valid: false } : { address: formatIPv6(groups), valid: true }
}

function isIPv4(text: string): boolean {
  const length = text.length
  if (length < 7 || length > 15) return false
  let dots = 0
  let digits = 0
  let value = 0
  for (let i = 0; i < length; i++) {
    const c = text.charCodeAt(i)
    if (c >= 0x30 && c <= 0x39) {
      if (digits > 0 && value === 0) return false
      value = value * 10 + c - 0x30
      if (value > 255) return false
      digits++
    } else {
      if (c !== 0x2e || digits === 0) return false
      dots++
      digits = 0
      value = 0
    }
  }
  return dots === 3 && digits > 0
}

const hexValue = (c: number): number =>
  c >= 0x30 && c <= 0x39 ? c - 0x30 : c >= 0x61 && c <= 0x66 ? c - 0x57 : c >= 0x41 && c <= 0x46 ? c - 0x37 : -1

/** The eight 16-bit groups of an IPv6 address (RFC 4291 §2.2), or null. */
function parseIPv6(text: string): number[] | null {
  const groups: number[] = []
  let gap = -1
  let i = 0
  if (text.startsWith('::')) {
    gap = 0
    i = 2
  }
  while (i < text.length) {
    const start = i
    let value = 0
    for (let digit = 0; i < text.length && i - start < 4; i++) {
      digit = hexValue(text.charCodeAt(i))
      if (digit === -1) break
      value = value * 16 + digit
    }
    const next = text.charCodeAt(i)
    if (next === 0x2e) {
      // The last 32 bits in dotted form (RFC 4291 §2.2.3).
      const tail = text.slice(start)
      if (!isIPv4(tail)) return null
      const [a, b, c, d] = tail.split('.').map(Number)
      groups.push(a! * 256 + b!, c! * 256 + d!)
      break
    }
    if (i === start || groups.length === 8) return null
    groups.push(value)
    if (i === text.length) break
    if (next !== 0x3a || i + 1 === text.length) return null
    i++
    if (text.charCodeAt(i) === 0x3a) {
      if (gap !== -1) return null
      gap = groups.length
      i++
    }
  }
  if (gap === -1) return groups.length === 8 ? groups : null
  if (groups.length > 7) return null
  const missing = new Array<number>(8 - groups.length).fill(0)
  return [...groups.slice(0, gap), ...missing, ...groups.slice(gap)]
}

/** RFC 5952 §4; an address in ::ffff:0:0/96 is written as the IPv4 address that it stands for. */
function formatIPv6(groups: readonly number[]): string {
  if (groups[5] === 0xffff && (groups[0]! | groups[1]! | groups[2]! | groups[3]! | groups[4]!) === 0) {
    return `${groups[6]! >> 8}.${groups[6]! & 255}.${groups[7]! >> 8}.${groups[7]! & 255}`
  }
  let start = -1
  let longest = 1
  for (let i = 0; i < 8; i++) {
    let run = 0
    while (i + run < 8 && groups[i + run] === 0) run++
    if (run > longest) {
      start = i
      longest = run
    }
    i += run
  }
  let text = ''
  for (let i = 0; i < 8; i++) {
    if (i === start) {
      text += '::'
      i += longest - 1
    } else text += (i === 0 || text.endsWith('::') ? '' : ':') + groups[i]!.toString(16)
  }
  return text
}
