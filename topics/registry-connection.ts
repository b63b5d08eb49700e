/**
 * Requests to a Confluent-compatible schema registry, each with an end, and an outage told from an answer: a server that
 * hangs, fails, or says what no registry says, is away, and is waited for.
 */
import { setTimeout as sleep } from 'node:timers/promises'

export interface ConnectionOptions {
  /** Without a slash at its end, with the path of the registry's API where it has one. */
  readonly url: string
  readonly user: string | null
  readonly password: string | null
  readonly onProblem: (message: string) => void
  readonly signal: AbortSignal
}

/** The registry says no. `status` is that of HTTP, `code` the registry's own (https://docs.confluent.io/platform/current/schema-registry/develop/api.html#errors). */
export class RegistryRefusal extends Error {
  readonly status: number
  readonly code: number
  constructor(status: number, code: number, message: string) {
    super(message)
    this.status = status
    this.code = code
  }
}

/** No answer, or none of a registry; a later attempt may get one. */
export class RegistryAway extends Error {}

const ANSWER_MILLISECONDS = 5000
/** Our largest schema has 6 KB. */
const ANSWER_BYTES = 4 * 1024 * 1024
const FIRST_PAUSE_MILLISECONDS = 100
const LAST_PAUSE_MILLISECONDS = 5000
const UNAUTHORIZED = 401
const FORBIDDEN = 403
const TRY_AGAIN = [408, 425, 429]

export class RegistryConnection {
  readonly url: string
  readonly #headers: Readonly<Record<string, string>>
  readonly #onProblem: (message: string) => void
  readonly #signal: AbortSignal
  /** When an attempt last failed, by `performance.now()`; null since one succeeded. */
  #awaySince: number | null = null
  /** What was said to follow from it, each once. */
  readonly #told = new Set<string>()

  constructor({ url, user, password, onProblem, signal }: ConnectionOptions) {
    this.url = url
    this.#onProblem = onProblem
    this.#signal = signal
    this.#headers = {
      accept: 'application/vnd.schemaregistry.v1+json, application/json',
      'content-type': 'application/vnd.schemaregistry.v1+json',
      ...(user === null
        ? {}
        : { authorization: `Basic ${Buffer.from(`${user}:${password ?? ''}`).toString('base64')}` }),
    }
  }

  /** Whether the registry was away within the last seconds: then it need not be asked by whoever can do without. */
  get isAway(): boolean {
    return this.#awaySince !== null && performance.now() - this.#awaySince < 2 * LAST_PAUSE_MILLISECONDS
  }

  /** The JSON that the registry answers. Rejects with `RegistryRefusal` or `RegistryAway`. */
  async ask(method: string, path: string, body?: string): Promise<unknown> {
    const { status, text } = await this.#fetch(method, path, body)
    if (status === UNAUTHORIZED || status === FORBIDDEN)
      throw new RegistryRefusal(
        status,
        status,
        `The schema registry at ${this.url} refuses us (${status}). Check SCHEMA_REGISTRY_USER and SCHEMA_REGISTRY_PASSWORD.`,
      )
    if (status >= 500 || TRY_AGAIN.includes(status)) throw new RegistryAway(`status ${status}`)
    const answer = jsonOf(text)
    if (answer === null)
      throw new RegistryAway(`status ${status}, and no answer of a schema registry; check SCHEMA_REGISTRY_URL`)
    if (status >= 200 && status < 300) return answer
    const { error_code: code, message } = answer as Record<string, unknown>
    if (typeof code !== 'number')
      throw new RegistryAway(`status ${status}, and no reason of a schema registry; check SCHEMA_REGISTRY_URL`)
    throw new RegistryRefusal(status, code, String(message ?? `error ${code}`))
  }

  async #fetch(method: string, path: string, body?: string): Promise<{ status: number; text: string }> {
    const ended = AbortSignal.timeout(ANSWER_MILLISECONDS)
    try {
      const response = await fetch(`${this.url}${path}`, {
        method,
        headers: this.#headers,
        ...(body === undefined ? {} : { body }),
        signal: AbortSignal.any([ended, this.#signal]),
      })
      return { status: response.status, text: await textOf(response) }
    } catch (error) {
      this.#signal.throwIfAborted()
      if (error instanceof RegistryAway) throw error
      if (ended.aborted) throw new RegistryAway(`no answer within ${ANSWER_MILLISECONDS / 1000} s`)
      // `fetch failed` says nothing; its cause does.
      const cause = error instanceof Error && error.cause instanceof Error ? error.cause : (error as Error)
      throw new RegistryAway('code' in cause && cause.message === '' ? String(cause.code) : cause.message)
    }
  }

  /** Attempts once, and remembers when the registry is away. */
  async attempt<T>(work: () => Promise<T>): Promise<T> {
    try {
      const result = await work()
      this.#awaySince = null
      this.#told.clear()
      return result
    } catch (error) {
      if (error instanceof RegistryAway) this.#awaySince = performance.now()
      throw error
    }
  }

  /** Attempts until the registry answers, with growing pauses, and says once that it does not and what follows; null: nothing. */
  async patiently<T>(work: () => Promise<T>, consequence: string | null): Promise<T> {
    for (let pause = FIRST_PAUSE_MILLISECONDS; ; pause = Math.min(2 * pause, LAST_PAUSE_MILLISECONDS)) {
      try {
        return await this.attempt(work)
      } catch (error) {
        if (!(error instanceof RegistryAway)) throw error
        if (consequence !== null) this.tellAway(error, consequence)
      }
      await this.pause(pause)
    }
  }

  tellAway(reason: RegistryAway, consequence: string): void {
    if (this.#told.has(consequence)) return
    this.#told.add(consequence)
    this.#onProblem(`The schema registry at ${this.url} does not answer (${reason.message}); ${consequence}.`)
  }

  tell(message: string): void {
    this.#onProblem(message)
  }

  /** Rejects with the signal's own reason when it aborts. */
  async pause(milliseconds: number): Promise<void> {
    await sleep(milliseconds, undefined, { signal: this.#signal }).catch(() => this.#signal.throwIfAborted())
  }
}

async function textOf(response: Response): Promise<string> {
  const parts: Uint8Array[] = []
  let bytes = 0
  for await (const part of response.body ?? []) {
    bytes += part.length
    if (bytes > ANSWER_BYTES) throw new RegistryAway('an endless answer; check SCHEMA_REGISTRY_URL')
    parts.push(part)
  }
  return Buffer.concat(parts).toString()
}

/** An object or a list; null for everything else. */
function jsonOf(text: string): object | null {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' ? value : null
  } catch {
    return null // it is no JSON, as the caller says
  }
}
