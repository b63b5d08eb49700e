/**
 * Network and country of an address, offline, from two data packages whose versions go into every observation:
 * `@ip-location-db/asn` (CC BY 4.0, see NOTICE) and `@ip-location-db/geo-whois-asn-country-mmdb` (CC0).
 */
import { constants } from 'node:fs'
import { access, mkdir, readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, extname, join } from 'node:path'
import { Worker } from 'node:worker_threads'
import asnPackage from '@ip-location-db/asn/package.json' with { type: 'json' }
import countryPackage from '@ip-location-db/geo-whois-asn-country-mmdb/package.json' with { type: 'json' }
import { type AddressTables, decodeTables } from './address-tables.ts'
import { isGlobal, readAddress } from './address-words.ts'
import type { BuildRequest } from './build-address-tables.ts'
import { upperHalves, valueOfIPv4, valueOfIPv6 } from './range-table.ts'

export interface AddressFacts {
  /** Number of the autonomous system that announces the address. */
  readonly asn: number | null
  readonly asName: string | null
  /** ISO 3166-1 alpha-2, upper case. */
  readonly country: string | null
}

export interface AddressData {
  /** Names the versions of the data. */
  readonly version: string
  /** All null for what is no address, or none of the public internet. */
  find(address: string): AddressFacts
}

export interface AddressDataOptions {
  /** Where the tables made from the packages are kept when the installation's own folder cannot be written. */
  readonly folder: string
  /** The installation's own folder; default: `.cache` beside the data packages. */
  readonly installed?: string
}

/** Twice what it needs; without a limit the thread takes 250 MB before it collects its garbage. */
const BUILD_MEMORY = { maxOldGenerationSizeMb: 96, maxYoungGenerationSizeMb: 8 }

export const ADDRESS_DATA_VERSION = `asn ${asnPackage.version}, country ${countryPackage.version}`

/** Beside the packages, so that they are made once for an installation and not once for each data folder. */
function besidePackages(): string {
  const asn = createRequire(import.meta.url).resolve('@ip-location-db/asn/package.json')
  return join(dirname(asn), '..', '..', '.cache', 'mailtrail')
}

async function isWritable(folder: string): Promise<boolean> {
  try {
    await mkdir(folder, { recursive: true })
    await access(folder, constants.W_OK)
    return true
  } catch {
    return false // an installation that only its owner may change
  }
}

/**
 * Opens the tables, and makes them first (one or two seconds in a thread of its own) when they are nowhere, are damaged,
 * or were made from other versions of the packages. Rejects when a package is not installed whole.
 */
export async function openAddressData({
  folder,
  installed = besidePackages(),
}: AddressDataOptions): Promise<AddressData> {
  const name = `addresses-${asnPackage.version}-${countryPackage.version}.bin`
  for (const place of [installed, folder]) {
    const there = await readTables(join(place, name))
    if (there !== null) return dataOf(there)
  }
  const path = join((await isWritable(installed)) ? installed : folder, name)
  await buildTables(path)
  const made = await readTables(path)
  if (made === null) throw new Error(`${path} was just written and cannot be read back; check the disk.`)
  return dataOf(made)
}

async function readTables(path: string): Promise<AddressTables | null> {
  try {
    return decodeTables(await readFile(path), ADDRESS_DATA_VERSION)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') return null
    throw error
  }
}

function buildTables(path: string): Promise<void> {
  const require = createRequire(import.meta.url)
  const asn = dirname(require.resolve('@ip-location-db/asn/package.json'))
  const country = dirname(require.resolve('@ip-location-db/geo-whois-asn-country-mmdb/package.json'))
  const workerData: BuildRequest = {
    path,
    version: ADDRESS_DATA_VERSION,
    networks4: join(asn, 'asn-ipv4.csv'),
    networks6: join(asn, 'asn-ipv6.csv'),
    countries4: join(country, 'geo-whois-asn-country-ipv4.mmdb'),
    countries6: join(country, 'geo-whois-asn-country-ipv6.mmdb'),
  }
  const file = new URL(`./build-address-tables${extname(import.meta.url)}`, import.meta.url)
  const worker = new Worker(file, { workerData, execArgv: [], resourceLimits: BUILD_MEMORY })
  return new Promise((resolve, reject) => {
    worker.once('error', reject)
    worker.once('exit', (code) =>
      code === 0 ? resolve() : reject(new Error(`Making the address tables ended with exit code ${code}.`)),
    )
  })
}

const nothing: AddressFacts = { asn: null, asName: null, country: null }

function dataOf(tables: AddressTables): AddressData {
  const words = new Uint32Array(4)
  const names: (string | undefined)[] = []
  const countries = new Map<number, string>()
  const { networks4, networks6, countries4, countries6, numbers, nameEnds } = tables
  const networkUpper = upperHalves(networks4)
  const countryUpper = upperHalves(countries4)
  const bytes = Buffer.from(tables.names.buffer, tables.names.byteOffset, tables.names.length)
  const nameOf = (index: number) => {
    names[index] ??= bytes.toString('utf8', nameEnds[index - 1], nameEnds[index])
    return names[index]
  }
  const countryOf = (value: number) => {
    const known = countries.get(value)
    if (known !== undefined) return known
    const code = String.fromCharCode(value >> 8, value & 255)
    countries.set(value, code)
    return code
  }
  return {
    version: tables.version,
    find(address) {
      const version = readAddress(address, words)
      if (version === 0 || !isGlobal(version, words)) return nothing
      const isIPv4 = version === 4
      const network = isIPv4 ? valueOfIPv4(networks4, networkUpper, words[0]!) : valueOfIPv6(networks6, words)
      const country = isIPv4 ? valueOfIPv4(countries4, countryUpper, words[0]!) : valueOfIPv6(countries6, words)
      if (network === 0 && country === 0) return nothing
      return {
        asn: network === 0 ? null : numbers[network]!,
        asName: network === 0 ? null : nameOf(network) || null,
        country: country === 0 ? null : countryOf(country),
      }
    },
  }
}
