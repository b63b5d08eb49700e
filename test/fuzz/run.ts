/**
 * `npm run fuzz -- --seconds N --seed S [--threads T] [--api]`: changes samples of every format and reads them; with
 * `--api`, asks a running server what its OpenAPI description allows and what it does not. No input may crash the reader, take
 * longer than its time, or give a result that breaks what is promised of it. What is found is written to
 * test/hostile/found/, which test/hostile/found.test.ts reads again in every test run.
 */
import { createHash } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { Worker } from 'node:worker_threads'
import { endAll } from '../fixtures.ts'
import { fuzzApi } from './api.ts'
import { inputOf } from './inputs.ts'
import { loadSeeds } from './seeds.ts'
import type { Fault, FuzzWorkerData } from './worker.ts'

const FOUND = join(import.meta.dirname, '../hostile/found')
/** One input may take so long on a machine that others use, too: most take a millisecond. */
const INPUT_MILLISECONDS = 10_000
const LOOK_MILLISECONDS = 500
/** Growth of the process over what it had when all threads were warm. */
const MEMORY_BYTES = 900 * 1024 * 1024

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    seed: { type: 'string', default: '1' },
    threads: { type: 'string', default: '1' },
    api: { type: 'boolean', default: false },
  },
})
const seconds = Number(values.seconds)
const seed = Number(values.seed)
const threads = Number(values.threads)
if (![seconds, seed, threads].every((number) => Number.isInteger(number) && number > 0))
  throw new Error('--seconds, --seed and --threads are whole numbers above 0.')

const seeds = await loadSeeds()
const found = new Map<string, string>()
let tried = 0

/** Writes the input, once for each way to fail. */
function keep(index: number, message: string): void {
  const { target, bytes } = inputOf(seeds, seed, index)
  const [what = ''] = message.split('\n')
  const where = /at .*?((?:processors|rules|sources|topics)\/\S+?:\d+)/.exec(message)?.[1] ?? ''
  const key = `${target}: ${what.replace(/\d+/g, 'N')} ${where}`
  if (found.has(key)) return
  const name = `${target}-${createHash('sha256').update(bytes).digest('hex').slice(0, 12)}`
  found.set(key, name)
  mkdirSync(FOUND, { recursive: true })
  writeFileSync(join(FOUND, name), bytes)
  console.log(`found (input ${index} of seed ${seed}, ${name}): ${key}`)
}

function startThread(first: number): Promise<void> {
  const at = new SharedArrayBuffer(4)
  const data: FuzzWorkerData = { seed, first, step: threads, at }
  const worker = new Worker(new URL('./worker.ts', import.meta.url), {
    workerData: data,
    resourceLimits: { maxOldGenerationSizeMb: 384 },
  })
  const index = new Int32Array(at)
  let last = -1
  let since = performance.now()
  let isReady = false
  return new Promise((resolve) => {
    const begun = performance.now()
    const look = setInterval(() => {
      const now = performance.now()
      const current = Atomics.load(index, 0)
      if (current !== last || !isReady) {
        last = current
        since = now
      } else if (now - since > INPUT_MILLISECONDS) {
        keep(current, `it takes longer than ${INPUT_MILLISECONDS} ms`)
        end(current + threads)
      }
      if (now > ends) end(null)
    }, LOOK_MILLISECONDS)
    let isEnded = false
    /** `next`: from where another thread goes on. */
    const end = (next: number | null) => {
      if (isEnded) return
      isEnded = true
      clearInterval(look)
      tried += Math.floor((Atomics.load(index, 0) - first) / threads)
      void worker
        .terminate()
        .then(() => (next === null || performance.now() > ends ? undefined : startThread(next)))
        .then(resolve)
    }
    worker.on('message', (message: 'ready' | Fault) => {
      if (message === 'ready') isReady = true
      else keep(message.index, message.message)
    })
    worker.on('error', (error) => {
      if (performance.now() - begun < 100 && !isReady) throw error
      const current = Atomics.load(index, 0)
      keep(current, error.stack ?? error.message)
      end(current + threads)
    })
  })
}

const ends = performance.now() + seconds * 1000
let largest = 0
const watch = setInterval(() => {
  largest = Math.max(largest, process.memoryUsage.rss())
}, LOOK_MILLISECONDS)
if (values.api) {
  try {
    const { requests, faults } = await fuzzApi(seed, ends)
    tried += requests
    for (const fault of faults) {
      found.set(fault, '')
      console.log(`found: ${fault}`)
    }
  } finally {
    await endAll()
  }
} else await Promise.all(Array.from({ length: threads }, (_, n) => startThread(n)))
clearInterval(watch)
if (largest > MEMORY_BYTES) found.set(`memory grew to ${largest} bytes`, '')
console.log(
  `${tried} ${values.api ? 'requests' : 'inputs'} in ${seconds} s, seed ${seed}, ${Math.round(largest / 1048576)} MB at the most: ${found.size} found.`,
)
process.exitCode = found.size === 0 ? 0 : 1
