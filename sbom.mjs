/**
 * Prints the list of what a release holds as CycloneDX: `node sbom.mjs > mailtrail.cdx.json`. `npm sbom --omit dev` (11.19)
 * leaves out every package that a development package wants as well, `yaml` among them; so all of them are asked for,
 * and those stay that the lock file does not mark as for development only.
 */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

const here = import.meta.dirname
const { packages } = JSON.parse(readFileSync(`${here}/package-lock.json`, 'utf8'))
const { name, version } = JSON.parse(readFileSync(`${here}/package.json`, 'utf8'))
const refs = new Set([`${name}@${version}`])
for (const [path, entry] of Object.entries(packages)) {
  if (path !== '' && entry.dev !== true)
    refs.add(`${path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length)}@${entry.version}`)
}
const all = JSON.parse(
  execFileSync('npm', ['sbom', '--sbom-format', 'cyclonedx', '--package-lock-only'], {
    cwd: here,
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
    stdio: ['ignore', 'pipe', 'inherit'],
  }),
)
const isWanted = (component) => refs.has(decodeURIComponent(component.purl).replace('pkg:npm/', ''))
const components = all.components.filter(isWanted)
const known = new Set([all.metadata.component['bom-ref'], ...components.map((component) => component['bom-ref'])])
const dependencies = all.dependencies
  .filter(({ ref }) => known.has(ref))
  .map(({ ref, dependsOn = [] }) => ({ ref, dependsOn: dependsOn.filter((other) => known.has(other)) }))
const metadata = { ...all.metadata, component: { ...all.metadata.component, name } }
process.stdout.write(`${JSON.stringify({ ...all, metadata, components, dependencies }, null, 1)}\n`)
