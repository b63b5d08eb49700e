import { createSocket } from 'node:dgram'
import { encode } from 'dns-packet'
import { afterEach, describe, expect, test } from 'vitest'
import { isHostName } from '../../edges/dns-message.ts'
import { openResolver, parseServer, pointerName, type Resolver, type ResolverOptions } from '../../edges/resolver.ts'
import {
  a,
  aaaa,
  cname,
  type DnsServer,
  NXDOMAIN,
  ptr,
  REFUSED,
  type Said,
  type Say,
  SERVFAIL,
  soa,
  startDnsServer,
  zone,
} from './dns-server.ts'

const opened: { close(): Promise<void> }[] = []
afterEach(async () => {
  for (const one of opened.splice(0).reverse()) await one.close()
})

async function serve(say: Say): Promise<DnsServer> {
  const server = await startDnsServer(say)
  opened.push(server)
  return server
}

function open(server: DnsServer | readonly string[], options: Partial<ResolverOptions> = {}): Resolver {
  const servers = 'address' in server ? [server.address] : server
  const resolver = openResolver({ servers, timeoutMilliseconds: 200, lookUpMilliseconds: 1000, ...options })
  opened.push(resolver)
  return resolver
}

const always = new AbortController().signal
const POINTER = '1.2.0.192.in-addr.arpa'
const ADDRESS = '192.0.2.1'
const UNOBSERVED = { observed: false, ptr: [] }
const NO_NAMES = { observed: true, ptr: [] }

const lookUp = (say: Say, address = ADDRESS, options: Partial<ResolverOptions> = {}) =>
  serve(say).then((server) => open(server, options).lookUp(address, always))

/** What a server says when the name is the only thing that it says. */
const named = (...names: readonly string[]): Say =>
  zone({ [`PTR ${POINTER}`]: names.map((name) => ptr(POINTER, name)), 'A mail.example': [a('mail.example', ADDRESS)] })

describe('what is true', () => {
  test('a name that has the address is confirmed', async () => {
    expect(await lookUp(named('Mail.Example'))).toEqual({
      observed: true,
      ptr: [{ name: 'mail.example', confirmed: true }],
    })
  })

  test('a name that has another address, or none, is told and not confirmed', async () => {
    const say = zone({
      [`PTR ${POINTER}`]: [ptr(POINTER, 'mail.example'), ptr(POINTER, 'none.example')],
      'A mail.example': [a('mail.example', '192.0.2.99')],
    })
    expect(await lookUp(say)).toEqual({
      observed: true,
      ptr: [
        { name: 'mail.example', confirmed: false },
        { name: 'none.example', confirmed: false },
      ],
    })
  })

  test('an IPv6 address is asked about under ip6.arpa and confirmed by AAAA, however it is written', async () => {
    const pointer = pointerName('2001:db8::25')!
    expect(pointer).toBe('5.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa')
    const say = zone({
      [`PTR ${pointer}`]: [ptr(pointer, 'mail.example')],
      'AAAA mail.example': [aaaa('mail.example', '2001:db8:0:0:0:0:0:26'), aaaa('mail.example', '2001:db8:0:0::25')],
    })
    expect((await lookUp(say, '2001:db8::25')).ptr).toEqual([{ name: 'mail.example', confirmed: true }])
  })

  test('no such name is an answer: there is none', async () => {
    expect(await lookUp(() => ({ rcode: NXDOMAIN }))).toEqual(NO_NAMES)
    expect(await lookUp(() => ({ answers: [] }))).toEqual(NO_NAMES)
  })

  test('a delegation of RFC 2317 is followed, within an answer and from one to the next', async () => {
    const target = '1.0-15.2.0.192.in-addr.arpa'
    const forward = { 'A mail.example': [a('mail.example', ADDRESS)] }
    const together = zone({ [`PTR ${POINTER}`]: [cname(POINTER, target), ptr(target, 'mail.example')], ...forward })
    const apart = zone({
      [`PTR ${POINTER}`]: [cname(POINTER, target)],
      [`PTR ${target}`]: [ptr(target, 'mail.example')],
      ...forward,
    })
    for (const say of [together, apart])
      expect((await lookUp(say)).ptr).toEqual([{ name: 'mail.example', confirmed: true }])
  })

  test('names come in alphabetical order and each once, because servers turn theirs round', async () => {
    const { ptr: names } = await lookUp(named('b.example', 'A.example.', 'b.EXAMPLE'))
    expect(names.map(({ name }) => name)).toEqual(['a.example', 'b.example'])
  })

  test('what is no address is not asked about', async () => {
    const server = await serve(named('mail.example'))
    expect(await open(server).lookUp('64.x.x.x', always)).toEqual(UNOBSERVED)
    expect(server.asked).toEqual([])
  })
})

describe('what is not known', () => {
  test('a server that fails or refuses has not answered', async () => {
    expect(await lookUp(() => ({ rcode: SERVFAIL }))).toEqual(UNOBSERVED)
    expect(await lookUp(() => ({ rcode: REFUSED }))).toEqual(UNOBSERVED)
  })

  test('a server that says nothing is asked again, and then given up', async () => {
    const server = await serve(() => null)
    const start = performance.now()
    expect(await open(server).lookUp(ADDRESS, always)).toEqual(UNOBSERVED)
    expect(server.asked).toHaveLength(2)
    expect(performance.now() - start).toBeLessThan(1500)
  })

  test('the next server is asked when the first says nothing or fails', async () => {
    const silent = await serve(() => null)
    const failing = await serve(() => ({ rcode: SERVFAIL }))
    const good = await serve(named('mail.example'))
    const resolver = open([silent.address, failing.address, good.address])
    expect((await resolver.lookUp(ADDRESS, always)).ptr).toEqual([{ name: 'mail.example', confirmed: true }])
  })

  test('a name whose own servers fail is not confirmed; one whose servers are silent leaves the address unobserved', async () => {
    const answering =
      (said: Said | null): Say =>
      (name, type) =>
        type === 'PTR' ? { answers: [ptr(name, 'mail.example')] } : said
    const unconfirmed = [{ name: 'mail.example', confirmed: false }]
    expect(await lookUp(answering({ rcode: SERVFAIL }))).toEqual({ observed: true, ptr: unconfirmed })
    expect(await lookUp(answering(null))).toEqual({ observed: false, ptr: unconfirmed })
  })

  test('a slow server is waited for within its time and not beyond', async () => {
    const slow =
      (milliseconds: number): Say =>
      (name) => ({
        answers: name === POINTER ? [ptr(POINTER, 'mail.example')] : [a('mail.example', ADDRESS)],
        afterMilliseconds: milliseconds,
      })
    expect((await lookUp(slow(100))).observed).toBe(true)
    expect((await lookUp(slow(600))).observed).toBe(false)
  })

  test('all about one address ends with its time, however many names wait to be confirmed', async () => {
    const say: Say = (name, type) =>
      type === 'PTR' ? { answers: Array.from({ length: 10 }, (_, i) => ptr(name, `n${i}.example`)) } : null
    const start = performance.now()
    expect((await lookUp(say, ADDRESS, { lookUpMilliseconds: 500 })).observed).toBe(false)
    expect(performance.now() - start).toBeLessThan(1000)
  })
})

describe('lies and floods', () => {
  test('a message with another id, another question or no response in it is ignored, and the answer still taken', async () => {
    const wrong: NonNullable<Said['before']> = [
      (packet) => ({ ...packet, id: (packet.id! + 1) % 65_536, answers: [ptr(POINTER, 'evil.example')] }),
      (packet) => ({
        ...packet,
        questions: [{ type: 'PTR', name: 'other.example' }],
        answers: [ptr(POINTER, 'evil.example')],
      }),
      (packet) => ({ ...packet, questions: [], answers: [ptr(POINTER, 'evil.example')] }),
      (packet) => ({ ...packet, type: 'query', answers: [ptr(POINTER, 'evil.example')] }),
    ]
    const { ptr: names } = await lookUp((name, type) => ({
      ...named('mail.example')(name, type, 'udp')!,
      before: wrong,
    }))
    expect(names).toEqual([{ name: 'mail.example', confirmed: true }])
  })

  test('an answer from somebody else is ignored, even one with the right id', async () => {
    const stranger = createSocket('udp4')
    const server = await serve(() => null)
    let forged = 0
    server.say = () => {
      const id = [...server.ids].at(-1)!
      const questions = [{ type: 'PTR', name: POINTER } as const]
      const message = encode({ type: 'response', id, questions, answers: [ptr(POINTER, 'evil.example')] })
      for (const port of server.ports) stranger.send(message, port, '127.0.0.1', () => forged++)
      return null
    }
    expect(await open(server).lookUp(ADDRESS, always)).toEqual(UNOBSERVED)
    expect(forged).toBeGreaterThan(0)
    await new Promise<void>((resolve) => stranger.close(resolve))
  })

  test('bytes that are no message are ignored', async () => {
    expect(await lookUp(() => ({ bytes: Buffer.from('no message at all, but long enough for a header') }))).toEqual(
      UNOBSERVED,
    )
  })

  test('questions come from many ports with ids that are not in order', async () => {
    const server = await serve(() => ({ rcode: NXDOMAIN }))
    const resolver = open(server)
    await Promise.all(Array.from({ length: 200 }, (_, i) => resolver.lookUp(`198.51.100.${i}`, always)))
    expect(server.ports.size).toBeGreaterThan(4)
    const ids = [...server.ids]
    expect(ids.filter((id, i) => i > 0 && id === ids[i - 1]! + 1).length).toBeLessThan(20)
  })

  test('records about another name in the answer are left out', async () => {
    const say = zone({ [`PTR ${POINTER}`]: [ptr('other.in-addr.arpa', 'evil.example')] })
    expect((await lookUp(say)).ptr).toEqual([])
  })

  test('a ring of aliases ends, within one answer and over several', async () => {
    const ring = [cname(POINTER, 'a.example'), cname('a.example', POINTER)]
    expect(await lookUp(() => ({ answers: ring }))).toEqual(NO_NAMES)
    const server = await serve((name) => ({ answers: [cname(name, name === POINTER ? 'a.example' : POINTER)] }))
    expect(await open(server).lookUp(ADDRESS, always)).toEqual(NO_NAMES)
    expect(server.asked.length).toBeLessThanOrEqual(8)
  })

  test('aliases without end are followed a few times only', async () => {
    let n = 0
    const server = await serve((name) => ({ answers: [cname(name, `n${n++}.example`)] }))
    expect(await open(server).lookUp(ADDRESS, always)).toEqual(NO_NAMES)
    expect(server.asked.length).toBeLessThanOrEqual(8)
  })

  test('an answer that does not fit comes over TCP, and of a thousand names ten are taken', async () => {
    const names = Array.from({ length: 1000 }, (_, i) =>
      ptr(POINTER, `host-${String(i).padStart(4, '0')}.long-name.example`),
    )
    const server = await serve((_, type) => (type === 'PTR' ? { answers: names } : { rcode: NXDOMAIN }))
    const { ptr: found } = await open(server).lookUp(ADDRESS, always)
    expect(server.asked).toContain(`PTR ${POINTER} tcp`)
    expect(found).toHaveLength(10)
    expect(found[0]!.name).toBe('host-0000.long-name.example')
  })

  test('a truncated answer whose TCP side is silent is no answer', async () => {
    const names = Array.from({ length: 200 }, (_, i) => ptr(POINTER, `host-${i}.example`))
    expect(await lookUp((_, __, transport) => (transport === 'tcp' ? null : { answers: names }))).toEqual(UNOBSERVED)
  })

  test('names that no host can have are left out', async () => {
    const bad = ['a b.example', 'a\u0000b.example', 'x"y.example', '-a.example', 'ümlaut.example', '192.0.2.1']
    expect((await lookUp(named(...bad, 'mail.example'))).ptr).toEqual([{ name: 'mail.example', confirmed: true }])
    expect(isHostName(`${'a.'.repeat(126)}example`)).toBe(false)
    expect(isHostName(`${'a'.repeat(64)}.example`)).toBe(false)
    expect(isHostName('mail_1.example')).toBe(true)
    expect(isHostName('')).toBe(false)
  })
})

describe('what is remembered', () => {
  test('an answer holds as long as it says, at least a minute and at most a day', async () => {
    let now = 0
    for (const [ttl, seconds] of [
      [1, 60],
      [600, 600],
      [10_000_000, 86_400],
    ] as const) {
      const server = await serve(() => ({ answers: [ptr(POINTER, '-', ttl)] }))
      const resolver = open(server, { now: () => now })
      const asked = async (afterSeconds: number) => {
        now += afterSeconds * 1000
        await resolver.lookUp(ADDRESS, always)
        return server.asked.length
      }
      expect(await asked(0)).toBe(1)
      expect(await asked(seconds - 1)).toBe(1)
      expect(await asked(2)).toBe(2)
    }
  })

  test('that there is no such name holds as long as the zone says', async () => {
    let now = 0
    const server = await serve(() => ({ rcode: NXDOMAIN, authorities: [soa('in-addr.arpa', 120)] }))
    const resolver = open(server, { now: () => now })
    for (const [at, asked] of [
      [0, 1],
      [119_000, 1],
      [121_000, 2],
    ] as const) {
      now = at
      await resolver.lookUp(ADDRESS, always)
      expect(server.asked).toHaveLength(asked)
    }
  })

  test('a failure is not remembered', async () => {
    const server = await serve(() => ({ rcode: SERVFAIL }))
    const resolver = open(server)
    expect((await resolver.lookUp(ADDRESS, always)).observed).toBe(false)
    server.say = named('mail.example')
    expect((await resolver.lookUp(ADDRESS, always)).observed).toBe(true)
  })

  test('the same question asked by many at once is sent once', async () => {
    const server = await serve(named('mail.example'))
    const resolver = open(server)
    await Promise.all(Array.from({ length: 50 }, () => resolver.lookUp(ADDRESS, always)))
    expect(server.asked).toEqual([`PTR ${POINTER} udp`, 'A mail.example udp'])
  })

  test('it remembers so many answers and no more', async () => {
    const server = await serve(() => ({ rcode: NXDOMAIN }))
    const resolver = open(server, { cacheEntries: 10 })
    const all = Array.from({ length: 20 }, (_, i) => `198.51.100.${i}`)
    for (const address of all) await resolver.lookUp(address, always)
    for (const address of all.toReversed()) await resolver.lookUp(address, always)
    expect(server.asked).toHaveLength(30)
  })
})

describe('many at once', () => {
  test('no more questions are under way than was said', async () => {
    let underWay = 0
    let most = 0
    const server = await serve(() => {
      most = Math.max(most, ++underWay)
      setTimeout(() => underWay--, 5)
      return { rcode: NXDOMAIN, afterMilliseconds: 5 }
    })
    const resolver = open(server, { concurrency: 8 })
    await Promise.all(Array.from({ length: 100 }, (_, i) => resolver.lookUp(`198.51.100.${i}`, always)))
    // A question may be sent between the answer to another and the timer that counts it as done.
    expect(most).toBeLessThanOrEqual(12)
  })

  test('a storm of names that do not exist passes', async () => {
    const server = await serve(() => ({ rcode: NXDOMAIN }))
    const resolver = open(server)
    const all = Array.from({ length: 3000 }, (_, i) => `10.0.${i >> 8}.${i & 255}`)
    const found = await Promise.all(all.map((address) => resolver.lookUp(address, always)))
    expect(found.filter(({ observed }) => observed)).toHaveLength(3000)
  })

  test('a dead server costs its time once: 100,000 addresses end soon after', async () => {
    const silent = await serve(() => null)
    const resolver = open(silent)
    const start = performance.now()
    const all = Array.from({ length: 100_000 }, (_, i) => `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`)
    const found = await Promise.all(all.map((address) => resolver.lookUp(address, always)))
    expect(found.some(({ observed }) => observed)).toBe(false)
    expect(performance.now() - start).toBeLessThan(10_000)
    expect(silent.asked.length).toBeLessThan(200)
  })

  test('a server where nobody listens is noticed at once', async () => {
    const gone = await startDnsServer(() => null)
    await gone.close()
    const start = performance.now()
    const resolver = open([gone.address], { timeoutMilliseconds: 5000, lookUpMilliseconds: 10_000 })
    expect(await resolver.lookUp(ADDRESS, always)).toEqual(UNOBSERVED)
    expect(performance.now() - start).toBeLessThan(2000)
  })

  test('a server that was dead is asked again after a while', async () => {
    let now = 0
    const server = await serve(() => null)
    const resolver = open(server, { timeoutMilliseconds: 20, now: () => now })
    await Promise.all(Array.from({ length: 20 }, (_, i) => resolver.lookUp(`198.51.100.${i}`, always)))
    server.say = named('mail.example')
    expect((await resolver.lookUp(ADDRESS, always)).observed).toBe(false)
    now = 10_000
    expect((await resolver.lookUp(ADDRESS, always)).observed).toBe(true)
  })

  test('what was not begun when the signal aborts is not asked', async () => {
    const server = await serve(() => ({ rcode: NXDOMAIN, afterMilliseconds: 50 }))
    const resolver = open(server, { concurrency: 4 })
    const stop = new AbortController()
    const all = Array.from({ length: 100 }, (_, i) => resolver.lookUp(`198.51.100.${i}`, stop.signal))
    stop.abort()
    const found = await Promise.all(all)
    expect(server.asked.length).toBeLessThanOrEqual(4)
    expect(found.filter(({ observed }) => observed).length).toBeLessThanOrEqual(4)
  })

  test('closing ends what is under way', async () => {
    const server = await serve(() => null)
    const resolver = open(server, { timeoutMilliseconds: 60_000, lookUpMilliseconds: 60_000 })
    const waiting = resolver.lookUp(ADDRESS, always)
    while (server.asked.length === 0) await new Promise((resolve) => setTimeout(resolve, 5))
    await resolver.close()
    expect(await waiting).toEqual(UNOBSERVED)
  })
})

test('a server is named by address and port', () => {
  expect(parseServer('192.0.2.53:5353')).toEqual({ host: '192.0.2.53', port: 5353 })
  expect(parseServer('192.0.2.53')).toEqual({ host: '192.0.2.53', port: 53 })
  expect(parseServer('[2001:db8::53]:53')).toEqual({ host: '2001:db8::53', port: 53 })
  expect(parseServer('2001:db8::53')).toEqual({ host: '2001:db8::53', port: 53 })
  for (const bad of ['dns.example:53', '192.0.2.53:99999', '', ':53', '192.0.2.53:0'])
    expect(() => parseServer(bad), bad).toThrow('is no DNS server; write ADDRESS:PORT')
  expect(() => openResolver({ servers: [] })).toThrow('Name a DNS server')
})
