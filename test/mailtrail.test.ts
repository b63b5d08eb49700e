/** The command as people start it: in a clone, under an old Node, and installed from the packed tarball. */
import { execFile, spawn } from 'node:child_process'
import { copyFile, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'

const ROOT = join(import.meta.dirname, '..')

interface Outcome {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

function run(command: string, args: readonly string[], cwd: string): Promise<Outcome> {
  return new Promise((resolve) => {
    execFile(command, args, { cwd, maxBuffer: 64 << 20 }, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === 'number' ? error.code : 255
      resolve({ code, stdout, stderr })
    })
  })
}

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mailtrail-command-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

describe('in a clone', () => {
  test('npx mailtrail runs it', async () => {
    const { code, stdout } = await run('npx', ['mailtrail', '--help'], ROOT)
    expect(code).toBe(0)
    expect(stdout).toMatch(/^ +import /m)
  })

  test('exit codes pass through', async () => {
    const { code, stderr } = await run(process.execPath, ['mailtrail.mjs', 'no-such-command'], ROOT)
    expect(code).toBe(2)
    expect(stderr).not.toBe('')
  })
})

describe('under a Node that is too old', () => {
  let clone: string
  let old: string[]

  /** A Node that says of itself that it is 20; what it starts is the real one. */
  beforeAll(async () => {
    clone = join(folder, 'old')
    await mkdir(clone)
    await copyFile(join(ROOT, 'mailtrail.mjs'), join(clone, 'mailtrail.mjs'))
    await writeFile(
      join(clone, 'old.cjs'),
      `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '20.20.2' } })
Object.defineProperty(process, 'version', { value: 'v20.20.2' })`,
    )
    old = ['--require', join(clone, 'old.cjs'), join(clone, 'mailtrail.mjs')]
  })

  test('an installed package says in one sentence what it needs', async () => {
    const { code, stderr } = await run(process.execPath, [...old, '--help'], clone)
    expect(code).toBe(1)
    expect(stderr).toBe('mailtrail needs Node 24 or newer and this is v20.20.2: install it from https://nodejs.org.\n')
  })

  test('a clone without its packages says how to get them', async () => {
    await writeFile(join(clone, 'main.ts'), 'export const main = async (): Promise<number> => 0\n')
    const { code, stderr } = await run(process.execPath, [...old, '--help'], clone)
    expect(code).toBe(1)
    expect(stderr).toContain('run "npm start" once')
  })

  test('a clone runs with the Node of its packages: arguments, output, signals and exit code pass through', async () => {
    await mkdir(join(clone, 'node_modules', '.bin'), { recursive: true })
    await symlink(process.execPath, join(clone, 'node_modules', '.bin', 'node'))
    await writeFile(
      join(clone, 'main.ts'),
      `export async function main(argv: readonly string[]): Promise<number> {
  const alive = setInterval(() => undefined, 1000)
  const signal = new Promise<string>((resolve) => process.once('SIGTERM', resolve))
  console.log(argv.join('|'))
  if (argv[0] === 'wait') console.log(await signal)
  clearInterval(alive)
  return 7
}
`,
    )
    expect(await run(process.execPath, [...old, 'a', 'b c'], clone)).toEqual({ code: 7, stdout: 'a|b c\n', stderr: '' })

    const child = spawn(process.execPath, [...old, 'wait'], { cwd: clone, stdio: ['ignore', 'pipe', 'inherit'] })
    onTestFinished(() => void child.kill('SIGKILL'))
    let said = ''
    child.stdout.on('data', (bytes) => {
      said += bytes
      if (said === 'wait\n') child.kill('SIGTERM')
    })
    const code = await new Promise((resolve) => child.on('close', resolve))
    expect({ code, said }).toEqual({ code: 7, said: 'wait\nSIGTERM\n' })
  })
})

describe('installed from the packed tarball', () => {
  const limit = 300_000
  let prefix: string
  let packed: readonly string[]
  const installed = (...args: string[]) => run(join(prefix, 'bin', 'mailtrail'), args, folder)

  beforeAll(async () => {
    prefix = join(folder, 'prefix')
    const pack = await run('npm', ['pack', '--json', '--pack-destination', folder], ROOT)
    expect(pack.stderr).not.toContain('npm error')
    const [tarball] = (await readdir(folder)).filter((name) => name.endsWith('.tgz'))
    packed = (await run('tar', ['-tzf', tarball!], folder)).stdout.trim().split('\n')
    const options = ['--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error']
    const install = await run('npm', ['install', '--global', '--prefix', prefix, ...options, tarball!], folder)
    expect(install).toMatchObject({ code: 0 })
  }, limit)

  test('the tarball holds the command, what it needs, and nothing else', () => {
    const paths = packed.map((path) => path.replace(/^package\//, ''))
    const known =
      /^(dist\/.+\.(js|sql|json|yaml)|samples\/.+\.eml|mailtrail\.mjs|package\.json|README\.md|CHANGELOG\.md|LICENSE|NOTICE)$/
    expect(paths.filter((path) => !known.test(path))).toEqual([])
    expect(paths.filter((path) => /^dist\/(test|bench|topics\/examples)\//.test(path))).toEqual([])
    expect(paths).toEqual(expect.arrayContaining(['dist/main.js', 'dist/package.json', 'LICENSE']))
  })

  test('it explains itself', async () => {
    const { code, stdout, stderr } = await installed('--help')
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(/^ +import /m)
  })

  test('it reads reports, with its worker threads', async () => {
    const { code, stdout } = await installed('parse', join(ROOT, 'samples', '01-aggregate-zip.eml'))
    expect(code).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({ kind: 'dmarc', report: { org_name: 'mailhaus.example' } })
  })

  test('it imports the samples, with its log, its store and its projections', async () => {
    const data = join(folder, 'data')
    const { code, stdout } = await installed(
      'import',
      join(ROOT, 'samples'),
      '--data',
      data,
      '--wait',
      '--format',
      'json',
    )
    expect(code).toBe(0)
    expect(JSON.parse(stdout)).toEqual({ read: 16, new: 16, duplicates: 0, rejects: 1 })
  })
})
