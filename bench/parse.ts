/** `mailtrail parse --format ndjson` in one thread and in several, against the limit. */
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { type Corpus, entry, inTemporaryFolder, mix20k, ROUNDS, report, small20k, timeCommand } from './measure.ts'

const limitScript = join(import.meta.dirname, 'limit.ts')

async function limit(folder: string): Promise<{ mails: number; records: number; milliseconds: number }> {
  return JSON.parse((await timeCommand([limitScript, folder], true)).output)
}

async function compare(corpus: Corpus, name: string): Promise<void> {
  const mails = corpus.truth.mails
  const limits: number[] = []
  const ones: number[] = []
  const manys: number[] = []
  const workers = availableParallelism()
  for (let round = 0; round < ROUNDS; round++) {
    const least = await limit(corpus.mail)
    limits.push(least.mails / (least.milliseconds / 1000))
    const start = await inTemporaryFolder(
      async (folder) => (await timeCommand([entry, 'parse', folder, '--format', 'ndjson', '--workers', '1'])).seconds,
    )
    const one = await timeCommand([entry, 'parse', corpus.mail, '--format', 'ndjson', '--workers', '1'])
    ones.push(mails / (one.seconds - start))
    const many = await timeCommand([entry, 'parse', corpus.mail, '--format', 'ndjson', '--workers', String(workers)])
    manys.push(mails / (many.seconds - start))
  }
  const records = corpus.truth.aggregate.records / mails
  const shares = ones.map((one, round) => (100 * one) / limits[round]!)
  const gains = manys.map((many, round) => many / ones[round]!)
  report(name, `${mails} mails, ${records.toFixed(1)} records a mail`, [
    { what: 'the limit', unit: 'mails/s', values: limits },
    { what: 'parse, one thread', unit: 'mails/s', values: ones },
    { what: 'parse, one thread', unit: 'records/s', values: ones.map((value) => value * records) },
    {
      what: 'parse, share of the limit',
      unit: '%',
      values: shares,
      goal: { relation: '>=', value: 25 },
      note: 'stretch 35',
    },
    { what: `parse, ${workers} workers`, unit: 'mails/s', values: manys },
    {
      what: `${workers} workers against one thread`,
      unit: 'times',
      values: gains,
      goal: { relation: '>=', value: 0.8 * Math.min(workers, workers - 0.3) },
    },
  ])
}

await compare(mix20k(), 'parse-mix')
await compare(small20k(), 'parse-small')
