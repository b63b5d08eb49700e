/**
 * What `npm test` runs: types, style, and every test below test/ (the long ones of test/soak with --soak, those
 * on real servers of test/cluster with --cluster). Other arguments
 * go to vitest: `npm test -- test/topics`. Ends with the line `N passed, N failed`, by which .ci/run and people go.
 */
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)))
const apart = ['soak', 'cluster'].find((name) => process.argv.includes(`--${name}`))
const given = process.argv.slice(2).filter((argument) => argument !== `--${apart}`)

/** Runs a command of node_modules/.bin in the root with our terminal; resolves to its exit code. */
function run(command, args) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [join(ROOT, 'node_modules', ...command), ...args], {
      cwd: ROOT,
      stdio: 'inherit',
    })
    const forward = (signal) => child.kill(signal)
    for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, forward)
    child.on('error', reject)
    child.on('exit', (code, signal) => {
      for (const name of ['SIGINT', 'SIGTERM']) process.off(name, forward)
      resolve(signal === null ? code : 1)
    })
  })
}

const seconds = (milliseconds) => (milliseconds / 1000).toFixed(1).padStart(7)
const total = { passed: 0, failed: 0, skipped: 0 }
const groups = new Map()
const complaints = []

async function check(name, command, args) {
  const began = performance.now()
  const code = await run(command, args)
  groups.set(name, performance.now() - began)
  total[code === 0 ? 'passed' : 'failed']++
  if (code !== 0) complaints.push(`${name} found errors`)
}

/** Adds what vitest wrote down of every file; returns false when it wrote nothing. */
function count(report) {
  let results
  try {
    results = JSON.parse(readFileSync(report, 'utf8')).testResults
  } catch {
    return false // no report, or half of one: vitest died, and its own words stand above
  }
  for (const { name, status, startTime, endTime, message, assertionResults } of results) {
    const path = relative(ROOT, name)
    const group = dirname(path)
    groups.set(group, (groups.get(group) ?? 0) + Math.max(0, endTime - startTime))
    const failed = assertionResults.filter((result) => result.status === 'failed').length
    const passed = assertionResults.filter((result) => result.status === 'passed').length
    total.passed += passed
    total.failed += failed
    total.skipped += assertionResults.length - passed - failed
    // A file that could not be loaded, or whose hooks failed, has no failed test to show for it.
    if (status === 'failed' && failed === 0) {
      total.failed++
      complaints.push(`${path} could not be run: ${message.split('\n')[0]}`)
    }
  }
  return true
}

async function tests() {
  const folder = mkdtempSync(join(tmpdir(), 'mailtrail-tests-'))
  try {
    const report = join(folder, 'report.json')
    const config = apart === undefined ? [] : ['--config', `test/${apart}/vitest.config.ts`]
    const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`]
    const code = await run(['vitest', 'vitest.mjs'], ['run', ...config, ...reporters, ...given])
    const before = total.failed
    if (!count(report)) {
      total.failed++
      complaints.push('vitest ended without a report')
    } else if (code !== 0 && total.failed === before) {
      total.failed++
      complaints.push('vitest failed although every test passed: an error outside the tests, or no test found')
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

if (given.length === 0 && apart === undefined) {
  await check('types', ['typescript', 'bin', 'tsc'], ['--noEmit'])
  await check('style', ['@biomejs', 'biome', 'bin', 'biome'], ['check', '.'])
}
await tests()

console.log('\nSeconds by group (groups run side by side):')
for (const [name, milliseconds] of groups) console.log(`${seconds(milliseconds)}  ${name}`)
console.log()
for (const complaint of complaints) console.log(complaint)
const { passed, failed, skipped } = total
console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`)
process.exitCode = failed > 0 ? 1 : 0
