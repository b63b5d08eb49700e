/**
 * Runs benchmarks, each in a process of its own: `npm run bench` for all, `npm run bench -- parse million` for some.
 * Numbers go to the terminal as tables and to `bench/out/*.json`.
 */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'

const all = [
  'parse',
  'million',
  'whole-way',
  'post-mail',
  'queries',
  'disk',
  'start-up',
  'log',
  'project',
  'evaluate',
  'replay',
  'kafka',
  'cluster',
]
const wanted = process.argv.slice(2)
const unknown = wanted.filter((name) => !all.includes(name))
if (unknown.length > 0) {
  process.stderr.write(`No benchmark is called ${unknown.join(', ')}; there are ${all.join(', ')}.\n`)
  process.exit(2)
}
let failed = false
for (const name of wanted.length > 0 ? wanted : all) {
  const script = join(import.meta.dirname, `${name}.ts`)
  if (!existsSync(script)) continue
  const { status } = spawnSync(process.execPath, [script], { stdio: 'inherit' })
  if (status !== 0) {
    failed = true
    process.stderr.write(`The benchmark ${name} failed.\n`)
  }
}
process.exit(failed ? 1 : 0)
