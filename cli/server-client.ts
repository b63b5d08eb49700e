/** Talks to a running mailtrail over HTTP: the one named, or the owner of the data folder. */
import type { Config } from '../config.ts'
import { readOwner } from '../topics/data-lock.ts'
import { CommandError, UsageError } from './command.ts'

export interface ServerClient {
  readonly url: string
  /** Sends a request below /api/v1. Waits and tries again while the server says 503 with Retry-After. */
  request(
    method: string,
    path: string,
    init?: { body?: Uint8Array | string; headers?: Record<string, string> },
  ): Promise<Response>
  /** As `request`; throws `CommandError` with the server's sentence when the status is not 2xx. */
  json<T>(method: string, path: string, body?: object): Promise<T>
}

/** Tries again for so long when the server has no room or is starting. */
const PATIENCE_MILLISECONDS = 120_000

export function serverClient(url: string, apiKey: string | null): ServerClient {
  const base = url.replace(/\/+$/, '')
  const authorization: Record<string, string> = apiKey === null ? {} : { authorization: `Bearer ${apiKey}` }
  const send = async (
    method: string,
    path: string,
    init: { body?: Uint8Array | string; headers?: Record<string, string> },
  ) => {
    try {
      const body = init.body === undefined ? {} : { body: init.body as string | Uint8Array<ArrayBuffer> }
      return await fetch(`${base}/api/v1${path}`, { method, ...body, headers: { ...authorization, ...init.headers } })
    } catch (error) {
      const cause = (error as { cause?: Error }).cause
      throw new CommandError(
        `${base} does not answer (${cause?.message ?? (error as Error).message}). Is mailtrail running there?`,
      )
    }
  }
  const client: ServerClient = {
    url: base,
    async request(method, path, init = {}) {
      const until = Date.now() + PATIENCE_MILLISECONDS
      for (;;) {
        const response = await send(method, path, init)
        const seconds = Number(response.headers.get('retry-after') ?? Number.NaN)
        if (response.status !== 503 || Number.isNaN(seconds) || Date.now() > until) return response
        await response.body?.cancel()
        await new Promise((resolve) => setTimeout(resolve, Math.min(5, Math.max(0.2, seconds)) * 1000))
      }
    },
    async json<T>(method: string, path: string, body?: object) {
      const init =
        body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }
      const response = await client.request(method, path, init)
      if (!response.ok) throw new CommandError(await faultOf(response))
      return (await response.json()) as T
    },
  }
  return client
}

/** The server's own sentence about a failed request. */
export async function faultOf(response: Response): Promise<string> {
  const text = await response.text()
  try {
    const { error } = JSON.parse(text) as { error: { code: string; message: string } }
    return `${error.message} (${error.code})`
  } catch {
    return `The server answered ${response.status}: ${text.slice(0, 200)}`
  }
}

/** The server to ask: `--server`, else the running owner of the data folder, else null. */
export async function findServer(server: string | undefined, config: Config): Promise<ServerClient | null> {
  if (server !== undefined) {
    if (!URL.canParse(server) || !/^https?:$/.test(new URL(server).protocol)) {
      throw new UsageError(`--server ${server} is no http address, such as http://127.0.0.1:7489.`)
    }
    return serverClient(server, config.MAILTRAIL_API_KEY)
  }
  const owner = await readOwner(config.MAILTRAIL_DATA)
  if (owner === null) return null
  if (owner.url === undefined || owner.url === null) {
    throw new CommandError(
      `Process ${owner.pid} has ${config.MAILTRAIL_DATA} open and serves no HTTP; wait until it is done.`,
    )
  }
  return serverClient(owner.url, config.MAILTRAIL_API_KEY)
}
