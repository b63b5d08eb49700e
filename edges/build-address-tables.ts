/**
 * Makes the tables of `address-tables.ts` out of the data packages and writes them to a file. Runs as a worker thread:
 * it takes a second or two and needs memory that is given back when the thread ends.
 */
import { randomUUID } from 'node:crypto'
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { isMainThread, workerData } from 'node:worker_threads'
import { Reader } from 'mmdb-lib'
import { encodeTables } from './address-tables.ts'
import { type AddressWords, readAddress } from './address-words.ts'
import { compareWords, increment, type RangeTable, RangeTableBuilder } from './range-table.ts'

export interface BuildRequest {
  /** Where the file goes; it is whole or not there. */
  readonly path: string
  readonly version: string
  /** `FIRST,LAST,NUMBER,NAME` with addresses as text, ascending; both ends belong to the range. */
  readonly networks4: string
  readonly networks6: string
  /** MaxMind DB of `country_code`, one for each version of IP. */
  readonly countries4: string
  readonly countries6: string
}

/** Names of autonomous systems are cut here: they go into every event. */
const MAX_NAME = 128

/** Autonomous systems, each pair of number and name once; index 0 stands for none. */
class Networks {
  readonly #index = new Map<string, number>()
  readonly #numbers = [0]
  readonly #ends = [0]
  readonly #names: Buffer[] = []
  #bytes = 0

  indexOf(rest: string): number {
    const known = this.#index.get(rest)
    if (known !== undefined) return known
    const comma = rest.indexOf(',')
    const name = Buffer.from(cleanName(rest.slice(comma + 1)))
    this.#numbers.push(Number(rest.slice(0, comma)))
    this.#names.push(name)
    this.#bytes += name.length
    const index = this.#ends.push(this.#bytes) - 1
    this.#index.set(rest, index)
    return index
  }

  build() {
    return {
      numbers: Uint32Array.from(this.#numbers),
      nameEnds: Uint32Array.from(this.#ends),
      names: Buffer.concat(this.#names),
    }
  }
}

/** Takes CSV's quotes off (RFC 4180 §2), and what is not printed. */
function cleanName(field: string): string {
  const quoted = /^"(.*)"\s*$/s.exec(field)
  const text = quoted === null ? field : quoted[1]!.replaceAll('""', '"')
  return text
    .replace(/[\p{Cc}\p{Cf}]/gu, ' ')
    .replace(/\s+/g, ' ')
    .trim()
    .slice(0, MAX_NAME)
}

/** Ranges may overlap (one pair of 515,000 does): from its first address on, the later one holds. */
function readNetworks(path: string, width: 1 | 4, networks: Networks): RangeTable {
  const file = readFileSync(path)
  const builder = new RangeTableBuilder(width)
  const version = width === 1 ? 4 : 6
  const first: AddressWords = new Uint32Array(4)
  const behind: AddressWords = new Uint32Array(4)
  let isOpen = false
  for (let at = 0; at < file.length; ) {
    const newline = file.indexOf(0x0a, at)
    const end = newline === -1 ? file.length : newline
    const line = file.toString('utf8', at, end)
    at = end + 1
    if (line === '') continue
    const comma = line.indexOf(',')
    const second = line.indexOf(',', comma + 1)
    const isRange = readAddress(line.slice(0, comma), first) === version
    if (isRange && isOpen && compareWords(behind, first, width) < 0) builder.from(behind, 0)
    if (!isRange || readAddress(line.slice(comma + 1, second), behind) !== version)
      throw new Error(`${path} has a line that is no range of addresses: ${line.slice(0, 100)}`)
    builder.from(first, networks.indexOf(line.slice(second + 1).trimEnd()))
    isOpen = increment(behind, width)
  }
  if (isOpen) builder.from(behind, 0)
  return builder.build()
}

const isCountry = (code: string | undefined): code is string => code !== undefined && /^[A-Z]{2}$/.test(code)

/** Walks the tree from one network to the one behind it. */
function readCountries(path: string, width: 1 | 4): RangeTable {
  const reader = new Reader<never>(readFileSync(path))
  const builder = new RangeTableBuilder(width)
  const words: AddressWords = new Uint32Array(4)
  const bits = width * 32
  for (let more = true; more; ) {
    const [found, prefix] = reader.getWithPrefixLength(textOf(words, width))
    const code = (found as { readonly country_code?: string } | null)?.country_code
    builder.from(words, isCountry(code) ? code.charCodeAt(0) * 256 + code.charCodeAt(1) : 0)
    more = prefix > 0 && skipNetwork(words, prefix, bits)
  }
  return builder.build()
}

/** Moves to the first address behind the network; false when there is none. */
function skipNetwork(words: AddressWords, prefix: number, bits: number): boolean {
  const last = (prefix - 1) >> 5
  words[last] = (words[last]! + 2 ** (31 - ((prefix - 1) & 31))) >>> 0
  for (let i = last + 1; i < bits / 32; i++) words[i] = 0
  for (let i = last; words[i] === 0; i--) {
    if (i === 0) return false
    words[i - 1] = (words[i - 1]! + 1) >>> 0
  }
  return true
}

function textOf(words: AddressWords, width: 1 | 4): string {
  const hex = (i: number) => `${(words[i]! >>> 16).toString(16)}:${(words[i]! & 0xffff).toString(16)}`
  const a = words[0]!
  return width === 1
    ? `${a >>> 24}.${(a >>> 16) & 255}.${(a >>> 8) & 255}.${a & 255}`
    : `${hex(0)}:${hex(1)}:${hex(2)}:${hex(3)}`
}

/** Reads the packages and writes the file. Throws when they are not as they should be. */
function build({ path, version, ...sources }: BuildRequest): void {
  const networks = new Networks()
  const networks4 = readNetworks(sources.networks4, 1, networks)
  const networks6 = readNetworks(sources.networks6, 4, networks)
  const countries4 = readCountries(sources.countries4, 1)
  const countries6 = readCountries(sources.countries6, 4)
  const file = encodeTables({ version, networks4, networks6, countries4, countries6, ...networks.build() })
  mkdirSync(dirname(path), { recursive: true })
  const beside = `${path}.${randomUUID()}.tmp`
  try {
    writeFileSync(beside, file)
    renameSync(beside, path)
  } catch (error) {
    rmSync(beside, { force: true })
    throw error
  }
}

if (!isMainThread) build(workerData as BuildRequest)
