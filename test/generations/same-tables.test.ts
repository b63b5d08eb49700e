/** Same log, same rules, same reader: the same tables, whatever the partitions, the batches and the inserts. */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { evaluate } from '../../processors/evaluate.ts'
import { runBatchProcessor } from '../../processors/run-batches.ts'
import { FeedList, feedsOf, projectedTopics } from '../../projections/feeds.ts'
import { eventReader, runProjections } from '../../projections/run.ts'
import { layoutOf, prepareStore, recreateStore } from '../../projections/schema.ts'
import { ProjectionState } from '../../projections/state.ts'
import { compileRules } from '../../rules/compile.ts'
import { DEFAULT_RULES } from '../../rules/default-rules.ts'
import { readRules } from '../../rules/read.ts'
import { eventTypes, topicSettings } from '../../topics/all.ts'
import { EventCodec } from '../../topics/avro.ts'
import { firstGeneration } from '../../topics/generation.ts'
import { openSqliteLog } from '../../topics/sqlite-log.ts'
import { EventMaker, type PlacedEvent, type RecordShape } from '../projections/events.ts'
import { openStore, removeFolder, temporaryFolder } from '../projections/projecting.ts'

interface Way {
  readonly partitions: number
  readonly batch: number
  readonly rows: number
  /** Every event twice, as after a restart that lost a commit. */
  readonly twice: boolean
}
const ways: readonly Way[] = [
  { partitions: 12, batch: 512, rows: 60_000, twice: false },
  { partitions: 1, batch: 1, rows: 600, twice: false },
  { partitions: 5, batch: 7, rows: 1500, twice: true },
]

const record: fc.Arbitrary<RecordShape> = fc.record({
  source_ip: fc.constantFrom('192.0.2.1', '192.0.2.2', '2001:db8::1', '198.51.100.9', '64.x.x.x'),
  count: fc.integer({ min: 0, max: 500 }),
  dkim: fc.constantFrom('pass', 'fail'),
  spf: fc.constantFrom('pass', 'fail'),
  disposition: fc.constantFrom('none', 'quarantine', 'reject'),
  header_from: fc.constantFrom('example.com', 'mail.example.com'),
  reasons: fc.constantFrom([], [{ type: 'forwarded', comment: '' }]),
  dkim_results: fc.constantFrom(
    [],
    [{ domain: 'example.com', selector: 's', result: 'fail' }],
    [{ domain: 'sendgrid.net', selector: 's', result: 'pass' }],
  ),
})

const generation = { ...firstGeneration(''), ruleSet: 'default' }

/** What the tables hold after the events went this way. */
async function tablesOf(events: (make: EventMaker) => readonly PlacedEvent[], way: Way): Promise<object> {
  const folder = await temporaryFolder()
  const log = await openSqliteLog({ path: join(folder, 'log.sqlite') })
  const store = await openStore(folder)
  const stop = new AbortController()
  try {
    const options = { maxMailBytes: 1e6, retentionIngest: null, retentionPrivate: null }
    for (const topic of topicSettings(options, generation))
      await log.createTopic({ ...topic, partitions: way.partitions })
    const codec = await EventCodec.open(log, eventTypes)
    const made = events(new EventMaker(codec, generation))
    for (const { topic, ...event } of way.twice ? [...made, ...made] : made) await log.append(topic, [event])
    const layout = layoutOf(generation)
    const { rebuilt } = await prepareStore(store, layout, { log })
    const rules = compileRules(readRules(DEFAULT_RULES).ruleSet!)
    const handled = { handled: 0, bytes: 0 }
    const evaluating = runBatchProcessor(
      {
        log,
        processor: evaluate({ rules, codec }),
        physical: (topic) => generation.topics[topic],
        group: 'evaluate',
        signal: stop.signal,
        maxEvents: way.batch,
      },
      handled,
    )
    const state = new ProjectionState()
    const projecting = runProjections(
      {
        log,
        codec: eventReader(codec),
        store,
        feeds: new FeedList(feedsOf([generation])),
        recreate: () => recreateStore(store, layout),
        signal: stop.signal,
        rebuilt,
        flushRows: way.rows,
      },
      state,
    )
    const total = (await log.size(generation.topics.enriched)).events
    while (handled.handled < total) await sleep(5)
    for (const topic of projectedTopics) while (!(await state.caughtUp(generation.topics[topic], log))) await sleep(5)
    stop.abort()
    await Promise.all([evaluating, projecting])
    const checksum = async (from: string) =>
      (await store.query(`SELECT count() AS rows, sum(cityHash64(toString(tuple(*)))) AS hash FROM ${from}`))[0]
    return {
      records: await checksum('v_dmarc_records'),
      reports: await checksum('v_dmarc_reports'),
      verdicts: await checksum(`${generation.tables.record_verdicts} FINAL`),
      sums: await checksum(`${generation.tables.report_verdicts} FINAL`),
    }
  } finally {
    stop.abort()
    await store.close()
    await log.close()
    await removeFolder(folder)
  }
}

test('partitions, batches, inserts and redelivery change no row', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(record, { maxLength: 40 }), { minLength: 3, maxLength: 12 }),
      async (reports) => {
        const events = (make: EventMaker) =>
          reports.flatMap((records, at) => make.dmarc({ report_id: `r${at}`, mail: `m${at}`, records, chunk: 7 }))
        const [first, ...others] = await Promise.all(ways.map((way) => tablesOf(events, way)))
        for (const other of others) expect(other).toEqual(first)
      },
    ),
    { numRuns: 3, endOnFailure: true },
  )
}, 240_000)
