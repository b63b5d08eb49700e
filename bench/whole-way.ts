/** The whole way, embedded: `mailtrail import` into an empty folder until all is queryable. */
import { join } from 'node:path'
import {
  type Corpus,
  entry,
  inTemporaryFolder,
  million,
  mix20k,
  ROUNDS,
  type Row,
  report,
  small20k,
  timeCommand,
} from './measure.ts'

async function wholeWay(corpus: Corpus): Promise<{ seconds: number; peakBytes: number }> {
  return inTemporaryFolder(async (folder) => {
    const run = await timeCommand(
      [entry, 'import', corpus.mail, '--data', join(folder, 'data'), '--format', 'json'],
      true,
      { LOG_LEVEL: 'error' },
    )
    const summary = JSON.parse(run.output) as { read: number }
    if (summary.read !== corpus.truth.mails) throw new Error(`Read ${summary.read} of ${corpus.truth.mails} mails.`)
    return run
  })
}

async function series(name: string, corpus: Corpus, goals: { mails?: number; records?: number }): Promise<void> {
  const runs = []
  for (let round = 0; round < ROUNDS; round++) runs.push(await wholeWay(corpus))
  const rows: Row[] = [
    {
      what: 'mails',
      unit: 'mails/s',
      values: runs.map(({ seconds }) => corpus.truth.mails / seconds),
      ...(goals.mails === undefined ? {} : { goal: { relation: '>=', value: goals.mails } }),
    },
    {
      what: 'records',
      unit: 'records/s',
      values: runs.map(({ seconds }) => corpus.truth.aggregate.records / seconds),
      ...(goals.records === undefined ? {} : { goal: { relation: '>=', value: goals.records } }),
    },
    {
      what: 'memory of all processes',
      unit: 'MB',
      values: runs.map(({ peakBytes }) => peakBytes / 1e6),
      goal: { relation: '<=', value: 1300 },
    },
  ]
  report(name, `${corpus.truth.mails} mails, start-up and shut-down included`, rows)
}

await series('whole-small', small20k(), { mails: 3000 })
await series('whole-mix', mix20k(), { records: 60_000 })
await series('whole-million', million(), { records: 60_000 })
