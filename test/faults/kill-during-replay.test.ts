/** A replay that is killed at any instant goes on after the next start and ends in the same tables. */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, expect, test } from 'vitest'
import { viewChecksums } from '../answers.ts'
import { endAll, type Running, tempFolder, until, up } from '../fixtures.ts'
import { chance, makeMails, writeMails } from '../report-mail.ts'

/** The design asks for 25 rounds where everything is tested, and more in the long run. */
const ROUNDS = Number(process.env.SOAK_ROUNDS ?? 25)
const RULES = `
version: 1
name: killed
verdicts:
  - { id: passed, verdict: authenticated, when: passed }
  - { id: rest, verdict: spoofed }
`
afterEach(endAll)

const json = { 'content-type': 'application/json' }

async function command(running: Running, path: string, body: string, headers: Record<string, string> = json) {
  const response = await running.post(path, body, headers)
  const answer = (await response.json()) as { id: string }
  expect(response.ok, JSON.stringify(answer)).toBe(true)
  return answer.id
}

const ready = (running: Running, id: string) =>
  until(`${id} to be ready`, 120, async () => {
    const { state } = await running.get<{ state: string }>(`/generations/${id}`)
    return state === 'ready'
  })

/** Promotes, so that the views show it, and looks at the tables of the stopped process. */
async function checksumsOf(running: Running, id: string, data: string) {
  await command(running, `/generations/${id}/promote`, '{}')
  expect(await running.stop()).toBe(0)
  const { v_dmarc_records, v_dmarc_reports } = await viewChecksums(data, ['generation'])
  return { v_dmarc_records, v_dmarc_reports }
}

test(`a replay killed ${ROUNDS} times ends in the same rows`, async () => {
  const folder = await tempFolder('kill-replay')
  const mail = join(folder, 'mail')
  await writeMails(mail, makeMails(21, 1500).mails)
  const data = join(folder, 'data')
  let running = await up(data, { paths: [mail] })
  await running.says(/Read 1500 mails/, 300)
  await running.idle()
  const rule_set = await command(running, '/rule-sets', RULES, { 'content-type': 'application/yaml' })
  const start = () => command(running, '/generations', JSON.stringify({ rule_set, from: 'enriched' }))
  const whole = await start()
  const began = performance.now()
  await ready(running, whole)
  const duration = performance.now() - began
  const wanted = await checksumsOf(running, whole, data)
  running = await up(data)
  const random = chance(77)
  let killed = await start()
  for (let round = 1; round <= ROUNDS; round++) {
    await sleep(random() * duration)
    await running.kill()
    running = await up(data)
    const { state } = await running.get<{ state: string }>(`/generations/${killed}`)
    // One that came to its end before the kill is thrown away, and another one is begun.
    if (state === 'ready' && round < ROUNDS) {
      await command(running, `/generations/${killed}/cancel`, '{}')
      killed = await start()
    }
  }
  await ready(running, killed)
  expect(await checksumsOf(running, killed, data)).toEqual(wanted)
}, 900_000)
