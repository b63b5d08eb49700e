/**
 * A child process that serves ClickHouse's HTTP interface over chDB, behind a secret, well enough for
 * `@clickhouse/client`: statements with bound parameters, databases, streamed answers, inserts of Native blocks, packed
 * requests, typed errors. Any number of clients at once.
 *
 * The parent writes one line of JSON (`ServerSettings`) to stdin; the child answers with one line of JSON on stdout:
 * `{"port":N}` or `{"error":"…"}`. It ends when stdin closes, that is, when the parent is gone.
 */
import { timingSafeEqual } from 'node:crypto'
import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import { readdir, rm } from 'node:fs/promises'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable, Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createBrotliDecompress, createGunzip, createInflate, createZstdDecompress } from 'node:zlib'
import { ChdbEngine, DEFAULT_DATABASE } from './chdb-engine.ts'
import { boundValues } from './parameters.ts'

export interface ServerSettings {
  readonly folder: string
  /** Folder for inserts on their way in; it must be on a local disk. */
  readonly tmp: string
  /** Password of the user `default`; '' lets everyone in. */
  readonly secret: string
  readonly memoryBytes: number
  /** Default: a free port on loopback. */
  readonly host?: string
  readonly port?: number
  /** How long running statements may take to end when it stops; default 2000. */
  readonly drainMilliseconds?: number
}

/** Longest statement text; inserts carry their rows apart. */
const MAX_STATEMENT_BYTES = 16 * 1024 * 1024
/** Parameters travel in the URL, and node's default of 16 KB is too little for lists of ids. */
const MAX_URL_BYTES = 4 * 1024 * 1024
const DRAIN_MILLISECONDS = 2_000
const INSERT_FILE = /^insert-\d+-\d+\.native$/

/** Parts of the URL that are no settings of the engine. */
const NOT_SETTINGS = new Set([
  'query',
  'query_id',
  'database',
  'default_format',
  'session_id',
  'role',
  'user',
  'password',
  // A session that is made read-only cannot be made anything else again, and sessions are used by all in turn.
  'readonly',
  'enable_http_compression',
  'wait_end_of_query',
  'send_progress_in_http_headers',
])

class RequestError extends Error {
  readonly status: number
  readonly code: number
  constructor(status: number, code: number, name: string, message: string) {
    super(`Code: ${code}. DB::Exception: ${message} (${name})`)
    this.status = status
    this.code = code
  }
}

interface Call {
  readonly statement: string
  readonly parameters: ReadonlyMap<string, string>
  readonly settings: ReadonlyMap<string, string>
  readonly format: string
  readonly database: string
  /** The body as it was before it was packed. */
  readonly body: Readable
  /** Whether the statement came in the URL, so that the body holds rows. */
  readonly bodyIsRows: boolean
}

const unpackers: Readonly<Record<string, () => Transform>> = {
  gzip: createGunzip,
  deflate: createInflate,
  br: createBrotliDecompress,
  zstd: createZstdDecompress,
}

function unpackedBody(request: IncomingMessage): Readable {
  const encoding = request.headers['content-encoding']
  if (encoding === undefined || encoding === 'identity') return request
  const unpacker = unpackers[encoding]
  if (unpacker === undefined)
    throw new RequestError(
      415,
      89,
      'UNKNOWN_COMPRESSION_METHOD',
      `Content-Encoding ${encoding} is not known; use ${Object.keys(unpackers).join(', ')}.`,
    )
  const unpacked = unpacker()
  // Half a body breaks the reader, too.
  pipeline(request, unpacked).catch((error: unknown) => unpacked.destroy(error as Error))
  return unpacked
}

async function readText(body: Readable): Promise<string> {
  const pieces: Buffer[] = []
  let bytes = 0
  for await (const piece of body as AsyncIterable<Buffer>) {
    bytes += piece.length
    if (bytes > MAX_STATEMENT_BYTES)
      throw new RequestError(
        413,
        1004,
        'STATEMENT_TOO_LARGE',
        `The statement has more than ${MAX_STATEMENT_BYTES} bytes.`,
      )
    pieces.push(piece)
  }
  return Buffer.concat(pieces).toString()
}

async function readCall(request: IncomingMessage, url: URL): Promise<Call> {
  const parameters = new Map<string, string>()
  const settings = new Map<string, string>()
  for (const [name, value] of url.searchParams) {
    if (name.startsWith('param_')) parameters.set(name.slice('param_'.length), value)
    else if (/^\w+$/.test(name) && !NOT_SETTINGS.has(name)) settings.set(name, value)
  }
  const inUrl = url.searchParams.get('query')
  const body = unpackedBody(request)
  return {
    statement: inUrl ?? (await readText(body)),
    body,
    database: url.searchParams.get('database') || DEFAULT_DATABASE,
    parameters,
    settings,
    format: url.searchParams.get('default_format') ?? 'TabSeparated',
    bodyIsRows: inUrl !== null && request.method === 'POST',
  }
}

const INSERT_NATIVE = /^\s*INSERT\s+INTO\s+([\w.`]+)\s+FORMAT\s+Native\s*;?\s*$/i
const ANSWERS_ROWS = /^\s*(?:\(\s*)*(?:SELECT|WITH)\b/i

class ChdbServer {
  readonly #engine: ChdbEngine
  readonly #settings: ServerSettings
  readonly #structures = new Map<string, Promise<string>>()
  readonly #secret: Buffer
  #files = 0

  constructor(settings: ServerSettings) {
    this.#settings = settings
    this.#secret = Buffer.from(settings.secret)
    this.#engine = new ChdbEngine(settings.folder, settings.memoryBytes)
  }

  async listen(): Promise<{ server: Server; port: number }> {
    // The engine is open, so the folder is ours: what lies there is of a process that was killed amid an insert.
    const { tmp } = this.#settings
    for (const name of await readdir(tmp)) if (INSERT_FILE.test(name)) await rm(join(tmp, name), { force: true })
    const server = createServer({ maxHeaderSize: MAX_URL_BYTES, keepAliveTimeout: 60_000 }, (request, response) => {
      this.#answer(request, response).catch((error: unknown) => sendError(response, error))
    })
    server.requestTimeout = 0
    server.listen(this.#settings.port ?? 0, this.#settings.host ?? '127.0.0.1')
    await once(server, 'listening')
    return { server, port: (server.address() as AddressInfo).port }
  }

  close(): Promise<void> {
    return this.#engine.close()
  }

  #isAllowed(request: IncomingMessage, url: URL): boolean {
    if (this.#secret.length === 0) return true
    const basic = /^Basic (.+)$/.exec(request.headers.authorization ?? '')
    const password =
      basic === null
        ? (request.headers['x-clickhouse-key'] ?? url.searchParams.get('password') ?? '')
        : Buffer.from(basic[1]!, 'base64')
            .toString()
            .replace(/^[^:]*:/, '')
    const key = Buffer.from(String(password))
    return key.length === this.#secret.length && timingSafeEqual(key, this.#secret)
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://store')
    if (url.pathname === '/ping') {
      response.end('Ok.\n')
      return
    }
    if (!this.#isAllowed(request, url))
      throw new RequestError(403, 516, 'AUTHENTICATION_FAILED', 'The secret of this store is needed.')
    const call = await readCall(request, url)
    const gone = new AbortController()
    response.on('close', () => {
      if (!response.writableFinished) gone.abort()
    })
    const insert = INSERT_NATIVE.exec(call.statement)
    if (insert !== null) await this.#insert(insert[1]!, call, gone.signal)
    else if (call.bodyIsRows)
      throw new RequestError(501, 48, 'NOT_IMPLEMENTED', 'Rows are taken as INSERT INTO table FORMAT Native only.')
    else if (ANSWERS_ROWS.test(call.statement)) return this.#select(call, response, gone.signal)
    else {
      const answer = await this.#engine.run(this.#statement(call, call.statement, gone.signal))
      if (/^\s*(CREATE|DROP|ALTER|RENAME|EXCHANGE)\b/i.test(call.statement)) this.#structures.clear()
      if (/^\s*DROP\s+DATABASE\b/i.test(call.statement)) this.#engine.databaseDropped()
      response.end(answer)
      return
    }
    response.end()
  }

  #statement(call: Call, sql: string, signal: AbortSignal) {
    let values: ReturnType<typeof boundValues>
    try {
      values = boundValues(sql, call.parameters)
    } catch (error) {
      throw new RequestError(400, 457, 'BAD_QUERY_PARAMETER', (error as Error).message)
    }
    return { sql, values, database: call.database, settings: call.settings, format: call.format, signal }
  }

  async #select(call: Call, response: ServerResponse, signal: AbortSignal): Promise<void> {
    const format = /\bFORMAT\s+(\w+)\s*;?\s*$/i.exec(call.statement)?.[1] ?? call.format
    const pieces = this.#engine.read(this.#statement(call, call.statement, signal))
    // The first piece decides between an error with its status and an answer.
    let piece = await pieces.next()
    response.writeHead(200, { 'X-ClickHouse-Format': format, 'X-ClickHouse-Exception-Tag': EXCEPTION_TAG })
    try {
      for (; !piece.done; piece = await pieces.next())
        if (piece.value.length > 0 && !response.write(piece.value)) await once(response, 'drain', { signal })
      response.end()
    } catch (error) {
      if (!signal.aborted) response.end(exceptionBlock(error as Error))
    } finally {
      await pieces.return(undefined)
    }
  }

  /** The addon takes no binary rows inline, so the block goes through a file that lies in the page cache. */
  async #insert(table: string, call: Call, signal: AbortSignal): Promise<void> {
    const path = join(this.#settings.tmp, `insert-${process.pid}-${this.#files++}.native`)
    try {
      await pipeline(call.body, createWriteStream(path))
      const structure = await this.#structure(call.database, table)
      const quote = (text: string) => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
      const source = `file(${quote(path)}, 'Native', ${quote(structure)})`
      await this.#engine.run(this.#statement(call, `INSERT INTO ${table} SELECT * FROM ${source}`, signal))
    } finally {
      await rm(path, { force: true })
    }
  }

  /** `name type, …` of the columns that are stored; with it the engine reads the file once instead of twice. */
  #structure(database: string, table: string): Promise<string> {
    const name = `${database} ${table}`
    let structure = this.#structures.get(name)
    if (structure === undefined) {
      structure = this.#describe(database, table)
      this.#structures.set(name, structure)
      structure.catch(() => this.#structures.delete(name))
    }
    return structure
  }

  async #describe(database: string, table: string): Promise<string> {
    const answer = await this.#engine.run({
      sql: `DESCRIBE TABLE ${table}`,
      database,
      values: {},
      settings: new Map(),
      format: 'JSONEachRow',
      signal: new AbortController().signal,
    })
    return Buffer.from(answer)
      .toString()
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as { name: string; type: string; default_type: string })
      .filter(({ default_type }) => default_type === '')
      .map(({ name, type }) => `\`${name}\` ${type}`)
      .join(', ')
  }
}

/** Marks the error block at the end of an answer that failed midway (as ClickHouse does from 25.11 on). */
const EXCEPTION_TAG = 'mailtrailfailure'

function exceptionBlock(error: Error): string {
  const message = `${error.message}\n`
  const end = `${Buffer.byteLength(message)} ${EXCEPTION_TAG}\r\n__exception__\r\n`
  return `\r\n__exception__\r\n${EXCEPTION_TAG}\r\n${message}${end}`
}

function sendError(response: ServerResponse, error: unknown): void {
  const message = error instanceof Error ? error.message : String(error)
  const code = error instanceof RequestError ? error.code : Number(/^Code: (\d+)/.exec(message)?.[1] ?? 1001)
  if (response.headersSent) {
    response.destroy()
    return
  }
  const status = error instanceof RequestError ? error.status : code === 1001 ? 500 : 400
  response.writeHead(status, { 'X-ClickHouse-Exception-Code': String(code), Connection: 'close' })
  response.end(/^Code: \d+/.test(message) ? message : `Code: ${code}. DB::Exception: ${message} (STD_EXCEPTION)`)
}

/** A statement that cannot be stopped must not keep the folder locked, so the end is never waited for longer. */
async function shutDown(store: ChdbServer, server: Server, drainMilliseconds: number): Promise<void> {
  setTimeout(() => process.kill(process.pid, 'SIGKILL'), drainMilliseconds)
  server.close()
  server.closeIdleConnections()
  await store.close()
  process.kill(process.pid, 'SIGKILL')
}

async function main(): Promise<void> {
  const lines = createInterface({ input: process.stdin })
  const [line] = (await once(lines, 'line')) as [string]
  let store: ChdbServer | undefined
  try {
    const settings = JSON.parse(line) as ServerSettings
    store = new ChdbServer(settings)
    const opened = store
    const { server, port } = await store.listen()
    const end = () => void shutDown(opened, server, settings.drainMilliseconds ?? DRAIN_MILLISECONDS)
    lines.once('close', end)
    process.once('SIGTERM', end)
    // A terminal sends Ctrl+C to the whole group; the parent decides when the store ends.
    process.on('SIGINT', () => {})
    process.stdout.write(`${JSON.stringify({ port })}\n`)
  } catch (error) {
    process.stdout.write(`${JSON.stringify({ error: (error as Error).message })}\n`)
    process.exitCode = 1
    lines.close()
    await store?.close()
  }
}

await main()
