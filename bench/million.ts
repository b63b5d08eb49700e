/** One report of a million records through `mailtrail parse --format ndjson`: speed, and memory that stays flat. */
import { entry, hundredThousand, inTemporaryFolder, million, ROUNDS, report, timeCommand } from './measure.ts'

const small = hundredThousand()
const large = million()
const rates: number[] = []
const memory: number[] = []
const memorySmall: number[] = []
for (let round = 0; round < ROUNDS; round++) {
  const start = await inTemporaryFolder(
    async (folder) => (await timeCommand([entry, 'parse', folder, '--format', 'ndjson'])).seconds,
  )
  const little = await timeCommand([entry, 'parse', small.mail, '--format', 'ndjson', '--workers', '1'])
  memorySmall.push(little.peakBytes / 1e6)
  const run = await timeCommand([entry, 'parse', large.mail, '--format', 'ndjson', '--workers', '1'])
  rates.push(1_000_000 / (run.seconds - start))
  memory.push(run.peakBytes / 1e6)
}
report('million', '1 mail of 1,000,000 records', [
  {
    what: 'parse, one thread',
    unit: 'records/s',
    values: rates,
    goal: { relation: '>=', value: 120_000 },
    note: 'stretch 180,000',
  },
  { what: 'peak memory, 1,000,000 records', unit: 'MB', values: memory, goal: { relation: '<=', value: 300 } },
  { what: 'peak memory, 100,000 records', unit: 'MB', values: memorySmall },
])
