/** Schemas in a real registry, and in one that is away, that hangs, or that is none. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type RequestListener, type Server } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { exitCode, parseArguments } from '../../cli/command.ts'
import { schemas } from '../../cli/schemas.ts'
import { readConfig } from '../../config.ts'
import { eventTypes } from '../../topics/all.ts'
import { type AvroRecord, EventCodec, type EventType, frame, subjectOf } from '../../topics/avro.ts'
import { openSchemaRegistry, type SchemaRegistryOptions } from '../../topics/schema-registry.ts'
import { install, type RegistryServer, start } from './services/registry.ts'

const missing = await install().then(
  () => null,
  (error: Error) => error.message,
)
if (missing !== null && process.env.CI === 'true') throw new Error(missing)
if (missing !== null) console.warn(`Skipped: ${missing}`)

const record = (name: string, ...fields: AvroRecord['fields']): AvroRecord => ({
  type: 'record',
  name,
  namespace: 'mailtrail',
  fields,
})
const typeOf = (schema: AvroRecord): EventType => ({ name: schema.name, topic: 'teas', schema })
const name = { name: 'name', type: 'string' } as const
const strength = { name: 'strength', type: 'int', default: 3 } as const

let folder: string
let cacheFile: string
let stop: AbortController
const problems: string[] = []
const closers: (() => void)[] = []
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mailtrail-schemas-'))
  cacheFile = join(folder, 'deeper', 'schemas.json')
  stop = new AbortController()
  problems.splice(0)
})
afterEach(async () => {
  stop.abort(new Error('the process ends'))
  await sleep(20) // what was written last
  for (const close of closers.splice(0)) close()
  rmSync(folder, { recursive: true, force: true })
})

const openAt = (url: string, options: Partial<SchemaRegistryOptions> = {}) =>
  openSchemaRegistry({
    url,
    user: null,
    password: null,
    mayRegister: true,
    cacheFile: null,
    onProblem: (message) => problems.push(message),
    signal: stop.signal,
    ...options,
  })

describe.skipIf(missing !== null)('a real registry', () => {
  let server: RegistryServer
  let teas = 0
  /** Of a test alone. */
  let tea: string
  let subject: string
  beforeAll(async () => {
    server = await start()
  })
  afterAll(() => server?.stop())
  beforeEach(() => {
    tea = `Tea${++teas}Made`
    subject = subjectOf({ topic: 'teas', name: tea })
  })

  const open = (options: Partial<SchemaRegistryOptions> = {}) => openAt(server.url, options)
  const ask = async (method: string, path: string, body?: object) => {
    const response = await fetch(`${server.url}${path}`, {
      method,
      headers: { 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    return response.json() as Promise<Record<string, unknown>>
  }

  test('gives the same schema the same id, asked twice, by a second process, and with its parts in another order', async () => {
    const registry = open()
    const id = await registry.register(subject, record(tea, name))
    expect(await registry.register(subject, record(tea, name))).toBe(id)
    expect(await open().register(subject, record(tea, name))).toBe(id)
    const { fields, ...rest } = record(tea, name)
    expect(await open().register(subject, { fields, ...rest })).toBe(id)
    expect(await open().schema(id)).toEqual(record(tea, name))
    expect(await ask('GET', `/subjects/${subject}/versions`)).toEqual([1])
    expect(problems).toEqual([])
  })

  test('is told to insist on BACKWARD_TRANSITIVE for each subject', async () => {
    await open().register(subject, record(tea, name))
    expect(await ask('GET', `/config/${subject}`)).toEqual({ compatibilityLevel: 'BACKWARD_TRANSITIVE' })
  })

  test('that checks for something else is left so, and reported', async () => {
    await ask('PUT', `/config/${subject}`, { compatibility: 'FORWARD' })
    await open().register(subject, record(tea, name))
    expect(problems).toHaveLength(1)
    expect(problems[0]).toMatch(/FORWARD.*BACKWARD_TRANSITIVE/)
    expect(await ask('GET', `/config/${subject}`)).toEqual({ compatibilityLevel: 'FORWARD' })
  })

  test('refuses what could not read an older version, be it the last or the first', async () => {
    const registry = open()
    await registry.register(subject, record(tea, name))
    const refused = registry.register(subject, record(tea, name, { name: 'strength', type: 'int' }))
    await expect(refused).rejects.toThrow(new RegExp(`^${tea} cannot be registered.*strength.*needs a default`))
    // The last version has a default for what the first lacks; a third one without it still reads the last.
    await registry.register(subject, record(tea, name, strength))
    const third = registry.register(subject, record(tea, name, { name: 'strength', type: 'int' }))
    await expect(third).rejects.toThrow('cannot be registered')
    expect(problems).toEqual([])
  })

  test('takes every event type, and each is read back by a process that learns its schema', async () => {
    const codec = await EventCodec.open(open(), eventTypes)
    const again = await EventCodec.open(open(), eventTypes)
    expect(again.ids()).toEqual(codec.ids())
    const [older, newer] = [typeOf(record(tea, name)), typeOf(record(tea, name, strength))]
    const value = (await EventCodec.open(open(), [older])).encode(older, { name: 'Assam' } as never)
    const read: unknown = await (await EventCodec.open(open(), [newer])).read(value)
    expect(read).toEqual({ type: tea, data: { name: 'Assam', strength: 3 } })
  })

  test('takes all schemas from several processes that start at once', async () => {
    const types = eventTypes.map(({ name, schema }) => {
      const own = `${name}${teas}`
      return { name: own, topic: 'crowd', schema: { ...schema, name: own } } as EventType
    })
    const codecs = await Promise.all(Array.from({ length: 5 }, () => EventCodec.open(open(), types)))
    for (const codec of codecs) expect(codec.ids()).toEqual(codecs[0]!.ids())
    expect(new Set(Object.values(codecs[0]!.ids())).size).toBe(types.length)
    for (const type of types) expect(await ask('GET', `/subjects/${subjectOf(type)}/versions`)).toEqual([1])
    expect(problems).toEqual([])
  })

  test('that we may not write to is only asked', async () => {
    const reader = open({ mayRegister: false })
    await expect(reader.register(subject, record(tea, name))).rejects.toThrow(
      new RegExp(`${tea} is not registered.*mailtrail schemas register`),
    )
    const id = await open().register(subject, record(tea, name))
    expect(await reader.register(subject, record(tea, name))).toBe(id)
    await expect(reader.register(subject, record(tea, name, strength))).rejects.toThrow('mailtrail schemas register')
    expect(await ask('GET', `/subjects/${subject}/versions`)).toEqual([1])
  })

  test('that does not know an id is asked some times, and then that is an error with a sentence', async () => {
    const began = performance.now()
    await expect(open().schema(987_654)).rejects.toThrow(/no schema with id 987654.*SCHEMA_REGISTRY_URL/)
    expect(performance.now() - began).toBeGreaterThan(1500)
  })

  test('that is asked at a wrong path is taken for none, with a sentence', async () => {
    const registering = openAt(new URL('/nowhere', server.url).href).register(subject, record(tea, name))
    const refused = expect(registering).rejects.toThrow('the process ends')
    await expect.poll(() => problems).toHaveLength(1)
    expect(problems[0]).toContain('check SCHEMA_REGISTRY_URL')
    stop.abort(new Error('the process ends'))
    await refused
  })

  describe('that is away', () => {
    afterEach(() => server.thaw())

    test('at the start: a process that has seen it starts, and says so; another one waits, and says so', async () => {
      const types = [typeOf(record(tea, name)), typeOf(record(`${tea}Again`, name))]
      const first = await EventCodec.open(open({ cacheFile }), types)
      const value = first.encode(types[0]!, { name: 'Keemun' } as never)
      await expect.poll(() => readdirSync(join(folder, 'deeper'))).toEqual(['schemas.json'])
      await expect.poll(() => Object.keys(JSON.parse(readFileSync(cacheFile, 'utf8')).ids)).toHaveLength(2)
      await server.kill()

      const second = await EventCodec.open(open({ cacheFile }), types)
      expect(second.ids()).toEqual(first.ids())
      expect(second.decode(value)).toEqual({ type: tea, data: { name: 'Keemun' } })
      expect(problems).toHaveLength(1)
      expect(problems[0]).toMatch(/does not answer \(.*ECONNREFUSED.*\); going on with what .*schemas\.json says/)
      // One of the next version knows the schema of the event from the file as well.
      const next = typeOf(record(tea, name, strength))
      const registry = open({ cacheFile })
      expect(await registry.schema(value.readUInt32BE(1))).toEqual(record(tea, name))

      problems.splice(0)
      const waiting = EventCodec.open(open(), [next])
      await sleep(1500)
      expect(problems).toHaveLength(1)
      expect(problems[0]).toMatch(/does not answer.*waiting until it does/)
      await server.resume()
      const read: unknown = await (await waiting).read(value)
      expect(read).toEqual({ type: tea, data: { name: 'Keemun', strength: 3 } })
    })

    test('during the run: known ids go on decoding, unknown ones wait until it is back', async () => {
      const [older, newer] = [typeOf(record(tea, name)), typeOf(record(tea, name, strength))]
      const known = await EventCodec.open(open(), [older])
      const first = known.encode(older, { name: 'Assam' } as never)
      const reader = await EventCodec.open(open({ cacheFile }), [older])
      const unknown = (await EventCodec.open(open(), [newer])).encode(newer, { name: 'Ceylon', strength: 5 } as never)
      await server.kill()
      const waiting = [reader.read(unknown), reader.read(unknown)]
      for (let n = 0; n < 100; n++) expect(await reader.read(first)).toEqual({ type: tea, data: { name: 'Assam' } })
      await expect.poll(() => problems).toHaveLength(1)
      expect(problems[0]).toMatch(new RegExp(`events of schema ${unknown.readUInt32BE(1)}.* wait`))
      await server.resume()
      const both: unknown[] = await Promise.all(waiting)
      expect(both).toEqual(Array(2).fill({ type: tea, data: { name: 'Ceylon' } }))
      expect(problems).toHaveLength(1)
    })

    test('because it hangs, is waited for like one that is down', async () => {
      const registry = open()
      server.freeze()
      const id = registry.register(subject, record(tea, name))
      await expect.poll(() => problems, { timeout: 10_000 }).toHaveLength(1)
      expect(problems[0]).toContain('no answer within 5 s')
      server.thaw()
      expect(await id).toBeGreaterThan(0)
    })

    test('and lost what it held, is found out when it is back', async () => {
      await open({ cacheFile }).register(subject, record(tea, name))
      await expect.poll(() => readdirSync(join(folder, 'deeper'))).toEqual(['schemas.json'])
      const cache = JSON.parse(readFileSync(cacheFile, 'utf8'))
      for (const key of Object.keys(cache.ids)) cache.ids[key] += 1000
      writeFileSync(cacheFile, JSON.stringify(cache))
      await server.kill()
      await open({ cacheFile }).register(subject, record(tea, name))
      await server.resume()
      await expect.poll(() => problems.at(-1), { timeout: 15_000 }).toMatch(/the registry has lost what it held/)
    })
  })

  describe('the command schemas', () => {
    const run = async (...argv: string[]) => {
      const [stdout, stderr] = [new PassThrough(), new PassThrough()]
      const output: string[] = []
      stdout.on('data', (bytes: Buffer) => output.push(bytes.toString()))
      const context = {
        config: () => readConfig({}, { SCHEMA_REGISTRY_URL: server.url }),
        open: () => expect.fail('nothing is opened'),
        stdout: stdout as unknown as NodeJS.WriteStream,
        stderr: stderr as unknown as NodeJS.WriteStream,
        stdin: process.stdin,
        signal: stop.signal,
      }
      const code = await schemas.run(parseArguments(schemas, argv), context)
      return { code, output: output.join('') }
    }

    test('registers all, checks them and lists them', async () => {
      const registered = await run('register')
      expect(registered.output).toContain(`${eventTypes.length} schemas are registered.`)
      const checked = await run('check')
      expect(checked.code).toBe(exitCode.fine)
      expect(checked.output.match(/^there /gm)).toHaveLength(eventTypes.length)
      const listed = JSON.parse((await run('list', '--format', 'json')).output)
      expect(listed).toHaveLength(eventTypes.length)
      for (const { id, level, versions } of listed)
        expect([level, versions]).toEqual(['BACKWARD_TRANSITIVE', [{ version: 1, id }]])
      expect((await run('list')).output).toContain('reports-mailtrail.DmarcReportRead: 1 version, ours has id ')
    })

    test('check finds a version that could not be read any more, and changes nothing', async () => {
      const [type] = eventTypes
      const path = `/subjects/${subjectOf(type)}/versions`
      // Somebody has switched the check off, and put another event of that name there.
      await ask('PUT', `/config/${subjectOf(type)}`, { compatibility: 'NONE' })
      await ask('POST', path, { schema: JSON.stringify(record(type.name, strength)) })
      const versions = await ask('GET', path)
      const { code, output } = await run('check')
      expect(code).toBe(exitCode.changed)
      expect(output.match(/^CONFLICT /gm)).toHaveLength(1)
      expect(output).toMatch(new RegExp(`^CONFLICT .*${type.name}: version \\d could not be read any more: `, 'm'))
      expect(await ask('GET', path)).toEqual(versions)
    })
  })
})

describe('a server that is no registry', () => {
  const serve = async (listener: RequestListener) => {
    const server: Server = createServer(listener)
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    closers.push(() => {
      server.closeAllConnections()
      server.close()
    })
    return `http://127.0.0.1:${(server.address() as { port: number }).port}`
  }
  const tea = record('TeaMade', name)
  const subject = 'teas-mailtrail.TeaMade'

  /** What a registry with one schema answers. */
  const registry: RequestListener = (request, response) => {
    request.resume()
    response.setHeader('content-type', 'application/json')
    const answers: Record<string, unknown> = {
      [`GET /config/${subject}`]: { compatibilityLevel: 'BACKWARD_TRANSITIVE' },
      [`POST /subjects/${subject}/versions`]: { id: 41 },
      'GET /schemas/ids/41': { schema: JSON.stringify(tea) },
    }
    response.end(JSON.stringify(answers[`${request.method} ${request.url}`]))
  }
  const say =
    (status: number, body: string, type = 'application/json'): RequestListener =>
    (request, response) => {
      request.resume()
      response.writeHead(status, { 'content-type': type }).end(body)
    }
  const bad: readonly (readonly [string, RequestListener, RegExp])[] = [
    ['says 500', say(500, '{"error_code":50001,"message":"the backend is away"}'), /status 500/],
    ['says 500 and null', say(500, 'null'), /status 500/],
    ['says 503 without a word', say(503, '', 'text/plain'), /status 503/],
    ['says 429', say(429, '{"error_code":429,"message":"slowly"}'), /status 429/],
    ['answers with a page', say(200, '<html>Sign in</html>', 'text/html'), /no answer of a schema registry/],
    ['has a page for what is not there', say(404, '<html>Not found</html>', 'text/html'), /no answer of a schema/],
    ['answers null', say(200, 'null'), /no answer of a schema registry/],
    ['answers half of an object', say(200, '{"id": 4'), /no answer of a schema registry/],
    ['answers something else', say(200, '{"greeting":"hello"}'), /it does not say|no Avro record/],
    ['gives an id that is none', say(200, '{"compatibilityLevel":"BACKWARD_TRANSITIVE","id":"7","schema":"7"}'), /the id "7"|no Avro record/],
    ['cuts connections', (request) => request.socket.destroy(), /closed|reset|hang up|terminated/],
    ['cuts answers short', (_, response) => {
      response.writeHead(200, { 'content-length': '100' }).write('{"id"')
      setTimeout(() => response.destroy(), 20)
    }, /terminated|closed/],
  ] // biome-ignore format: a table

  test.each(bad)('and %s, is waited for until it is one', async (_, listener, reason) => {
    let isWell = false
    const url = await serve((request, response) => (isWell ? registry : listener)(request, response))
    const client = openAt(url)
    const both = Promise.all([client.register(subject, tea), client.schema(41)])
    await expect.poll(() => problems.length, { timeout: 15_000 }).toBe(2)
    for (const problem of problems) expect(problem).toMatch(reason)
    isWell = true
    expect(await both).toEqual([41, tea])
    expect(problems).toHaveLength(2)
  })

  test('and never answers, or never ends, is waited for as well', async () => {
    let isWell = false
    const url = await serve((request, response) => {
      if (isWell) return registry(request, response)
      if (request.url?.startsWith('/schemas') !== true) return
      response.writeHead(200, { 'content-type': 'application/json' })
      const drip = setInterval(() => response.write(' '), 100)
      response.on('close', () => clearInterval(drip))
    })
    const client = openAt(url)
    const both = Promise.all([client.register(subject, tea), client.schema(41)])
    await expect.poll(() => problems.length, { timeout: 15_000 }).toBe(2)
    for (const problem of problems) expect(problem).toContain('no answer within 5 s')
    isWell = true
    expect(await both).toEqual([41, tea])
  })

  test('and answers without end, is cut off', async () => {
    const url = await serve((_, response) => {
      response.writeHead(200, { 'content-type': 'application/json' })
      const flood = () => {
        while (!response.destroyed && response.write(Buffer.alloc(65536, 32)));
        if (!response.destroyed) response.once('drain', flood)
      }
      flood()
    })
    const waiting = expect(openAt(url).register(subject, tea)).rejects.toThrow('the process ends')
    await expect.poll(() => problems.length, { timeout: 10_000 }).toBe(1)
    expect(problems[0]).toContain('endless')
    stop.abort(new Error('the process ends'))
    await waiting
  })

  test('an abort ends every wait at once, with its reason', async () => {
    const url = await serve(() => undefined)
    const client = openAt(url)
    const all = [client.register(subject, tea), client.schema(41), client.inspect(subject, tea)]
    const refused = Promise.all(all.map((one) => expect(one).rejects.toThrow('the process ends')))
    await sleep(100)
    stop.abort(new Error('the process ends'))
    await refused
  })

  test('user and password are sent, and a refusal of them is an error at once', async () => {
    const seen: (string | undefined)[] = []
    const url = await serve((request, response) => {
      seen.push(request.headers.authorization)
      const isKnown = request.headers.authorization === `Basic ${Buffer.from('tea:pöt').toString('base64')}`
      const answer = isKnown ? registry : say(401, 'Unauthorized', 'text/plain')
      answer(request, response)
    })
    expect(await openAt(url, { user: 'tea', password: 'pöt' }).register(subject, tea)).toBe(41)
    await expect(openAt(url).register(subject, tea)).rejects.toThrow(/401.*SCHEMA_REGISTRY_USER/)
    expect(seen).toContain(undefined)
  })

  test('a cache file that is damaged, or of another registry, is not used', async () => {
    const url = await serve(registry)
    await openAt(url, { cacheFile }).register(subject, tea)
    await expect.poll(() => readdirSync(join(folder, 'deeper'))).toEqual(['schemas.json'])
    const whole = readFileSync(cacheFile, 'utf8')
    const away = await serve(say(500, ''))
    const isWaiting = async (content: string) => {
      writeFileSync(cacheFile, content)
      const client = openAt(away, { cacheFile })
      return Promise.race([client.register(subject, tea).then(() => false), sleep(400, true)])
    }
    expect(await isWaiting(whole)).toBe(true) // of the registry at the other address
    expect(problems.some((problem) => problem.includes('damaged'))).toBe(false)
    for (const content of [whole.slice(0, 30), 'null', '{"registry":7}', '[]']) {
      problems.splice(0)
      expect(await isWaiting(content)).toBe(true)
      expect(problems[0]).toContain('damaged')
    }
    expect(await isWaiting(whole.replace(url, away))).toBe(false)
  })

  test('an event of a version that we cannot read says so', async () => {
    const newer = record('TeaMade', { name: 'name', type: { type: 'array', items: 'string' } })
    const url = await serve((request, response) =>
      request.url === '/schemas/ids/99'
        ? say(200, JSON.stringify({ schema: JSON.stringify(newer) }))(request, response)
        : registry(request, response),
    )
    const codec = await EventCodec.open(openAt(url), [typeOf(tea)])
    await expect(codec.read(frame(99, Buffer.of(0)))).rejects.toThrow(/schema 99 of TeaMade.*newer mailtrail/)
  })
})
