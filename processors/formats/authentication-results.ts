/**
 * `Authentication-Results` (RFC 8601 §2.2): what a mail server found when it took the mail. Anyone may write such a field;
 * whether to believe it is decided by the caller, by the name of the server in it.
 */
import { normaliseDomain } from './domain-names.ts'

export interface MethodResult {
  /** Lower case: dkim, dmarc, spf, … */
  readonly method: string
  /** Lower case: pass, fail, none, … */
  readonly result: string
  /** By `ptype.property`, lower case. */
  readonly properties: ReadonlyMap<string, string>
}

export interface AuthenticationResults {
  /** The server that speaks, lower case. */
  readonly authservId: string
  readonly results: readonly MethodResult[]
}

const MAX_TEXT = 16_384
const MAX_RESULTS = 50

/** Reads the body of a field, unfolded. Null when it does not begin with a name. */
export function readAuthenticationResults(text: string): AuthenticationResults | null {
  if (text.length > MAX_TEXT) return null
  const statements = splitStatements(text)
  const [head] = statements[0] ?? []
  if (head === undefined || head.includes('=')) return null
  const results: MethodResult[] = []
  for (const words of statements.slice(1, 1 + MAX_RESULTS)) {
    const result = readResult(words)
    if (result !== null) results.push(result)
  }
  return { authservId: head.toLowerCase(), results }
}

/** `dkim=pass`, `dkim/1=pass`, then `ptype.property=value`; `reason=…` is passed over. */
function readResult([first = '', ...rest]: readonly string[]): MethodResult | null {
  const match = /^([a-z0-9-]+)(?:\/\d+)?=([a-z]+)$/i.exec(first)
  if (match === null) return null
  const properties = new Map<string, string>()
  for (const word of rest) {
    const equals = word.indexOf('=')
    const name = word.slice(0, Math.max(0, equals)).toLowerCase()
    // The first one stands: a second one would be somebody's attempt to be read instead.
    if (name.includes('.') && !properties.has(name)) properties.set(name, word.slice(equals + 1))
  }
  return { method: match[1]!.toLowerCase(), result: match[2]!.toLowerCase(), properties }
}

/** Words between semicolons; comments left out, quoted strings without their quotes, white space around `=` closed. */
function splitStatements(text: string): string[][] {
  const statements: string[][] = [[]]
  let word = ''
  let depth = 0
  const endWord = () => {
    if (word !== '') statements.at(-1)!.push(word)
    word = ''
  }
  for (let i = 0; i < text.length; i++) {
    const letter = text[i]!
    if (depth > 0) {
      if (letter === '\\') i++
      else if (letter === '(') depth++
      else if (letter === ')') depth--
    } else if (letter === '(') depth++
    else if (letter === '"') {
      for (i++; i < text.length && text[i] !== '"'; i++) {
        if (text[i] === '\\') i++
        word += text[i] ?? ''
      }
    } else if (letter === ';') {
      endWord()
      statements.push([])
    } else if (letter === ' ' || letter === '\t' || letter === '\r' || letter === '\n') {
      if (!word.endsWith('=') && !/^[ \t\r\n]*=/.test(text.slice(i, i + 4))) endWord()
    } else word += letter
  }
  endWord()
  return statements
}

/** Domain of a property such as `header.d=example.org`, `header.i=@example.org` or `header.from=a@example.org`. */
export function domainOfProperty(value: string | undefined): string | null {
  return value === undefined ? null : normaliseDomain(value.slice(value.lastIndexOf('@') + 1))
}
