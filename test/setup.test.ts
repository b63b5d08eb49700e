/** setup.mjs in a small project of its own, with the real npm and one package that lies beside it: no registry is asked. */
import { execFile, spawn } from 'node:child_process'
import { copyFile, cp, mkdir, mkdtemp, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'

const run = promisify(execFile)
const ROOT = join(import.meta.dirname, '..')
let folder: string
let fresh: string

const npm = (cwd: string, ...args: string[]) => run('npm', [...args, '--offline', '--no-audit', '--no-fund'], { cwd })
const exists = (path: string) =>
  stat(path).then(
    () => true,
    () => false,
  )

/** A package `leaf` of one version as a tarball in `fresh`. */
async function packLeaf(version: string): Promise<string> {
  const leaf = join(folder, `leaf-${version}`)
  await mkdir(leaf)
  await writeFile(join(leaf, 'package.json'), JSON.stringify({ name: 'leaf', version }))
  await npm(leaf, 'pack', '--pack-destination', fresh)
  return `./leaf-${version}.tgz`
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mailtrail-setup-'))
  fresh = join(folder, 'fresh')
  await mkdir(fresh)
  await copyFile(join(ROOT, 'setup.mjs'), join(fresh, 'setup.mjs'))
  await writeFile(join(fresh, 'package.json'), JSON.stringify({ name: 'clone', version: '1.0.0' }))
  await npm(fresh, 'install', '--package-lock-only', await packLeaf('1.0.0'))
  await packLeaf('1.1.0')
})
afterAll(() => rm(folder, { recursive: true, force: true }))

let clones = 0
async function newClone(): Promise<string> {
  const clone = join(folder, `clone-${clones++}`)
  await cp(fresh, clone, { recursive: true })
  return clone
}

interface Outcome {
  readonly code: number | null
  readonly said: string
}

function setUp(clone: string): Promise<Outcome> {
  const child = spawn(process.execPath, ['setup.mjs'], { cwd: clone, stdio: ['ignore', 'ignore', 'pipe'] })
  onTestFinished(() => void child.kill())
  let said = ''
  child.stderr.on('data', (bytes) => {
    said += bytes
  })
  return new Promise((resolve, reject) => child.on('error', reject).on('close', (code) => resolve({ code, said })))
}

async function installedVersion(clone: string): Promise<string> {
  const text = await readFile(join(clone, 'node_modules', 'leaf', 'package.json'), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}

test('a fresh clone is installed, and the next set-up has nothing to say', async () => {
  const clone = await newClone()
  const first = await setUp(clone)
  expect(first.said).toContain('Installing the packages with npm ci')
  expect(first.code).toBe(0)
  expect(await installedVersion(clone)).toBe('1.0.0')
  expect(await setUp(clone)).toEqual({ code: 0, said: '' })
})

test('set-ups at once install once and all succeed', async () => {
  const clone = await newClone()
  const outcomes = await Promise.all([setUp(clone), setUp(clone), setUp(clone)])
  expect(outcomes.map(({ code }) => code)).toEqual([0, 0, 0])
  expect(outcomes.filter(({ said }) => said.includes('Installing'))).toHaveLength(1)
  expect(await exists(join(clone, '.setup-lock'))).toBe(false)
})

test('a changed package-lock.json is installed', async () => {
  const clone = await newClone()
  await setUp(clone)
  await npm(clone, 'install', '--package-lock-only', './leaf-1.1.0.tgz')
  expect(await installedVersion(clone)).toBe('1.0.0')
  expect((await setUp(clone)).code).toBe(0)
  expect(await installedVersion(clone)).toBe('1.1.0')
})

test('an installation that was interrupted is done again', async () => {
  const clone = await newClone()
  await setUp(clone)
  await rm(join(clone, 'node_modules', '.package-lock.json'))
  expect((await setUp(clone)).said).toContain('Installing')
  await rm(join(clone, 'node_modules', 'leaf'), { recursive: true })
  expect((await setUp(clone)).said).toContain('Installing')
  expect(await installedVersion(clone)).toBe('1.0.0')
})

test('the lock of a set-up that died is taken over', async () => {
  const clone = await newClone()
  const lock = join(clone, '.setup-lock')
  await mkdir(lock)
  await utimes(lock, new Date('2026-01-01'), new Date('2026-01-01'))
  const { code, said } = await setUp(clone)
  expect(said).toContain('waiting for it')
  expect(code).toBe(0)
  expect(await installedVersion(clone)).toBe('1.0.0')
})

test('a package that cannot be had ends the set-up with what to do', async () => {
  const clone = await newClone()
  await writeFile(
    join(clone, 'package.json'),
    JSON.stringify({ name: 'clone', version: '1.0.0', dependencies: { leaf: 'file:./leaf-9.9.9.tgz' } }),
  )
  const { code, said } = await setUp(clone)
  expect(code).toBe(1)
  expect(said).toContain('npm ci failed')
  expect(await exists(join(clone, '.setup-lock'))).toBe(false)
})

test('a damaged package-lock.json is said, not installed over', async () => {
  const clone = await newClone()
  await writeFile(join(clone, 'package-lock.json'), '{"packages":')
  expect(await setUp(clone)).toMatchObject({ code: 1, said: expect.stringContaining('git checkout package-lock.json') })
})
