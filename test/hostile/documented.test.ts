/** docs/security.md names a test for every defence; a name that leads nowhere shows nothing. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ROOT } from '../fixtures.ts'

const document = readFileSync(join(ROOT, 'docs/security.md'), 'utf8')
const rows = document.split('\n').filter((line) => line.startsWith('| ') && !line.startsWith('| Threat'))

test('every threat has a defence and a test that is there', () => {
  expect(rows.length).toBeGreaterThan(20)
  for (const row of rows) {
    const [, threat = '', defence = '', tests = ''] =
      row.split(' | ').length === 3 ? ['', ...row.slice(2, -2).split(' | ')] : []
    expect({ row, complete: threat !== '' && defence !== '' && tests !== '' }).toEqual({ row, complete: true })
    const named = [...tests.matchAll(/`(test\/[^`]+)`/g)].map((match) => match[1]!)
    expect(named.length).toBeGreaterThan(0)
    expect(named.filter((path) => !existsSync(join(ROOT, path)))).toEqual([])
  }
})

test('every test of faults and of hostile input is named', () => {
  const all = ['faults', 'hostile'].flatMap((folder) =>
    readdirSync(join(ROOT, 'test', folder))
      .filter((name) => name.endsWith('.test.ts') && name !== 'documented.test.ts')
      .map((name) => `test/${folder}/${name}`),
  )
  expect(all.filter((path) => !document.includes(path))).toEqual([])
})
