/** Reading the fields of a map of the rule file: what is not known or of another type is a problem, and named. */
import { type Condition, type Conditions, isCondition } from './condition.ts'
import type { RuleName } from './names.ts'
import type { Problems } from './problems.ts'
import type { ListNode, MapNode, ScalarNode, YamlNode } from './yaml.ts'

const kindWords = { map: 'a map (name: value)', list: 'a list', scalar: 'a single value' } as const

const isEmpty = (node: YamlNode): boolean => node.kind === 'scalar' && node.value === null

/** The fields of a map; a node that is no map has none, and is a problem. */
export class Fields {
  readonly at: number
  readonly #problems: Problems
  readonly #fields = new Map<string, { readonly at: number; readonly value: YamlNode }>()

  /** `what` says in messages what the map is, such as `A sender`. */
  constructor(node: YamlNode, known: readonly string[], what: string, problems: Problems) {
    this.at = node.at
    this.#problems = problems
    const map = asMap(node, what, problems)
    for (const { key, at, value } of map.entries) {
      if (known.includes(key)) this.#fields.set(key, { at, value })
      else problems.error(at, `${what} has no key ${JSON.stringify(key)}.${problems.suggestion(key, known)}`)
    }
  }

  /** The value, or null when it is missing or empty. */
  get(key: string): YamlNode | null {
    const value = this.#fields.get(key)?.value
    return value === undefined || isEmpty(value) ? null : value
  }

  /** Where the value stands; of a missing one, where the map does. */
  placeOf(key: string): number {
    const field = this.#fields.get(key)
    return field === undefined ? this.at : isEmpty(field.value) ? field.at : field.value.at
  }

  /** Offset in the document of a character of the text. */
  placesIn(key: string): (character: number) => number {
    const node = this.get(key)
    return node?.kind === 'scalar' ? node.placeOf : () => this.placeOf(key)
  }

  /** A text; `fallback` when it is missing, which is a problem when there is none. */
  text(key: string, fallback: string | null, maxLength: number): string {
    const node = this.get(key)
    if (node === null) {
      if (fallback === null) this.#problems.error(this.placeOf(key), `The key "${key}" is missing.`)
      return fallback ?? ''
    }
    const scalar = asScalar(node, `"${key}"`, this.#problems)
    if (scalar === null) return ''
    if (scalar.text.length > maxLength) {
      this.#problems.error(scalar.at, `"${key}" has at most ${maxLength} characters.`)
    }
    return scalar.text
  }

  /** One of some words. */
  word<Word extends string>(key: string, words: readonly Word[], fallback: Word | null): Word {
    const text = this.text(key, fallback, 100)
    const word = words.find((one) => one === text)
    if (word !== undefined) return word
    if (this.get(key) !== null) {
      this.#problems.error(
        this.placeOf(key),
        `${JSON.stringify(text)} is none of ${words.join(', ')}.${this.#problems.suggestion(text, words)}`,
      )
    }
    return fallback ?? words[0]!
  }

  /** The entries of a list; one value stands for a list of one. */
  scalars(key: string): readonly ScalarNode[] {
    const node = this.get(key)
    if (node === null) return []
    if (node.kind === 'scalar') return [node]
    return asList(node, `"${key}"`, this.#problems).items.flatMap((item) => {
      const scalar = asScalar(item, `An entry of "${key}"`, this.#problems)
      return scalar === null ? [] : [scalar]
    })
  }

  /** A condition; null when there is none or when it always holds as it stands (`true`). */
  condition(key: string, conditions: Conditions, known?: readonly RuleName[]): Condition | null {
    const node = this.get(key)
    if (node === null) return null
    const scalar = asScalar(node, `"${key}"`, this.#problems)
    if (scalar === null || scalar.text.trim() === '') return null
    const read = conditions.read(scalar.text, known)
    if (!isCondition(read)) {
      for (const { at, message } of read) this.#problems.error(scalar.placeOf(at), message)
      return null
    }
    return read.text === 'true' ? null : read
  }
}

const nowhere = { entries: [], items: [] } as const

/** The map; of what is none, one without entries, and a problem. Empty stands for none. */
export function asMap(node: YamlNode, what: string, problems: Problems): MapNode {
  if (node.kind === 'map') return node
  if (!isEmpty(node)) problems.error(node.at, `${what} must be ${kindWords.map}, not ${kindWords[node.kind]}.`)
  return { kind: 'map', at: node.at, ...nowhere }
}

export function asList(node: YamlNode, what: string, problems: Problems): ListNode {
  if (node.kind === 'list') return node
  if (!isEmpty(node)) problems.error(node.at, `${what} must be ${kindWords.list}, not ${kindWords[node.kind]}.`)
  return { kind: 'list', at: node.at, ...nowhere }
}

/** A value that is not empty, or null and a problem. */
export function asScalar(node: YamlNode, what: string, problems: Problems): ScalarNode | null {
  if (node.kind === 'scalar' && node.value !== null) return node
  const instead = node.kind === 'scalar' ? 'empty' : kindWords[node.kind]
  problems.error(node.at, `${what} must be ${kindWords.scalar}, not ${instead}.`)
  return null
}
