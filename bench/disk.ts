/** Bytes on disk after an import: of the log against the raw mail, of the store per record. */
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import {
  type Corpus,
  entry,
  inTemporaryFolder,
  million,
  mix20k,
  type Row,
  report,
  small20k,
  timeCommand,
} from './measure.ts'

function bytesBelow(folder: string): number {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((item) => item.isFile())
    .reduce((sum, item) => sum + statSync(join(item.parentPath, item.name)).size, 0)
}

async function measure(name: string, corpus: Corpus, allowance: number): Promise<Row[]> {
  return inTemporaryFolder(async (folder) => {
    const data = join(folder, 'data')
    await timeCommand([entry, 'import', corpus.mail, '--data', data], false, { LOG_LEVEL: 'error' })
    const { records } = corpus.truth.aggregate
    const log = ['log.sqlite', 'log.sqlite-wal'].reduce(
      (sum, file) => sum + (statSync(join(data, file), { throwIfNoEntry: false })?.size ?? 0),
      0,
    )
    const blobs = bytesBelow(join(data, 'blobs'))
    const store = bytesBelow(join(data, 'store', 'store')) || bytesBelow(join(data, 'store'))
    return [
      { what: `${name}: raw mail`, unit: 'MB', values: [corpus.bytes / 1e6] },
      {
        what: `${name}: log and blobs`,
        unit: 'MB',
        values: [(log + blobs) / 1e6],
        goal: { relation: '<=', value: (1.2 * corpus.bytes + allowance * records) / 1e6 },
      },
      {
        what: `${name}: store`,
        unit: 'bytes a record',
        values: [store / records],
        note: 'as ingestion left it, before merges',
      },
    ]
  })
}

report('disk', 'one import each', [
  ...(await measure('default mix', mix20k(), 60)),
  ...(await measure('mails of 3 records', small20k(), 250)),
  ...(await measure('a million records', million(), 60)),
])
