/** The commands about rules, replays and decisions, against a server whose generations are filled by hand. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type Command, CommandError, type Context, parseArguments, UsageError } from '../../cli/command.ts'
import { reObserve } from '../../cli/re-observe.ts'
import { replay } from '../../cli/replay.ts'
import { rules } from '../../cli/rules.ts'
import { triage } from '../../cli/triage.ts'
import { readConfig } from '../../config.ts'
import { createTables } from '../../projections/schema.ts'
import { type ApiUnderTest, openApi } from '../api/api-under-test.ts'
import { begun, idOfRules, OTHER_RULES, type ReplaysUnderTest, RULES } from '../api/replays-under-test.ts'
import { endAll, tempFolder } from '../fixtures.ts'

let api: ApiUnderTest
let replays: ReplaysUnderTest
let url: string
beforeAll(async () => {
  api = await openApi()
})
afterAll(() => api.close())
beforeEach(async () => {
  replays = await begun()
  const server = api.serve({ replays, generation: () => replays.control.live()!.generation })
  url = await server.listen({ host: '127.0.0.1', port: 0 })
})
afterEach(endAll)

async function run(command: Command, ...argv: readonly string[]) {
  const out = { stdout: '', stderr: '' }
  const gather = (name: keyof typeof out) =>
    new Writable({
      write(chunk, _encoding, done) {
        out[name] += String(chunk)
        done()
      },
    }) as unknown as NodeJS.WriteStream
  const context: Context = {
    config: (overrides) => readConfig(overrides),
    open: () => Promise.reject(new Error('The data folder was opened.')),
    stdout: gather('stdout'),
    stderr: gather('stderr'),
    stdin: process.stdin,
    signal: new AbortController().signal,
  }
  const code = await command.run(parseArguments(command, [...argv, '--server', url]), context)
  return { code, ...out }
}
const json = async (command: Command, ...argv: readonly string[]) =>
  JSON.parse((await run(command, ...argv, '--format', 'json')).stdout) as Record<string, unknown>

async function ruleFile(text: string): Promise<string> {
  const path = join(await tempFolder('replay'), 'rules.yaml')
  await writeFile(path, text)
  return path
}

describe('replay', () => {
  test('plan says what it would mean, and writes nothing', async () => {
    const { code, stdout } = await run(replay, 'plan', await ruleFile(OTHER_RULES))
    expect(code).toBe(0)
    expect(stdout).toContain(`Rule set ${idOfRules(OTHER_RULES)}, from enriched:`)
    expect(stdout).toContain('70 records, mail received 2026-11-01 to 2026-11-20')
    expect(replays.control.ruleSets()).toHaveLength(1)
    expect(await json(replay, 'plan', await ruleFile(OTHER_RULES), '--from', 'ingest')).toMatchObject({
      from: 'ingest',
    })
  })

  test('start publishes the file and starts a generation under it', async () => {
    const { code, stdout } = await run(replay, 'start', await ruleFile(OTHER_RULES))
    expect({ code, stdout }).toMatchObject({ code: 0, stdout: expect.stringContaining('g2 is building') })
    expect(replays.control.generation('g2')?.generation.ruleSet).toBe(idOfRules(OTHER_RULES))
  })

  test('without a file starts one under the live rules', async () => {
    expect(await json(replay, 'start', '--from', 'ingest')).toMatchObject({ id: 'g2', rule_set: idOfRules(RULES) })
  })

  test('a rule file with an error is named with its line, and starts nothing', async () => {
    const path = await ruleFile(RULES.replace('when: passed', 'when: pased'))
    for (const verb of ['plan', 'start'])
      await expect(run(replay, verb, path)).rejects.toThrow(/pased.*See mailtrail rules check/)
    await expect(run(replay, 'start', '/nowhere.yaml')).rejects.toThrow('/nowhere.yaml cannot be read (ENOENT).')
    expect(replays.control.generations()).toHaveLength(1)
  })

  test('without an ID the newest that is being built is meant; g2 and 2 are the same', async () => {
    await run(replay, 'start')
    await run(replay, 'start')
    expect(await json(replay, 'status')).toMatchObject({ id: 'g3' })
    expect(await json(replay, 'pause')).toMatchObject({ id: 'g3', state: 'paused' })
    expect(await json(replay, 'resume', '3')).toMatchObject({ id: 'g3', state: 'building' })
    expect(await json(replay, 'cancel', 'g3')).toMatchObject({ id: 'g3', state: 'cancelled' })
    expect(await json(replay, 'cancel')).toMatchObject({ id: 'g2', state: 'cancelled' })
    await expect(run(replay, 'cancel')).rejects.toThrow('No generation is being built')
    expect((await run(replay, 'list')).stdout.split('\n').map((line) => line.split(/ +/)[1])).toEqual([
      'state',
      'cancelled',
      'cancelled',
      'live',
      undefined,
    ])
  })

  test('promote takes its time-out and its consent, and rollback goes back', async () => {
    await run(replay, 'start')
    const { stdout } = await run(replay, 'promote', '--timeout', '5', '--accept-gap')
    expect(stdout).toBe(`g2 is live: answers come from rule set ${idOfRules(RULES)}.\n`)
    expect(replays.promotions.at(-1)).toMatchObject({ acceptGap: true })
    expect(replays.promotions.at(-1)!.timeout).toBeGreaterThan(4_000)
    expect(await json(replay, 'rollback')).toMatchObject({ id: 'g1', state: 'live' })
    await expect(run(replay, 'promote', 'g1')).rejects.toThrow(/live already.*\(already_live\)/)
  })

  test('--wait ends with exit code 1 when the generation comes to nothing', async () => {
    await run(replay, 'start')
    await run(replay, 'pause')
    expect((await run(replay, 'status', '--wait')).code).toBe(1)
  })

  test.each<[readonly string[], string]>([
    [[], 'Say what to do: replay plan, start, status'],
    [['explode'], 'Say what to do'],
    [['plan'], 'Name the rule file'],
    [['status', 'latest'], 'latest is no generation'],
    [['status', 'g1', 'g2'], 'g2 is too many'],
    [['rollback', 'g1'], 'takes no name'],
    [['start', '--from', 'reports'], '--from must be enriched or ingest'],
    [['promote', 'g1', '--timeout', 'soon'], '--timeout must be a number'],
    [['list', '--format', 'xml'], '--format must be text or json'],
  ])('%j is wrong usage', async (argv, words) => {
    await expect(run(replay, ...argv)).rejects.toThrow(UsageError)
    await expect(run(replay, ...argv)).rejects.toThrow(words)
  })
})

describe('replay diff', () => {
  async function insert(generation: string, judged: readonly (readonly [sender: string, verdict: string])[]) {
    const { tables } = replays.control.generation(generation)!.generation
    const key = "'a.example', '2026-11-10', unhex(repeat('ab', 32)), unhex(repeat('cd', 16))"
    const rows = judged.map(
      ([sender, verdict], index) =>
        `(${key}, ${index}, '192.0.2.${index}', ${1000 * (index + 1)}, '${sender}', '${verdict}', 'r')`,
    )
    await api.store.command(
      `INSERT INTO ${tables.record_verdicts} (policy_domain, day, report_key, variant, record_index, source_ip, messages,
       sender, verdict, rule) VALUES ${rows.join(', ')}`,
    )
    await api.store.command(
      `INSERT INTO ${tables.report_verdicts} (policy_domain, day, report_key, variant, chunk, records)
       VALUES (${key}, 0, ${judged.length})`,
    )
    return key
  }

  beforeEach(async () => {
    await api.clear()
    await run(replay, 'start', await ruleFile(OTHER_RULES))
    const { tables } = replays.control.generation('g2')!.generation
    await createTables(api.store, replays.control.generation('g2')!.generation)
    for (const table of [tables.record_verdicts, tables.report_verdicts])
      await api.store.command(`TRUNCATE TABLE ${table}`)
    const key = await insert('g1', [
      ['', 'unknown'],
      ['\u001b[31mred', 'unknown'],
    ])
    await api.store.command(
      `INSERT INTO ${tables.dmarc_reports} (policy_domain, day, report_key, variant, received_at, records)
       VALUES (${key}, '2026-11-10 12:00:00', 2)`,
    )
  })

  test('shows what changed by verdict, domain and sender, and ends with exit code 3', async () => {
    await insert('g2', [
      ['letters', 'misconfigured'],
      ['\u001b[31mred', 'spoofed'],
    ])
    const { code, stdout } = await run(replay, 'diff')
    expect(code).toBe(3)
    expect(stdout).toContain('g1 → g2: 3,000 of 3,000 messages changed (2 of 2 records).')
    expect(stdout).toMatch(/^unknown → spoofed +2,000 +1$/m)
    expect(stdout).toMatch(/^a\.example +unknown → misconfigured +1,000 +1$/m)
    expect(stdout).toMatch(/^- → letters +unknown → misconfigured +1,000 +1$/m)
    expect(stdout).toMatch(/^a\.example +192\.0\.2\.1 +2026-11-10/m)
    expect(stdout).not.toContain('\u001b')
  })

  test('says the same as JSON, all pages in one', async () => {
    await insert('g2', [
      ['letters', 'misconfigured'],
      ['\u001b[31mred', 'unknown'],
    ])
    const { code, stdout } = await run(replay, 'diff', 'g2', '--domain', 'a.example', '--format', 'json')
    expect(code).toBe(3)
    expect(JSON.parse(stdout)).toMatchObject({ from: 'g1', to: 'g2', changed_records: 1, next_cursor: null })
  })

  test('ends with exit code 0 when nothing changed', async () => {
    await insert('g2', [
      ['', 'unknown'],
      ['\u001b[31mred', 'unknown'],
    ])
    expect(await run(replay, 'diff', '2')).toMatchObject({
      code: 0,
      stdout: 'g1 → g2: nothing changed in 2 records.\n',
    })
  })
})

describe('rules', () => {
  test('publish, list, show and diff go through the server', async () => {
    const other = idOfRules(OTHER_RULES)
    expect((await run(rules, 'publish', await ruleFile(OTHER_RULES))).stdout).toBe(`Published as ${other}.\n`)
    expect((await run(rules, 'publish', await ruleFile(OTHER_RULES))).stdout).toContain('published before')
    const list = (await run(rules, 'list')).stdout.split('\n')
    expect(list[1]).toMatch(new RegExp(`^${other} +\\S+ +- +second$`))
    expect((await run(rules, 'show', other.slice(0, 8))).stdout).toBe(OTHER_RULES)
    expect((await run(rules, 'show', 'g1')).stdout).toBe(RULES)
    expect((await run(rules, 'diff', other)).stdout).toMatch(/misconfigured/)
    expect((await run(rules, 'diff', other, other)).stdout).toBe('They say the same.\n')
    await expect(run(rules, 'show', 'abcdef012345')).rejects.toThrow(CommandError)
  })

  test('test tries a file on a sample', async () => {
    const path = await ruleFile(OTHER_RULES)
    expect((await run(rules, 'test', path, '--domain', 'a.example')).stdout).toContain('no records of a.example')
    await expect(run(rules, 'test', path)).rejects.toThrow('--domain DOMAIN')
    await expect(run(rules, 'test', path, '--domain', 'a.example', '--from', 'now')).rejects.toThrow('day_invalid')
  })
})

describe('triage', () => {
  test('says when nothing needs a decision', async () => {
    await api.clear()
    expect((await run(triage, 'a.example', '--since', '2026-11-01')).stdout).toBe(
      'Nothing of a.example needs a decision.\n',
    )
  })

  test('writes a decision into a draft', async () => {
    const answer = await json(
      triage,
      'example.org',
      '--decide',
      '192.0.2.7=sender:letters',
      '--reason',
      'their new machine',
    )
    const { yaml } = replays.control.ruleSet(answer.rule_set as string)!
    expect(yaml).toContain('192.0.2.7/32 # their new machine')
    const second = await run(
      triage,
      'example.org',
      '--decide',
      '192.0.2.8=exclude:2027-01-31',
      '--reason',
      'printer',
      '--base',
      answer.rule_set as string,
    )
    expect(second.stdout).toMatch(/Draft rule set [0-9a-f]{64}\./)
    expect(replays.control.ruleSets().at(-1)!.yaml).toMatch(/192\.0\.2\.7[\s\S]*192\.0\.2\.8[\s\S]*2027-01-31/)
  })

  test.each<[readonly string[], string]>([
    [[], 'Name one domain'],
    [['a.example', '--decide', '192.0.2.7'], 'SOURCE=own'],
    [['a.example', '--decide', '192.0.2.7=own'], '--reason'],
    [['a.example', '--decide', '192.0.2.7=sender', '--reason', 'x'], 'SOURCE=sender:ID'],
    [['a.example', '--reason', 'x'], '--reason goes with --decide'],
  ])('%j is wrong usage', async (argv, words) => {
    await expect(run(triage, ...argv)).rejects.toThrow(UsageError)
    await expect(run(triage, ...argv)).rejects.toThrow(words)
  })

  test('a decision that cannot be carried out is said in a sentence', async () => {
    await expect(run(triage, 'a.example', '--decide', 'nobody=own', '--reason', 'x')).rejects.toThrow(
      /There is no sender "nobody"/,
    )
  })
})

describe('re-observe', () => {
  test('begins an epoch and says what to do with it', async () => {
    expect((await run(reObserve)).stdout).toBe('Epoch 2 begins: mailtrail replay start --from ingest --epoch 2\n')
    await run(replay, 'start', '--from', 'ingest', '--epoch', '2')
    expect(replays.control.generation('g2')?.generation.epoch).toBe(2)
  })
})
