import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { endAll, mailtrail, tempFolder } from '../fixtures.ts'

afterEach(endAll)

async function ruleFile(text: string): Promise<string> {
  const path = join(await tempFolder('rules'), 'rules.yaml')
  await writeFile(path, text)
  return path
}
const FINE = 'version: 1\nlists: { office: [10.0.0.0/8] }\nverdicts:\n  - { id: rest, verdict: unknown }\n'

describe('rules check', () => {
  test('of a file that is fine says its id and what is in it, warnings before', async () => {
    const path = await ruleFile(FINE)
    const { code, stdout, stderr } = await mailtrail(['rules', 'check', path])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout.split('\n')).toEqual([
      `${path}:2:10: warning: Nothing uses the list "office".`,
      expect.stringMatching(/rules\.yaml is fine: 0 senders, 1 verdict rules, id [0-9a-f]{64}\.$/),
      '',
    ])
  })

  test('of a file with errors names each place, and ends with exit code 3', async () => {
    const path = await ruleFile(FINE.replace('verdict:', 'verdcit:'))
    const { code, stdout, stderr } = await mailtrail(['rules', 'check', path])
    expect({ code, stderr }).toEqual({ code: 3, stderr: '' })
    expect(stdout).toContain(`${path}:4:17: error: A verdict rule has no key "verdcit". Did you mean "verdict"?\n`)
  })

  test('says the same as JSON', async () => {
    const fine = await mailtrail(['rules', 'check', await ruleFile(FINE), '--format', 'json'])
    expect(JSON.parse(fine.stdout)).toMatchObject({
      valid: true,
      senders: 0,
      verdict_rules: 1,
      problems: [{ line: 2, column: 10, severity: 'warning' }],
    })
    const wrong = await mailtrail(['rules', 'check', await ruleFile('version: 2'), '--format', 'json'])
    expect(wrong.code).toBe(3)
    expect(JSON.parse(wrong.stdout)).toMatchObject({
      valid: false,
      id: null,
      problems: [
        { line: 1, column: 1 },
        { line: 1, column: 10 },
      ],
    })
  })

  test('without a file, of two, or of one that is not there', async () => {
    expect((await mailtrail(['rules', 'check'])).code).toBe(2)
    expect((await mailtrail(['rules', 'chekc', 'x'])).code).toBe(2)
    expect((await mailtrail(['rules', 'check', 'a', 'b'])).code).toBe(2)
    expect(await mailtrail(['rules', 'check', '/no/such/rules.yaml'])).toEqual({
      code: 1,
      stdout: '',
      stderr: expect.stringContaining('/no/such/rules.yaml cannot be read (ENOENT).'),
    })
  })
})
