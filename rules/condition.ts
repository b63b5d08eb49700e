/** A condition of a rule, read: its names checked, its text canonical, ready to be evaluated. */
import { ConditionError, type ConditionFault, ConditionReader, type RecordView } from './cel.ts'
import { type Expression, partsOf, printExpression } from './expression.ts'
import { type ListDefinition, makeList } from './lists.ts'
import { comprehensions, functions, methods, names, type RuleName, resultMembers, ruleNames } from './names.ts'
import { suggestion } from './nearest.ts'
import { patternFault } from './pattern.ts'
import { readRange } from './ranges.ts'

export interface Condition {
  /** The canonical text. */
  readonly text: string
  readonly expression: Expression
  /** What it reads of a record. */
  readonly reads: ReadonlySet<RuleName>
  /** Lists that it names. */
  readonly lists: ReadonlySet<string>
  holds(record: RecordView): boolean
}

export const MAX_CONDITION = 10_000
/** More are not listed of one condition. */
const MAX_FAULTS = 20
/** Lists within lists that a condition may go through: an entry of each for every entry of the other. */
const MAX_NESTING = 2

/** The lists of a rule set, and the reader of conditions that may use them. */
export class Conditions {
  readonly reader: ConditionReader
  readonly #lists: ReadonlySet<string>

  constructor(lists: Readonly<Record<string, ListDefinition>>) {
    this.#lists = new Set(Object.keys(lists))
    this.reader = new ConditionReader(
      new Map(Object.entries(lists).map(([name, list]) => [name, { kind: list.kind, list: makeList(list) }])),
    )
  }

  /**
   * Reads a condition in which only `known` names may stand.
   * @returns the condition, or all that is wrong with it, each at its offset in the text
   */
  read(text: string, known: readonly RuleName[] = ruleNames): Condition | readonly ConditionFault[] {
    if (text.length > MAX_CONDITION) {
      return [{ at: 0, message: `A condition has at most ${MAX_CONDITION} characters; this one has ${text.length}.` }]
    }
    try {
      const parsed = this.reader.parse(text)
      const found = new NameCheck(known, this.#lists)
      found.visit(parsed.expression)
      if (found.faults.length > 0) return found.faults
      const fault = parsed.checkTypes()
      if (fault !== null) return [fault]
      const { expression } = parsed
      return {
        text: printExpression(expression),
        expression,
        reads: found.reads,
        lists: found.lists,
        holds: (record) => parsed.holds(record),
      }
    } catch (error) {
      if (error instanceof ConditionError) return [{ at: error.at, message: error.message }]
      throw error
    }
  }
}

export const isCondition = (read: Condition | readonly ConditionFault[]): read is Condition => 'text' in read

/** Looks for names that nobody knows, and for what the types do not say. */
class NameCheck {
  readonly faults: ConditionFault[] = []
  readonly reads = new Set<RuleName>()
  readonly lists = new Set<string>()
  readonly #known: readonly RuleName[]
  readonly #listNames: ReadonlySet<string>
  /** Names of entries, innermost last, with the list that they are of when it is a list of results. */
  readonly #entries: { readonly name: string; readonly of: 'dkimResults' | 'spfResults' | null }[] = []

  constructor(known: readonly RuleName[], listNames: ReadonlySet<string>) {
    this.#known = known
    this.#listNames = listNames
  }

  /** `candidates` are the names that `name` may have been meant to be. */
  #fault(at: number, message: string, name?: string, candidates?: Iterable<string>): void {
    if (this.faults.length >= MAX_FAULTS) return
    const near = name === undefined || candidates === undefined ? '' : suggestion(name, candidates)
    this.faults.push({ at, message: `${message}${near}` })
  }

  visit(expression: Expression): void {
    switch (expression.op) {
      case 'name':
        this.#visitName(expression.name, expression.at)
        return
      case 'member':
        this.#visitMember(expression)
        return
      case 'call':
        this.#visitCall(expression)
        return
      case 'method':
        this.#visitMethod(expression)
        return
      default:
        for (const part of partsOf(expression)) this.visit(part)
    }
  }

  #visitName(name: string, at: number): void {
    if (this.#entries.some((entry) => entry.name === name)) return
    const known = this.#known.find((one) => one === name)
    if (known !== undefined) this.reads.add(known)
    else if (name === 'lists') this.#fault(at, 'Say which list: lists.NAME.')
    else if (ruleNames.some((one) => one === name)) {
      this.#fault(at, `"${name}" is not known here: it follows from the sender, which this condition helps to name.`)
    } else {
      const candidates = [...this.#known, 'lists', ...this.#entries.map((entry) => entry.name)]
      this.#fault(at, `There is no name ${JSON.stringify(name)}.`, name, candidates)
    }
  }

  #visitMember({ of, name, at }: Extract<Expression, { op: 'member' }>): void {
    if (of.op === 'name' && of.name === 'lists' && !this.#entries.some((entry) => entry.name === 'lists')) {
      if (this.#listNames.has(name)) this.lists.add(name)
      else this.#fault(at, `There is no list ${JSON.stringify(name)}.`, name, this.#listNames)
      return
    }
    this.visit(of)
    const results = this.#resultsOf(of)
    if (results !== null && !resultMembers[results].includes(name)) {
      this.#fault(at, `There is no member ${JSON.stringify(name)}.`, name, resultMembers[results])
    }
  }

  /** Of which list of results the expression is an entry. */
  #resultsOf(expression: Expression): 'dkimResults' | 'spfResults' | null {
    if (expression.op === 'name') return this.#entries.findLast(({ name }) => name === expression.name)?.of ?? null
    return expression.op === 'index' ? this.#listOf(expression.of) : null
  }

  /** Which list of results the expression is, or is a part of. */
  #listOf(expression: Expression): 'dkimResults' | 'spfResults' | null {
    if (expression.op === 'method' && expression.name === 'filter') return this.#listOf(expression.on)
    if (expression.op !== 'name') return null
    const type = names[expression.name as RuleName]?.type
    return type === 'dkimResults' || type === 'spfResults' ? type : null
  }

  #visitCall({ name, args, at }: Extract<Expression, { op: 'call' }>): void {
    if (!Object.hasOwn(functions, name)) {
      this.#fault(at, `There is no function ${JSON.stringify(name)}.`, name, Object.keys(functions))
    }
    for (const part of args) this.visit(part)
    const range = args[1]
    if (name !== 'in_range' || range === undefined) return
    if (range.op !== 'value' || typeof range.value !== 'string') {
      this.#fault(range.at, 'The range of in_range must be written out, such as "192.0.2.0/24"; else use a list.')
    } else if (readRange(range.value) === null) {
      this.#fault(range.at, `${JSON.stringify(range.value)} is no address range such as 192.0.2.0/24 or 2001:db8::/32.`)
    }
  }

  #visitMethod({ on, name, args, at }: Extract<Expression, { op: 'method' }>): void {
    this.visit(on)
    if (!Object.hasOwn(methods, name)) {
      this.#fault(at, `There is no method ${JSON.stringify(name)}.`, name, Object.keys(methods))
    }
    const entry = args[0]
    if (comprehensions.has(name) && entry?.op === 'name') {
      if (this.#entries.length === MAX_NESTING) this.#fault(at, `Not more than ${MAX_NESTING} lists within each other.`)
      if (entry.name in names || entry.name === 'lists') {
        this.#fault(entry.at, `"${entry.name}" is the name of something else; call the entry otherwise, such as "x".`)
      }
      this.#entries.push({ name: entry.name, of: this.#listOf(on) })
      for (const part of args.slice(1)) this.visit(part)
      this.#entries.pop()
      return
    }
    for (const part of args) this.visit(part)
    if (name === 'matches') this.#checkPattern(args[0])
  }

  #checkPattern(pattern: Expression | undefined): void {
    if (pattern === undefined) return
    if (pattern.op !== 'value' || typeof pattern.value !== 'string') {
      this.#fault(pattern.at, 'A pattern must be written out in the condition.')
      return
    }
    const fault = patternFault(pattern.value)
    if (fault !== null) this.#fault(pattern.at, fault)
  }
}
