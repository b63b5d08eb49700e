/**
 * TypeScript as tokens, as far as the house rules need it: comments are gone, strings and regular expressions are whole,
 * and so a word in a comment or a text breaks no rule. TypeScript 7 offers no parser to programs.
 */
export interface Token {
  /** A template is one token for each piece between its `${}`. */
  readonly kind: 'word' | 'number' | 'text' | 'template' | 'regex' | 'mark'
  /** As it stands in the source; of a text and a template without the quotes. */
  readonly text: string
  readonly line: number
}

export interface Import {
  readonly specifier: string
  readonly line: number
}

const WORD = /[\p{ID_Start}$_#][\p{ID_Continue}$\u200c\u200d]*/uy
const NUMBER = /(?:0[xob][\da-f_]+|\d[\d_]*(?:\.[\d_]*)?(?:e[+-]?\d+)?)n?/iy
const REGEX = /\/(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n[])+\/[a-z]*/y
const SPACE = /\s+/y
const COMMENT = /\/\/[^\n]*|\/\*.*?\*\//sy
const QUOTED = /'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"/sy
const TEMPLATE_PIECE = /(?:\\.|\$(?!\{)|[^`\\$])*(?:`|\$\{)/sy

/** Words after which a slash begins a regular expression. */
const BEFORE_EXPRESSION = new Set(
  'return typeof case in of delete void throw new else do await yield instanceof extends default'.split(' '),
)

/** Throws when the text ends inside a string, a template or a comment: then the rest was misread. */
export function tokensOf(source: string): readonly Token[] {
  const tokens: Token[] = []
  /** Open braces; true stands for the `${` of a template. */
  const braces: boolean[] = []
  let at = 0
  let line = 1
  const take = (pattern: RegExp): string | null => {
    pattern.lastIndex = at
    const text = pattern.exec(source)?.[0]
    if (text === undefined) return null
    at += text.length
    return text
  }
  const push = (kind: Token['kind'], text: string, whole = text) => {
    tokens.push({ kind, text, line })
    line += whole.split('\n').length - 1
  }
  const takeTemplatePiece = () => {
    const piece = take(TEMPLATE_PIECE)
    if (piece === null) throw new Error(`A template in line ${line} has no end.`)
    const opens = piece.endsWith('${')
    if (opens) braces.push(true)
    push('template', piece.slice(0, opens ? -2 : -1), piece)
  }
  if (source.startsWith('#!')) take(/#!.*/y)
  while (at < source.length) {
    const skipped = take(SPACE) ?? take(COMMENT)
    if (skipped !== null) {
      line += skipped.split('\n').length - 1
      continue
    }
    const last = tokens.at(-1)
    const regex = source[at] === '/' && mayBeginExpression(last) ? take(REGEX) : null
    if (regex !== null) {
      push('regex', regex)
      continue
    }
    const quoted = take(QUOTED)
    if (quoted !== null) {
      push('text', quoted.slice(1, -1), quoted)
      continue
    }
    const word = take(WORD)
    if (word !== null) {
      push('word', word)
      continue
    }
    const number = take(NUMBER)
    if (number !== null) {
      push('number', number)
      continue
    }
    const mark = source[at]!
    if (mark === "'" || mark === '"') throw new Error(`A string in line ${line} has no end.`)
    at++
    if (mark === '`' || (mark === '}' && braces.pop() === true)) {
      takeTemplatePiece()
      continue
    }
    if (mark === '{') braces.push(false)
    push('mark', mark)
  }
  return tokens
}

function mayBeginExpression(last: Token | undefined): boolean {
  if (last === undefined) return true
  if (last.kind === 'mark') return last.text !== ')' && last.text !== ']'
  return last.kind === 'word' && BEFORE_EXPRESSION.has(last.text)
}

/** Every module that is named: imports and exports, of types too, and `import()` of a literal. */
export function importsOf(tokens: readonly Token[]): readonly Import[] {
  const found: Import[] = []
  tokens.forEach(({ kind, text, line }, i) => {
    if (kind !== 'text') return
    const [before, last] = [tokens[i - 2], tokens[i - 1]]
    const afterFrom = last?.kind === 'word' && last.text === 'from'
    const afterImport = last?.kind === 'word' && last.text === 'import'
    const inImport = last?.text === '(' && before?.kind === 'word' && before.text === 'import'
    if (afterFrom || afterImport || inImport) found.push({ specifier: text, line })
  })
  return found
}

/** Lines on which these tokens follow one another. */
export function linesWith(tokens: readonly Token[], ...sequence: readonly string[]): readonly number[] {
  return tokens
    .filter((_, i) =>
      sequence.every((text, j) => {
        const token = tokens[i + j]
        return token?.text === text && (token.kind === 'word' || token.kind === 'mark')
      }),
    )
    .map(({ line }) => line)
}
