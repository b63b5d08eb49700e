/** CEL, behind one file: parses a condition, checks its types against the table of names, and evaluates it. */
import { type ASTNode, Environment, ParseError, TypeError as TypeFault } from '@marcbachmann/cel-js'
import { isBelow } from './domains.ts'
import { type BinaryOperator, binaryOperators, type Expression } from './expression.ts'
import { AddressList, AsnList, DomainList, type List, type ListKind } from './lists.ts'
import { names, type RuleName, resultMembers } from './names.ts'
import { RangeSet, readRange } from './ranges.ts'

/** What is wrong with a condition, and at which character of it. */
export interface ConditionFault {
  readonly at: number
  readonly message: string
}
export class ConditionError extends Error {
  readonly at: number
  constructor({ at, message }: ConditionFault) {
    super(message)
    this.at = at
  }
}

export class DkimResultView {
  readonly domain: string
  readonly selector: string
  readonly result: string
  constructor(domain: string, selector: string, result: string) {
    this.domain = domain
    this.selector = selector
    this.result = result
  }
}
export class SpfResultView {
  readonly domain: string
  readonly scope: string
  readonly result: string
  constructor(domain: string, scope: string, result: string) {
    this.domain = domain
    this.scope = scope
    this.result = result
  }
}

/** A record as conditions see it. Numbers of type int are BigInt; `lists` are those of the reader of the conditions. */
export type RecordView = Readonly<Record<RuleName | 'lists', unknown>>

/**
 * CEL reserves `in` for the operator and takes no method of that name, so `x.in(…)` is read as this one. It has as many
 * letters, so places in the text stay where they are.
 */
const IN_METHOD = 'IN'

/** Limits of a condition: rule sets come over HTTP, and evaluating one must never take long. */
const limits = { maxAstNodes: 2000, maxDepth: 60, maxListElements: 1000, maxMapEntries: 1, maxCallArguments: 8 }

const celTypes = {
  string: 'string',
  int: 'int',
  bool: 'bool',
  strings: 'list<string>',
  dkimResults: 'list<DkimResult>',
  spfResults: 'list<SpfResult>',
} as const
const listTypes: Readonly<Record<ListKind, string>> = { ranges: 'AddressList', domains: 'DomainList', asns: 'AsnList' }

/** Ranges that are written in conditions are few and recur for every record. */
const literalRanges = new Map<string, RangeSet>()
function rangeSetOf(text: string): RangeSet {
  let ranges = literalRanges.get(text)
  if (ranges === undefined) {
    const range = readRange(text)
    ranges = new RangeSet(range === null ? [] : [range])
    if (literalRanges.size >= 10_000) literalRanges.clear()
    literalRanges.set(text, ranges)
  }
  return ranges
}

function makeBase(): Environment {
  const members = (of: readonly string[]) => Object.fromEntries(of.map((member) => [member, 'string']))
  const environment = new Environment({ limits })
    .registerType('DkimResult', { ctor: DkimResultView, fields: members(resultMembers.dkimResults) })
    .registerType('SpfResult', { ctor: SpfResultView, fields: members(resultMembers.spfResults) })
    .registerType('AddressList', AddressList)
    .registerType('DomainList', DomainList)
    .registerType('AsnList', AsnList)
  for (const [name, { type }] of Object.entries(names)) environment.registerVariable(name, celTypes[type])
  const sync = { async: false }
  const add = (signature: string, handler: (...args: never[]) => unknown) =>
    environment.registerFunction(signature, handler, sync)
  add('string.below(string): bool', isBelow)
  add('in_range(string, string): bool', (address: string, range: string) => rangeSetOf(range).contains(address))
  add(`string.${IN_METHOD}(AddressList): bool`, (address: string, list: AddressList) => list.ranges.contains(address))
  add(`string.${IN_METHOD}(DomainList): bool`, (name: string, list: DomainList) => list.domains.contains(name))
  add(`int.${IN_METHOD}(AsnList): bool`, (asn: bigint, list: AsnList) => list.asns.has(Number(asn)))
  return environment
}
const base = makeBase()

/** The lists of a rule set; an object of this class is the `lists` of conditions. */
class Lists {}

/** Reads conditions that may use the given lists. */
export class ConditionReader {
  readonly #environment: Environment
  /** What a record must have as `lists`. */
  readonly lists: Lists

  constructor(lists: ReadonlyMap<string, { readonly kind: ListKind; readonly list: List }>) {
    // A class of its own, because the members of a type belong to its class.
    class TheseLists extends Lists {}
    const fields = Object.fromEntries([...lists].map(([name, { kind }]) => [name, listTypes[kind]]))
    this.#environment = base
      .clone()
      .registerType('Lists', { ctor: TheseLists, fields })
      .registerVariable('lists', 'Lists')
    this.lists = Object.assign(new TheseLists(), Object.fromEntries([...lists].map(([name, { list }]) => [name, list])))
  }

  /** Throws `ConditionError` when it cannot be parsed. Names and types are not looked at. */
  parse(text: string): ParsedCondition {
    const { renamed, places } = renameInMethods(text)
    try {
      return new ParsedCondition(this.#environment.parse(renamed), places)
    } catch (error) {
      if (error instanceof ParseError) throw new ConditionError(faultOf(error, text))
      throw error
    }
  }
}

type Evaluable = ReturnType<Environment['parse']>

export class ParsedCondition {
  readonly expression: Expression
  readonly #evaluable: Evaluable

  constructor(evaluable: Evaluable, inMethods: ReadonlySet<number>) {
    this.#evaluable = evaluable
    this.expression = expressionOf(evaluable.ast, inMethods)
  }

  /** What is wrong with the types, or null. The condition may be evaluated only when this gave null. */
  checkTypes(): ConditionFault | null {
    const { valid, type, error } = this.#evaluable.check()
    if (!valid) {
      if (error instanceof TypeFault || error instanceof ParseError) return faultOf(error, this.#evaluable.ast.input)
      throw error
    }
    if (type === 'bool') return null
    return { at: 0, message: `A condition must say true or false; this one is of type ${type}.` }
  }

  /** Whether it holds. What fails while it is evaluated, such as an entry that is not there, counts as false. */
  holds(record: RecordView): boolean {
    try {
      return this.#evaluable(record) === true
    } catch {
      return false // rules.md: a condition that fails at run time is false
    }
  }
}

/** Messages of the library, said for someone who writes a rule. */
function faultOf(error: ParseError | TypeFault, text: string): ConditionFault {
  const summary = (error.summary ?? error.message).replaceAll(`.${IN_METHOD}(`, '.in(')
  const at = Math.min(error.range?.start ?? 0, text.length)
  if (error instanceof ParseError && at >= text.trimEnd().length)
    return { at, message: 'The condition ends too early.' }
  if (error.code === 'limit_exceeded')
    return { at, message: 'The condition is too long or too deeply nested; split it.' }
  if (/ in (?:Address|Domain|Asn)List$/.test(summary)) {
    return { at, message: 'Whether something is in a list is asked with .in(), such as source_ip.in(lists.NAME).' }
  }
  return { at, message: `${summary.charAt(0).toUpperCase()}${summary.slice(1).replace(/\.$/, '')}.` }
}

/** Puts `IN` where `in` is called as a method, outside texts and comments. */
function renameInMethods(text: string): { renamed: string; places: ReadonlySet<number> } {
  const places = new Set<number>()
  const tokens =
    /\/\/[^\n]*|[rR]?(?:"""[\s\S]*?"""|'''[\s\S]*?'''|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')|(\.\s*)in(?=\s*\()/g
  const renamed = text.replace(tokens, (token, dot: string | undefined, offset: number) => {
    if (dot === undefined) return token
    places.add(offset + dot.length)
    return `${dot}${IN_METHOD}`
  })
  return { renamed, places }
}

const isBinary = (op: string): op is BinaryOperator => binaryOperators.some((operator) => operator === op)

/** The library's tree as ours. Throws `ConditionError` for what conditions do not have. */
function expressionOf(node: ASTNode, inMethods: ReadonlySet<number>): Expression {
  const convert = (child: ASTNode): Expression => expressionOf(child, inMethods)
  const at = node.pos
  const { op } = node
  if (isBinary(op)) {
    const [left, right] = node.args as [ASTNode, ASTNode]
    return { op: 'binary', at: left.start, operator: op, left: convert(left), right: convert(right) }
  }
  switch (node.op) {
    case 'value': {
      const { args: value } = node
      if (value !== null && typeof value === 'object') {
        throw new ConditionError({ at, message: 'Conditions have no bytes and no unsigned numbers.' })
      }
      return { op: 'value', at, value }
    }
    case 'id':
      return { op: 'name', at, name: node.args }
    case '.':
      return { op: 'member', at, of: convert(node.args[0]), name: node.args[1] }
    case '[]':
      return { op: 'index', at, of: convert(node.args[0]), index: convert(node.args[1]) }
    case '!_':
      return { op: 'not', at, of: convert(node.args) }
    case '-_':
      return { op: 'negative', at, of: convert(node.args) }
    case '?:': {
      const [condition, yes, no] = node.args
      return { op: 'choice', at, condition: convert(condition), yes: convert(yes), no: convert(no) }
    }
    case 'list':
      return { op: 'list', at, items: node.args.map(convert) }
    case 'call':
      return { op: 'call', at, name: node.args[0], args: node.args[1].map(convert) }
    case 'rcall': {
      const [name, on, args] = node.args
      const place = placeOfMethod(node.input, on.end, name)
      if (name === IN_METHOD && !inMethods.has(place)) {
        throw new ConditionError({ at: place, message: `There is no method ${IN_METHOD}. Did you mean "in"?` })
      }
      const method = name === IN_METHOD ? 'in' : name
      return { op: 'method', at: place, on: convert(on), name: method, args: args.map(convert) }
    }
    default:
      throw new ConditionError({ at, message: 'Conditions have no maps and no optional members.' })
  }
}

/** Offset of the name of a method that is called on what ends at `end` (closing brackets may follow). */
function placeOfMethod(text: string, end: number, name: string): number {
  const dot = text.indexOf('.', end)
  const place = text.indexOf(name, dot + 1)
  return place < 0 ? end : place
}
