/** Structured fields with parameters, such as Content-Type: RFC 2045 §5.1, RFC 2183, RFC 2231. */
import { decodeField, decodeOctets, withoutControls } from './header-fields.ts'
import { decodeText } from './transfer-encoding.ts'

/** Pieces of one RFC 2231 parameter that are put together. */
const MAX_PARAMETER_PIECES = 200

export interface StructuredField {
  /** Lower case, without comments; empty when there is none. */
  readonly value: string
  /** Names in lower case, values decoded. */
  readonly parameters: ReadonlyMap<string, string>
}

const noParameters: ReadonlyMap<string, string> = new Map()

/** Takes a field such as Content-Type apart: `value; name=value; name*0*=…`. Says nothing is wrong with anything. */
export function parseStructured(raw: string): StructuredField {
  const semicolon = raw.indexOf(';')
  const head = semicolon === -1 ? raw : raw.slice(0, semicolon)
  const value = (head.includes('(') ? head.replace(/\([^()]*\)/g, '') : head).trim().toLowerCase()
  return { value, parameters: semicolon === -1 ? noParameters : parseParameters(raw, semicolon + 1) }
}

function parseParameters(raw: string, from: number): ReadonlyMap<string, string> {
  const plain = new Map<string, string>()
  const pieces = new Map<string, string>()
  let position = from
  while (position < raw.length) {
    const equals = raw.indexOf('=', position)
    if (equals === -1) break
    const semicolon = raw.indexOf(';', position)
    if (semicolon !== -1 && semicolon < equals) {
      position = semicolon + 1
      continue
    }
    const name = raw.slice(position, equals).trim().toLowerCase()
    const [value, end] = parameterValue(raw, equals + 1)
    const into = name.includes('*') ? pieces : plain
    if (name !== '' && !into.has(name)) into.set(name, value)
    position = end
  }
  const parameters = new Map<string, string>()
  for (const [name, value] of plain) parameters.set(name, decodeField(value))
  if (pieces.size > 0) for (const [name, value] of joinPieces(pieces)) parameters.set(name, withoutControls(value))
  return parameters
}

/** A parameter's value and where the next one begins. A quoted string that is never closed ends at the semicolon. */
function parameterValue(raw: string, from: number): [string, number] {
  let start = from
  while (raw.charCodeAt(start) <= 32) start++
  if (raw[start] === '"') {
    for (let i = start + 1; i < raw.length; i++) {
      if (raw[i] === '\\') i++
      else if (raw[i] === '"') {
        const after = /^\s*;?/.exec(raw.slice(i + 1, i + 9))![0].length
        return [raw.slice(start + 1, i).replace(/\\(["\\])/g, '$1'), i + 1 + after]
      }
    }
    start++
  }
  const semicolon = raw.indexOf(';', start)
  const end = semicolon === -1 ? raw.length : semicolon
  return [raw.slice(start, end).trim(), end + 1]
}

/** RFC 2231 §3 and §4: `name*`, `name*0`, `name*0*`; the character set stands in front of the first extended piece. */
function joinPieces(pieces: ReadonlyMap<string, string>): Map<string, string> {
  const byName = new Map<string, { index: number; extended: boolean; value: string }[]>()
  for (const [key, value] of pieces) {
    const match = /^([^*]+)\*(\d{0,4})(\*?)$/.exec(key)
    if (match === null) continue
    const [, name, digits, star] = match
    const list = byName.get(name!) ?? []
    if (list.length < MAX_PARAMETER_PIECES) {
      list.push({ index: Number(digits), extended: digits === '' || star === '*', value })
    }
    byName.set(name!, list)
  }
  const joined = new Map<string, string>()
  for (const [name, list] of byName) {
    list.sort((a, b) => a.index - b.index)
    let charset = 'utf-8'
    const octets = list.map(({ extended, value }, i) => {
      if (!extended) return Buffer.from(decodeOctets(value), 'utf8').toString('latin1')
      const prefix = i === 0 ? /^([^']*)'[^']*'/.exec(value) : null
      if (prefix !== null && prefix[1] !== '') charset = prefix[1]!
      return value
        .slice(prefix?.[0].length ?? 0)
        .replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
    })
    joined.set(name, decodeText(Buffer.from(octets.join(''), 'latin1'), charset))
  }
  return joined
}
