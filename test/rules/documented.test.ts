/** `docs/rules.md` says what the code does. `UPDATE_DOCS=1` writes its tables anew. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { functions, methods, names, nameTypes } from '../../rules/names.ts'
import { readRules } from '../../rules/read.ts'

const PATH = join(import.meta.dirname, '..', '..', 'docs', 'rules.md')
const cell = (text: string) => text.replaceAll('|', '\\|')

const tables = {
  names: [
    '| Name | Type | |',
    '|---|---|---|',
    ...Object.entries(names).map(([name, { type, about }]) => `| \`${name}\` | ${nameTypes[type]} | ${cell(about)} |`),
  ],
  functions: [
    '| Written | Says |',
    '|---|---|',
    ...[...Object.values(functions), ...Object.values(methods)].map(
      ([text, about]) => `| \`${cell(text)}\` | ${cell(about)} |`,
    ),
  ],
}

function withTables(text: string): string {
  return Object.entries(tables).reduce(
    (result, [name, lines]) =>
      result.replace(
        new RegExp(`(<!-- ${name} -->\\n)[\\s\\S]*?(<!-- /${name} -->)`),
        (_, begin: string, end: string) => `${begin}${lines.join('\n')}\n${end}`,
      ),
    text,
  )
}

const written = readFileSync(PATH, 'utf8')
if (process.env.UPDATE_DOCS === '1') writeFileSync(PATH, withTables(written))
const text = readFileSync(PATH, 'utf8')

describe('docs/rules.md', () => {
  test('has the names and functions that there are', () => {
    expect(text).toBe(withTables(text))
  })

  test('shows rule files without any problem', () => {
    const files = [...text.matchAll(/```yaml\n([\s\S]*?)```/g)].map(([, yaml]) => yaml!)
    expect(files).toHaveLength(4)
    for (const yaml of files) expect(readRules(yaml).problems).toEqual([])
  })

  test('shows functions as they can be written', () => {
    for (const [example] of [...Object.values(functions), ...Object.values(methods)]) {
      const yaml = (when: string) =>
        `version: 1\nlists: { office: [10.0.0.0/8] }\nverdicts:\n  - { id: a, verdict: spoofed, when: ${JSON.stringify(when)} }\n  - { id: rest, verdict: unknown }\n`
      // What is no condition by itself says so, and nothing else is wrong with it.
      const ignored = /is of type|Nothing uses the list/
      const wanted = example
        .replace('int(text)', 'int(org)')
        .replace('has(r.selector)', 'dkim_results.exists(r, has(r.selector))')
      expect(readRules(yaml(wanted)).problems.filter(({ message }) => !ignored.test(message))).toEqual([])
    }
  })
})
