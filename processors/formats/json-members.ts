/** What `JSON.parse` does not tell or stop: nesting, and members that stand twice (I-JSON, RFC 7493 §2.3). */

export interface JsonSurvey {
  readonly depth: number
  /** Objects and arrays. */
  readonly containers: number
  /** The first member that stands twice in one object, or null. */
  readonly duplicate: string | null
}

/** The index of the quote that ends the string whose first character is at `from`; the text's length if none does. */
function endOfString(text: string, from: number): number {
  for (let at = from; ; ) {
    const quote = text.indexOf('"', at)
    if (quote === -1) return text.length
    let backslashes = 0
    while (text.charCodeAt(quote - 1 - backslashes) === 0x5c && quote - 1 - backslashes >= from) backslashes++
    if (backslashes % 2 === 0) return quote
    at = quote + 1
  }
}

export interface JsonBounds {
  readonly depth: number
  readonly containers: number
}

/**
 * Surveys JSON text without building anything. Stops above one of the bounds: a depth of 100,000 overflows stacks, and
 * 7 million empty lists in 20 MB of text take half a gigabyte.
 * Text that is no JSON gives a survey without meaning, never an error.
 */
export function surveyJson(text: string, most: JsonBounds): JsonSurvey {
  const open: (Set<string> | null)[] = []
  let depth = 0
  let containers = 0
  let duplicate: string | null = null
  // A string is a member's name when `{` or, in an object, `,` came before it.
  let nameNext = false
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i)
    if (c === 0x22) {
      const end = endOfString(text, i + 1)
      const members = nameNext ? open.at(-1) : null
      if (members) {
        const name = text.slice(i + 1, end)
        if (members.has(name)) duplicate ??= name
        members.add(name)
      }
      nameNext = false
      i = end
    } else if (c === 0x7b || c === 0x5b) {
      open.push(c === 0x7b ? new Set() : null)
      nameNext = c === 0x7b
      depth = Math.max(depth, open.length)
      containers++
      if (depth > most.depth || containers > most.containers) return { depth, containers, duplicate }
    } else if (c === 0x7d || c === 0x5d) {
      open.pop()
      nameNext = false
    } else if (c === 0x2c) nameNext = open.at(-1) instanceof Set
  }
  return { depth, containers, duplicate }
}
