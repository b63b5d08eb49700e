/** Bodies of `POST /mail`: bytes as they come, within a limit for each and a limit for all together. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { ApiError } from './errors.ts'

/** Bytes of all bodies being received or stored at one time; a flood of large mails must not eat the memory. */
export const MAX_BYTES_IN_FLIGHT = 256 * 1024 * 1024

const notMail = /^\s*(application\/(json|x-www-form-urlencoded|[\w.-]+\+json)|multipart\/form-data)\s*(;|$)/i

/** Throws before a byte of the body is read when its type, encoding or stated length rules it out. */
export function checkMailHeaders(headers: IncomingMessage['headers'], maxMailBytes: number): void {
  if (notMail.test(headers['content-type'] ?? '')) {
    throw new ApiError('content_type_unsupported', { field: 'content-type' })
  }
  const encoding = headers['content-encoding'] ?? 'identity'
  if (encoding !== 'identity') throw new ApiError('content_encoding_unsupported', { field: 'content-encoding' })
  if (Number(headers['content-length'] ?? 0) > maxMailBytes) throw tooLarge(maxMailBytes)
}

function tooLarge(maxMailBytes: number): ApiError {
  return new ApiError('mail_too_large', {
    message: `The mail is larger than ${maxMailBytes} bytes, which is what MAILTRAIL_MAX_MAIL_BYTES allows.`,
  })
}

export class MailBodies {
  #bytesInFlight = 0
  readonly #capacity: number
  readonly #maxMailBytes: number

  constructor(maxMailBytes: number, capacity: number = MAX_BYTES_IN_FLIGHT) {
    this.#maxMailBytes = maxMailBytes
    this.#capacity = capacity
  }

  get bytesInFlight(): number {
    return this.#bytesInFlight
  }

  /**
   * Reads a body to its end. Its bytes count until the answer is out or the client gone; only bytes that came count, so
   * a client that announces much and sends nothing takes nothing. Rejects with `mail_too_large` or `too_busy`, and then
   * lets the rest of the body pass by: a socket closed in the middle of it would lose the answer.
   */
  receive(body: NodeJS.ReadableStream, answer: ServerResponse): Promise<Buffer> {
    const chunks: Buffer[] = []
    let bytes = 0
    let counting = true
    const release = () => {
      if (counting) this.#bytesInFlight -= bytes
      counting = false
      chunks.length = 0
    }
    answer.once('close', release)
    return new Promise((resolve, reject) => {
      const refuse = (error: ApiError) => {
        release()
        reject(error)
      }
      body.on('data', (chunk: Buffer) => {
        if (!counting) return
        bytes += chunk.length
        this.#bytesInFlight += chunk.length
        chunks.push(chunk)
        if (bytes > this.#maxMailBytes) refuse(tooLarge(this.#maxMailBytes))
        else if (this.#bytesInFlight > this.#capacity) refuse(new ApiError('too_busy', { retryAfter: 1 }))
      })
      let ended = false
      body.once('end', () => {
        ended = true
        resolve(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks))
      })
      const cut = () => {
        if (!ended) reject(new ApiError('request_malformed', { message: 'The body ended early.' }))
      }
      body.once('error', cut)
      body.once('close', cut)
    })
  }
}
