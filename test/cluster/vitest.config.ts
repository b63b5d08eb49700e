/** The tests on real servers (Kafka, schema registry, Postgres, S3), which `npm run test:cluster` runs one file at a time. */
import { defineConfig } from 'vitest/config'
import everyday from '../../vitest.config.ts'

export default defineConfig({
  test: {
    ...everyday.test,
    include: ['test/cluster/**/*.test.ts'],
    exclude: [],
    fileParallelism: false,
    // The tests' own kafkajs, as a foreign producer, sets a negative timer; the product has none (kafka-log.test.ts).
    poolOptions: { forks: { execArgv: ['--disable-warning=TimeoutNegativeWarning'] } },
    testTimeout: 180_000,
    hookTimeout: 240_000,
    teardownTimeout: 60_000,
  },
})
