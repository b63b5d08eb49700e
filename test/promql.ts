/**
 * Reads an expression of PromQL as far as dashboards and alerts use it: its form, the metrics that it asks for and the
 * labels that it relies on. Throws where the text cannot be such an expression.
 */
export interface Selector {
  readonly metric: string
  /** Labels in its braces. */
  readonly labels: readonly string[]
}

export interface Query {
  readonly selectors: readonly Selector[]
  /** Labels in `by`, `on`, `ignoring`, `without` and `group_left`. */
  readonly grouping: readonly string[]
}

const TOKEN =
  /\s*(?:(?<text>"(?:\\.|[^"\\])*"|'[^']*')|(?<duration>\d+(?:ms|[smhdwy]))|(?<number>\d+(?:\.\d+)?)|(?<name>[a-zA-Z_:][\w:]*)|(?<mark>=~|!~|!=|==|>=|<=|[-+*/%^(){}[\],=<>]))/y

interface Token {
  readonly kind: 'text' | 'duration' | 'number' | 'name' | 'mark'
  readonly text: string
}

function tokensOf(expression: string): Token[] {
  const tokens: Token[] = []
  TOKEN.lastIndex = 0
  while (TOKEN.lastIndex < expression.trimEnd().length) {
    const at = TOKEN.lastIndex
    const groups = TOKEN.exec(expression)?.groups
    if (groups === undefined) throw new Error(`No PromQL from here: ${expression.slice(at)}`)
    const [kind, text] = Object.entries(groups).find(([, found]) => found !== undefined)!
    tokens.push({ kind: kind as Token['kind'], text: text! })
  }
  return tokens
}

/** Functions and aggregations with the number of their arguments. */
const FUNCTIONS: Readonly<Record<string, number>> = {
  ...{ rate: 1, increase: 1, delta: 1, changes: 1, time: 0, absent: 1, histogram_quantile: 2, max_over_time: 1 },
}
const RANGED = ['rate', 'increase', 'delta', 'changes', 'max_over_time']
const AGGREGATIONS = ['sum', 'min', 'max', 'avg', 'count', 'topk']
const OPERATORS = ['+', '-', '*', '/', '%', '^', '==', '!=', '>', '<', '>=', '<=', 'and', 'or', 'unless']

class Reader {
  readonly #tokens: Token[]
  #at = 0
  readonly selectors: Selector[] = []
  readonly grouping: string[] = []

  constructor(expression: string) {
    this.#tokens = tokensOf(expression)
  }

  whole(): void {
    this.#expression()
    if (this.#at < this.#tokens.length) throw new Error(`PromQL ends before "${this.#peek()}".`)
  }

  #peek(): string {
    return this.#tokens[this.#at]?.text ?? ''
  }

  #take(kind?: Token['kind']): string {
    const token = this.#tokens[this.#at]
    if (token === undefined) throw new Error('PromQL ends too early.')
    if (kind !== undefined && token.kind !== kind)
      throw new Error(`PromQL wants a ${kind} where "${token.text}" stands.`)
    this.#at++
    return token.text
  }

  #expect(text: string): void {
    const found = this.#take()
    if (found !== text) throw new Error(`PromQL wants "${text}" where "${found}" stands.`)
  }

  #accepts(text: string): boolean {
    if (this.#peek() !== text) return false
    this.#at++
    return true
  }

  /** Returns whether the last operand was a range, which only functions of ranges take. */
  #expression(): boolean {
    let isRange = this.#operand()
    while (OPERATORS.includes(this.#peek())) {
      this.#take()
      this.#accepts('bool')
      if (['on', 'ignoring'].includes(this.#peek())) {
        this.#take()
        this.#labels()
        if (['group_left', 'group_right'].includes(this.#peek())) {
          this.#take()
          if (this.#peek() === '(') this.#labels()
        }
      }
      if (this.#operand() || isRange) throw new Error('PromQL has an operator beside a range.')
      isRange = false
    }
    return isRange
  }

  #operand(): boolean {
    if (this.#accepts('-')) return this.#operand()
    if (this.#accepts('(')) {
      const isRange = this.#expression()
      this.#expect(')')
      return isRange
    }
    if (this.#tokens[this.#at]?.kind === 'number') {
      this.#take()
      return false
    }
    const name = this.#take('name')
    if (AGGREGATIONS.includes(name)) return this.#aggregation(name)
    if (this.#peek() === '(') return this.#call(name)
    return this.#selector(name)
  }

  #aggregation(name: string): boolean {
    const grouped = () => {
      if (!this.#accepts('by') && !this.#accepts('without')) return false
      this.#labels()
      return true
    }
    const before = grouped()
    this.#arguments(name === 'topk' ? 2 : 1, false)
    if (!before) grouped()
    return false
  }

  #call(name: string): boolean {
    const count = FUNCTIONS[name]
    if (count === undefined) throw new Error(`PromQL has no function ${name} that this reader knows.`)
    this.#arguments(count, RANGED.includes(name))
    return false
  }

  #arguments(count: number, wantsRange: boolean): void {
    this.#expect('(')
    for (let i = 0; i < count; i++) {
      if (i > 0) this.#expect(',')
      if (this.#expression() !== wantsRange) throw new Error(`PromQL wants ${wantsRange ? 'a' : 'no'} range here.`)
    }
    this.#expect(')')
  }

  #labels(): void {
    this.#expect('(')
    while (!this.#accepts(')')) {
      this.grouping.push(this.#take('name'))
      if (this.#peek() !== ')') this.#expect(',')
    }
  }

  #selector(metric: string): boolean {
    const labels: string[] = []
    if (this.#accepts('{')) {
      while (!this.#accepts('}')) {
        labels.push(this.#take('name'))
        const operator = this.#take('mark')
        if (!['=', '!=', '=~', '!~'].includes(operator))
          throw new Error(`PromQL cannot compare a label by ${operator}.`)
        this.#take('text')
        if (this.#peek() !== '}') this.#expect(',')
      }
    }
    this.selectors.push({ metric, labels })
    if (!this.#accepts('[')) return false
    this.#take('duration')
    this.#expect(']')
    return true
  }
}

export function readPromql(expression: string): Query {
  const reader = new Reader(expression)
  reader.whole()
  return { selectors: reader.selectors, grouping: reader.grouping }
}
