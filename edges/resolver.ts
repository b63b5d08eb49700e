/**
 * Names of addresses, and texts, by DNS: the PTR names of an address (RFC 1035 §3.5), and of each whether it has the address among
 * its own ("forward-confirmed", RFC 8601 §2.7.3). Our own small client, because `node:dns` tells no TTL of PTR records.
 *
 * It asks recursive servers. Nothing here rejects: what cannot be found out is said to be so.
 */
import { isIP } from 'node:net'
import { readAddress } from './address-words.ts'
import { DnsCache } from './dns-cache.ts'
import { type Answer, canonical, isHostName, type Question } from './dns-message.ts'
import { DnsServerClient } from './dns-server-client.ts'
import { ServerHealth } from './server-health.ts'

export interface PtrName {
  /** Lower case, no trailing dot, a possible host name. */
  readonly name: string
  readonly confirmed: boolean
}

export interface LookUp {
  /** DNS said what names there are, be it none. False: no server could say, in time. */
  readonly observed: boolean
  /** In alphabetical order: servers turn theirs round. */
  readonly ptr: readonly PtrName[]
}

export interface Texts {
  /** DNS said what texts there are, be it none. False: no server could say, in time. */
  readonly observed: boolean
  /** TXT records in alphabetical order, the strings of each joined; octets as Latin-1 characters. */
  readonly texts: readonly string[]
}

export interface ResolverOptions {
  /** `ADDRESS:PORT` or `[IPv6]:PORT` of recursive servers, asked in turn. */
  readonly servers: readonly string[]
  /** Milliseconds that a server has for one question; default 1500. */
  readonly timeoutMilliseconds?: number
  /** Milliseconds for all about one address; default 4000. */
  readonly lookUpMilliseconds?: number
  /** Addresses looked up at once; default 64. */
  readonly concurrency?: number
  /** Questions whose answers are remembered; default 50,000. */
  readonly cacheEntries?: number
  /** Milliseconds since any fixed point; default the clock. */
  readonly now?: () => number
}

export interface ResolverCounters {
  /** Questions sent, repeated ones each time. */
  readonly questions: number
  readonly silent: number
  readonly cached: number
}

export interface Resolver {
  /** What DNS says of an address. When the signal aborts before it was begun, nothing is asked. */
  lookUp(address: string, signal: AbortSignal): Promise<LookUp>
  /** TXT records of a name. When the signal aborts before it was begun, nothing is asked. */
  findTexts(name: string, signal: AbortSignal): Promise<Texts>
  counters(): ResolverCounters
  /** Look-ups under way end unobserved. */
  close(): Promise<void>
}

/** An address has one name, few have more; somebody may give theirs a thousand, and each costs a question. */
const MAX_NAMES = 10
/** Aliases followed from answer to answer: RFC 2317 needs one or two. */
const MAX_ALIASES = 8
const MAX_TRIES = 3

/** A key needs 1 KB at most. What is longer is cut, and is no key then. */
const MAX_TEXTS = 4
const MAX_TEXT = 4096

const NO_TEXTS: Texts = { observed: false, texts: [] }
const UNOBSERVED: LookUp = { observed: false, ptr: [] }
const NO_NAMES: LookUp = { observed: true, ptr: [] }

/** What became of a question: an answer, no answer in time, or a server that cannot tell. */
type Found = Answer | 'silent' | 'refused'

/** Throws when a server's address cannot be read, or there is none. */
export function openResolver(options: ResolverOptions): Resolver {
  if (options.servers.length === 0) throw new Error('Name a DNS server, or turn look-ups off.')
  return new DnsResolver(options)
}

/** Throws when it is not `ADDRESS:PORT`; without a port it is 53. */
export function parseServer(text: string): { readonly host: string; readonly port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d{1,5}))?$/.exec(text)
  const host = isIP(text) !== 0 ? text : (match?.[1] ?? match?.[2] ?? '')
  const port = isIP(text) !== 0 ? 53 : Number(match?.[3] ?? 53)
  if (isIP(host) === 0 || port < 1 || port > 65_535)
    throw new Error(`${text} is no DNS server; write ADDRESS:PORT, such as 192.0.2.53:53 or [2001:db8::53]:53.`)
  return { host, port }
}

class DnsResolver implements Resolver {
  readonly #servers: readonly { readonly client: DnsServerClient; readonly health: ServerHealth }[]
  readonly #timeout: number
  readonly #lookUpTime: number
  readonly #now: () => number
  readonly #cache: DnsCache
  readonly #underWay = new Map<string, Promise<Found>>()
  /** Look-ups that wait for their turn, from `#queueHead` on: taking the first out of a long array copies the rest. */
  #queue: (() => void)[] = []
  #queueHead = 0
  #free: number
  #turn = 0
  #questions = 0
  #silent = 0
  #closed = false

  constructor(options: ResolverOptions) {
    this.#now = options.now ?? (() => performance.now())
    this.#servers = options.servers.map(parseServer).map(({ host, port }) => ({
      client: new DnsServerClient(host, port),
      health: new ServerHealth(this.#now),
    }))
    this.#timeout = options.timeoutMilliseconds ?? 1500
    this.#lookUpTime = options.lookUpMilliseconds ?? 4000
    this.#free = options.concurrency ?? 64
    this.#cache = new DnsCache(options.cacheEntries ?? 50_000, this.#now)
  }

  counters(): ResolverCounters {
    return { questions: this.#questions, silent: this.#silent, cached: this.#cache.hits }
  }

  async lookUp(address: string, signal: AbortSignal): Promise<LookUp> {
    const pointer = pointerName(address)
    if (pointer === null) return UNOBSERVED
    return this.#inTurn(signal, UNOBSERVED, () => this.#namesOf(address, pointer))
  }

  async findTexts(name: string, signal: AbortSignal): Promise<Texts> {
    const asked = canonical(name)
    if (!isHostName(asked)) return { observed: true, texts: [] } // no such name can exist
    return this.#inTurn(signal, NO_TEXTS, async () => {
      const found = await this.#resolve({ name: asked, type: 'TXT' }, this.#now() + this.#lookUpTime)
      if (typeof found === 'string') return NO_TEXTS
      const texts = [...new Set(found.values)].sort().slice(0, MAX_TEXTS)
      return { observed: true, texts: texts.map((text) => text.slice(0, MAX_TEXT)) }
    })
  }

  async #inTurn<T>(signal: AbortSignal, notAsked: T, work: () => Promise<T>): Promise<T> {
    if (signal.aborted) return notAsked
    if (this.#free > 0) this.#free--
    else await new Promise<void>((resolve) => this.#queue.push(resolve))
    try {
      return signal.aborted || this.#closed ? notAsked : await work()
    } finally {
      this.#release()
    }
  }

  #release(): void {
    const next = this.#queue[this.#queueHead++]
    if (next !== undefined) {
      next()
      return
    }
    this.#queue = []
    this.#queueHead = 0
    this.#free++
  }

  async #namesOf(address: string, pointer: string): Promise<LookUp> {
    const until = this.#now() + this.#lookUpTime
    const found = await this.#resolve({ name: pointer, type: 'PTR' }, until)
    if (typeof found === 'string') return UNOBSERVED
    const names = [...new Set(found.values.map(canonical))].filter(isHostName).sort().slice(0, MAX_NAMES)
    if (names.length === 0) return NO_NAMES
    let observed = true
    const ptr: PtrName[] = []
    // One after the other: names beyond the first are rare, and an address must not take many servers' time at once.
    for (const name of names) {
      const forward = await this.#resolve({ name, type: address.includes(':') ? 'AAAA' : 'A' }, until)
      if (forward === 'silent') observed = false
      ptr.push({ name, confirmed: typeof forward !== 'string' && hasAddress(forward.values, address) })
    }
    return { observed, ptr }
  }

  /** The answer at the end of the aliases. A ring of them, or too many, ends in nothing. */
  async #resolve(question: Question, until: number): Promise<Found> {
    const passed = new Set<string>()
    for (let { name } = question; passed.size < MAX_ALIASES && !passed.has(name); ) {
      passed.add(name)
      const found = await this.#answer({ name, type: question.type }, until)
      if (typeof found === 'string' || found.alias === null) return found
      name = found.alias
    }
    return { values: [], alias: null, ttlSeconds: 0 }
  }

  /** From the cache, from the same question under way, or from a server. */
  #answer(question: Question, until: number): Promise<Found> | Answer {
    const key = `${question.type} ${question.name}`
    const known = this.#cache.get(key)
    if (known !== undefined) return known
    const asking = this.#underWay.get(key)
    if (asking !== undefined) return asking
    const started = this.#askServers(question, until)
      .then((found) => {
        if (typeof found !== 'string') this.#cache.put(key, found)
        return found
      })
      .finally(() => this.#underWay.delete(key))
    this.#underWay.set(key, started)
    return started
  }

  async #askServers(question: Question, until: number): Promise<Found> {
    let result: Found = 'silent'
    const first = this.#turn++
    const tries = Math.min(MAX_TRIES, Math.max(2, this.#servers.length))
    for (let attempt = 0; attempt < tries && !this.#closed; attempt++) {
      const left = until - this.#now()
      const server = this.#usableServer(first + attempt)
      if (left <= 0 || server === undefined) return result
      this.#questions++
      const outcome = await server.client.ask(question, Math.min(this.#timeout, left))
      // A server that refuses is there; whether the next one knows is worth a question.
      server.health.note(outcome.kind !== 'silent')
      if (outcome.kind === 'answered') return outcome.answer
      if (outcome.kind === 'silent') this.#silent++
      else result = 'refused'
    }
    return result
  }

  #usableServer(turn: number) {
    for (let i = 0; i < this.#servers.length; i++) {
      const server = this.#servers[(turn + i) % this.#servers.length]!
      if (server.health.mayBeAsked()) return server
    }
    return undefined
  }

  async close(): Promise<void> {
    this.#closed = true
    await Promise.all(this.#servers.map(({ client }) => client.close()))
  }
}

const words = new Uint32Array(4)
const others = new Uint32Array(4)

/** `1.2.0.192.in-addr.arpa`, or the nibbles under `ip6.arpa` (RFC 3596 §2.5); null when it is no address. */
export function pointerName(address: string): string | null {
  const version = readAddress(address, words)
  if (version === 0) return null
  if (version === 4) {
    const a = words[0]!
    return `${a & 255}.${(a >>> 8) & 255}.${(a >>> 16) & 255}.${a >>> 24}.in-addr.arpa`
  }
  const nibbles = [...words].map((word) => word.toString(16).padStart(8, '0')).join('')
  return `${[...nibbles].reverse().join('.')}.ip6.arpa`
}

function hasAddress(values: readonly string[], address: string): boolean {
  const version = readAddress(address, words)
  return values.some((value) => {
    if (value === address) return true
    if (version !== 6 || readAddress(value, others) !== 6) return false
    return words.every((word, i) => word === others[i])
  })
}
