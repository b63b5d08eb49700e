/**
 * Which conditions can never decide. What is found is certain; what is not found may still be so: conditions are
 * compared as texts, with a few facts about comparisons, lists, domains and ranges.
 */
import { isBelow } from './domains.ts'
import { type Expression, printExpression } from './expression.ts'
import { isWithin, readRange } from './ranges.ts'

/** Something that is true or false of a record, as text, with what can be compared about it. */
interface Fact {
  readonly text: string
  readonly negated: boolean
  readonly expression: Expression
}
/** All of them hold. */
type Case = readonly Fact[]

/** More cases are not taken apart: the condition is then one fact. */
const MAX_CASES = 16
const MAX_FACTS = 24

/** The cases in which the condition holds; none when it never does. */
function casesOf(expression: Expression, negated = false): readonly Case[] {
  if (expression.op === 'value' && typeof expression.value === 'boolean') {
    return expression.value !== negated ? [[]] : []
  }
  if (expression.op === 'not') return casesOf(expression.of, !negated)
  if (expression.op === 'binary' && (expression.operator === '&&' || expression.operator === '||')) {
    const left = casesOf(expression.left, negated)
    const right = casesOf(expression.right, negated)
    const cases =
      (expression.operator === '||') !== negated
        ? [...left, ...right]
        : left.length * right.length > MAX_CASES
          ? null
          : left.flatMap((one) => right.map((other) => [...one, ...other]))
    if (cases !== null && cases.length <= MAX_CASES) return cases.filter((one) => !isContradiction(one))
    return [[factOf(expression, negated)]]
  }
  const fact = factOf(expression, negated)
  const constant = constantValue(fact)
  return constant === null ? [[fact]] : constant ? [[]] : []
}

const opposites = { '==': '!=', '!=': '==', '<': '>=', '>=': '<', '>': '<=', '<=': '>' } as const
const mirrored = { '==': '==', '!=': '!=', '<': '>', '>': '<', '<=': '>=', '>=': '<=' } as const
const isComparison = (operator: string): operator is keyof typeof opposites => operator in opposites

/** `!(a == b)` as `a != b`, `"x" == a` as `a == "x"`. */
function factOf(expression: Expression, negated: boolean): Fact {
  if (expression.op === 'binary' && isComparison(expression.operator)) {
    let { left, right, operator } = expression as typeof expression & { operator: keyof typeof opposites }
    if (negated) operator = opposites[operator]
    if (left.op === 'value' && right.op !== 'value') {
      operator = mirrored[operator]
      const swapped = left
      left = right
      right = swapped
    }
    const turned = { ...expression, operator, left, right }
    return { text: printExpression(turned), negated: false, expression: turned }
  }
  return { text: printExpression(expression), negated, expression }
}

/** A comparison of two values that are both written out. */
function constantValue({ expression, negated }: Fact): boolean | null {
  if (expression.op !== 'binary') return null
  const { left, right, operator } = expression
  if (operator === 'in' && right.op === 'list' && right.items.length === 0) return negated
  if (left.op !== 'value' || right.op !== 'value' || !isComparison(operator)) return null
  return compareValues(left.value as number, operator, right.value as number) !== negated
}

function compareValues(a: number, operator: keyof typeof opposites, b: number): boolean {
  switch (operator) {
    case '==':
      return a === b
    case '!=':
      return a !== b
    case '<':
      return a < b
    case '<=':
      return a <= b
    case '>':
      return a > b
    case '>=':
      return a >= b
  }
}

/** Two of them exclude each other. Of more facts than a person writes the pairs are not looked at. */
const isContradiction = (facts: Case): boolean =>
  facts.length <= MAX_FACTS &&
  facts.some((one, i) =>
    facts.slice(i + 1).some((other) => implies(one, opposite(other)) || implies(other, opposite(one))),
  )

function opposite({ text, negated, expression }: Fact): Fact {
  if (expression.op === 'binary' && isComparison(expression.operator)) return factOf(expression, true)
  return { text, negated: !negated, expression }
}

/** Whether the other fact holds whenever the one does. */
function implies(one: Fact, other: Fact): boolean {
  if (one.text === other.text && one.negated === other.negated) return true
  if (one.negated && other.negated) return implies({ ...other, negated: false }, { ...one, negated: false })
  const a = one.expression
  const b = other.expression
  if (!one.negated && !other.negated && passes(a, b)) return true
  const known = valuesOf(one)
  if (known !== null) return allowsOnly(known, other)
  return impliesBound(one, other) || impliesBelow(one, other) || impliesRange(one, other)
}

/** What DMARC says: an aligned result passes. */
function passes(a: Expression, b: Expression): boolean {
  return a.op === 'name' && b.op === 'name' && b.name === 'passed' && /^(?:dkim|spf)_aligned$/.test(a.name)
}

interface KnownValues {
  readonly of: string
  readonly values: readonly unknown[]
}

/** `x == "a"` and `x in ["a", "b"]`: the values that x can have. */
function valuesOf({ expression, negated }: Fact): KnownValues | null {
  if (negated || expression.op !== 'binary') return null
  const { operator, left, right } = expression
  if (operator === '==' && right.op === 'value') return { of: printExpression(left), values: [right.value] }
  if (operator !== 'in' || right.op !== 'list') return null
  const values = right.items.map((item) => (item.op === 'value' ? item.value : undefined))
  return values.includes(undefined) ? null : { of: printExpression(left), values }
}

/** Whether the fact holds for each of the values. */
function allowsOnly({ of, values }: KnownValues, fact: Fact): boolean {
  const other = valuesOf({ ...fact, negated: false })
  if (other !== null && other.of === of) {
    return values.every((value) => other.values.includes(value) !== fact.negated)
  }
  const { expression, negated } = fact
  if (expression.op === 'binary' && isComparison(expression.operator) && expression.right.op === 'value') {
    const { operator, left, right } = expression
    const limit = right.value as number
    return printExpression(left) === of && values.every((value) => compareValues(value as number, operator, limit))
  }
  const domain = belowOf(fact)
  if (domain !== null && domain.of === of) {
    return values.every((value) => isBelow(String(value), domain.domain) !== negated)
  }
  return false
}

/** `count > 200` implies `count > 100`. Texts compare in the same way. */
function impliesBound(one: Fact, other: Fact): boolean {
  const a = one.expression
  const b = other.expression
  if (a.op !== 'binary' || b.op !== 'binary' || a.right.op !== 'value' || b.right.op !== 'value') return false
  if (printExpression(a.left) !== printExpression(b.left)) return false
  const low = a.right.value as number
  const high = b.right.value as number
  if (typeof low !== typeof high) return false
  const isLower = (operator: string) => operator === '<' || operator === '<='
  const isUpper = (operator: string) => operator === '>' || operator === '>='
  if (b.operator === '!=') {
    return (
      (isLower(a.operator) && (a.operator === '<' ? low <= high : low < high)) ||
      (isUpper(a.operator) && (a.operator === '>' ? low >= high : low > high))
    )
  }
  if (isLower(a.operator) && isLower(b.operator))
    return low < high || (low === high && (a.operator === '<' || b.operator === '<='))
  if (isUpper(a.operator) && isUpper(b.operator))
    return low > high || (low === high && (a.operator === '>' || b.operator === '>='))
  return false
}

function belowOf({ expression }: Fact): { of: string; domain: string } | null {
  if (expression.op !== 'method' || expression.name !== 'below') return null
  const domain = expression.args[0]
  if (domain?.op !== 'value' || typeof domain.value !== 'string') return null
  return { of: printExpression(expression.on), domain: domain.value }
}

/** `x.below("a.example")` implies `x.below("example")`. */
function impliesBelow(one: Fact, other: Fact): boolean {
  const a = belowOf(one)
  const b = belowOf(other)
  if (a === null || b === null || a.of !== b.of || one.negated) return false
  // Two domains of which neither is below the other have nothing below both.
  if (other.negated) return !isBelow(a.domain, b.domain) && !isBelow(b.domain, a.domain)
  return isBelow(a.domain, b.domain)
}

function rangeOf({ expression }: Fact): { of: string; range: NonNullable<ReturnType<typeof readRange>> } | null {
  if (expression.op !== 'call' || expression.name !== 'in_range') return null
  const [address, text] = expression.args
  if (address === undefined || text?.op !== 'value' || typeof text.value !== 'string') return null
  const range = readRange(text.value)
  return range === null ? null : { of: printExpression(address), range }
}

function impliesRange(one: Fact, other: Fact): boolean {
  const a = rangeOf(one)
  const b = rangeOf(other)
  if (a === null || b === null || a.of !== b.of || one.negated) return false
  if (other.negated) return !isWithin(a.range, b.range) && !isWithin(b.range, a.range)
  return isWithin(a.range, b.range)
}

/** Comparisons of facts that may still be made: rule sets come over HTTP. */
export interface Work {
  left: number
}

/** When a condition can hold, for comparing with others. */
export class Reach {
  readonly #cases: readonly Case[]

  /** Of null: a rule without a condition, which always holds. */
  constructor(expression: Expression | null) {
    this.#cases = expression === null ? [[]] : casesOf(expression)
  }

  get isNever(): boolean {
    return this.#cases.length === 0
  }
  get isAlways(): boolean {
    return this.#cases.some((one) => one.length === 0)
  }

  /**
   * The first of the earlier ones after which nothing is left for this one, counted from 0; -1 when something is, or
   * when the work that may be spent on looking is spent.
   */
  coveredBy(earlier: readonly Reach[], work: Work): number {
    let last = -1
    for (const own of this.#cases) {
      const index = earlier.findIndex((one) => {
        for (const wider of one.#cases) work.left -= 1 + wider.length * own.length
        return (
          work.left > 0 &&
          one.#cases.some((wider) => wider.every((fact) => own.some((ownFact) => implies(ownFact, fact))))
        )
      })
      if (index < 0) return -1
      last = Math.max(last, index)
    }
    return last
  }
}
