/** Addresses as numbers: what tables of ranges are searched by. */

/** Where `readAddress` puts its result: one word of an IPv4 address, four of an IPv6 address, the highest first. */
export type AddressWords = Uint32Array

const DOT = 0x2e
const COLON = 0x3a

/**
 * Reads an address in the form that is stored (dotted IPv4 without leading zeros, IPv6 by RFC 4291 §2.2) into `words`.
 * IPv4-mapped IPv6 counts as IPv4. Answers 4 or 6, or 0 when it is no address; then `words` means nothing.
 */
export function readAddress(text: string, words: AddressWords): 0 | 4 | 6 {
  if (readIPv4(text, 0, words, 0)) return 4
  if (text.length > 45 || !readIPv6(text, words)) return 0
  if (words[0] !== 0 || words[1] !== 0 || words[2] !== 0xffff) return 6
  words[0] = words[3]!
  return 4
}

/** Reads `text` from `from` to its end as dotted IPv4 into `words[at]`. */
function readIPv4(text: string, from: number, words: AddressWords, at: number): boolean {
  const { length } = text
  if (length - from < 7 || length - from > 15) return false
  let address = 0
  let dots = 0
  let digits = 0
  let value = 0
  for (let i = from; i < length; i++) {
    const c = text.charCodeAt(i)
    if (c >= 0x30 && c <= 0x39) {
      // A leading zero means octal to some readers, so it is no address to us.
      if (digits > 0 && value === 0) return false
      value = value * 10 + c - 0x30
      if (value > 255) return false
      digits++
    } else {
      if (c !== DOT || digits === 0) return false
      address = (address << 8) | value
      dots++
      digits = 0
      value = 0
    }
  }
  if (dots !== 3 || digits === 0) return false
  words[at] = (address << 8) | value
  return true
}

const groups = new Uint16Array(8)

function readIPv6(text: string, words: AddressWords): boolean {
  let count = 0
  let gap = -1
  let i = 0
  if (text.startsWith('::')) {
    gap = 0
    i = 2
  }
  while (i < text.length) {
    const start = i
    let value = 0
    for (; i < text.length && i - start < 4; i++) {
      const digit = Number.parseInt(text[i]!, 16)
      if (Number.isNaN(digit)) break
      value = value * 16 + digit
    }
    const next = i < text.length ? text.charCodeAt(i) : -1
    if (next === DOT) {
      // The last 32 bits in dotted form, RFC 4291 §2.2.3.
      if (count > 6 || !readIPv4(text, start, words, 0)) return false
      groups[count++] = words[0]! >>> 16
      groups[count++] = words[0]! & 0xffff
      break
    }
    if (i === start || count === 8) return false
    groups[count++] = value
    if (next === -1) break
    if (next !== COLON || i + 1 === text.length) return false
    i++
    if (text.charCodeAt(i) !== COLON) continue
    if (gap !== -1) return false
    gap = count
    i++
  }
  if (gap === -1 ? count !== 8 : count > 7) return false
  if (gap !== -1) {
    groups.copyWithin(8 - (count - gap), gap, count)
    groups.fill(0, gap, 8 - (count - gap))
  }
  for (let word = 0; word < 4; word++) words[word] = (groups[2 * word]! << 16) | groups[2 * word + 1]!
  return true
}

/** Ranges that no network announces and no register assigns to anybody: [first word, prefix bits]. RFC 6890, RFC 5737. */
const notGlobalIPv4: readonly (readonly [number, number])[] = [
  [0x00000000, 8],
  [0x0a000000, 8],
  [0x64400000, 10],
  [0x7f000000, 8],
  [0xa9fe0000, 16],
  [0xac100000, 12],
  [0xc0000000, 24],
  [0xc0000200, 24],
  [0xc0a80000, 16],
  [0xc6120000, 15],
  [0xc6336400, 24],
  [0xcb007100, 24],
  [0xe0000000, 3],
]
const masks = notGlobalIPv4.map(([, bits]) => (0xffffffff << (32 - bits)) >>> 0)

/** Whether the address is of the public internet: private, shared, documentation and multicast addresses are not. */
export function isGlobal(version: 4 | 6, words: AddressWords): boolean {
  const first = words[0]!
  if (version === 4) {
    for (let i = 0; i < masks.length; i++) if ((first & masks[i]!) >>> 0 === notGlobalIPv4[i]![0]) return false
    return true
  }
  // RFC 4291 §2.4: global unicast is 2000::/3; out of it the documentation prefixes of RFC 3849 and RFC 9637.
  return first >>> 29 === 1 && first !== 0x20010db8 && first >>> 12 !== 0x3fff0
}
