/**
 * A replay of rules over mail that is there: records evaluated and inserted a second, memory, the diff with the live
 * generation, and how fresh answers are while it runs.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  entry,
  inTemporaryFolder,
  million,
  mix20k,
  percentile,
  ROUNDS,
  report,
  small20k,
  timeCommand,
  treeBytes,
} from './measure.ts'
import { type RunningServer, startServer } from './server.ts'

const rules = (round: number) => `
version: 1
name: round ${round}
verdicts:
  - { id: passed, verdict: authenticated, when: passed }
  - { id: asked, verdict: misconfigured, when: 'p in ["quarantine", "reject"] && disposition == "none"' }
  - { id: rest, verdict: ${round % 2 === 0 ? 'spoofed' : 'unknown'} }
`

interface Status {
  readonly id: string
  readonly state: string
}

async function call<T>(
  server: RunningServer,
  method: string,
  path: string,
  body?: string,
  type = 'application/json',
): Promise<T> {
  const init = body === undefined ? { method } : { method, body, headers: { 'content-type': type } }
  const response = await fetch(`${server.url}/api/v1${path}`, init)
  const text = await response.text()
  if (!response.ok) throw new Error(`${method} ${path} answered ${response.status}: ${text}`)
  return JSON.parse(text) as T
}

/** Posts a mail at a time until the signal aborts; seconds from the answer to being found by a query. */
async function postMeanwhile(server: RunningServer, mails: readonly Buffer[], signal: AbortSignal): Promise<number[]> {
  const seconds: number[] = []
  for (const mail of mails) {
    if (signal.aborted) break
    const posted = await fetch(`${server.url}/api/v1/mail`, {
      method: 'POST',
      body: new Uint8Array(mail),
      headers: { 'content-type': 'message/rfc822' },
    })
    const { id } = (await posted.json()) as { id: string }
    const begun = performance.now()
    for (;;) {
      const answer = await fetch(`${server.url}/api/v1/mail/${id}`)
      await answer.body?.cancel()
      if (answer.ok) break
      await sleep(20)
    }
    seconds.push((performance.now() - begun) / 1000)
    await sleep(100)
  }
  return seconds
}

/** 5 million records: small reports and giants. */
const corpora = [mix20k(), ...[9, 10, 11, 12].map((seed) => million(seed))]
const fresh = small20k()
const freshMails = readdirSync(fresh.mail)
  .slice(0, 400)
  .map((name) => readFileSync(join(fresh.mail, name)))

await inTemporaryFolder(async (folder) => {
  const data = join(folder, 'data')
  await timeCommand([entry, 'import', ...corpora.map(({ mail }) => mail), '--data', data, '--wait'], false, {
    MAILTRAIL_RESOLVERS: 'off',
  })
  const server = await startServer(data)
  const { totals } = await call<{ totals: { records: number } }>(server, 'GET', '/status')
  const rates: number[] = []
  const peaks: number[] = []
  const diffs: number[] = []
  const freshness: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    const { id: rule_set } = await call<{ id: string }>(server, 'POST', '/rule-sets', rules(round), 'application/yaml')
    const done = new AbortController()
    // In the last round mail comes in meanwhile.
    const posting = round === ROUNDS - 1 ? postMeanwhile(server, freshMails, done.signal) : null
    let peak = 0
    const begun = performance.now()
    const { id } = await call<Status>(server, 'POST', '/generations', JSON.stringify({ rule_set, from: 'enriched' }))
    for (;;) {
      const { state } = await call<Status>(server, 'GET', `/generations/${id}`)
      peak = Math.max(peak, treeBytes(server.process.pid!))
      if (state === 'ready') break
      await sleep(100)
    }
    const seconds = (performance.now() - begun) / 1000
    done.abort()
    if (posting === null) rates.push(totals.records / seconds)
    else freshness.push(...(await posting))
    peaks.push(peak / 1e6)
    const asked = performance.now()
    await call(server, 'GET', `/generations/${id}/diff?limit=10`)
    diffs.push((performance.now() - asked) / 1000)
    await call(server, 'POST', `/generations/${id}/cancel`, '{}')
  }
  await server.stop()
  report('replay', `${totals.records} records, rules replayed from enriched`, [
    {
      what: 'evaluated and inserted',
      unit: 'records/s',
      values: rates,
      goal: { relation: '>=', value: 200_000 },
      note: 'stretch 300,000',
    },
    { what: 'memory of all processes', unit: 'MB', values: peaks, goal: { relation: '<=', value: 1300 } },
    { what: 'diff with the live generation', unit: 's', values: diffs },
    {
      what: 'mail visible while it runs, p99',
      unit: 's',
      values: [percentile(freshness, 0.99)],
      goal: { relation: '<=', value: 2 },
    },
  ])
})
