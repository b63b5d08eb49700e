/**
 * Builds what a Dockerfile describes in a folder of this machine, where no engine runs: every instruction is read, each
 * stage is a folder, COPY honours .dockerignore, RUN runs the very command. The base image is this machine.
 */
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, globSync, mkdirSync, readFileSync, statSync } from 'node:fs'
import { basename, dirname, join, matchesGlob, posix } from 'node:path'

export interface Instruction {
  readonly name: string
  /** What follows the name, continued lines joined. */
  readonly text: string
}

const KNOWN = [
  ...['FROM', 'WORKDIR', 'COPY', 'RUN', 'ENV', 'USER', 'VOLUME', 'EXPOSE'],
  ...['STOPSIGNAL', 'HEALTHCHECK', 'ENTRYPOINT', 'CMD'],
]

/** Throws for an instruction that it does not know: a misspelt one must not be passed over. */
export function readDockerfile(text: string): readonly Instruction[] {
  const lines = text.replace(/\\\n\s*/g, '').split('\n')
  return lines
    .filter((line) => line.trim() !== '' && !line.startsWith('#'))
    .map((line) => {
      const [, name = '', rest = ''] = /^([A-Z]+)\s+(.*)$/.exec(line) ?? []
      if (!KNOWN.includes(name))
        throw new Error(`The Dockerfile has an instruction that this test cannot read: ${line}`)
      return { name, text: rest.trim() }
    })
}

/** Whether .dockerignore lets a path of the context through; the last line that matches it or a folder above it counts. */
export function dockerIgnore(text: string): (path: string) => boolean {
  const lines = text.split('\n').filter((line) => line.trim() !== '' && !line.startsWith('#'))
  const rules = lines.map((line) => ({ kept: line.startsWith('!'), pattern: line.replace(/^!/, '').trim() }))
  // To Docker a dot at the beginning of a name is a letter like any other.
  const plain = (path: string) => path.replace(/(^|\/)\./g, '$1dot-')
  return (path) => {
    const parts = path.split('/')
    const above = parts.map((_, index) => parts.slice(0, index + 1).join('/'))
    const last = rules.findLast(({ pattern }) => above.some((each) => matchesGlob(plain(each), plain(pattern))))
    return last === undefined || last.kept
  }
}

export interface Image {
  /** What is `/` in the image. */
  readonly root: string
  readonly workingFolder: string
  readonly environment: Readonly<Record<string, string>>
  readonly user: string
  readonly volumes: readonly string[]
  readonly ports: readonly string[]
  readonly stopSignal: string
  readonly entrypoint: readonly string[]
  readonly command: readonly string[]
  readonly healthcheck: readonly string[]
  /** Base images of all stages. */
  readonly bases: readonly string[]
}

export interface BuildOptions {
  readonly context: string
  /** Empty; the stages come below it. */
  readonly folder: string
  /** Stands before the PATH of every RUN. */
  readonly nodeFolder: string
}

class Stage {
  readonly root: string
  folder = '/'
  readonly environment: Record<string, string> = {}
  user = '0:0'
  readonly volumes: string[] = []
  readonly ports: string[] = []
  stopSignal = 'SIGTERM'
  entrypoint: readonly string[] = []
  command: readonly string[] = []
  healthcheck: readonly string[] = []

  constructor(root: string) {
    this.root = root
    mkdirSync(root, { recursive: true })
  }

  /** Where a path of the image lies on this machine. */
  place(path: string): string {
    return join(this.root, posix.resolve(this.folder, path))
  }
}

/** The last stage, built. Throws with what a command said when it fails. */
export function buildImage({ context, folder, nodeFolder }: BuildOptions): Image {
  const instructions = readDockerfile(readFileSync(join(context, 'Dockerfile'), 'utf8'))
  const passes = dockerIgnore(readFileSync(join(context, '.dockerignore'), 'utf8'))
  const stages = new Map<string, Stage>()
  const bases: string[] = []
  let stage = new Stage(join(folder, 'nothing'))
  for (const { name, text } of instructions) {
    if (name === 'FROM') {
      const [base = '', , stageName = `stage-${stages.size}`] = text.split(/\s+/)
      bases.push(base)
      stage = new Stage(join(folder, stageName))
      stages.set(stageName, stage)
    } else if (name === 'COPY') copy(stage, text, stages, context, passes)
    else if (name === 'RUN') run(stage, text, nodeFolder)
    else describe(stage, name, text)
  }
  const { root, folder: workingFolder, environment, user, volumes, ports } = stage
  const { stopSignal, entrypoint, command, healthcheck } = stage
  const run_ = { stopSignal, entrypoint, command, healthcheck }
  return { root, workingFolder, environment, user, volumes, ports, ...run_, bases }
}

/** Instructions that only say something about the image. */
function describe(stage: Stage, name: string, text: string): void {
  if (name === 'WORKDIR') {
    stage.folder = posix.resolve(stage.folder, text)
    mkdirSync(stage.place('.'), { recursive: true })
  } else if (name === 'ENV') {
    const [, variable = '', value = ''] = /^(\w+)=(\S+)$/.exec(text) ?? []
    stage.environment[variable] = value
  } else if (name === 'USER') stage.user = text
  else if (name === 'VOLUME') stage.volumes.push(text)
  else if (name === 'EXPOSE') stage.ports.push(text)
  else if (name === 'STOPSIGNAL') stage.stopSignal = text
  else if (name === 'ENTRYPOINT') stage.entrypoint = JSON.parse(text) as string[]
  else if (name === 'CMD') stage.command = JSON.parse(text) as string[]
  else if (name === 'HEALTHCHECK') stage.healthcheck = JSON.parse(text.slice(text.indexOf('['))) as string[]
}

function copy(
  stage: Stage,
  text: string,
  stages: ReadonlyMap<string, Stage>,
  context: string,
  passes: (path: string) => boolean,
): void {
  const [, from, paths = ''] = /^(?:--from=(\S+)\s+)?(.*)$/.exec(text) ?? []
  const sources = paths.split(/\s+/)
  const target = sources.pop() ?? '.'
  const origin = from === undefined ? null : stages.get(from)
  if (origin === undefined) throw new Error(`COPY names a stage that is not there: ${from}`)
  for (const source of sources) {
    const place = origin === null ? join(context, source) : origin.place(source)
    if (!existsSync(place)) throw new Error(`COPY names ${source}, which is not there.`)
    const isFolder = statSync(place).isDirectory()
    // A folder's contents are copied, a file goes into a folder whose name ends with a slash, or under the name given.
    const into = isFolder || !target.endsWith('/') ? stage.place(target) : join(stage.place(target), basename(source))
    if (origin !== null) cpSync(place, into, { recursive: true, verbatimSymlinks: true })
    else
      for (const path of filesOf(context, source, isFolder).filter(passes))
        copyFile(context, path, source, into, isFolder)
    if (origin === null && !isFolder && !existsSync(into))
      throw new Error(`.dockerignore keeps out ${source}, which COPY wants.`)
  }
}

/** What a checkout holds beside its files; no image is made of it, and looking through it takes long. */
const NEVER = ['node_modules', '.git', 'data', 'coverage']

function filesOf(context: string, source: string, isFolder: boolean): readonly string[] {
  if (!isFolder) return [source]
  const below = source === '.' ? '**' : `${source}/**`
  return globSync(below, { cwd: context, withFileTypes: true, exclude: ({ name }) => NEVER.includes(name) })
    .filter((entry) => entry.isFile())
    .map((entry) => posix.relative(context, join(entry.parentPath, entry.name)))
}

function copyFile(context: string, path: string, source: string, into: string, isFolder: boolean): void {
  const to = isFolder ? join(into, posix.relative(source, path)) : into
  mkdirSync(dirname(to), { recursive: true })
  cpSync(join(context, path), to)
}

/** Absolute paths of the command are paths of the image. Who is not root cannot give files away. */
function run(stage: Stage, text: string, nodeFolder: string): void {
  const here = text.replace(/(?<=\s)\/[\w./-]+/g, (path) => stage.place(path))
  const command = process.getuid?.() === 0 ? here : here.replace(/ -[og] \d+/g, '')
  const { status, stdout, stderr } = spawnSync('/bin/sh', ['-c', command], {
    cwd: stage.place('.'),
    env: { ...process.env, ...stage.environment, PATH: `${nodeFolder}:${process.env.PATH}` },
    encoding: 'utf8',
  })
  if (status !== 0) throw new Error(`RUN ${text} ended with ${status}: ${stdout}${stderr}`)
}
