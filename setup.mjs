/**
 * Set-up of a clone, run first by every npm script: installs the packages when what is there is not what
 * package-lock.json says, and sees to it that Node 24 is there. Runs on Node 20 and newer without any package. When there is
 * nothing to do it only compares and ends.
 */
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, utimesSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = dirname(fileURLToPath(import.meta.url))
const NEEDED_NODE = 24
/** A folder, since making one is atomic everywhere. Its time is kept fresh while the owner lives. */
const LOCK = join(ROOT, '.setup-lock')
const LOCK_BEAT_MS = 2_000
const LOCK_STALE_MS = 15_000

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds))
const say = (line) => process.stderr.write(`${line}\n`)

function readJson(...path) {
  try {
    return JSON.parse(readFileSync(join(ROOT, ...path), 'utf8'))
  } catch (error) {
    if (error.code === 'ENOENT' || error instanceof SyntaxError) return null
    throw error
  }
}

/**
 * Whether node_modules holds what package-lock.json says. npm writes node_modules/.package-lock.json last, so it is
 * missing after an installation that was interrupted; but `npm install --package-lock-only` writes it without installing,
 * so each package is asked for its version too. Optional packages may be absent: they are for other platforms.
 */
function installed() {
  const wanted = readJson('package-lock.json')
  const present = readJson('node_modules', '.package-lock.json')
  if (wanted === null)
    throw new Error('package-lock.json is missing or damaged. Restore it: git checkout package-lock.json')
  if (present === null) return false
  return Object.entries(wanted.packages).every(([path, { version, integrity, optional }]) => {
    if (path === '') return true
    const there = present.packages[path]
    if (there === undefined) return optional === true
    if (integrity !== undefined && there.integrity !== integrity) return false
    return there.version === version && readJson(path, 'package.json')?.version === version
  })
}

/** Major version of a Node executable, 0 when it does not run. */
function majorOf(executable) {
  const { stdout } = spawnSync(executable, ['--version'], { encoding: 'utf8' })
  return Number(/^v(\d+)\./.exec(stdout ?? '')?.[1] ?? 0)
}

/**
 * Whether the `node` that the next command of an npm script finds is new enough. The version that the package states
 * stands for its executable, whose start would cost more than all the rest; it is run only after an installation.
 */
function nodeReady({ tryIt }) {
  const own = join(ROOT, 'node_modules', '.bin', 'node')
  if (!existsSync(own)) return Number(process.versions.node.split('.')[0]) >= NEEDED_NODE
  if (tryIt) return majorOf(own) >= NEEDED_NODE
  return Number(readJson('node_modules', 'node', 'package.json')?.version.split('.')[0]) >= NEEDED_NODE
}

/** Runs npm in this folder; resolves to its exit code. The npm that started us is taken before one on PATH. */
function npm(args, quiet = false) {
  const cli = process.env.npm_execpath
  const [command, first] = cli?.endsWith('.js') ? [process.execPath, [cli]] : ['npm', []]
  return new Promise((resolve, reject) => {
    const child = spawn(command, [...first, ...args], { cwd: ROOT, stdio: ['ignore', quiet ? 'ignore' : 2, 2] })
    const forward = (signal) => child.kill(signal)
    const signals = ['SIGINT', 'SIGTERM', 'SIGHUP']
    for (const signal of signals) process.on(signal, forward)
    child.on('error', (error) =>
      reject(error.code === 'ENOENT' ? new Error('npm is not on PATH. Install npm, then run this again.') : error),
    )
    child.on('exit', (code, signal) => {
      for (const name of signals) process.off(name, forward)
      if (signal !== null) reject(new Error(`npm was stopped (${signal}). Run this again to finish the set-up.`))
      else resolve(code)
    })
  })
}

async function install() {
  say('Installing the packages with npm ci; it takes about half a minute the first time.')
  const options = ['--include=dev', '--include=optional', '--no-audit', '--no-fund', '--loglevel=error']
  const code = await npm(['ci', ...options])
  if (code !== 0) {
    throw new Error('npm ci failed; its reason stands above. With no network, run it once where there is one: npm ci')
  }
}

/** The `node` package fetches its executable in an install script, which npm may have been told not to run. */
async function fetchNode() {
  say(`Fetching Node ${NEEDED_NODE} into node_modules.`)
  await npm(['rebuild', 'node', '--ignore-scripts=false', '--loglevel=error'], true)
  if (nodeReady({ tryIt: true })) return
  throw new Error(
    `mailtrail needs Node ${NEEDED_NODE}; this is ${process.version}, and npm could not fetch a newer one into node_modules. ` +
      `Allow its install script (npm install-scripts approve node && npm rebuild node), or install Node ${NEEDED_NODE} ` +
      'from https://nodejs.org and delete node_modules.',
  )
}

function tryLock() {
  try {
    mkdirSync(LOCK)
    return true
  } catch (error) {
    if (error.code === 'EEXIST') return false
    throw error
  }
}

/** Calls `use` on the lock; a lock that is gone by now needs nothing done to it. */
function withLock(use) {
  try {
    use()
  } catch (error) {
    if (error.code !== 'ENOENT') throw error
  }
}

const keepLock = () => withLock(() => utimesSync(LOCK, new Date(), new Date()))

function removeStaleLock() {
  withLock(() => {
    if (Date.now() - statSync(LOCK).mtimeMs > LOCK_STALE_MS) rmSync(LOCK, { recursive: true })
  })
}

/** Runs `work` while no other set-up of this folder does. */
async function alone(work) {
  for (let told = false; !tryLock(); await pause(250)) {
    if (!told) say('Another set-up of this folder is running; waiting for it.')
    told = true
    removeStaleLock()
  }
  const beat = setInterval(keepLock, LOCK_BEAT_MS)
  try {
    await work()
  } finally {
    clearInterval(beat)
    rmSync(LOCK, { recursive: true, force: true })
  }
}

async function setUp() {
  if (installed() && nodeReady({ tryIt: false })) return
  await alone(async () => {
    if (!installed()) await install()
    if (!nodeReady({ tryIt: true })) await fetchNode()
  })
}

setUp().catch((error) => {
  say(error.message)
  process.exitCode = 1
})
