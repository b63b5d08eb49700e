import { expect, test } from 'vitest'
import { boundValues, parseList, unescapeText } from '../../projections/parameters.ts'

test('escapes are resolved once', () => {
  expect(unescapeText('plain')).toBe('plain')
  expect(unescapeText("a\\tb\\nc\\\\td\\'e\\x41\\0")).toBe("a\tb\nc\\td'eA\0")
})

test('lists of texts, numbers, nothing and lists', () => {
  expect(parseList('[]')).toEqual([])
  expect(parseList("['a','it\\'s','[b]',',']")).toEqual(['a', "it's", '[b]', ','])
  expect(parseList('[1,-2,18446744073709551615,1.5,NULL,TRUE]')).toEqual([
    1n,
    -2n,
    18446744073709551615n,
    1.5,
    null,
    true,
  ])
  expect(parseList("[['a'],[]]")).toEqual([['a'], []])
})

test.each(['', '[', "['a'", "['a',]", "['a']]", "['a''b']", '[a]', "'a'"])('%j is refused as a list', (text) => {
  expect(() => parseList(text)).toThrow('list parameter')
})

test('a text that looks like a list stays a text where the statement says String', () => {
  const texts = new Map([
    ['a', "['x']"],
    ['b', "['x']"],
    ['c', '\\N'],
  ])
  expect(boundValues('SELECT {a:String}, { b : Array(String) }, {c:Nullable(String)}', texts)).toEqual({
    a: "['x']",
    b: ['x'],
    c: null,
  })
})

test('a parameter name that could be more than a name is refused', () => {
  expect(() => boundValues('SELECT 1', new Map([['a:String}', 'x']]))).toThrow('use letters and digits')
})
