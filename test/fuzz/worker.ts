/** One thread of the fuzzer: tries inputs one after the other, and says which one it is at. */
import { parentPort, workerData } from 'node:worker_threads'
import { inputOf } from './inputs.ts'
import { loadSeeds } from './seeds.ts'
import { openTargets } from './targets.ts'

export interface FuzzWorkerData {
  readonly seed: number
  readonly first: number
  readonly step: number
  /** The index that is being tried. */
  readonly at: SharedArrayBuffer
}
export interface Fault {
  readonly index: number
  readonly message: string
}

const { seed, first, step, at } = workerData as FuzzWorkerData
const index = new Int32Array(at)
const { targets } = openTargets()
const seeds = await loadSeeds()
parentPort!.postMessage('ready')
for (let n = first; ; n += step) {
  Atomics.store(index, 0, n)
  const { target, bytes } = inputOf(seeds, seed, n)
  try {
    await targets[target](bytes)
  } catch (error) {
    const fault: Fault = { index: n, message: error instanceof Error ? (error.stack ?? error.message) : String(error) }
    parentPort!.postMessage(fault)
  }
}
