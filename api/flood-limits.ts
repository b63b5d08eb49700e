/**
 * Limits of what is posted: mails and bytes a minute, for each client and for each domain that mail comes from. Anyone may
 * send to a published address; one of them must not fill the disk for all. Off unless the settings say a number.
 */
import { isIPv6 } from 'node:net'
import { ApiError } from './errors.ts'

/** Mails and bytes a minute; a minute's worth may come at once. */
export interface RateLimit {
  readonly mails: number
  readonly bytes: number
}

export interface FloodLimits {
  readonly client: RateLimit | null
  readonly domain: RateLimit | null
}

export const noLimits: FloodLimits = { client: null, domain: null }

/** Who is remembered: a flood of names must not eat the memory. Who was quiet for longest is forgotten first. */
const MAX_KEYS = 10_000
const MINUTE = 60_000

interface Bucket {
  mails: number
  bytes: number
  /** Milliseconds. */
  at: number
}

/** Buckets that fill by themselves: what is taken out comes back within a minute. */
export class Rates {
  readonly #limit: RateLimit
  readonly #buckets = new Map<string, Bucket>()

  constructor(limit: RateLimit) {
    this.#limit = limit
  }

  get size(): number {
    return this.#buckets.size
  }

  /**
   * Takes a mail of so many bytes, or nothing: then the answer is the number of seconds after which it fits; 0 when it was
   * taken. A mail above a minute's bytes fits when nothing else came for a minute.
   */
  take(key: string, bytes: number, now: number): number {
    const { mails: mailLimit, bytes: byteLimit } = this.#limit
    const known = this.#buckets.get(key)
    const passed = known === undefined ? MINUTE : Math.max(0, now - known.at)
    const mails = Math.min(mailLimit, (known?.mails ?? mailLimit) + (passed / MINUTE) * mailLimit)
    const left = Math.min(byteLimit, (known?.bytes ?? byteLimit) + (passed / MINUTE) * byteLimit)
    const wanted = Math.min(bytes, byteLimit)
    const waits = Math.max((1 - mails) / mailLimit, (wanted - left) / byteLimit) * (MINUTE / 1000)
    // One that is asked for again goes to the end of the order in which keys are forgotten.
    this.#buckets.delete(key)
    const isTaken = waits <= 0
    this.#buckets.set(key, { mails: isTaken ? mails - 1 : mails, bytes: isTaken ? left - wanted : left, at: now })
    if (this.#buckets.size > MAX_KEYS) this.#buckets.delete(this.#buckets.keys().next().value!)
    return isTaken ? 0 : Math.ceil(waits)
  }
}

/** A client is its address; of IPv6 the network of 64 bits, of which anyone has as many addresses as he likes. */
export function clientKey(address: string): string {
  if (!isIPv6(address) || address.startsWith('::ffff:')) return address
  const [head = '', tail = ''] = address.split('%')[0]!.split('::')
  const front = head === '' ? [] : head.split(':')
  const back = tail === '' ? [] : tail.split(':')
  const groups = address.includes('::')
    ? [...front, ...new Array(8 - front.length - back.length).fill('0'), ...back]
    : front
  return groups
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':')
}

/** Where `From:` is looked for; a header that is longer has none that counts here. */
const HEADER_BYTES = 64 * 1024

/** The domain that carries the mail: that of the envelope, else that of `From`, in lower case; '' when there is none. */
export function carrierDomain(envelopeFrom: string | undefined, mail: Uint8Array): string {
  const envelope = domainOf(envelopeFrom ?? '')
  if (envelope !== '') return envelope
  const head = Buffer.from(mail.buffer, mail.byteOffset, Math.min(mail.length, HEADER_BYTES)).toString('latin1')
  const end = /\r?\n\r?\n/.exec(head)?.index ?? head.length
  return domainOf(/^from:(.*(?:\r?\n[ \t].*)*)/im.exec(head.slice(0, end))?.[1] ?? '')
}

function domainOf(text: string): string {
  return /@([a-z0-9.-]{1,253})[\s>]*$/i.exec(text.slice(-500))?.[1]?.toLowerCase() ?? ''
}

/** Asked with every posted mail. Throws `rate_limited`. */
export class FloodGate {
  readonly #client: Rates | null
  readonly #domain: Rates | null
  readonly #onRefused: (limit: keyof FloodLimits) => void

  constructor({ client, domain }: FloodLimits, onRefused: (limit: keyof FloodLimits) => void) {
    this.#client = client === null ? null : new Rates(client)
    this.#domain = domain === null ? null : new Rates(domain)
    this.#onRefused = onRefused
  }

  /** `now` in milliseconds of a clock that never goes back. */
  check(client: string, envelopeFrom: string | undefined, mail: Uint8Array, now: number): void {
    this.#take('client', this.#client, clientKey(client), mail.length, now)
    if (this.#domain === null) return
    const domain = carrierDomain(envelopeFrom, mail)
    this.#take('domain', this.#domain, domain, mail.length, now)
  }

  #take(limit: keyof FloodLimits, rates: Rates | null, key: string, bytes: number, now: number): void {
    const retryAfter = rates?.take(key, bytes, now) ?? 0
    if (retryAfter === 0) return
    this.#onRefused(limit)
    const whom = limit === 'client' ? `the address ${key}` : `the domain ${key === '' ? '(none)' : key}`
    throw new ApiError('rate_limited', {
      retryAfter,
      message: `More came from ${whom} within a minute than is taken. The mail was not stored; send it again in ${retryAfter} s.`,
    })
  }
}
