/**
 * DNS messages (RFC 1035): a question as bytes, and what an answer says to it. What comes from the network is read with
 * suspicion: an answer that is not to the question asked is no answer.
 */
import { type DecodedPacket, decode, encode, RECURSION_DESIRED, type SoaAnswer } from 'dns-packet'

export type QuestionType = 'PTR' | 'A' | 'AAAA' | 'TXT'

export interface Question {
  /** Lower case, no trailing dot. */
  readonly name: string
  readonly type: QuestionType
}

/** What a server said: names (PTR), addresses (A, AAAA) or texts (TXT), none when there are none. */
export interface Answer {
  readonly values: readonly string[]
  /** The name goes on under this one, and the answer did not hold what lies there. */
  readonly alias: string | null
  /** How long it holds, as the server says. */
  readonly ttlSeconds: number
}

export type Reply =
  /** Not to this question: somebody guesses, or a late answer. To be ignored. */
  | { readonly kind: 'foreign' }
  /** It did not fit; ask again over TCP. */
  | { readonly kind: 'truncated' }
  /** The server cannot or will not say. */
  | { readonly kind: 'refused'; readonly rcode: number }
  | { readonly kind: 'answered'; readonly answer: Answer }

/** Largest answer over UDP that is asked for; larger ones are fragmented on the way, which is how answers are forged. */
const UDP_PAYLOAD = 1232
/** Aliases followed in one answer. */
const MAX_ALIASES = 8
/** Holds when the server does not say how long nothing holds (RFC 2308 §5). */
const DEFAULT_NEGATIVE_SECONDS = 300
const DAY_SECONDS = 86_400

/** RFC 1035 §4.1.1 */
const NO_ERROR = 0
const NO_SUCH_NAME = 3

export function encodeQuestion(id: number, { name, type }: Question): Buffer {
  const edns = {
    type: 'OPT',
    name: '.',
    udpPayloadSize: UDP_PAYLOAD,
    extendedRcode: 0,
    ednsVersion: 0,
    flags: 0,
  } as const
  return encode({
    type: 'query',
    id,
    flags: RECURSION_DESIRED,
    questions: [{ type, name, class: 'IN' }],
    additionals: [{ ...edns, flag_do: false, options: [] }],
  })
}

/** The bytes of a question stand behind the header of 12, in a question and, as they were, in its answer. */
const HEADER = 12
const RESPONSE = 0x80
const TRUNCATED = 0x02

/** Whether the bytes begin as an answer to the question does: its id and, letter case aside, the question itself. */
function isAnswerTo(bytes: Buffer, asked: Buffer): boolean {
  // Name, then type and class; the OPT record that follows in `asked` takes 11 bytes.
  const end = asked.length - 11
  if (bytes.length < end || (bytes[2]! & RESPONSE) === 0) return false
  if (bytes.readUInt16BE(0) !== asked.readUInt16BE(0) || bytes.readUInt16BE(4) !== 1) return false
  const question = asked.toString('latin1', HEADER, end)
  return bytes.toString('latin1', HEADER, end).toLowerCase() === question.toLowerCase()
}

/** Reads what came from the server that was asked `asked`. Never throws: bytes that cannot be read are `foreign`. */
export function readReply(bytes: Buffer, asked: Buffer, question: Question): Reply {
  if (!isAnswerTo(bytes, asked)) return { kind: 'foreign' }
  if ((bytes[2]! & TRUNCATED) !== 0) return { kind: 'truncated' }
  let packet: DecodedPacket
  try {
    packet = decode(bytes)
  } catch {
    return { kind: 'foreign' } // anyone can send bytes; the right answer may still come
  }
  const rcode = bytes[3]! & 15
  if (rcode !== NO_ERROR && rcode !== NO_SUCH_NAME) return { kind: 'refused', rcode }
  return { kind: 'answered', answer: readAnswer(packet, question, rcode === NO_SUCH_NAME) }
}

function readAnswer(
  { answers = [], authorities = [] }: DecodedPacket,
  question: Question,
  isNoSuchName: boolean,
): Answer {
  let owner = question.name
  let ttlSeconds = DAY_SECONDS
  const passed = new Set<string>()
  for (;;) {
    const values: string[] = []
    let alias: string | null = null
    for (const record of answers) {
      if ((record.type !== question.type && record.type !== 'CNAME') || canonical(record.name) !== owner) continue
      ttlSeconds = Math.min(ttlSeconds, record.ttl ?? 0)
      if (record.type === 'CNAME') alias = canonical(record.data)
      else values.push(record.type === 'TXT' ? joinedText(record.data) : (record.data as string))
    }
    if (values.length > 0) return { values, alias: null, ttlSeconds }
    if (alias === null) {
      const soa = authorities.find((record) => record.type === 'SOA')
      // A server that knows that nothing is there says so; one that only knows the alias leaves us to ask on.
      const isOpen = owner !== question.name && !isNoSuchName && soa === undefined
      return { values, alias: isOpen ? owner : null, ttlSeconds: Math.min(ttlSeconds, negativeSeconds(soa)) }
    }
    passed.add(owner)
    if (passed.has(alias) || passed.size > MAX_ALIASES) return { values: [], alias: null, ttlSeconds }
    owner = alias
  }
}

/** The strings of a TXT record as one (RFC 6376 §3.6.2.2), octets as Latin-1 characters. */
function joinedText(strings: string | Buffer | readonly (string | Buffer)[]): string {
  const list = Array.isArray(strings) ? strings : [strings]
  return list.map((one: string | Buffer) => (typeof one === 'string' ? one : one.toString('latin1'))).join('')
}

/** RFC 2308 §5: the lesser of the SOA record's own TTL and its MINIMUM field. */
function negativeSeconds(soa: SoaAnswer | undefined): number {
  if (soa === undefined) return DEFAULT_NEGATIVE_SECONDS
  return Math.min(soa.ttl ?? DEFAULT_NEGATIVE_SECONDS, soa.data.minimum ?? DAY_SECONDS)
}

/** Lower case, no trailing dot. */
export function canonical(name: string): string {
  const lower = name.toLowerCase()
  return lower.endsWith('.') && lower.length > 1 ? lower.slice(0, -1) : lower
}

const LABEL = /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/
const MAX_NAME = 253

/**
 * Whether it may be the name of a host: letters, digits, hyphens (RFC 1123 §2.1) and the underscores that are in use. A
 * last label of digits alone would be an address.
 */
export function isHostName(name: string): boolean {
  if (name.length > MAX_NAME) return false
  const labels = name.split('.')
  return labels.every((label) => LABEL.test(label)) && !/^\d+$/.test(labels.at(-1)!)
}
