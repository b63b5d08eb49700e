/** The house rules: where code may stand and what it may know. Type imports count like any other. */
import { existsSync, globSync, readFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { importsOf, linesWith, type Token, tokensOf } from './source-tokens.ts'

const ROOT = join(import.meta.dirname, '..')

/** Folders of code, and whose code each may import besides its own. `cli` and the files of the root may import all. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  topics: [],
  rules: ['topics'],
  edges: ['topics'],
  state: ['topics'],
  processors: ['topics', 'rules'],
  projections: ['topics'],
  api: ['topics', 'projections', 'state'],
  sources: ['topics'],
  generations: ['topics', 'rules', 'processors', 'projections', 'api'],
}
const COMPOSES = ['cli', 'main.ts', 'pipeline.ts', 'ports.ts']
const ROOM_FOLDERS = [...Object.keys(MAY_IMPORT), 'cli', 'bench', 'test']
const ROOT_FILES = ['main.ts', 'pipeline.ts', 'ports.ts', 'config.ts', 'vitest.config.ts']
/** Kinds of tests that belong to no single folder. */
const TEST_FOLDERS = ['cluster', 'faults', 'fuzz', 'hostile', 'soak']
const FORBIDDEN_FOLDERS = ['src', 'lib', 'utils', 'helpers', 'common', 'types']

/** What stands behind a port. Only the composition root chooses; the port's folder and the tests know it too. */
const BEHIND_A_PORT: readonly RegExp[] = [
  /^topics\/(sqlite|kafka)-log/,
  /^projections\/(chdb-|embedded-store|clickhouse-store)/,
  /^state\/(sqlite|postgres)-state/,
  /^edges\//,
]

/** Packages that are the language of a whole folder. Every other one is imported in one file. */
const SPOKEN_IN: Readonly<Record<string, RegExp>> = {
  fastify: /^api\//,
  typebox: /^api\//,
  '@fastify/type-provider-typebox': /^api\//,
  // One file reads rules, the other writes decisions into them.
  yaml: /^rules\/(yaml|edit)\.ts$/,
  // One pool for the log, one for `parse`, and what a worker needs to give its answer away.
  piscina: /^processors\/(parse-pool|parse-to-json|transfer)\.ts$/,
}
/** Second readers: they check the first one, so they may not be the first one. */
const ONLY_IN_TESTS = ['mailparser', 'fast-xml-parser', 'vitest', 'fast-check']

const PURE_FOLDERS = ['processors', 'rules', 'projections']
/** Files below the pure folders that run them, and what each may ask the world. */
const RUNS_THE_PURE: Readonly<Record<string, string>> = {
  'processors/parse-pool.ts': 'measures how long a worker takes over a mail, to end one that hangs',
  'projections/run.ts': 'the loop: writes after a second at the latest, waits between attempts',
  'projections/state.ts': 'measures the rate of the loop for /status',
  'projections/embedded-store.ts': 'draws the secret of the child process and waits for its start',
}
const IMPURE: readonly (readonly string[])[] = [
  ['Date', '.', 'now'],
  ['new', 'Date', '(', ')'],
  ['Temporal', '.', 'Now'],
  ['Math', '.', 'random'],
  ['performance', '.', 'now'],
  ['hrtime'],
  ['randomBytes'],
  ['randomUUID'],
  ['randomInt'],
  ['getRandomValues'],
]

interface SourceFile {
  readonly path: string
  readonly room: string
  readonly tokens: readonly Token[]
  /** Relative imports as paths from the root. */
  readonly own: readonly { readonly path: string; readonly line: number }[]
  /** Names of packages, `node:` modules left out. */
  readonly packages: readonly { readonly name: string; readonly line: number }[]
}

const LEFT_OUT = ['node_modules', 'dist', 'data', '.git', 'bench/out', 'coverage']
const everyFile = globSync('**', { cwd: ROOT, withFileTypes: true, exclude: (entry) => LEFT_OUT.includes(entry.name) })
  .filter((entry) => entry.isFile())
  .map((entry) => join(entry.parentPath, entry.name).slice(ROOT.length + 1))
  .filter((path) => !path.startsWith('bench/out/'))
  .sort()

function packageOf(specifier: string): string {
  const parts = specifier.split('/')
  return parts.slice(0, specifier.startsWith('@') ? 2 : 1).join('/')
}

function readSource(path: string): SourceFile {
  const tokens = tokensOf(readFileSync(join(ROOT, path), 'utf8'))
  const imports = importsOf(tokens)
  const own = imports
    .filter(({ specifier }) => specifier.startsWith('.'))
    .map(({ specifier, line }) => ({ path: join(dirname(path), specifier), line }))
  const packages = imports
    .filter(({ specifier }) => !/^(\.|node:)/.test(specifier))
    .map(({ specifier, line }) => ({ name: packageOf(specifier), line }))
  return { path, room: path.includes('/') ? path.split('/')[0]! : path, tokens, own, packages }
}

const sources = everyFile.filter((path) => /\.(ts|mjs)$/.test(path)).map(readSource)
const isTestOrBench = ({ room }: SourceFile) => room === 'test' || room === 'bench'
const product = sources.filter((file) => !isTestOrBench(file) && file.room !== 'vitest.config.ts')

/** `path:line` of every place where one of the sequences of tokens stands. */
const places = (files: readonly SourceFile[], ...sequences: readonly (readonly string[])[]) =>
  files.flatMap(({ path, tokens }) =>
    sequences.flatMap((sequence) =>
      linesWith(tokens, ...sequence).map((line) => `${path}:${line} ${sequence.join('')}`),
    ),
  )

describe('the tree', () => {
  test('every TypeScript file stands in a room of the house', () => {
    const homeless = sources.filter(({ path, room }) =>
      path.includes('/') ? !ROOM_FOLDERS.includes(room) : path.endsWith('.ts') && !ROOT_FILES.includes(path),
    )
    expect(homeless.map(({ path }) => path)).toEqual([])
  })

  test('no folder is a place for what has no place', () => {
    const bad = everyFile.filter((path) =>
      dirname(path)
        .split('/')
        .some((part) => FORBIDDEN_FOLDERS.includes(part)),
    )
    expect(bad).toEqual([])
  })

  test('there is no index.ts', () => {
    expect(everyFile.filter((path) => /(^|\/)index\.[a-z]+$/.test(path))).toEqual([])
  })

  test('tests stand where the code stands that they test', () => {
    const known = new Set([...ROOM_FOLDERS, ...TEST_FOLDERS])
    const astray = everyFile.filter((path) => {
      const [top, room, below] = path.split('/')
      return top === 'test' && below !== undefined && !known.has(room!)
    })
    expect(astray).toEqual([])
  })

  test('a test file has code beside its name', () => {
    const orphans = everyFile.filter((path) => {
      const match = /^test\/([^/]+(?:\/[^/]+)*)\/[^/]+\.test\.ts$/.exec(path)
      const folder = match?.[1]
      return folder !== undefined && !TEST_FOLDERS.includes(folder.split('/')[0]!) && !existsSync(join(ROOT, folder))
    })
    expect(orphans).toEqual([])
  })
})

describe('imports', () => {
  test('every relative import names a file that is there, with its extension', () => {
    const missing = sources.flatMap(({ path, own }) =>
      own.filter((target) => !everyFile.includes(target.path)).map((target) => `${path}:${target.line} ${target.path}`),
    )
    expect(missing.filter((place) => !place.endsWith(' dist/main.js'))).toEqual([])
  })

  test('a room imports only what the table allows', () => {
    const broken = product.flatMap(({ path, room, own }) => {
      const allowed = MAY_IMPORT[room]
      if (allowed === undefined) return []
      return own
        .filter((target) => ![room, ...allowed].includes(target.path.split('/')[0]!))
        .map((target) => `${path}:${target.line} imports ${target.path}`)
    })
    expect(broken).toEqual([])
  })

  test('config.ts stands on nothing', () => {
    expect(product.find(({ path }) => path === 'config.ts')?.own).toEqual([])
  })

  test('what stands behind a port is chosen by the composition root alone', () => {
    const broken = product.flatMap(({ path, room, own }) =>
      own
        .filter((target) => BEHIND_A_PORT.some((implementation) => implementation.test(target.path)))
        .filter((target) => !target.path.startsWith(`${room}/`) && !COMPOSES.includes(room))
        .map((target) => `${path}:${target.line} imports ${target.path}`),
    )
    expect(broken).toEqual([])
  })

  test('nothing in the product imports a test or a benchmark', () => {
    const broken = product.flatMap(({ path, own }) =>
      own.filter((target) => /^(test|bench)\//.test(target.path)).map((target) => `${path} imports ${target.path}`),
    )
    expect(broken).toEqual([])
  })

  test('there is no cycle', () => {
    expect(cycles(sources)).toEqual([])
  })

  test('a cycle would be found', () => {
    const file = (path: string, ...targets: string[]): SourceFile => ({
      path,
      room: '',
      tokens: [],
      own: targets.map((target) => ({ path: target, line: 1 })),
      packages: [],
    })
    expect(cycles([file('a', 'b'), file('b', 'c'), file('c', 'b'), file('d', 'a')])).toEqual(['b → c → b'])
  })
})

describe('packages', () => {
  const { dependencies, devDependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
    dependencies: Record<string, string>
    devDependencies: Record<string, string>
  }

  test('every package is imported in one file, so that replacing it touches one file', () => {
    const importers = new Map<string, Set<string>>()
    for (const { path, packages } of product) {
      for (const { name } of packages) {
        if (SPOKEN_IN[name]?.test(path)) continue
        importers.set(name, (importers.get(name) ?? new Set()).add(path))
      }
    }
    const scattered = [...importers].filter(([, paths]) => paths.size > 1)
    expect(scattered.map(([name, paths]) => `${name} in ${[...paths].join(', ')}`)).toEqual([])
  })

  test('second readers read in tests only', () => {
    const found = product.flatMap(({ path, packages }) =>
      packages.filter(({ name }) => ONLY_IN_TESTS.includes(name)).map(({ name, line }) => `${path}:${line} ${name}`),
    )
    expect(found).toEqual([])
  })

  test('the product imports dependencies, never what happens to be installed', () => {
    const strangers = product.flatMap(({ path, packages }) =>
      packages.filter(({ name }) => !(name in dependencies)).map(({ name, line }) => `${path}:${line} ${name}`),
    )
    expect(strangers).toEqual([])
  })

  test('every dependency is imported by the product', () => {
    const used = new Set(product.flatMap(({ packages }) => packages.map(({ name }) => name)))
    expect(Object.keys(dependencies).filter((name) => !used.has(name))).toEqual([])
  })

  test('tests import only what package.json names', () => {
    const known = { ...dependencies, ...devDependencies }
    const strangers = sources.flatMap(({ path, packages }) =>
      packages.filter(({ name }) => !(name in known)).map(({ name, line }) => `${path}:${line} ${name}`),
    )
    expect(strangers).toEqual([])
  })

  test('versions are exact', () => {
    const loose = Object.entries({ ...dependencies, ...devDependencies }).filter(([, version]) => !/^\d/.test(version))
    expect(loose).toEqual([])
  })
})

describe('the language', () => {
  test('no export *', () => {
    expect(places(sources, ['export', '*'])).toEqual([])
  })

  test('no enum and no namespace', () => {
    const declares = (word: string) =>
      sources.flatMap(({ path, tokens }) =>
        tokens
          .filter((token, i) => token.kind === 'word' && token.text === word && declaresBlock(tokens, i))
          .map(({ line }) => `${path}:${line} ${word}`),
      )
    expect([...declares('enum'), ...declares('namespace'), ...declares('module')]).toEqual([])
  })

  test('no any', () => {
    const found = sources.flatMap(({ path, tokens }) =>
      tokens.filter((_, i) => isTypeAny(tokens, i)).map(({ line }) => `${path}:${line}`),
    )
    expect(found).toEqual([])
  })

  test('the environment is read in config.ts only', () => {
    const readers = product.filter(({ path }) => path.endsWith('.ts') && path !== 'config.ts')
    expect(places(readers, ['process', '.', 'env'], ['process', '[', 'env'], ['env', '}'])).toEqual([])
  })

  test('processors, rules and projections know no clock and no chance', () => {
    const pure = product.filter(({ path, room }) => PURE_FOLDERS.includes(room) && !(path in RUNS_THE_PURE))
    expect(places(pure, ...IMPURE)).toEqual([])
  })

  test('every exception to that is still there and still needs it', () => {
    const needing = product.filter((file) => places([file], ...IMPURE).length > 0).map(({ path }) => path)
    expect(Object.keys(RUNS_THE_PURE).filter((path) => !needing.includes(path))).toEqual([])
  })
})

describe('the tables', () => {
  /** Files that define one of a kind, and the table that must import each. */
  const tables: readonly { all: string; folder: string; defines: (file: SourceFile) => boolean }[] = [
    { all: 'topics/all.ts', folder: 'topics', defines: calls('defineEvent') },
    { all: 'processors/all.ts', folder: 'processors', defines: declares('Processor') },
    { all: 'projections/all.ts', folder: 'projections', defines: calls('defineProjection') },
    { all: 'api/routes/all.ts', folder: 'api/routes', defines: () => true },
    { all: 'cli/all.ts', folder: 'cli', defines: declares('Command') },
  ]

  test.each(tables)('$all names everything of its kind', ({ all, folder, defines }) => {
    const table = product.find(({ path }) => path === all)
    const listed = new Set(table?.own.map(({ path }) => path))
    const members = product.filter((file) => dirname(file.path) === folder && file.path !== all && defines(file))
    expect(members.length).toBeGreaterThan(0)
    expect(members.map(({ path }) => path).filter((path) => !listed.has(path))).toEqual([])
  })

  test('every table of the store has a projection beside it', () => {
    const alone = everyFile
      .filter((path) => /^projections\/[^/]+\.sql$/.test(path) && basename(path) !== 'positions.sql')
      .filter((path) => !everyFile.includes(path.replaceAll('_', '-').replace(/\.sql$/, '.ts')))
    expect(alone).toEqual([])
  })
})

describe('the text', () => {
  const texts = everyFile
    .filter((path) => !/^(samples|topics\/examples)\/|\.(eml|gz|zip|mbox|bin|svg|png)$|^package-lock\.json$/.test(path))
    .map((path) => ({ path, text: readFileSync(join(ROOT, path), 'utf8') }))
  const containing = (pattern: RegExp) =>
    texts.flatMap(({ path, text }) =>
      text.split('\n').flatMap((line, i) => (pattern.test(line) ? [`${path}:${i + 1} ${line.trim()}`] : [])),
    )

  test('no file knows the paths of a machine', () => {
    expect(containing(/(^|[\s'"`(=:])\/(home|Users|root|work|opt|mnt)\/[\w.-]+/)).toEqual([])
  })

  test('nothing is put off in a comment', () => {
    const marks = ['TO' + 'DO', 'FIX' + 'ME', 'X' + 'XX']
    expect(containing(new RegExp(`\\b(${marks.join('|')})\\b`))).toEqual([])
  })
})

function calls(name: string): (file: SourceFile) => boolean {
  return ({ tokens }) =>
    tokens.some(({ text }, i) => {
      const isCall = ['(', '<'].includes(tokens[i + 1]?.text ?? '')
      return text === name && isCall && tokens[i - 1]?.text !== 'function'
    })
}

/** Whether a constant is said to be of this type, or the result of a function: `name: Type =`, `): Type {`. */
function declares(type: string): (file: SourceFile) => boolean {
  return ({ tokens }) =>
    tokens.some(({ text }, i) => {
      const before = tokens[i - 1]?.text ?? ''
      const after = tokens[i + 1]?.text ?? ''
      return text === type && (before === 'satisfies' || (before === ':' && ['=', '{'].includes(after)))
    })
}

/** `enum Name {`, `namespace Name.Name {`. */
function declaresBlock(tokens: readonly Token[], at: number): boolean {
  const name = tokens[at + 1]
  const after = tokens[at + 2]
  return name?.kind === 'word' && name.line === tokens[at]!.line && (after?.text === '{' || after?.text === '.')
}

/** `any` where a type may stand, and no value of that name. */
function isTypeAny(tokens: readonly Token[], at: number): boolean {
  const token = tokens[at]!
  if (token.kind !== 'word' || token.text !== 'any') return false
  const last = tokens[at - 1]?.text ?? ''
  const next = tokens[at + 1]?.text ?? ''
  return (
    ![':', '(', '?', '='].includes(next) && [':', '<', '>', ',', '|', '&', '=', '(', 'as', 'extends'].includes(last)
  )
}

/** Each ring of imports once, as `a → b → a`. */
function cycles(files: readonly SourceFile[]): readonly string[] {
  const imports = new Map(files.map(({ path, own }) => [path, own.map((target) => target.path)]))
  const done = new Set<string>()
  const found: string[] = []
  const walk = (path: string, trail: readonly string[]) => {
    const start = trail.indexOf(path)
    if (start !== -1) {
      found.push([...trail.slice(start), path].join(' → '))
      return
    }
    if (done.has(path)) return
    for (const target of imports.get(path) ?? []) walk(target, [...trail, path])
    done.add(path)
  }
  for (const { path } of files) walk(path, [])
  return found
}
