/** The command and its route, over rows that were inserted by hand; what erases is tested in test/faults/forget.test.ts. */
import { Writable } from 'node:stream'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Context, parseArguments } from '../../cli/command.ts'
import { forget } from '../../cli/forget.ts'
import { readConfig } from '../../config.ts'
import { type ApiUnderTest, openApi } from '../api/api-under-test.ts'
import { failureReport, idOf, mailRow } from '../api/rows.ts'

let api: ApiUnderTest
let url: string
beforeAll(async () => {
  api = await openApi()
  url = await api.serve({}).listen({ host: '127.0.0.1', port: 0 })
  const received_at = '2026-11-10T08:00:00.000Z'
  await api.insert(
    'mail',
    { ...mailRow({ id: idOf('a'), received_at, subject: 'Hello \u001b[31m' }), from: 'Anna <anna@People.example>' },
    { ...mailRow({ id: idOf('b'), received_at }), to: 'x@b.example, anna@people.example' },
    { ...mailRow({ id: idOf('c'), received_at }), to: 'joanna@people.example' },
  )
  await api.insert('failure_reports', {
    ...failureReport({ name: 'f', domain: 'a.example', received_at }),
    from: 'anna@people.example',
  })
})
afterAll(() => api.close())

async function run(...argv: readonly string[]) {
  let stdout = ''
  const out = new Writable({
    write(chunk, _encoding, done) {
      stdout += String(chunk)
      done()
    },
  }) as unknown as NodeJS.WriteStream
  const context: Context = {
    config: (overrides) => readConfig(overrides),
    open: () => Promise.reject(new Error('The data folder was opened.')),
    stdout: out,
    stderr: out,
    stdin: { isTTY: false } as NodeJS.ReadStream,
    signal: new AbortController().signal,
  }
  const code = await forget.run(parseArguments(forget, [...argv, '--server', url]), context)
  return { code, stdout }
}

describe('forget', () => {
  test('--dry-run shows where the address was found, and writes nothing', async () => {
    const { code, stdout } = await run('--address', 'anna@people.example', '--dry-run')
    expect(code).toBe(0)
    expect(stdout).toMatch(new RegExp(`${idOf('a').slice(0, 12)} .* from `))
    expect(stdout).toMatch(new RegExp(`${idOf('b').slice(0, 12)} .* to `))
    expect(stdout).toContain('3 mails would be erased. Reports in them stay counted.')
    expect(stdout).not.toContain('\u001b')
    expect(api.dependencies.replays.control.erasures()).toEqual([])
  })

  test('finds nothing of an address that is only a part of another', async () => {
    expect((await run('--address', 'nna@people.example', '--yes')).stdout).toContain('No mail was found.')
  })

  test('asks first, and where nobody can answer says how to go on', async () => {
    await expect(run('--address', 'anna@people.example')).rejects.toThrow('Say --yes')
  })

  test.each([
    [[], 'Say what to forget'],
    [['--address', 'anna'], 'one mail address'],
    [['--mail-id', 'abc'], '64 lower-case hex digits'],
    [['--mail-id', idOf('a'), '--scan'], '--scan needs --address'],
    [['--address', 'a@b.example', '--mail-id', idOf('a')], 'one of them'],
  ])('%j is refused with a sentence', async (argv, sentence) => {
    await expect(run(...argv)).rejects.toThrow(sentence)
  })
})

describe('POST /forget', () => {
  const post = (body: object) => api.server.inject({ method: 'POST', url: '/api/v1/forget', payload: body })

  test('without an address and without ids is refused', async () => {
    expect((await post({})).json()).toMatchObject({ error: { code: 'forget_selector_missing' } })
  })

  test('needs the scope admin', async () => {
    const sha256 = '2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683' // of "key"
    const server = api.serve({ keys: [{ name: 'reader', sha256, scopes: ['read'] }] })
    const answers = await Promise.all(
      (['POST', 'GET'] as const).map((method) =>
        server.inject({
          method,
          url: method === 'POST' ? '/api/v1/forget' : '/api/v1/forget/1',
          headers: { authorization: 'Bearer key' },
          ...(method === 'POST' ? { payload: { mail_ids: [idOf('a')] } } : {}),
        }),
      ),
    )
    expect(answers.map(({ statusCode }) => statusCode)).toEqual([403, 403])
  })

  test('puts ids on record, and no address', async () => {
    const answer = (await post({ address: 'anna@people.example' })).json()
    expect(answer).toMatchObject({ matched: 3, erasure: { erasure: 1, state: 'erasing', mails: 3, block: false } })
    expect(api.dependencies.replays.control.isBeingErased(idOf('a'))).toBe(true)
    const raw = await api.server.inject({ url: `/api/v1/mail/${idOf('a')}/raw` })
    expect(raw.json()).toMatchObject({ error: { code: 'mail_erased' } })
    expect((await api.server.inject({ url: '/api/v1/forget/2' })).json()).toMatchObject({
      error: { code: 'erasure_unknown' },
    })
  })
})
