/**
 * `node bench/queries.ts [records]`: answers over HTTP from 50 million records of 2,000 domains over 90 days, warm, parts
 * as ingestion left them, nothing importing.
 */
import { join } from 'node:path'
import { openEmbeddedStore } from '../projections/embedded-store.ts'
import { firstGeneration } from '../topics/generation.ts'
import { DAYS, DOMAINS, FIRST_DAY, fillStore } from './fill.ts'
import { inTemporaryFolder, percentile, ROUNDS, type Row, report } from './measure.ts'
import { startServer } from './server.ts'

const RECORDS = Number(process.argv[2] ?? 50_000_000)
const CALLS = 20
/** Of what has no goal. */
const FEW_CALLS = 4

const day = (number: number) => new Date(number * 86_400_000).toISOString().slice(0, 10)
const range = `from=${day(FIRST_DAY)}&to=${day(FIRST_DAY + DAYS - 1)}`

await inTemporaryFolder(async (folder) => {
  const data = join(folder, 'data')
  const store = await openEmbeddedStore({ folder: join(data, 'store'), tmp: join(data, 'tmp') })
  await fillStore(store, firstGeneration(''), RECORDS)
  await store.close()
  const server = await startServer(data)
  const rows: Row[] = []
  /** p95 of some calls, in each of three rounds after a warm-up. */
  const measure = async (what: string, path: (call: number) => string, goal?: number) => {
    const round = async () => {
      const times: number[] = []
      for (let call = 0; call < (goal === undefined ? FEW_CALLS : CALLS); call++) {
        const begun = performance.now()
        const answer = await fetch(`${server.url}/api/v1${path(call)}`)
        const body = await answer.text()
        if (!answer.ok) throw new Error(`${path(call)}: ${body}`)
        times.push(performance.now() - begun)
      }
      return percentile(times, 0.95)
    }
    await round()
    const values: number[] = []
    for (let index = 0; index < ROUNDS; index++) values.push(await round())
    rows.push({
      what,
      unit: 'ms, p95',
      values,
      ...(goal === undefined ? {} : { goal: { relation: '<=', value: goal } }),
    })
  }
  const some = (call: number) => `domain${(call * 97 + 13) % DOMAINS}.example`
  try {
    await measure('summary of a random domain', (call) => `/domains/${some(call)}/summary?${range}`, 50)
    await measure('summary of the largest', () => `/domains/domain0.example/summary?${range}`, 150)
    await measure('sources by ip of the largest', () => `/domains/domain0.example/sources?by=ip&${range}`, 300)
    for (const by of ['sender', 'asn', 'header_from'])
      await measure(`sources by ${by} of the largest`, () => `/domains/domain0.example/sources?by=${by}&${range}`)
    await measure(
      'sources by ip of the largest, one verdict',
      () => `/domains/domain0.example/sources?by=ip&verdict=unknown&${range}`,
    )
    await measure(
      'what-if of the largest, p and sp',
      () => `/domains/domain0.example/what-if?p=reject&sp=none&${range}`,
    )
    await measure('triage of a random domain', (call) => `/domains/${some(call)}/triage?since=${day(FIRST_DAY + 60)}`)
    await measure('/domains', () => `/domains?${range}`, 500)
    await measure('/domains with verdicts', () => `/domains?fields=verdicts&${range}`)
    await measure('records of a random domain, first page', (call) => `/dmarc/records?domain=${some(call)}&${range}`)
    await measure(
      'records by verdict of a random domain',
      (call) => `/dmarc/records?domain=${some(call)}&verdict=spoofed&${range}`,
    )
    await measure('reports of a random domain, first page', (call) => `/dmarc/reports?domain=${some(call)}&${range}`)
  } finally {
    await server.stop()
  }
  report('queries', `${RECORDS} records, ${DOMAINS} domains, ${DAYS} days`, rows)
})
