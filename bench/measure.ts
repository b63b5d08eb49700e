/** What every benchmark shares: corpora, runs in fresh processes, min / median / max, a table and a JSON file. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus, tmpdir, totalmem } from 'node:os'
import { join } from 'node:path'

const here = import.meta.dirname
export const outFolder = join(here, 'out')
export const entry = join(here, '..', 'mailtrail.mjs')
const generator = join(here, '..', '..', 'shared', 'tools', 'make-mail.mjs')

export interface Truth {
  readonly mails: number
  readonly aggregate: {
    readonly mails: number
    readonly reports: number
    readonly records: number
    readonly messages: number
  }
  readonly tls: { readonly mails: number }
  readonly byDomain: Readonly<
    Record<string, { readonly messages: number; readonly records: number; readonly reports: number }>
  >
}
export interface Corpus {
  readonly folder: string
  /** Folder of `.eml` files. */
  readonly mail: string
  readonly truth: Truth
  /** All aggregate records in the mails, duplicates counted as often as they come. */
  readonly bytes: number
}

/** A corpus of the generator, made once and kept. */
export function corpus(name: string, args: readonly string[]): Corpus {
  const folder = join(outFolder, 'corpora', name)
  if (!existsSync(join(folder, 'truth.json'))) {
    if (!existsSync(generator)) throw new Error(`The generator ${generator} is not there.`)
    rmSync(folder, { recursive: true, force: true })
    mkdirSync(join(outFolder, 'corpora'), { recursive: true })
    const made = spawnSync(process.execPath, [generator, '--out', folder, ...args], {
      stdio: ['ignore', 'ignore', 'inherit'],
    })
    if (made.status !== 0) throw new Error('The generator failed.')
  }
  const mail = join(folder, 'mail')
  const bytes = readdirSync(mail).reduce((sum, file) => sum + readFileSync(join(mail, file)).length, 0)
  return { folder, mail, truth: JSON.parse(readFileSync(join(folder, 'truth.json'), 'utf8')) as Truth, bytes }
}

export const mix20k = () => corpus('mix20k', ['--mails', '20000', '--seed', '7'])
export const small20k = () =>
  corpus('small20k', ['--mails', '20000', '--seed', '8', '--only', 'aggregate', '--records', '3'])
export const million = (seed = 9) =>
  corpus(seed === 9 ? 'million' : `million-${seed}`, [
    ...['--mails', '1', '--seed', String(seed), '--only', 'aggregate', '--records', '1000000'],
  ])
export const hundredThousand = () =>
  corpus('hundredthousand', ['--mails', '1', '--seed', '9', '--only', 'aggregate', '--records', '100000'])

/** Resident bytes of a process and all below it. */
export function treeBytes(pid: number): number {
  const parents = new Map<number, number[]>()
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'utf8')
      const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
      parents.set(parent, [...(parents.get(parent) ?? []), Number(name)])
    } catch {
      // The process ended between the listing and the look: it has no memory any more.
    }
  }
  let bytes = 0
  for (const stack = [pid]; stack.length > 0; ) {
    const one = stack.pop() as number
    try {
      bytes += Number(readFileSync(`/proc/${one}/statm`, 'utf8').split(' ')[1]) * 4096
    } catch {
      continue // ended meanwhile
    }
    stack.push(...(parents.get(one) ?? []))
  }
  return bytes
}

export interface Run {
  readonly seconds: number
  readonly peakBytes: number
  readonly output: string
}

const SAMPLE_MILLISECONDS = 50

/** Runs a command to its end. `keep` collects its standard output; else it is read and thrown away. */
export async function timeCommand(
  args: readonly string[],
  keep = false,
  environment: Record<string, string> = {},
): Promise<Run> {
  const begun = performance.now()
  const child = spawn(process.execPath, [...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, ...environment },
  })
  let output = ''
  child.stdout.on('data', (bytes: Buffer) => {
    if (keep) output += bytes.toString()
  })
  const peak = watchMemory(child)
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve))
  const seconds = (performance.now() - begun) / 1000
  const peakBytes = peak()
  if (code !== 0) throw new Error(`${args.join(' ')} ended with exit code ${code}.`)
  return { seconds, peakBytes, output }
}

/** Samples the memory of a process tree; the function that it returns ends it and gives the peak. */
export function watchMemory(child: ChildProcess): () => number {
  let peak = 0
  const timer = setInterval(() => {
    if (child.pid !== undefined) peak = Math.max(peak, treeBytes(child.pid))
  }, SAMPLE_MILLISECONDS)
  return () => {
    clearInterval(timer)
    return peak
  }
}

export interface Row {
  readonly what: string
  readonly unit: string
  readonly values: readonly number[]
  /** Smallest (`>=`) or largest (`<=`) value that is good, compared with the median. */
  readonly goal?: { readonly relation: '>=' | '<='; readonly value: number }
  readonly note?: string
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.floor((sorted.length - 1) / 2)] ?? Number.NaN
}

export function percentile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.ceil(part * sorted.length) - 1)] ?? Number.NaN
}

const show = (value: number) => (Math.abs(value) >= 100 ? Math.round(value).toLocaleString('en') : value.toPrecision(3))

/** Prints the table and writes `bench/out/NAME.json`. */
export function report(name: string, corpusName: string, rows: readonly Row[]): void {
  const machine = {
    node: process.version,
    cpu: cpus()[0]?.model ?? '',
    cores: availableParallelism(),
    memoryGb: Math.round(totalmem() / 1024 ** 3),
  }
  process.stdout.write(`\n${name} (${corpusName}; ${machine.cores} cores, Node ${machine.node})\n`)
  for (const { what, unit, values, goal, note } of rows) {
    const middle = median(values)
    const met =
      goal === undefined
        ? ''
        : (goal.relation === '>=' ? middle >= goal.value : middle <= goal.value)
          ? 'met'
          : 'MISSED'
    const wanted = goal === undefined ? '' : `  goal ${goal.relation} ${show(goal.value)}: ${met}`
    const figures = `${show(Math.min(...values))} / ${show(middle)} / ${show(Math.max(...values))} ${unit}`
    process.stdout.write(
      `  ${what.padEnd(52)} ${figures.padEnd(40)}${wanted}${note === undefined ? '' : `  (${note})`}\n`,
    )
  }
  mkdirSync(outFolder, { recursive: true })
  writeFileSync(
    join(outFolder, `${name}.json`),
    `${JSON.stringify({ name, corpus: corpusName, machine, rows }, null, 1)}\n`,
  )
}

/** A folder that is removed at the end. */
export async function inTemporaryFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = join(tmpdir(), `mailtrail-bench-${process.pid}-${performance.now().toFixed(0)}`)
  mkdirSync(folder, { recursive: true })
  try {
    return await work(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

export const ROUNDS = 3
