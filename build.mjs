/**
 * Makes dist/ for the package: the TypeScript with its types blanked out (lines and columns stay where they were) and the
 * files that it reads. Node runs TypeScript itself, but not below node_modules, so only an installed package needs this.
 */
import { copyFileSync, existsSync, globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = dirname(fileURLToPath(import.meta.url))
const DIST = join(ROOT, 'dist')
/** What the command consists of. Tests, benchmarks and examples stay in the clone. */
const SOURCES = ['*.ts', '{cli,topics,processors,rules,generations,edges,projections,state,api,sources}/**/*.ts']
const ASSETS = ['{topics,processors,rules,generations,edges,projections,state,api,sources}/**/*.{sql,json,yaml}']
const LEFT_OUT = ['vitest.config.ts', 'topics/examples/**']

const files = (patterns) => globSync(patterns, { cwd: ROOT, exclude: LEFT_OUT }).sort()

/** Literals that name a TypeScript file beside this one name its JavaScript instead: imports and worker files alike. */
function renameImports(code, folder) {
  return code.replace(/(['"`])(\.{1,2}\/[^'"`\n]+)\.ts\1/g, (literal, quote, path) =>
    existsSync(resolve(folder, `${path}.ts`)) ? `${quote}${path}.js${quote}` : literal,
  )
}

function writeInto(path, content) {
  const target = join(DIST, path)
  mkdirSync(dirname(target), { recursive: true })
  writeFileSync(target, content)
}

// Stripping types is an experimental function in Node 24; its warning helps nobody who builds the package.
process.removeAllListeners('warning')
rmSync(DIST, { recursive: true, force: true })
for (const path of files(SOURCES)) {
  const code = stripTypeScriptTypes(readFileSync(join(ROOT, path), 'utf8'), { mode: 'strip' })
  writeInto(path.replace(/\.ts$/, '.js'), renameImports(code, join(ROOT, dirname(path))))
}
for (const path of files(ASSETS)) {
  mkdirSync(join(DIST, dirname(path)), { recursive: true })
  copyFileSync(join(ROOT, path), join(DIST, path))
}
// Read as JavaScript modules; and what looks for the version one folder up finds it there.
const { name, version, type } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
writeInto('package.json', `${JSON.stringify({ name, version, type, private: true }, null, 2)}\n`)
