/**
 * Deflate (RFC 1951) within limits. Headers and trailers of gzip and zip are their readers' business: Node's own gunzip
 * refuses data with bytes after its end, which one reporter in the wild always sends.
 */
import { crc32, createInflateRaw, inflateRawSync } from 'node:zlib'
import { type RejectCode, Rejected } from './codes.ts'
import type { Limits } from './limits.ts'

/** Inflated data up to this size comes back whole and synchronously: nearly all reports, and streams cost 100 µs each. */
export const WHOLE_BYTES = 2 * 1024 * 1024
/** Packed data above this size is not tried whole: it rarely stays below `WHOLE_BYTES`. */
export const WHOLE_PACKED_BYTES = 512 * 1024
const CHUNK_BYTES = 128 * 1024

export interface Inflated {
  readonly data: Uint8Array
  /** Packed bytes up to the end of the deflate stream. */
  readonly used: number
}

/** Length and CRC-32 of what came out. */
export interface Checksum {
  size: number
  crc: number
}

/** Throws `inflate_limit` when `out` bytes from `packed` bytes are too many (10 GB bombs) or too good to be true. */
export function guardInflation(out: number, packed: number, limits: Limits): void {
  if (out > limits.inflatedBytes) {
    throw new Rejected('inflate_limit', `The data unpacks to more than ${limits.inflatedBytes} bytes.`)
  }
  if (out > limits.ratioFree && out > limits.inflateRatio * packed) {
    throw new Rejected('inflate_limit', `The data unpacks to more than ${limits.inflateRatio} times its size.`)
  }
}

const codeOf = (error: unknown): unknown => (error instanceof Error && 'code' in error ? error.code : undefined)

const isDamage = (error: unknown): boolean =>
  ['Z_DATA_ERROR', 'Z_BUF_ERROR', 'Z_NEED_DICT', 'Z_STREAM_ERROR'].includes(String(codeOf(error)))

/**
 * Inflates at once. Null when more than `most` bytes come out.
 * @param hint the size that the container claims, which saves copying when it is right
 * @param damaged the code of the reject when the data is damaged or ends early
 */
export function inflateWhole(packed: Uint8Array, most: number, hint: number, damaged: RejectCode): Inflated | null {
  const chunkSize = Math.min(Math.max(hint + 64, 1024), most + 64)
  try {
    const result: unknown = inflateRawSync(packed, { info: true, maxOutputLength: most, chunkSize })
    // With `info` Node returns both, which its types do not say.
    const { buffer, engine } = result as { buffer: Buffer; engine: { bytesWritten: number } }
    return { data: buffer, used: engine.bytesWritten }
  } catch (error) {
    if (codeOf(error) === 'ERR_BUFFER_TOO_LARGE') return null
    if (isDamage(error)) throw new Rejected(damaged, 'The packed data ends early or is damaged.')
    throw error
  }
}

/** Inflates piece by piece, reading on only when asked. Returns the packed bytes used; `sum` is kept up to date. */
export async function* inflateChunks(
  packed: Uint8Array,
  sum: Checksum,
  limits: Limits,
  damaged: RejectCode,
): AsyncGenerator<Uint8Array, number, undefined> {
  const engine = createInflateRaw({ chunkSize: CHUNK_BYTES })
  const before = sum.size
  engine.end(packed)
  try {
    for await (const chunk of engine as AsyncIterable<Buffer>) {
      sum.size += chunk.length
      sum.crc = crc32(chunk, sum.crc)
      guardInflation(sum.size, before === 0 ? engine.bytesWritten : packed.length, limits)
      yield chunk
    }
  } catch (error) {
    if (isDamage(error)) throw new Rejected(damaged, 'The packed data ends early or is damaged.')
    throw error
  } finally {
    engine.destroy()
  }
  return engine.bytesWritten
}
