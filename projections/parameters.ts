/**
 * Query parameters as `@clickhouse/client` sends them (`param_name=…` in ClickHouse's escaped text), turned into the
 * values that chDB binds. Values never enter the text of a statement.
 */

const ESCAPES: Readonly<Record<string, string>> = {
  '0': '\0',
  a: '\x07',
  b: '\b',
  e: '\x1b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
}

/** Resolves ClickHouse's backslash escapes. */
export function unescapeText(text: string): string {
  if (!text.includes('\\')) return text
  return text.replace(/\\(x[0-9a-fA-F]{2}|[\s\S])/g, (_, code: string) =>
    code.length === 3 ? String.fromCharCode(Number.parseInt(code.slice(1), 16)) : (ESCAPES[code] ?? code),
  )
}

export type BoundValue = string | number | bigint | boolean | null | readonly BoundValue[]

/** `texts` by name as sent; the type of each is read from its `{name:Type}` placeholder in the statement. */
export function boundValues(statement: string, texts: ReadonlyMap<string, string>): Record<string, BoundValue> {
  const bound: Record<string, BoundValue> = {}
  for (const [name, text] of texts) {
    if (!/^\w+$/.test(name)) throw new Error(`A parameter is named ${JSON.stringify(name)}; use letters and digits.`)
    const isList = new RegExp(`\\{\\s*${name}\\s*:\\s*Array\\s*\\(`).test(statement)
    bound[name] = isList ? parseList(text) : text === '\\N' ? null : unescapeText(text)
  }
  return bound
}

/** Reads `['a','b\'c',1,NULL,[2]]`. Throws when it is not a list to its last character. */
export function parseList(text: string): readonly BoundValue[] {
  const reader = { text, at: 0 }
  const list = readList(reader)
  if (reader.at !== text.length) throw new Error(`A list parameter goes on after its end, at character ${reader.at}.`)
  return list
}

interface Reader {
  readonly text: string
  at: number
}

function readList(reader: Reader): readonly BoundValue[] {
  if (reader.text[reader.at++] !== '[') throw new Error('A list parameter must begin with [.')
  const items: BoundValue[] = []
  if (reader.text[reader.at] === ']') {
    reader.at++
    return items
  }
  for (;;) {
    items.push(readItem(reader))
    const next = reader.text[reader.at++]
    if (next === ']') return items
    if (next !== ',') throw new Error(`A list parameter lacks , or ] at character ${reader.at - 1}.`)
  }
}

const QUOTED = /'((?:[^'\\]|\\[\s\S])*)'/y
const BARE = /[^,[\]']+/y

function readItem(reader: Reader): BoundValue {
  if (reader.text[reader.at] === '[') return readList(reader)
  QUOTED.lastIndex = reader.at
  const quoted = QUOTED.exec(reader.text)
  if (quoted !== null) {
    reader.at = QUOTED.lastIndex
    return unescapeText(quoted[1]!)
  }
  BARE.lastIndex = reader.at
  const bare = BARE.exec(reader.text)?.[0]
  if (bare === undefined) throw new Error(`A list parameter lacks a value at character ${reader.at}.`)
  reader.at = BARE.lastIndex
  if (bare === 'NULL') return null
  if (bare === 'TRUE' || bare === 'FALSE') return bare === 'TRUE'
  if (/^-?\d+$/.test(bare)) return BigInt(bare)
  const number = Number(bare)
  if (Number.isNaN(number)) throw new Error(`A list parameter holds ${JSON.stringify(bare)}, which is no number.`)
  return number
}
