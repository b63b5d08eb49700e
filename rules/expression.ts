/** A CEL condition as a tree, and the one text that stands for all ways to write it. */

export const binaryOperators = ['||', '&&', '==', '!=', '<', '<=', '>', '>=', 'in', '+', '-', '*', '/', '%'] as const
export type BinaryOperator = (typeof binaryOperators)[number]

/** `at` is the offset in the text of the condition; of a member or call, that of its name. */
export type Expression =
  | { readonly op: 'value'; readonly at: number; readonly value: string | number | bigint | boolean | null }
  | { readonly op: 'name'; readonly at: number; readonly name: string }
  | { readonly op: 'member'; readonly at: number; readonly of: Expression; readonly name: string }
  | { readonly op: 'index'; readonly at: number; readonly of: Expression; readonly index: Expression }
  | { readonly op: 'call'; readonly at: number; readonly name: string; readonly args: readonly Expression[] }
  | {
      readonly op: 'method'
      readonly at: number
      readonly on: Expression
      readonly name: string
      readonly args: readonly Expression[]
    }
  | { readonly op: 'list'; readonly at: number; readonly items: readonly Expression[] }
  | { readonly op: 'not'; readonly at: number; readonly of: Expression }
  | { readonly op: 'negative'; readonly at: number; readonly of: Expression }
  | {
      readonly op: 'binary'
      readonly at: number
      readonly operator: BinaryOperator
      readonly left: Expression
      readonly right: Expression
    }
  | {
      readonly op: 'choice'
      readonly at: number
      readonly condition: Expression
      readonly yes: Expression
      readonly no: Expression
    }

/** How tightly an operator binds, as in the grammar of CEL. */
const BINDS: Readonly<Record<BinaryOperator, number>> = {
  '||': 2,
  '&&': 3,
  '==': 4,
  '!=': 4,
  '<': 5,
  '<=': 5,
  '>': 5,
  '>=': 5,
  in: 5,
  '+': 6,
  '-': 6,
  '*': 7,
  '/': 7,
  '%': 7,
}
const CHOICE = 1
const UNARY = 8
const MEMBER = 9

function bindingOf(expression: Expression): number {
  switch (expression.op) {
    case 'binary':
      return BINDS[expression.operator]
    case 'choice':
      return CHOICE
    case 'not':
    case 'negative':
      return UNARY
    default:
      return MEMBER
  }
}

/**
 * The text of an expression in its canonical form: one space around operators, double quotes, as few parentheses as keep
 * the meaning. Reading it again gives the same text.
 */
export function printExpression(expression: Expression): string {
  switch (expression.op) {
    case 'value':
      return printValue(expression.value)
    case 'name':
      return expression.name
    case 'member':
      return `${print(expression.of, MEMBER)}.${expression.name}`
    case 'index':
      return `${print(expression.of, MEMBER)}[${printExpression(expression.index)}]`
    case 'call':
      return `${expression.name}(${expression.args.map(printExpression).join(', ')})`
    case 'method':
      return `${print(expression.on, MEMBER)}.${expression.name}(${expression.args.map(printExpression).join(', ')})`
    case 'list':
      return `[${expression.items.map(printExpression).join(', ')}]`
    case 'not':
      return `!${print(expression.of, UNARY)}`
    case 'negative':
      return `-${print(expression.of, UNARY)}`
    case 'choice':
      return `${print(expression.condition, CHOICE + 1)} ? ${print(expression.yes, CHOICE)} : ${print(expression.no, CHOICE)}`
    case 'binary': {
      const { operator, left, right } = expression
      const binds = BINDS[operator]
      // `a && (b && c)` is `(a && b) && c`; of the others only the left one may go without parentheses.
      const associative = operator === '&&' || operator === '||'
      return `${print(left, binds)} ${operator} ${print(right, associative ? binds : binds + 1)}`
    }
  }
}

function print(expression: Expression, least: number): string {
  const text = printExpression(expression)
  return bindingOf(expression) < least ? `(${text})` : text
}

function printValue(value: string | number | bigint | boolean | null): string {
  if (typeof value === 'string') return printText(value)
  if (typeof value !== 'number') return String(value)
  const text = String(value)
  return /[.e]/.test(text) ? text : `${text}.0`
}

function printText(text: string): string {
  const escaped = JSON.stringify(text).replace(
    /[\u007f-\u009f\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
  return escaped
}

/** The expressions that an expression is made of, in the order of the text. */
export function partsOf(expression: Expression): readonly Expression[] {
  switch (expression.op) {
    case 'value':
    case 'name':
      return []
    case 'member':
    case 'not':
    case 'negative':
      return [expression.of]
    case 'index':
      return [expression.of, expression.index]
    case 'call':
      return expression.args
    case 'method':
      return [expression.on, ...expression.args]
    case 'list':
      return expression.items
    case 'binary':
      return [expression.left, expression.right]
    case 'choice':
      return [expression.condition, expression.yes, expression.no]
  }
}
