/**
 * A DNS server on loopback, over real UDP and TCP, that says what a test wants it to: the truth, lies, nothing, or too
 * much.
 */
import { createSocket, type RemoteInfo, type Socket as UdpSocket } from 'node:dgram'
import { createServer, type Server, type Socket } from 'node:net'
import { type Answer, decode, encode, type Packet, RECURSION_AVAILABLE } from 'dns-packet'

export const NXDOMAIN = 3
export const SERVFAIL = 2
export const REFUSED = 5
const TRUNCATED = 0x0200
/** What a server may send over UDP to one who does not say more (RFC 1035 §2.3.4), and what ours says. */
const UDP_LIMIT = 1232

/** What is said to a question. `null` = nothing at all. */
export interface Said {
  readonly answers?: readonly Answer[]
  readonly authorities?: readonly Answer[]
  readonly rcode?: number
  readonly afterMilliseconds?: number
  /** Changes the packet at the last moment: another id, another question. */
  readonly forge?: (packet: Packet) => Packet
  /** Forged packets that are sent before the answer. */
  readonly before?: readonly ((packet: Packet) => Packet)[]
  /** Bytes instead of a message. */
  readonly bytes?: Buffer
}
export type Say = (name: string, type: string, transport: 'udp' | 'tcp') => Said | null

export interface DnsServer {
  /** `127.0.0.1:PORT` */
  readonly address: string
  /** Every question: `TYPE name transport`. */
  readonly asked: string[]
  /** Ports that questions came from, and ids that they had. */
  readonly ports: Set<number>
  readonly ids: Set<number>
  say: Say
  close(): Promise<void>
}

export const ptr = (name: string, data: string, ttl = 3600): Answer => ({ type: 'PTR', name, data, ttl })
export const a = (name: string, data: string, ttl = 3600): Answer => ({ type: 'A', name, data, ttl })
export const aaaa = (name: string, data: string, ttl = 3600): Answer => ({ type: 'AAAA', name, data, ttl })
export const cname = (name: string, data: string, ttl = 3600): Answer => ({ type: 'CNAME', name, data, ttl })
export const soa = (name: string, minimum: number): Answer => ({
  type: 'SOA',
  name,
  ttl: minimum,
  data: { mname: name, rname: name, serial: 1, refresh: 1, retry: 1, expire: 1, minimum },
})

/** Says what stands in a zone: records by `TYPE name`; everything else does not exist. */
export function zone(records: Readonly<Record<string, readonly Answer[]>>): Say {
  return (name, type) => {
    const answers = records[`${type} ${name}`] ?? records[`CNAME ${name}`]
    return answers === undefined ? { rcode: NXDOMAIN } : { answers }
  }
}

/** A port that is free for both transports; one that is free for UDP may be taken for TCP. */
async function onePort(): Promise<{ readonly udp: UdpSocket; readonly tcp: Server; readonly port: number }> {
  for (;;) {
    const udp = createSocket('udp4')
    await new Promise<void>((resolve) => udp.bind(0, '127.0.0.1', resolve))
    const { port } = udp.address()
    const tcp = createServer()
    const isFree = await new Promise<boolean>((resolve) => {
      tcp.once('error', () => resolve(false))
      tcp.listen(port, '127.0.0.1', () => resolve(true))
    })
    if (isFree) return { udp, tcp, port }
    udp.close()
  }
}

export async function startDnsServer(say: Say): Promise<DnsServer> {
  const { udp, tcp, port } = await onePort()
  const streams = new Set<Socket>()
  const timers = new Set<NodeJS.Timeout>()
  const server: DnsServer = {
    address: `127.0.0.1:${port}`,
    asked: [],
    ports: new Set(),
    ids: new Set(),
    say,
    async close() {
      for (const timer of timers) clearTimeout(timer)
      for (const stream of streams) stream.destroy()
      await Promise.all([
        new Promise<void>((resolve) => udp.close(resolve)),
        new Promise<void>((resolve) => tcp.close(() => resolve())),
      ])
    },
  }
  const answer = (bytes: Buffer, transport: 'udp' | 'tcp', send: (bytes: Buffer) => void) => {
    const query = decode(bytes)
    const question = query.questions![0]!
    server.asked.push(`${question.type} ${question.name} ${transport}`)
    server.ids.add(query.id!)
    const said = server.say(question.name.toLowerCase(), question.type, transport)
    if (said === null) return
    const packet: Packet = {
      type: 'response',
      id: query.id!,
      flags: RECURSION_AVAILABLE | (said.rcode ?? 0),
      questions: [question],
      answers: [...(said.answers ?? [])],
      authorities: [...(said.authorities ?? [])],
    }
    const sendAll = () => {
      for (const forge of said.before ?? []) send(encode(forge(packet)))
      const message = said.bytes ?? encode(said.forge?.(packet) ?? packet)
      const isCut = transport === 'udp' && message.length > UDP_LIMIT
      send(isCut ? encode({ ...packet, flags: packet.flags! | TRUNCATED, answers: [], authorities: [] }) : message)
    }
    if (said.afterMilliseconds === undefined) sendAll()
    else timers.add(setTimeout(sendAll, said.afterMilliseconds))
  }
  udp.on('message', (bytes: Buffer, from: RemoteInfo) => {
    server.ports.add(from.port)
    answer(bytes, 'udp', (reply) => udp.send(reply, from.port, from.address))
  })
  tcp.on('connection', (stream) => {
    streams.add(stream)
    stream.on('error', () => stream.destroy())
    let received = Buffer.alloc(0)
    stream.on('data', (bytes: Buffer) => {
      received = Buffer.concat([received, bytes])
      if (received.length < 2 || received.length < 2 + received.readUInt16BE(0)) return
      const send = (reply: Buffer) => {
        const length = Buffer.alloc(2)
        length.writeUInt16BE(reply.length)
        // In two pieces, as a network may deliver it.
        stream.write(Buffer.concat([length, reply.subarray(0, 1)]))
        stream.write(reply.subarray(1))
      }
      answer(received.subarray(2), 'tcp', send)
    })
  })
  return server
}
