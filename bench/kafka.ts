/**
 * The whole way on Kafka against the embedded log, in one run: the same import into one process of all roles, with the same
 * embedded store. Broker and registry run on the same cores and are not counted into the memory.
 */
import { join } from 'node:path'
import * as kafka from '../test/cluster/services/kafka.ts'
import * as registry from '../test/cluster/services/registry.ts'
import { type Corpus, entry, inTemporaryFolder, mix20k, ROUNDS, report, small20k, timeCommand } from './measure.ts'

async function importOnce(corpus: Corpus, env: Readonly<Record<string, string>>) {
  return inTemporaryFolder(async (folder) => {
    const run = await timeCommand(
      [entry, 'import', corpus.mail, '--data', join(folder, 'data'), '--format', 'json'],
      true,
      {
        LOG_LEVEL: 'error',
        MAILTRAIL_RESOLVERS: 'off',
        ...env,
      },
    )
    const summary = JSON.parse(run.output) as { read: number }
    if (summary.read !== corpus.truth.mails) throw new Error(`Read ${summary.read} of ${corpus.truth.mails} mails.`)
    return run
  })
}

await kafka.install()
await registry.install()
const broker = await kafka.start()
const schemas = await registry.start()
try {
  for (const [name, corpus] of [
    ['small', small20k()],
    ['mix', mix20k()],
  ] as const) {
    const embedded: number[] = []
    const onKafka: number[] = []
    const memory: number[] = []
    for (let round = 0; round < ROUNDS; round++) {
      embedded.push(corpus.truth.mails / (await importOnce(corpus, {})).seconds)
      const run = await importOnce(corpus, {
        KAFKA_BROKERS: broker.brokers.join(','),
        SCHEMA_REGISTRY_URL: schemas.url,
        MAILTRAIL_TOPIC_PREFIX: `${name}-${round}-`,
      })
      onKafka.push(corpus.truth.mails / run.seconds)
      memory.push(run.peakBytes / 1e6)
    }
    const share = onKafka.map((rate, round) => (100 * rate) / embedded[round]!)
    report(`kafka-${name}`, `${corpus.truth.mails} mails, import in one process, start and stop included`, [
      { what: 'embedded', unit: 'mails/s', values: embedded },
      { what: 'on Kafka', unit: 'mails/s', values: onKafka },
      { what: 'share of embedded, pair by pair', unit: '%', values: share, goal: { relation: '>=', value: 60 } },
      { what: 'memory of our processes on Kafka', unit: 'MB', values: memory },
    ])
  }
} finally {
  await schemas.stop()
  await broker.stop()
}
