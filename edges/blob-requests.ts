/**
 * Signed requests to an S3-compatible store (AWS Signature Version 4), each with a time-out and tried a few times with
 * growing pauses. The payload's SHA-256 is part of the signature, so the store refuses bytes that changed on the way.
 */
import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { AwsClient } from 'aws4fetch'
import { BlobsUnavailable } from '../topics/blobs.ts'
import { type BucketPlace, refusalOf, type S3Method } from './blob-refusal.ts'

/** The endpoint is `http(s)://host[:port]`, without a slash at its end. */
export interface S3Place extends BucketPlace {
  readonly region: string
  /** Whether the bucket is part of the path, not of the host name. */
  readonly pathStyle: boolean
  readonly accessKeyId: string
  readonly secretAccessKey: string
  /** A store that says nothing for so long is taken to be away; default 15 s. */
  readonly timeoutMilliseconds?: number
  /** Attempts on one request; default 5. */
  readonly attempts?: number
  /** Before the second attempt; doubled before each further one; default 200 ms. */
  readonly pauseMilliseconds?: number
}

/** An answer that is no refusal: found (200, 206) or not there (404 for the object, never for the bucket). */
export interface S3Answer {
  readonly found: boolean
  /** The size that the store states; null when it states none. */
  readonly size: number | null
  /** The bytes as they come. Throws `Passing` when they end too early or the store falls silent. */
  bytes(): AsyncIterable<Uint8Array>
}

/** What may be gone at the next attempt: a lost connection, silence, 5xx, 429. */
export class Passing extends Error {}

const TIMEOUT = 15_000
const ATTEMPTS = 5
const PAUSE = 200
/** Slowest upload that is waited for. */
const UPLOAD_BYTES_PER_SECOND = 256 * 1024
/** Refusals of a request that did not arrive as it was sent. */
const DAMAGED_ON_THE_WAY: ReadonlyMap<string, string> = new Map([
  ['RequestTimeout', 'it did not receive the whole request'],
  ['XAmzContentSHA256Mismatch', 'it received other bytes than were sent'],
  ['BadDigest', 'it received other bytes than were sent'],
])
const NOTHING = createHash('sha256').digest('hex')

/** Ends a request when the store has been silent for too long. */
class Patience {
  readonly #abort = new AbortController()
  #timer: NodeJS.Timeout | undefined
  readonly signal = this.#abort.signal

  wait(milliseconds: number): void {
    clearTimeout(this.#timer)
    const silent = new Passing(`it said nothing for ${Math.round(milliseconds / 1000)} s`)
    this.#timer = setTimeout(() => this.#abort.abort(silent), milliseconds)
  }

  end(): void {
    clearTimeout(this.#timer)
  }
}

export class S3Requests {
  readonly #place: S3Place
  readonly #client: AwsClient
  readonly #base: string

  constructor(place: S3Place) {
    const { endpoint, bucket, region, accessKeyId, secretAccessKey } = place
    this.#place = place
    this.#client = new AwsClient({ accessKeyId, secretAccessKey, region, service: 's3', retries: 0 })
    const { protocol, host } = new URL(endpoint)
    this.#base = place.pathStyle ? `${endpoint}/${bucket}` : `${protocol}//${bucket}.${host}`
  }

  /**
   * Gives the answer to `use`, which may read it to its end; both are tried again when they throw `Passing`. Rejects with
   * `BlobsUnavailable` when the attempts are used up or the store refuses.
   */
  async send<Result>(
    method: S3Method,
    key: string,
    use: (answer: S3Answer) => Promise<Result>,
    payload?: { readonly bytes: Uint8Array; readonly sha256: string },
  ): Promise<Result> {
    const { endpoint, attempts = ATTEMPTS, pauseMilliseconds: pause = PAUSE } = this.#place
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#once(method, key, use, payload)
      } catch (error) {
        if (!(error instanceof Passing)) throw error
        if (attempt >= attempts)
          throw new BlobsUnavailable(
            `The blob store at ${endpoint} does not answer ${method} after ${attempt} attempts: ${error.message}. ` +
              'It is asked again until it does.',
            { cause: error },
          )
        // Many that wait for one store must not come back at the same instant.
        await sleep(pause * 2 ** (attempt - 1) * (0.5 + Math.random()))
      }
    }
  }

  async #once<Result>(
    method: S3Method,
    key: string,
    use: (answer: S3Answer) => Promise<Result>,
    payload?: { readonly bytes: Uint8Array; readonly sha256: string },
  ): Promise<Result> {
    const { timeoutMilliseconds: timeout = TIMEOUT } = this.#place
    const patience = new Patience()
    patience.wait(timeout + ((payload?.bytes.length ?? 0) / UPLOAD_BYTES_PER_SECOND) * 1000)
    try {
      const response = await this.#fetch(method, key, patience.signal, payload)
      const bytes = () => bytesOf(response, patience, timeout)
      const { status } = response
      if (status >= 500 || status === 429 || status === 408) {
        throw new Passing(`it answered ${status} ${await codeOf(bytes())}`.trimEnd())
      }
      // 204: what was to be deleted is not there, any more or ever.
      const found = status === 200 || status === 206 || status === 204
      if (!found) {
        const code = method === 'HEAD' ? '' : await codeOf(bytes())
        const isMissing = status === 404 && (method === 'HEAD' || code === 'NoSuchKey')
        const damaged = DAMAGED_ON_THE_WAY.get(code)
        if (damaged !== undefined) throw new Passing(damaged)
        if (!isMissing) throw refusalOf(this.#place, method, status, code)
      }
      const length = response.headers.get('content-length')
      return await use({ found, size: length === null ? null : Number(length), bytes })
    } finally {
      patience.end()
    }
  }

  async #fetch(
    method: S3Method,
    key: string,
    signal: AbortSignal,
    payload?: { readonly bytes: Uint8Array; readonly sha256: string },
  ): Promise<Response> {
    const path = key.split('/').map(encodeURIComponent).join('/')
    // The types of `fetch` refuse shared memory; a mail never lies in any.
    const body = payload === undefined ? null : (payload.bytes as Uint8Array<ArrayBuffer>)
    const request = await this.#client.sign(`${this.#base}/${path}`, {
      method,
      headers: { 'x-amz-content-sha256': payload?.sha256 ?? NOTHING },
      body,
    })
    try {
      // A redirect would be followed with a signature for the address before it.
      return await fetch(request, { signal, redirect: 'manual' })
    } catch (error) {
      throw passing(error)
    }
  }
}

async function* bytesOf(response: Response, patience: Patience, timeout: number): AsyncIterable<Uint8Array> {
  const reader = response.body?.getReader()
  if (reader === undefined) return
  try {
    for (;;) {
      patience.wait(timeout)
      const { done, value } = await reader.read().catch((error: unknown) => Promise.reject(passing(error)))
      patience.end()
      if (done) return
      yield value
    }
  } finally {
    // Whoever stops in the middle leaves the connection; what the store says of that matters to nobody.
    reader.cancel().catch(() => undefined)
  }
}

/** `fetch` hides the reason in `cause`, sometimes more than once. */
function passing(error: unknown): Passing {
  if (error instanceof Passing) return error
  let reason = error
  while (reason instanceof Error && reason.cause instanceof Error) reason = reason.cause
  return new Passing(reason instanceof Error ? reason.message || reason.name : String(reason), { cause: error })
}

const MAX_ERROR_BYTES = 64 * 1024

/** The code in an error answer, such as `NoSuchKey`; empty when there is none. */
async function codeOf(bytes: AsyncIterable<Uint8Array>): Promise<string> {
  const pieces: Uint8Array[] = []
  let length = 0
  for await (const piece of bytes) {
    pieces.push(piece)
    length += piece.length
    if (length >= MAX_ERROR_BYTES) break
  }
  return /<Code>(\w{1,100})<\/Code>/.exec(Buffer.concat(pieces).toString('latin1'))?.[1] ?? ''
}
