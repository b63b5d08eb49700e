/** YAML, behind one file: a document as a tree of maps, lists and scalars that know where they stand. */
import {
  isAlias,
  isMap,
  isScalar,
  isSeq,
  type Node,
  parseDocument,
  type Scalar,
  type YAMLMap,
  type YAMLSeq,
} from 'yaml'

/** Offsets are counted from 0 in the text without its byte order mark. */
export interface ScalarNode {
  readonly kind: 'scalar'
  readonly at: number
  readonly value: string | number | boolean | null
  /** As it was written, without quotes: `1.10` stays `1.10`. */
  readonly text: string
  /** Offset in the document of a character of a text, from 0. */
  readonly placeOf: (character: number) => number
}
export interface MapNode {
  readonly kind: 'map'
  readonly at: number
  readonly entries: readonly { readonly key: string; readonly at: number; readonly value: YamlNode }[]
}
export interface ListNode {
  readonly kind: 'list'
  readonly at: number
  readonly items: readonly YamlNode[]
}
export type YamlNode = ScalarNode | MapNode | ListNode

export interface YamlFault {
  readonly at: number
  readonly message: string
}

/** Nodes of a document, each as often as an alias repeats it: what a bomb of anchors multiplies. */
const MAX_NODES = 300_000
/** A rule set is five levels deep. */
const MAX_DEPTH = 20
/** Open brackets, or spaces at the beginning of a line, before anything is parsed. */
const MAX_NESTING = 500

/** Reads one document. An empty one is null. */
export function readYaml(text: string): { readonly root: YamlNode | null; readonly faults: readonly YamlFault[] } {
  const deep = tooDeepAt(text)
  if (deep >= 0) return { root: null, faults: [{ at: deep, message: 'This is nested too deeply.' }] }
  const document = parseDocument(text, { prettyErrors: false, logLevel: 'silent', version: '1.2', schema: 'core' })
  const problems = [...document.errors, ...document.warnings]
  if (problems.length > 0) {
    return { root: null, faults: problems.map(({ pos, message }) => ({ at: pos[0], message: sentence(message) })) }
  }
  const { contents } = document
  if (contents === null) return { root: null, faults: [] }
  const tree = new TreeMaker(text, (alias) => (isAlias(alias) ? alias.resolve(document) : undefined))
  const root = tree.make(contents as Node, 0)
  return { root, faults: tree.faults }
}

const sentence = (message: string) => (/[.!?]$/.test(message) ? message : `${message}.`)

/** Where brackets or indentation go so deep that parsing could exhaust the stack, or -1. */
function tooDeepAt(text: string): number {
  let open = 0
  const indentation = /(?:[-?:]? +)*/y
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i)
    if (c === 0x5b || c === 0x7b) open++
    else if (c === 0x5d || c === 0x7d) open = Math.max(0, open - 1)
    else if (c === 0x0a) {
      indentation.lastIndex = i + 1
      if ((indentation.exec(text)?.[0].length ?? 0) > MAX_NESTING) return i + 1
    }
    // Brackets in texts count too, so there is room for many that are never closed.
    if (open > MAX_NESTING) return i
  }
  return -1
}

class TreeMaker {
  readonly faults: YamlFault[] = []
  readonly #text: string
  readonly #resolve: (alias: Node) => Node | undefined
  #nodes = 0

  constructor(text: string, resolve: (alias: Node) => Node | undefined) {
    this.#text = text
    this.#resolve = resolve
  }

  make(node: Node | null, at: number, depth = 0): YamlNode {
    const place = node?.range?.[0] ?? at
    if (++this.#nodes > MAX_NODES || depth > MAX_DEPTH) {
      if (this.faults.length === 0) {
        this.faults.push({
          at: place,
          message: `The file is too large: more than ${MAX_NODES} values or ${MAX_DEPTH} levels.`,
        })
      }
      return emptyAt(place)
    }
    if (node === null) return emptyAt(at)
    if (isAlias(node)) {
      const target = this.#resolve(node)
      if (target !== undefined) return this.make(target, place, depth + 1)
      this.faults.push({ at: place, message: `There is no anchor "${node.source}" before this.` })
      return emptyAt(place)
    }
    if (isMap(node)) return this.#map(node, place, depth)
    if (isSeq(node)) return this.#list(node, place, depth)
    if (isScalar(node)) return scalarOf(node, place, this.#text)
    throw new Error('A node of YAML is neither map, list, scalar nor alias.')
  }

  #map(map: YAMLMap, at: number, depth: number): MapNode {
    const entries = map.items.map(({ key, value }) => {
      const name = this.make(key as Node | null, at, depth + 1)
      if (name.kind !== 'scalar') this.faults.push({ at: name.at, message: 'A key must be a name.' })
      const text = name.kind === 'scalar' ? name.text : ''
      return { key: text, at: name.at, value: this.make(value as Node | null, name.at, depth + 1) }
    })
    return { kind: 'map', at, entries }
  }

  #list(list: YAMLSeq, at: number, depth: number): ListNode {
    return { kind: 'list', at, items: list.items.map((item) => this.make(item as Node | null, at, depth + 1)) }
  }
}

const emptyAt = (at: number): ScalarNode => ({ kind: 'scalar', at, value: null, text: '', placeOf: () => at })

function scalarOf(node: Scalar, at: number, source: string): ScalarNode {
  const { value } = node
  const plain = typeof value === 'bigint' ? Number(value) : value
  const known = typeof plain === 'string' || typeof plain === 'number' || typeof plain === 'boolean' ? plain : null
  const text = typeof known === 'string' ? known : (node.source ?? '')
  const end = node.range?.[1] ?? source.length
  return {
    kind: 'scalar',
    at,
    value: known,
    text,
    placeOf: (character) => placeInScalar(source, at, end, text, character),
  }
}

/** One character of a text as it is written in double quotes (YAML 1.2 §5.7). */
const ESCAPE = /\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|\r?\n[ \t]*|[\s\S])/y

/**
 * Where a character of a scalar stands in the document. White space may be folded, so what is counted are the characters
 * that are none; a character that is white space has the place of the next one.
 */
function placeInScalar(source: string, at: number, end: number, text: string, character: number): number {
  let left = text.slice(0, character).replace(/\s+/g, '').length
  const quote = source[at]
  const isBlock = quote === '|' || quote === '>'
  let i = isBlock ? source.indexOf('\n', at) + 1 : quote === '"' || quote === "'" ? at + 1 : at
  while (i < end) {
    let length = 1
    let isSpace = /\s/.test(source[i]!)
    if (quote === '"' && source[i] === '\\') {
      ESCAPE.lastIndex = i
      const escaped = ESCAPE.exec(source)?.[0] ?? '\\'
      length = escaped.length
      isSpace = /^\\(?:[ntr ]|\r?\n|x(?:20|09|0[aAdD]))/.test(escaped)
    } else if (quote === "'" && source[i] === "'" && source[i + 1] === "'") length = 2
    if (!isSpace && left-- === 0) return i
    i += length
  }
  return Math.max(at, Math.min(i, end) - (isBlock || quote === '"' || quote === "'" ? 1 : 0))
}
