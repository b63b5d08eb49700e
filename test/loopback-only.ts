/**
 * Runs before every test file: a connection, a datagram or a question to anything but this machine throws. What a test
 * needs from the network it brings along on loopback.
 */
import dgram from 'node:dgram'
import dns from 'node:dns'
import { isIP, Socket } from 'node:net'

const isLoopback = (host: string) =>
  host === 'localhost' || host === '::1' || /^(::ffff:)?127\.\d+\.\d+\.\d+$/.test(host)

function assertLoopback(host: string | undefined, what: string): void {
  if (host === undefined || host === '' || isLoopback(host)) return
  throw new Error(`A test wanted to ${what} ${host}. Tests have no network; serve it on 127.0.0.1.`)
}

/** Wraps a method of any shape: `check` sees the arguments, then the method runs as it was. */
function guard(owner: object, name: string, check: (self: unknown, args: readonly unknown[]) => void): void {
  const original: unknown = Reflect.get(owner, name)
  if (typeof original !== 'function') throw new Error(`Node has no ${name} to guard any more.`)
  const guarded = function (this: unknown, ...args: unknown[]): unknown {
    check(this, args)
    return Reflect.apply(original, this, args)
  }
  Reflect.set(owner, name, Object.assign(guarded, original))
}

/** `connect(options)`, `connect(port, host)`, `connect(path)`, or these as the list that Node makes of them itself. */
guard(Socket.prototype, 'connect', (_, args) => {
  const [first, second] = Array.isArray(args[0]) ? args[0] : args
  if (typeof first === 'object' && first !== null) assertLoopback((first as { host?: string }).host, 'connect to')
  else if (typeof second === 'string') assertLoopback(second, 'connect to')
})

guard(dgram.Socket.prototype, 'connect', (_, args) => {
  if (typeof args[1] === 'string') assertLoopback(args[1], 'send to')
})
guard(dgram.Socket.prototype, 'send', (_, args) => {
  const address = args.slice(1).find((argument) => typeof argument === 'string')
  assertLoopback(address, 'send to')
})

const asks = Object.getOwnPropertyNames(dns.Resolver.prototype).filter((name) => /^(resolve|reverse)/.test(name))

/** Host of `1.2.3.4`, `1.2.3.4:53`, `::1` and `[::1]:53`. */
function hostOf(server: string): string {
  if (isIP(server) !== 0) return server
  return server.slice(0, server.lastIndexOf(':')).replace(/^\[|\]$/g, '')
}

/** Questions go through when every server that could be asked is on loopback. */
function assertLocalServers(servers: readonly string[], question: unknown): void {
  const away = servers.map(hostOf).find((host) => !isLoopback(host))
  if (away !== undefined) throw new Error(`A test asked DNS for ${question} at ${away}. Serve it on 127.0.0.1.`)
}

for (const { prototype } of [dns.Resolver, dns.promises.Resolver]) {
  for (const name of asks) {
    guard(prototype, name, (self, args) => assertLocalServers((self as dns.Resolver).getServers(), args[0]))
  }
}
for (const owner of [dns, dns.promises]) {
  for (const name of asks) guard(owner, name, (_, args) => assertLocalServers(dns.getServers(), args[0]))
  guard(owner, 'lookup', (_, args) => {
    const name = String(args[0])
    if (isIP(name) === 0) assertLoopback(name, 'look up')
  })
}
