/** The long tests, which `npm run test:soak` runs: hours are allowed, and one file at a time. */
import { defineConfig } from 'vitest/config'
import everyday from '../../vitest.config.ts'

export default defineConfig({
  test: {
    ...everyday.test,
    include: ['test/soak/**/*.test.ts'],
    exclude: [],
    fileParallelism: false,
    testTimeout: 4 * 60 * 60_000,
  },
})
