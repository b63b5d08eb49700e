/** Ranges of addresses: reading them, and finding what covers an address. */

/**
 * An address or bound: of IPv4 a number, of IPv6 its 32 hexadecimal digits. Both compare with `<`, each with its kind.
 */
export type AddressKey = number | string

export interface AddressRange {
  readonly first: AddressKey
  readonly last: AddressKey
  /** `192.0.2.0/24`, `2001:db8::/32`: normalised, the bits behind the prefix zero. */
  readonly text: string
  /** The range as it was written had bits behind the prefix that are not zero. */
  readonly hadHostBits: boolean
}

/** The IPv4 address as a number, or -1. Leading zeros are refused: some read them as octal. */
function parseIPv4(text: string): number {
  let address = 0
  let dots = 0
  let digits = 0
  let value = 0
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i)
    if (c >= 0x30 && c <= 0x39) {
      if (digits > 0 && value === 0) return -1
      value = value * 10 + c - 0x30
      if (value > 255) return -1
      digits++
    } else {
      if (c !== 0x2e || digits === 0 || dots === 3) return -1
      address = address * 256 + value
      dots++
      digits = 0
      value = 0
    }
  }
  return dots === 3 && digits > 0 ? address * 256 + value : -1
}

/** The 32 hexadecimal digits of an IPv6 address (RFC 4291 §2.2), or null. */
function parseIPv6(text: string): string | null {
  if (text.length > 45) return null
  const halves = text.toLowerCase().split('::')
  if (halves.length > 2) return null
  const [head, tail] = halves.map((half) => (half === '' ? [] : half.split(':')))
  const parts = [...head!, ...(tail ?? [])]
  const last = parts.at(-1)
  if (last?.includes('.')) {
    // The last 32 bits in dotted form (RFC 4291 §2.2.3).
    const ipv4 = parseIPv4(last)
    if (ipv4 < 0) return null
    const end = tail !== undefined && tail.length > 0 ? tail : head!
    if (tail !== undefined && tail.length === 0) return null
    end.splice(-1, 1, (ipv4 >>> 16).toString(16), (ipv4 & 0xffff).toString(16))
  }
  const groups = head!.length + (tail?.length ?? 0)
  if (tail === undefined ? groups !== 8 : groups > 7) return null
  const zeros = new Array<string>(8 - groups).fill('0')
  let digits = ''
  for (const group of [...head!, ...zeros, ...(tail ?? [])]) {
    if (!/^[0-9a-f]{1,4}$/.test(group)) return null
    digits += group.padStart(4, '0')
  }
  return digits
}

const MAPPED = '00000000000000000000ffff'

/** The address, IPv4-mapped IPv6 as IPv4, or null when the text is none. */
export function parseAddress(text: string): AddressKey | null {
  if (!text.includes(':')) {
    const ipv4 = parseIPv4(text)
    return ipv4 < 0 ? null : ipv4
  }
  const digits = parseIPv6(text)
  if (digits === null) return null
  return digits.startsWith(MAPPED) ? Number.parseInt(digits.slice(24), 16) : digits
}

/** A range as `ADDRESS/PREFIX`, or one address; null when the text is neither. */
export function readRange(text: string): AddressRange | null {
  const [address = '', prefix, ...more] = text.trim().split('/')
  if (more.length > 0 || (prefix !== undefined && !/^(?:0|[1-9]\d{0,2})$/.test(prefix))) return null
  if (!address.includes(':')) return ipv4Range(parseIPv4(address), prefix === undefined ? 32 : Number(prefix))
  const digits = parseIPv6(address)
  if (digits === null) return null
  const bits = prefix === undefined ? 128 : Number(prefix)
  if (digits.startsWith(MAPPED) && bits >= 96) return ipv4Range(Number.parseInt(digits.slice(24), 16), bits - 96)
  return bits > 128 ? null : ipv6Range(digits, bits)
}

function ipv4Range(address: number, bits: number): AddressRange | null {
  if (address < 0 || bits > 32) return null
  const size = 2 ** (32 - bits)
  const first = address - (address % size)
  const text = `${first >>> 24}.${(first >>> 16) & 255}.${(first >>> 8) & 255}.${first & 255}/${bits}`
  return { first, last: first + size - 1, text, hadHostBits: first !== address }
}

function ipv6Range(digits: string, bits: number): AddressRange {
  const address = BigInt(`0x${digits}`)
  const host = (1n << BigInt(128 - bits)) - 1n
  const first = address & ~host
  const hex = (value: bigint) => value.toString(16).padStart(32, '0')
  return {
    first: hex(first),
    last: hex(first | host),
    text: `${formatIPv6(hex(first))}/${bits}`,
    hadHostBits: first !== address,
  }
}

/** RFC 5952 §4. */
function formatIPv6(digits: string): string {
  const groups = Array.from({ length: 8 }, (_, i) => Number.parseInt(digits.slice(i * 4, i * 4 + 4), 16))
  let start = -1
  let longest = 1
  for (let i = 0; i < 8; i++) {
    let run = 0
    while (i + run < 8 && groups[i + run] === 0) run++
    if (run > longest) {
      start = i
      longest = run
    }
  }
  const hex = groups.map((group) => group.toString(16))
  return start < 0 ? hex.join(':') : `${hex.slice(0, start).join(':')}::${hex.slice(start + longest).join(':')}`
}

/** Whether every address of the one range is in the other. */
export function isWithin(inner: AddressRange, outer: AddressRange): boolean {
  return typeof inner.first === typeof outer.first && inner.first >= outer.first && inner.last <= outer.last
}

/**
 * For each address what covers it. The ranges may overlap; they are cut into pieces that do not, each with the values of
 * all ranges that cover it, so that a look-up is one binary search.
 */
export class RangeIndex {
  readonly #ipv4: Pieces
  readonly #ipv6: Pieces

  /** `values[i]` belongs to `ranges[i]`; what a look-up gives is sorted, each value once. */
  constructor(ranges: readonly AddressRange[], values: readonly number[]) {
    const of = (kind: 'number' | 'string') => {
      const chosen = ranges.map((_, i) => i).filter((i) => typeof ranges[i]!.first === kind)
      return new Pieces(
        chosen.map((i) => ranges[i]!),
        chosen.map((i) => values[i]!),
      )
    }
    this.#ipv4 = of('number')
    this.#ipv6 = of('string')
  }

  /** Of what is no address, nothing. What no range can cover is not parsed; IPv4-mapped IPv6 begins with 0 or `:`. */
  findText(text: string): readonly number[] {
    if ((text.includes(':') ? this.#ipv6 : this.#ipv4).isEmpty && !/^[0:]/.test(text)) return nothing
    const address = parseAddress(text)
    return address === null ? nothing : this.find(address)
  }

  find(address: AddressKey): readonly number[] {
    return (typeof address === 'number' ? this.#ipv4 : this.#ipv6).find(address)
  }
}

const nothing: readonly number[] = []

class Pieces {
  /** First addresses of the pieces, ascending; a piece goes on until the next one begins. */
  readonly #starts: AddressKey[] = []
  readonly #values: (readonly number[])[] = []

  constructor(ranges: readonly AddressRange[], values: readonly number[]) {
    // Prefixes never cross, they nest: sorted so, what covers a piece is a stack.
    const order = ranges
      .map((_, i) => i)
      .sort((a, b) => compare(ranges[a]!.first, ranges[b]!.first) || compare(ranges[b]!.last, ranges[a]!.last))
    const open: number[] = []
    const covering = () => [...new Set(open.map((i) => values[i]!))].sort((a, b) => a - b)
    const begin = (start: AddressKey | null) => {
      if (start === null) return
      if (this.#starts.at(-1) === start) this.#values[this.#values.length - 1] = covering()
      else {
        this.#starts.push(start)
        this.#values.push(covering())
      }
    }
    const closeBefore = (start: AddressKey | null) => {
      while (open.length > 0 && (start === null || ranges[open.at(-1)!]!.last < start)) {
        const { last } = ranges[open.pop()!]!
        begin(after(last))
      }
    }
    for (const i of order) {
      closeBefore(ranges[i]!.first)
      open.push(i)
      begin(ranges[i]!.first)
    }
    closeBefore(null)
  }

  get isEmpty(): boolean {
    return this.#starts.length === 0
  }

  find(address: AddressKey): readonly number[] {
    let low = 0
    let high = this.#starts.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#starts[middle]! <= address) low = middle + 1
      else high = middle
    }
    return low === 0 ? nothing : this.#values[low - 1]!
  }
}

const compare = (a: AddressKey, b: AddressKey): number => (a < b ? -1 : a > b ? 1 : 0)

/** The address behind the given one, null behind the last. */
function after(address: AddressKey): AddressKey | null {
  if (typeof address === 'number') return address === 0xffffffff ? null : address + 1
  const next = BigInt(`0x${address}`) + 1n
  return next >> 128n === 0n ? next.toString(16).padStart(32, '0') : null
}

/** A set of addresses. */
export class RangeSet {
  readonly #index: RangeIndex

  constructor(ranges: readonly AddressRange[]) {
    this.#index = new RangeIndex(
      ranges,
      ranges.map(() => 0),
    )
  }

  /** What is no address is in no range. */
  contains(text: string): boolean {
    return this.#index.findText(text).length > 0
  }
}
