/** Hostile input may cost so much time and memory and no more. */
import { setImmediate } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect } from 'vitest'

export interface Bounds {
  /** Milliseconds; generous, because test machines are slow and shared. */
  ms: number
  /** Growth of the resident set, bytes. */
  memory: number
}

const MB = 1024 * 1024
export const usual: Bounds = { ms: 5000, memory: 250 * MB }

/** Runs something and asserts that it stayed within its bounds. */
export async function bounded<T>(run: () => T | Promise<T>, bounds: Bounds = usual): Promise<T> {
  // The test runner hears nothing while a test blocks the event loop.
  await setImmediate()
  const before = process.memoryUsage.rss()
  const start = performance.now()
  const result = await run()
  expect(performance.now() - start).toBeLessThan(bounds.ms)
  expect(process.memoryUsage.rss() - before).toBeLessThan(bounds.memory)
  return result
}

/** Bytes that are alive: heap and buffers after a full collection. */
export function retained(): number {
  setFlagsFromString('--expose-gc')
  const collect: unknown = runInNewContext('gc')
  if (typeof collect === 'function') collect()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

/** A repeated piece as a stream of chunks of about 64 KB: documents larger than memory. */
export function* repeat(piece: string, times: number): Generator<Uint8Array> {
  const each = Math.max(1, Math.floor((64 * 1024) / piece.length))
  const chunk = Buffer.from(piece.repeat(each))
  let left = times
  for (; left >= each; left -= each) yield chunk
  yield Buffer.from(piece.repeat(left))
}
