/** Asks a real server what its OpenAPI description allows, and what it does not: it answers, and never with its own fault. */
import { join } from 'node:path'
import fc from 'fast-check'
import { ROOT, tempFolder, up } from '../fixtures.ts'

interface Schema {
  readonly type?: string
  readonly enum?: readonly string[]
  readonly const?: unknown
  readonly anyOf?: readonly Schema[]
  readonly items?: Schema
  readonly properties?: Readonly<Record<string, Schema>>
  readonly minimum?: number
  readonly maximum?: number
}
interface Parameter {
  readonly name: string
  readonly in: 'query' | 'path' | 'header'
  readonly schema: Schema
}
interface Operation {
  readonly parameters?: readonly Parameter[]
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: Schema }>> }
}
type Document = { readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>> }

/** What an answer may take on a busy machine. */
const ANSWER_MILLISECONDS = 20_000
/** They wait for something on purpose, or change what is live. */
const LEFT_OUT = /\/mail\/settle|\/promote|\/rollback|\/observation-epochs/

const hostileText = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.constantFrom(
    '',
    '\0',
    "'",
    '--',
    '%',
    '%00',
    '../..',
    '__proto__',
    '{a:String}',
    '\u202e',
    '1e400',
    '-1',
    '2026-02-30',
    'null',
    '[]',
    '{}',
  ),
  fc.string({ minLength: 300, maxLength: 2000 }),
)

/** Values that fit the schema three times out of four. */
function arbitraryOf(schema: Schema): fc.Arbitrary<unknown> {
  const fitting = (): fc.Arbitrary<unknown> => {
    if (schema.const !== undefined) return fc.constant(schema.const)
    if (schema.enum !== undefined) return fc.constantFrom(...schema.enum)
    if (schema.anyOf !== undefined) return fc.oneof(...schema.anyOf.map(arbitraryOf))
    switch (schema.type) {
      case 'integer':
      case 'number':
        return fc.integer({ min: schema.minimum ?? -10, max: schema.maximum ?? 100_000 })
      case 'boolean':
        return fc.boolean()
      case 'array':
        return fc.array(arbitraryOf(schema.items ?? {}), { maxLength: 5 })
      case 'object':
        return fc.record(
          Object.fromEntries(
            Object.entries(schema.properties ?? {}).map(([name, inner]) => [name, arbitraryOf(inner)]),
          ),
          {
            requiredKeys: [],
          },
        )
      default:
        return fc.oneof(
          hostileText,
          fc.constantFrom('example.com', 'linden.example', 'g1', '2026-10-01', '192.0.2.0/24', 'a'.repeat(64)),
        )
    }
  }
  return fc.oneof({ weight: 3, arbitrary: fitting() }, { weight: 1, arbitrary: hostileText })
}

interface Request {
  readonly method: string
  readonly path: string
  readonly query: Readonly<Record<string, unknown>>
  readonly parts: Readonly<Record<string, unknown>>
  readonly accept: string
  readonly type: string | null
  readonly body: unknown
}

function requestOf(method: string, path: string, { parameters = [], requestBody }: Operation): fc.Arbitrary<Request> {
  const of = (place: string, required: boolean) => {
    const chosen = parameters.filter((parameter) => parameter.in === place)
    const values = Object.fromEntries(chosen.map(({ name, schema }) => [name, arbitraryOf(schema)]))
    return required ? fc.record(values) : fc.record(values, { requiredKeys: [] })
  }
  const bodies = Object.entries(requestBody?.content ?? {})
  return fc.record({
    method: fc.constant(method),
    path: fc.constant(path),
    query: of('query', false),
    parts: of('path', true),
    accept: fc.constantFrom('application/json', 'text/csv', 'application/x-ndjson', '*/*', 'text/html;q=x'),
    type: fc.constantFrom(null, ...bodies.map(([type]) => type), 'text/plain'),
    body: bodies.length === 0 ? fc.constant(undefined) : arbitraryOf(bodies[0]![1].schema),
  })
}

async function ask(url: string, request: Request): Promise<string | null> {
  const path = request.path.replace(
    /\{(\w+)\}/g,
    (_, name: string) => encodeURIComponent(textOf(request.parts[name])) || '%20',
  )
  const address = new URL(url + path)
  for (const [name, value] of Object.entries(request.query))
    for (const each of Array.isArray(value) ? value : [value]) address.searchParams.append(name, textOf(each))
  const { method, accept, type, body } = request
  const begun = performance.now()
  const sent = body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }
  const response = await fetch(address, {
    method: method.toUpperCase(),
    headers: { accept, ...(type === null ? {} : { 'content-type': type }) },
    signal: AbortSignal.timeout(ANSWER_MILLISECONDS),
    ...sent,
  })
  const answer = await response.text()
  if (response.status >= 500 && response.status !== 503) return `${response.status} ${answer.slice(0, 200)}`
  if (response.status === 503 && !/"(rebuilding|store_timeout)"/.test(answer)) return `503 ${answer.slice(0, 200)}`
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (/[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]/.test(answer) && !request.path.endsWith('/raw'))
    return 'control characters'
  if (response.status >= 400 && !(JSON.parse(answer) as { error?: { message?: string } }).error?.message)
    return 'an error without words'
  return performance.now() - begun > ANSWER_MILLISECONDS ? 'too long' : null
}

function textOf(value: unknown): string {
  const text = typeof value === 'object' ? JSON.stringify(value) : String(value)
  return text.toWellFormed()
}

/** Asks until the time is up. */
export async function fuzzApi(seed: number, ends: number): Promise<{ requests: number; faults: readonly string[] }> {
  const running = await up(await tempFolder('fuzz'), { paths: [join(ROOT, 'samples')] })
  await running.idle()
  const document = (await (await fetch(`${running.url}/openapi.json`)).json()) as Document
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods)
      .filter(() => !LEFT_OUT.test(path))
      .map(([method, operation]) => requestOf(method, path, operation)),
  )
  const faults = new Set<string>()
  let requests = 0
  for (let round = 0; performance.now() < ends; round++) {
    for (const request of fc.sample(fc.oneof(...operations), { seed: seed + round, numRuns: 200 })) {
      if (performance.now() > ends) break
      requests++
      const fault = await ask(running.url, request).catch(
        (error: Error) => `${error.name}: ${error.message} ${String(error.cause ?? '')}`,
      )
      if (
        fault !== null &&
        ![...faults].some((known) => known.startsWith(`${request.method} ${request.path} ${fault.slice(0, 30)}`))
      )
        faults.add(`${request.method} ${request.path} ${fault} <- ${JSON.stringify(request).slice(0, 1500)}`)
    }
  }
  if (/"level":50/.test(running.said().stderr))
    faults.add(
      `the server logged: ${running
        .said()
        .stderr.split('\n')
        .find((line) => line.includes('"level":50'))!
        .slice(0, 800)}`,
    )
  const code = await running.stop()
  if (code !== 0) faults.add(`the server ended with ${code}`)
  return { requests, faults: [...faults] }
}
