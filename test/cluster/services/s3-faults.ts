/** A proxy before the S3 server that misbehaves when told to. The requests that it lets through arrive unchanged. */
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'

export type Fault =
  /** Answers with this status and passes nothing on. */
  | { readonly status: number }
  /** Takes the request and says nothing. */
  | 'silent'
  /** Cuts the connection at once. */
  | 'reset'
  /** Passes on half of the answer's body, then cuts the connection. */
  | 'cut'
  /** Changes one byte of what is sent to the store. */
  | 'garble'

export interface FaultyProxy {
  readonly endpoint: string
  /** The next requests of this method (any, when none is given) meet the fault; `times` Infinity = until it is taken away. */
  fail(fault: Fault, times: number, method?: string): void
  heal(): void
  /** Methods of all requests since the start, as they came. */
  readonly seen: string[]
  stop(): Promise<void>
}

export async function startProxy(target: string): Promise<FaultyProxy> {
  const { hostname, port } = new URL(target)
  const seen: string[] = []
  let next: { fault: Fault; times: number; method: string | undefined } | null = null
  const faultOf = (method: string): Fault | null => {
    if (next === null || next.times <= 0 || (next.method !== undefined && next.method !== method)) return null
    next.times--
    return next.fault
  }
  const pass = (incoming: IncomingMessage, outgoing: ServerResponse, fault: Fault | null) => {
    const { method, url, headers } = incoming
    const onward = request({ hostname, port, method, path: url, headers }, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers)
      if (fault !== 'cut') {
        answer.pipe(outgoing)
        return
      }
      const half = Math.floor(Number(answer.headers['content-length'] ?? 0) / 2)
      let sent = 0
      answer.on('data', (piece: Buffer) => {
        const part = piece.subarray(0, Math.max(0, half - sent))
        sent += part.length
        outgoing.write(part)
        if (sent >= half) incoming.socket.destroy()
      })
    })
    onward.on('error', () => incoming.socket.destroy())
    incoming.on('error', () => onward.destroy())
    if (fault !== 'garble') {
      incoming.pipe(onward)
      return
    }
    let changed = false
    incoming.on('data', (piece: Buffer) => {
      if (!changed) piece[0] = piece[0]! ^ 1
      changed = true
      onward.write(piece)
    })
    incoming.on('end', () => onward.end())
  }
  const server = createServer((incoming, outgoing) => {
    const method = incoming.method ?? ''
    seen.push(method)
    const fault = faultOf(method)
    if (fault === 'reset') incoming.socket.destroy()
    else if (fault === 'silent') incoming.resume()
    else if (fault !== null && typeof fault === 'object') {
      incoming.resume()
      outgoing.writeHead(fault.status).end()
    } else pass(incoming, outgoing, fault)
  })
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('The proxy has no port.')
  return {
    endpoint: `http://127.0.0.1:${address.port}`,
    fail(fault, times, method) {
      next = { fault, times, method }
    },
    heal() {
      next = null
    },
    seen,
    async stop() {
      const closed = new Promise((done) => server.close(done))
      server.closeAllConnections()
      await closed
    },
  }
}
