/** A TCP proxy on loopback that can be told to misbehave: delay, cut, refuse, swallow. */
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'

export interface TcpProxy {
  readonly port: number
  /** Milliseconds that every piece waits, each way. */
  delay: number
  /** New connections are reset. */
  isRefusing: boolean
  /** Asked of every piece that a client sends: when it says yes, nothing that is answered arrives on that connection any more. */
  silences: (piece: Buffer) => boolean
  /** Resets all connections. Answers how many there were. */
  cut(): number
  close(): Promise<void>
}

/** Listens on `port` (0: any) and passes everything to `target` on 127.0.0.1. */
export async function startTcpProxy(target: number, port = 0): Promise<TcpProxy> {
  const sockets = new Set<Socket>()
  const timers = new Set<NodeJS.Timeout>()
  const proxy = { delay: 0, isRefusing: false, silences: (_piece: Buffer) => false }
  const silent = new Set<Socket>()

  const pass = (from: Socket, to: Socket, isAnswer: boolean) => {
    from.on('data', (piece) => {
      if (!isAnswer && proxy.silences(piece)) silent.add(to)
      if (isAnswer && silent.has(from)) return
      if (proxy.delay === 0) {
        to.write(piece)
        return
      }
      const timer = setTimeout(() => {
        timers.delete(timer)
        if (!to.destroyed) to.write(piece)
      }, proxy.delay)
      timers.add(timer)
    })
    const end = () => {
      sockets.delete(from)
      to.destroy()
    }
    from.on('close', end)
    from.on('error', end)
  }
  const server = createServer((client) => {
    if (proxy.isRefusing) {
      client.on('error', () => client.destroy())
      client.resetAndDestroy()
      return
    }
    const upstream = connect(target, '127.0.0.1')
    for (const socket of [client, upstream]) sockets.add(socket.setNoDelay(true))
    pass(client, upstream, false)
    pass(upstream, client, true)
  })
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')

  return Object.assign(proxy, {
    port: (server.address() as { port: number }).port,
    cut: () => {
      const count = sockets.size
      for (const socket of sockets) socket.resetAndDestroy()
      return count / 2
    },
    close: async () => {
      for (const timer of timers) clearTimeout(timer)
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  })
}
