import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { eventTypes } from '../topics/all.ts'
import { subjectOf } from '../topics/avro.ts'
import type { RegistryClient, SubjectReport } from '../topics/schema-registry.ts'
import { formatOption, wantsJson } from './asking.ts'
import { type Arguments, type Command, CommandError, type Context, exitCode, printable, UsageError } from './command.ts'

export const schemas: Command = {
  name: 'schemas',
  usage: 'schemas register|check|list|export DIR',
  about:
    'Schemas of all events, in the schema registry that SCHEMA_REGISTRY_URL names. "register" puts them there, at deploy,\n' +
    'where MAILTRAIL_REGISTER_SCHEMAS is false; "check" says whether the registry would take them and whether all that it\n' +
    'holds can still be read, and changes nothing (exit code 3: no); "list" shows what it holds. "export" writes the schemas\n' +
    'as files. A registry that does not answer is waited for.',
  options: {
    format: formatOption,
  },
  example: 'mailtrail schemas register',

  async run(args, context) {
    const [verb, folder, ...more] = args.positionals
    const wanted = verb === 'export' ? 2 : 1
    if (verb === undefined || !verbs.includes(verb))
      throw new UsageError('Say what to do: schemas register, check, list, or export DIR.')
    if (args.positionals.length !== wanted || more.length > 0)
      throw new UsageError(
        verb === 'export' ? 'Name one folder: schemas export DIR.' : `schemas ${verb} takes no more.`,
      )
    if (verb === 'export') return exportTo(folder!, context)
    const registry = await openRegistry(context)
    if (verb === 'register') return register(registry, context)
    const reports: Report[] = []
    for (const type of eventTypes)
      reports.push({ event: type.name, ...(await registry.inspect(subjectOf(type), type.schema)) })
    show(reports, verb === 'check' ? checkLine : listLine, args, context)
    const isFine = verb === 'list' || reports.every(({ conflicts }) => conflicts.length === 0)
    return isFine ? exitCode.fine : exitCode.changed
  },
}

const verbs: readonly string[] = ['register', 'check', 'list', 'export']

interface Report extends SubjectReport {
  readonly event: string
}

async function openRegistry(context: Context): Promise<RegistryClient> {
  const config = context.config({})
  if (config.SCHEMA_REGISTRY_URL === null)
    throw new CommandError('There is no schema registry: set SCHEMA_REGISTRY_URL. (Embedded, mailtrail needs none.)')
  const { openSchemaRegistry } = await import('../topics/schema-registry.ts')
  return openSchemaRegistry({
    url: config.SCHEMA_REGISTRY_URL,
    user: config.SCHEMA_REGISTRY_USER,
    password: config.SCHEMA_REGISTRY_PASSWORD,
    mayRegister: true,
    cacheFile: null,
    onProblem: (message) => context.stderr.write(`${printable(message)}\n`),
    signal: context.signal,
  })
}

async function register(registry: RegistryClient, context: Context): Promise<number> {
  for (const type of eventTypes) {
    const id = await registry.register(subjectOf(type), type.schema)
    context.stdout.write(`${String(id).padStart(6)}  ${subjectOf(type)}\n`)
  }
  context.stdout.write(`${eventTypes.length} schemas are registered.\n`)
  return exitCode.fine
}

function show(reports: readonly Report[], line: (report: Report) => string, args: Arguments, context: Context): void {
  if (wantsJson(args)) context.stdout.write(`${JSON.stringify(reports, null, 1)}\n`)
  else for (const report of reports) context.stdout.write(`${printable(line(report))}\n`)
}

function checkLine({ subject, versions, id, conflicts }: Report): string {
  if (conflicts.length > 0) return `CONFLICT  ${subject}: ${conflicts.join('; ')}.`
  if (id !== null) return `there     ${subject}`
  return `${versions.length === 0 ? 'new       ' : 'fits      '}${subject}`
}

function listLine({ subject, versions, id, level }: Report): string {
  const held = versions.length === 1 ? '1 version' : `${versions.length} versions`
  const ours = id === null ? 'ours is not among them' : `ours has id ${id}`
  return `${subject}: ${held}, ${ours}, checked for ${level ?? 'what the registry does by default'}`
}

/** One file for each event type. The README of `topics/released` says what they are for. */
function exportTo(folder: string, context: Context): number {
  mkdirSync(folder, { recursive: true })
  for (const { name, schema } of eventTypes) {
    writeFileSync(join(folder, `${name}.json`), `${JSON.stringify(schema, null, 2)}\n`)
  }
  context.stdout.write(`${eventTypes.length} schemas are in ${folder}.\n`)
  return exitCode.fine
}
