/**
 * One DNS server, asked over UDP, and over TCP when an answer does not fit (RFC 7766). Who forges an answer must hit the
 * port and the id of a question: ports are those of several sockets that are changed often, ids are random, and the
 * sockets are connected, so the system lets nothing through but what comes from the server's address.
 */
import { randomInt } from 'node:crypto'
import { createSocket, type Socket } from 'node:dgram'
import { connect, isIPv6 } from 'node:net'
import { type Answer, encodeQuestion, type Question, type Reply, readReply } from './dns-message.ts'

export type Outcome =
  | { readonly kind: 'answered'; readonly answer: Answer }
  | { readonly kind: 'refused'; readonly rcode: number }
  /** No answer within the time, or nobody there. */
  | { readonly kind: 'silent' }

const SILENT: Outcome = { kind: 'silent' }
const MAX_SOCKETS = 16
/** A socket, and with it its port, is given up after so many questions. */
const QUESTIONS_A_SOCKET = 512

interface Pending {
  readonly question: Question
  readonly asked: Buffer
  settle(reply: Reply | null): void
}

/** A UDP socket, the questions under way on it by id, and how many it has carried. */
class Port {
  readonly socket: Socket
  readonly pending = new Map<number, Pending>()
  readonly ready: Promise<boolean>
  asked = 0
  #retired = false

  constructor(host: string, port: number) {
    const socket = createSocket(isIPv6(host) ? 'udp6' : 'udp4')
    this.socket = socket
    const { promise, resolve } = Promise.withResolvers<boolean>()
    this.ready = promise
    socket.on('message', (bytes) => this.#take(bytes))
    // Nobody listens there, or the network is away: all that is under way will get no answer.
    socket.on('error', () => {
      resolve(false)
      this.retire()
      this.fail()
    })
    socket.connect(port, host, () => resolve(true))
  }

  get isRetired(): boolean {
    return this.#retired
  }

  #take(bytes: Buffer): void {
    if (bytes.length < 2) return
    const waiting = this.pending.get(bytes.readUInt16BE(0))
    if (waiting === undefined) return
    const reply = readReply(bytes, waiting.asked, waiting.question)
    if (reply.kind !== 'foreign') waiting.settle(reply)
  }

  freeId(): number {
    for (;;) {
      const id = randomInt(65_536)
      if (!this.pending.has(id)) return id
    }
  }

  /** No further questions; closed when those under way have ended. */
  retire(): void {
    this.#retired = true
    this.closeWhenIdle()
  }

  #closed = false
  closeWhenIdle(): void {
    if (!this.#retired || this.#closed || this.pending.size > 0) return
    this.#closed = true
    void this.ready.then(() => this.socket.close())
  }

  fail(): void {
    for (const { settle } of [...this.pending.values()]) settle(null)
  }
}

export class DnsServerClient {
  readonly #host: string
  readonly #port: number
  #ports: Port[] = []
  readonly #open = new Set<Port>()
  readonly #streams = new Set<() => void>()

  constructor(host: string, port: number) {
    this.#host = host
    this.#port = port
  }

  /** Asks once. Never rejects. */
  async ask(question: Question, milliseconds: number): Promise<Outcome> {
    const until = performance.now() + milliseconds
    const reply = await this.#askOverUdp(question, milliseconds)
    if (reply === null) return SILENT
    if (reply.kind !== 'truncated') return outcomeOf(reply)
    return outcomeOf(await this.#askOverTcp(question, Math.max(1, until - performance.now())))
  }

  #choosePort(): Port {
    this.#ports = this.#ports.filter((port) => !port.isRetired)
    if (this.#ports.length < MAX_SOCKETS) {
      const fresh = new Port(this.#host, this.#port)
      this.#ports.push(fresh)
      this.#open.add(fresh)
      fresh.socket.once('close', () => this.#open.delete(fresh))
    }
    return this.#ports[randomInt(this.#ports.length)]!
  }

  async #askOverUdp(question: Question, milliseconds: number): Promise<Reply | null> {
    const port = this.#choosePort()
    const id = port.freeId()
    const asked = encodeQuestion(id, question)
    const { promise, resolve } = Promise.withResolvers<Reply | null>()
    const settle = (reply: Reply | null) => {
      clearTimeout(timer)
      port.pending.delete(id)
      port.closeWhenIdle()
      resolve(reply)
    }
    const timer = setTimeout(() => settle(null), milliseconds)
    port.pending.set(id, { question, asked, settle })
    if (++port.asked >= QUESTIONS_A_SOCKET) port.retire()
    if (!(await port.ready)) settle(null)
    else if (port.pending.has(id)) port.socket.send(asked, (error) => error && settle(null))
    return promise
  }

  #askOverTcp(question: Question, milliseconds: number): Promise<Reply | null> {
    const asked = encodeQuestion(randomInt(65_536), question)
    const { promise, resolve } = Promise.withResolvers<Reply | null>()
    const stream = connect({ host: this.#host, port: this.#port })
    const end = (reply: Reply | null) => {
      clearTimeout(timer)
      this.#streams.delete(giveUp)
      stream.destroy()
      resolve(reply)
    }
    const giveUp = () => end(null)
    this.#streams.add(giveUp)
    const timer = setTimeout(giveUp, milliseconds)
    let received = Buffer.alloc(0)
    stream.on('error', giveUp).on('close', giveUp)
    stream.on('data', (bytes: Buffer) => {
      received = Buffer.concat([received, bytes])
      if (received.length < 2 || received.length < 2 + received.readUInt16BE(0)) return
      const reply = readReply(received.subarray(2, 2 + received.readUInt16BE(0)), asked, question)
      end(reply.kind === 'answered' || reply.kind === 'refused' ? reply : null)
    })
    const length = Buffer.alloc(2)
    length.writeUInt16BE(asked.length)
    stream.write(Buffer.concat([length, asked]))
    return promise
  }

  /** Ends what is under way without an answer. Resolves when all sockets are closed. */
  async close(): Promise<void> {
    for (const giveUp of [...this.#streams]) giveUp()
    const closing = [...this.#open].map((port) => new Promise<void>((resolve) => port.socket.once('close', resolve)))
    for (const port of [...this.#open]) {
      port.retire()
      port.fail()
    }
    await Promise.all(closing)
  }
}

function outcomeOf(reply: Reply | null): Outcome {
  return reply === null || reply.kind === 'foreign' || reply.kind === 'truncated' ? SILENT : reply
}
