import { expect, test } from 'vitest'
import { importsOf, linesWith, tokensOf } from './source-tokens.ts'

const specifiers = (source: string) => importsOf(tokensOf(source)).map(({ specifier }) => specifier)
const words = (source: string) => tokensOf(source).map(({ text }) => text)

test('every way to name a module is found, with its line', () => {
  const source = `import a from './a.ts'
import type { B } from "./b.ts"
import {
  c, // from './not.ts'
  type C,
} from './c.ts'
import './d.ts'
export { e } from './e.ts'
export * from './f.ts'
const g = await import('./g.ts')
type H = import('./h.ts').H
`
  expect(importsOf(tokensOf(source)).map(({ specifier, line }) => `${specifier} ${line}`)).toEqual([
    './a.ts 1',
    './b.ts 2',
    './c.ts 6',
    './d.ts 7',
    './e.ts 8',
    './f.ts 9',
    './g.ts 10',
    './h.ts 11',
  ])
})

test('what stands in comments, texts and regular expressions is no import', () => {
  expect(
    specifiers(`
    // import a from './a.ts'
    /* import b from './b.ts' */
    const text = "import c from './c.ts'"
    const template = \`import d from './d.ts' \${ call('./e.ts') } from './f.ts'\`
    const regex = /import g from '.\\/g.ts'/
    const list = Array.from('abc')
    const event = { from: './h.ts' }
    `),
  ).toEqual([])
})

test('a slash divides after a value and begins a regular expression elsewhere', () => {
  expect(words('a / b / c')).toEqual(['a', '/', 'b', '/', 'c'])
  expect(words("f(x) / 2 // '")).toEqual(['f', '(', 'x', ')', '/', '2'])
  expect(words("return /['/]\\//.test(a)")).toEqual(['return', "/['/]\\//", '.', 'test', '(', 'a', ')'])
  expect(words("a = /[/']/g")).toEqual(['a', '=', "/[/']/g"])
  expect(words("(/'/)")).toEqual(['(', "/'/", ')'])
})

test('templates nest', () => {
  expect(words('`a${ `b${{ c: 1 }}d` }e` + f')).toEqual(['a', 'b', '{', 'c', ':', '1', '}', 'd', 'e', '+', 'f'])
  expect(words('`$ {x} \\` \\${` + y')).toEqual(['$ {x} \\` \\${', '+', 'y'])
})

test('quotes inside quotes and escapes do not end a text', () => {
  expect(words(`'a"b\\'c' + "d'e\\\\"`)).toEqual([`a"b\\'c`, '+', `d'e\\\\`])
})

test('lines are counted over comments and templates', () => {
  const source = '/*\n\n*/ const a = `\n${b}\n`\nprocess.env'
  expect(linesWith(tokensOf(source), 'process', '.', 'env')).toEqual([6])
})

test('a word in a text is not the word', () => {
  expect(linesWith(tokensOf("const a = 'enum'"), 'enum')).toEqual([])
  expect(linesWith(tokensOf('enum A { B }'), 'enum')).toEqual([1])
})

test('a text without end is said, not misread', () => {
  expect(() => tokensOf("const a = 'b\n")).toThrow('A string in line 1 has no end.')
  expect(() => tokensOf('\n`abc ${d}')).toThrow('A template in line 2 has no end.')
})
