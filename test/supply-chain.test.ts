/** What is installed: who may run scripts, under which licences, with which known holes, and the list of it for a release. */
import { execFile } from 'node:child_process'
import { existsSync, globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { ROOT } from './fixtures.ts'

interface Locked {
  readonly version: string
  readonly dev?: boolean
  readonly optional?: boolean
  readonly resolved?: string
  readonly integrity?: string
  readonly hasInstallScript?: boolean
}
const readJson = <T>(path: string) => JSON.parse(readFileSync(join(ROOT, path), 'utf8')) as T
const lock = readJson<{ packages: Readonly<Record<string, Locked>> }>('package-lock.json')
const { allowScripts, version } = readJson<{ allowScripts: Readonly<Record<string, boolean>>; version: string }>(
  'package.json',
)
const packages = Object.entries(lock.packages).filter(([path]) => path !== '')
const nameOf = (path: string) => path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length)
const production = packages.filter(([path, { dev }]) => dev !== true && existsSync(join(ROOT, path, 'package.json')))

/** Licences under which a package may be passed on with ours (Apache-2.0), without more than naming its author. */
const ALLOWED = [
  'MIT',
  'MIT-0',
  'ISC',
  '0BSD',
  'BSD-2-Clause',
  'BSD-3-Clause',
  'Apache-2.0',
  'BlueOak-1.0.0',
  'CC0-1.0',
]
/** What says its licence elsewhere than in package.json, or under terms that NOTICE fulfils; what was read and where. */
const READ_BY_A_PERSON: Readonly<
  Record<string, { readonly file: string; readonly says: string; readonly notice?: string }>
> = {
  '@kafkajs/confluent-schema-registry': { file: 'LICENSE', says: 'MIT License' },
  '@ip-location-db/asn': { file: 'DBIP-LICENSE', says: 'Attribution', notice: 'DB-IP' },
}

/** Every choice of an expression such as `(MIT OR Apache-2.0)` is looked at; `AND` wants all. */
function isAllowed(licence: string): boolean {
  const plain = licence.replace(/[()]/g, '')
  return plain.split(' OR ').some((choice) => choice.split(' AND ').every((one) => ALLOWED.includes(one.trim())))
}

function run(
  command: string,
  ...args: readonly string[]
): Promise<{ failed: boolean; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(command, [...args], { cwd: ROOT, timeout: 45_000, maxBuffer: 64 << 20 }, (error, stdout, stderr) =>
      resolve({ failed: error !== null, stdout, stderr }),
    )
  })
}

describe('install scripts', () => {
  const withScripts = packages.filter(([, { hasInstallScript }]) => hasInstallScript === true)
  const ruled = Object.keys(allowScripts).map((entry) => entry.replace(/(?<=.)@[^@]*$/, ''))

  test('every package that has one is allowed or refused by name', () => {
    expect(withScripts.length).toBeGreaterThan(0)
    expect(withScripts.map(([path]) => nameOf(path)).filter((name) => !ruled.includes(name))).toEqual([])
  })

  test('what is allowed is allowed in one version, which is the one of the lock file', () => {
    const allowed = Object.entries(allowScripts).filter(([, may]) => may)
    const locked = withScripts.map(([path, entry]) => `${nameOf(path)}@${entry.version}`)
    expect(allowed.map(([entry]) => entry).filter((entry) => !locked.includes(entry))).toEqual([])
    expect(allowed.length).toBeLessThanOrEqual(1)
  })

  test('nobody is ruled about who is not there', () => {
    expect(ruled.filter((name) => !withScripts.some(([path]) => nameOf(path) === name))).toEqual([])
  })
})

describe('licences', () => {
  test('an expression is allowed when one of its choices is', () => {
    expect(['MIT', '(GPL-3.0 OR MIT)', 'MIT AND ISC'].every(isAllowed)).toBe(true)
    expect(['GPL-3.0', 'MIT AND GPL-3.0', '', 'UNLICENSED'].some(isAllowed)).toBe(false)
  })

  test('every package that is passed on has one that allows it', () => {
    expect(production.length).toBeGreaterThan(50)
    const refused = production.flatMap(([path]) => {
      const { name, license } = readJson<{ name: string; license?: unknown }>(`${path}/package.json`)
      const known = READ_BY_A_PERSON[name]
      if (known !== undefined) return []
      return typeof license === 'string' && isAllowed(license) ? [] : [`${name}: ${JSON.stringify(license)}`]
    })
    expect(refused).toEqual([])
  })

  test.each(Object.entries(READ_BY_A_PERSON))('%s still says what was read', (name, { file, says, notice = '' }) => {
    expect(readFileSync(join(ROOT, 'node_modules', name, file), 'utf8')).toContain(says)
    expect(readFileSync(join(ROOT, 'NOTICE'), 'utf8')).toContain(notice)
  })
})

/** What the lock file does not say comes from here. */
const REGISTRY = 'https://registry.npmjs.org/'

test('every package comes from the public registry, with a checksum', () => {
  // npm writes no checksum for what this platform does not install.
  const here = packages.filter(([path]) => existsSync(join(ROOT, path)))
  const strange = here.filter(
    ([, { resolved = REGISTRY, integrity = '' }]) => !resolved.startsWith(REGISTRY) || !integrity.startsWith('sha512-'),
  )
  expect(strange.map(([path]) => path)).toEqual([])
})

test('no package of production has a known hole (skipped with a word when the registry does not say)', async (context) => {
  const { stdout } = await run('npm', 'audit', '--omit=dev', '--json')
  const answer = JSON.parse(stdout || '{}') as {
    metadata?: { vulnerabilities: Readonly<Record<string, number>> }
    vulnerabilities?: Readonly<Record<string, { severity: string }>>
  }
  if (answer.metadata === undefined) {
    console.warn('The registry gave no advisories (offline, or it has none): nothing was checked.')
    context.skip()
    return
  }
  const serious = Object.entries(answer.vulnerabilities ?? {}).filter(([, { severity }]) =>
    /high|critical/.test(severity),
  )
  expect(serious.map(([name, { severity }]) => `${name}: ${severity}`)).toEqual([])
}, 60_000)

test('the list of what a release holds (SBOM) names every package of production, and no other', async () => {
  const { failed, stdout, stderr } = await run(process.execPath, 'sbom.mjs')
  expect({ failed, stderr: failed ? stderr : '' }).toEqual({ failed: false, stderr: '' })
  const sbom = JSON.parse(stdout) as {
    bomFormat: string
    metadata: { component: { purl: string } }
    components: { name: string; group?: string; version: string; purl: string }[]
  }
  expect(sbom.bomFormat).toBe('CycloneDX')
  expect(sbom.metadata.component.purl).toBe(`pkg:npm/mailtrail@${version}`)
  const listed = new Set(sbom.components.map(({ purl }) => decodeURIComponent(purl)))
  const missing = production.filter(([path, entry]) => !listed.has(`pkg:npm/${nameOf(path)}@${entry.version}`))
  expect(missing.map(([path]) => path)).toEqual([])
  const dev = packages
    .filter(([, entry]) => entry.dev === true)
    .map(([path, entry]) => `pkg:npm/${nameOf(path)}@${entry.version}`)
  const shared = new Set(
    packages
      .filter(([, entry]) => entry.dev !== true)
      .map(([path, entry]) => `pkg:npm/${nameOf(path)}@${entry.version}`),
  )
  expect(dev.filter((purl) => listed.has(purl) && !shared.has(purl))).toEqual([])
}, 60_000)

test('what a build takes in is written in the lock file: no package stands in the repository', () => {
  expect(
    globSync('**/*.{tgz,node,wasm,so}', { cwd: ROOT, exclude: (path) => /node_modules|\.git$/.test(String(path)) }),
  ).toEqual([])
})
