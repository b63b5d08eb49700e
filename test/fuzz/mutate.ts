/** Changes inputs as damage and malice do. The same seed gives the same input, on any machine. */
import { gunzipSync, gzipSync } from 'node:zlib'

/** Numbers from 0 to 1. */
export type Chance = () => number

const below = (chance: Chance, n: number) => Math.floor(chance() * n)
const pick = <T>(chance: Chance, from: readonly T[]): T => from[below(chance, from.length)]!

/** What formats are sensitive to. */
const TOKENS = [
  '<', '>', '</', '/>', '<!--', '-->', '<![CDATA[', ']]>', '<?', '?>', '<!DOCTYPE x [', '&', '&amp;', '&#0;', '&#x10ffff;', '&#xd800;',
  '"', "'", '{', '}', '[', ']', ':', ',', '\\u0000', '\\ud800', '1e999', '-1', '0', '-0', '9007199254740993', '1e-7', 'NaN', 'null', 'true',
  '\r\n', '\n', '\r', '\r\n\r\n', '--', '\r\n--', '=', '=?utf-8?b?', '?=', '=\r\n', 'begin 644 a\r\n', 'Content-Type: multipart/mixed; boundary=x\r\n',
  'Content-Transfer-Encoding: base64\r\n', 'Content-Type: message/rfc822\r\n', 'From ', '\nFrom a Thu Nov 21 00:00:00 2026\n', '\u0001\u0001\u0001\u0001\n',
  '\u0000', '\u001b[2J', '\u009b', '\u2028', '\u202e', '\ufeff', '\uffff', 'PK\u0003\u0004', 'PK\u0001\u0002', 'PK\u0005\u0006', '__proto__', 'constructor',
  '<record>', '</record>', '</feedback>', '<feedback>', '<count>', '2147483648', '4294967296', '1970-01-01T00:00:00Z', '9999-12-31T23:59:59.999+14:00',
  '!!js/function', '&a *a', '*a', '%TAG', '|', '>-', '? ', '- ', '(', ')', '&&', '||', '!', ' in ', '.matches("(a+)+$")', '.exists(x, true)', 'lists.',
] as const // biome-ignore format: a list of words
const NUMBERS = [0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff]

type Mutation = (bytes: Buffer, chance: Chance, other: Buffer) => Buffer

const range = (chance: Chance, bytes: Buffer): [number, number] => {
  const start = below(chance, bytes.length + 1)
  const longest = pick(chance, [1, 4, 16, 256, 4096])
  return [start, Math.min(bytes.length, start + below(chance, longest) + 1)]
}
const insert = (bytes: Buffer, at: number, piece: Uint8Array, drop = 0) =>
  Buffer.concat([bytes.subarray(0, at), piece, bytes.subarray(at + drop)])

const mutations: readonly Mutation[] = [
  function flipBit(bytes, chance) {
    const changed = Buffer.from(bytes)
    if (changed.length > 0) changed[below(chance, changed.length)]! ^= 1 << below(chance, 8)
    return changed
  },
  function setByte(bytes, chance) {
    const changed = Buffer.from(bytes)
    if (changed.length > 0) changed[below(chance, changed.length)] = below(chance, 256)
    return changed
  },
  function setNumber(bytes, chance) {
    const changed = Buffer.from(bytes)
    if (changed.length < 4) return changed
    const at = below(chance, changed.length - 3)
    const value = pick(chance, NUMBERS)
    if (chance() < 0.5) changed.writeUInt32LE(value, at)
    else changed.writeUInt16LE(value & 0xffff, at)
    return changed
  },
  function cut(bytes, chance) {
    return bytes.subarray(0, below(chance, bytes.length + 1))
  },
  function drop(bytes, chance) {
    const [start, end] = range(chance, bytes)
    return insert(bytes, start, new Uint8Array(), end - start)
  },
  function insertToken(bytes, chance) {
    return insert(bytes, below(chance, bytes.length + 1), Buffer.from(pick(chance, TOKENS)))
  },
  function replaceByToken(bytes, chance) {
    const [start, end] = range(chance, bytes)
    return insert(bytes, start, Buffer.from(pick(chance, TOKENS)), end - start)
  },
  function repeat(bytes, chance) {
    const [start, end] = range(chance, bytes)
    const piece = bytes.subarray(start, end)
    const times = Math.min(pick(chance, [2, 3, 30, 1000]), Math.ceil(200_000 / Math.max(1, piece.length)))
    return insert(bytes, end, Buffer.concat(new Array(times).fill(piece)))
  },
  function repeatToken(bytes, chance) {
    const token = pick(chance, TOKENS)
    return insert(bytes, below(chance, bytes.length + 1), Buffer.from(token.repeat(pick(chance, [10, 100, 5000]))))
  },
  function swap(bytes, chance) {
    const [start, end] = range(chance, bytes)
    const at = below(chance, bytes.length + 1)
    return insert(insert(bytes, start, new Uint8Array(), end - start), at, bytes.subarray(start, end))
  },
  function splice(bytes, chance, other) {
    const at = below(chance, bytes.length + 1)
    const from = below(chance, other.length + 1)
    const piece = other.subarray(from, from + below(chance, 5000))
    return insert(bytes, at, piece, chance() < 0.5 ? piece.length : 0)
  },
  function digits(bytes, chance) {
    // Somewhere in it; all the numbers of a long text would take longer to find than it takes to read.
    const from = below(chance, bytes.length + 1)
    const text = bytes.toString('latin1', from, from + 2000)
    const found = [...text.matchAll(/\d+/g)]
    if (found.length === 0) return bytes
    const { index, 0: number } = pick(chance, found)
    const value = pick(chance, [
      '',
      '-1',
      '0',
      '1e400',
      '9'.repeat(30),
      '1.5',
      '４',
      ' 7 ',
      '0x10',
      '2147483648',
      '99999999999',
    ])
    return insert(bytes, from + index, Buffer.from(value), number.length)
  },
]

/** The first lines of base64 after a blank line. (One regular expression for it takes quadratic time over long lines.) */
function base64Block(text: string): { readonly index: number; readonly base64: string } | null {
  for (let at = text.indexOf('\n\r\n'); at !== -1; at = text.indexOf('\n\r\n', at + 3)) {
    const index = at + 3
    const line = text.slice(index, index + 60)
    if (!/^[A-Za-z0-9+/]{60}$/.test(line)) continue
    const end = text.slice(index).search(/[^A-Za-z0-9+/=\r\n]/)
    return { index, base64: end === -1 ? text.slice(index) : text.slice(index, index + end) }
  }
  return null
}

/** What lies in base64 after a blank line is changed as it is, and packed again. */
function inside(bytes: Buffer, chance: Chance, other: Buffer): Buffer | null {
  const block = base64Block(bytes.toString('latin1'))
  if (block === null) return null
  const { index, base64 } = block
  const content = Buffer.from(base64, 'base64')
  const changed =
    throughGzip(content, (inner) => mutateOnce(inner, chance, other)) ?? mutateOnce(content, chance, other)
  return insert(bytes, index, Buffer.from(changed.toString('base64').replace(/.{76}/g, '$&\r\n')), base64.length)
}

export function throughGzip(bytes: Buffer, change: (inner: Buffer) => Buffer): Buffer | null {
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return null
  try {
    return gzipSync(change(gunzipSync(bytes, { maxOutputLength: 512 << 10 })), { level: 1 })
  } catch {
    return null // a seed that is damaged on purpose
  }
}

function mutateOnce(bytes: Buffer, chance: Chance, other: Buffer): Buffer {
  return pick(chance, mutations)(bytes, chance, other)
}

/** One to eight changes. `other` is another seed, pieces of which are mixed in. */
export function mutate(seed: Uint8Array, other: Uint8Array, chance: Chance): Buffer {
  let bytes: Buffer = Buffer.from(seed)
  const mixed = Buffer.from(other)
  for (let left = 1 + below(chance, 1 + below(chance, 8)); left > 0; left--) {
    const deep =
      chance() < 0.5 ? (inside(bytes, chance, mixed) ?? throughGzip(bytes, (b) => mutateOnce(b, chance, mixed))) : null
    bytes = deep ?? mutateOnce(bytes, chance, mixed)
    if (bytes.length > 1 << 20) bytes = bytes.subarray(0, 1 << 20)
  }
  return bytes
}
