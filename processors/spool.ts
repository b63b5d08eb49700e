/**
 * Where the parts of a report wait until it has been read to its end: in memory, and beyond a limit in a file, so that
 * a report of any size is held in constant memory.
 */
import { closeSync, openSync, readSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'

/** Held in memory up to here; then all goes to a file. */
const MEMORY_BYTES = 4 * 1024 * 1024
/** Written to the file, and read back, through one buffer of this size: many buffers are given back late, and add up. */
const BUFFER_BYTES = 256 * 1024

export interface SpooledPiece {
  readonly start: number
  readonly length: number
}

export class Spool {
  readonly #path: string
  /** What is held, while there is no file. */
  #pieces: Uint8Array[] = []
  #file: number | undefined
  #written = 0
  /** Bytes on their way to the file. */
  #buffer: Buffer | undefined
  #filled = 0
  #held = 0

  /** `folder` must exist; `name` must be unique in it. The file is made only when it is needed. */
  constructor(folder: string, name: string) {
    this.#path = join(folder, name)
  }

  get size(): number {
    return this.#written + this.#held + this.#filled
  }

  /** The file that holds the spool, or null while all is in memory. `flush` first. */
  get path(): string | null {
    return this.#file === undefined ? null : this.#path
  }

  /** Keeps the bytes; the array must not be changed afterwards. */
  write(bytes: Uint8Array): SpooledPiece {
    const piece = { start: this.size, length: bytes.length }
    if (this.#file !== undefined) {
      for (let at = 0; at < bytes.length; ) at += this.#fill(bytes.subarray(at))
      return piece
    }
    this.#pieces.push(bytes)
    this.#held += bytes.length
    if (this.#held > MEMORY_BYTES) this.flush()
    return piece
  }

  /** Keeps a text as UTF-8. */
  writeText(text: string): void {
    // At most three bytes for each UTF-16 unit (RFC 3629).
    if (this.#buffer === undefined || text.length * 3 > BUFFER_BYTES) {
      this.write(Buffer.from(text))
      return
    }
    if (text.length * 3 > BUFFER_BYTES - this.#filled) this.#empty()
    this.#filled += this.#buffer.write(text, this.#filled)
  }

  /** Moves all to the file, and makes it when there is none. */
  flush(): void {
    this.#file ??= openSync(this.#path, 'wx+', 0o600)
    this.#buffer ??= Buffer.allocUnsafe(BUFFER_BYTES)
    const pieces = this.#pieces
    this.#pieces = []
    this.#held = 0
    for (const piece of pieces) for (let at = 0; at < piece.length; ) at += this.#fill(piece.subarray(at))
    this.#empty()
  }

  #fill(bytes: Uint8Array): number {
    if (this.#filled === BUFFER_BYTES) this.#empty()
    const part = bytes.subarray(0, BUFFER_BYTES - this.#filled)
    this.#buffer!.set(part, this.#filled)
    this.#filled += part.length
    return part.length
  }

  #empty(): void {
    for (let at = 0; at < this.#filled; ) at += writeSync(this.#file!, this.#buffer!, at, this.#filled - at)
    this.#written += this.#filled
    this.#filled = 0
  }

  /** All that was written, in order, piece by piece. A piece is good until the next is asked for. */
  *read(): Iterable<Uint8Array> {
    if (this.#file === undefined) {
      if (this.#held > 0) yield Buffer.concat(this.#pieces)
      return
    }
    this.flush()
    const buffer = this.#buffer!
    for (let at = 0; at < this.#written; ) {
      const count = readSync(this.#file, buffer, 0, Math.min(buffer.length, this.#written - at), at)
      if (count === 0) throw new Error(`The spool file ${this.#path} is shorter than what was written to it.`)
      at += count
      yield buffer.subarray(0, count)
    }
  }

  /** Closes the file but leaves it for another thread, which then removes it. Call `flush` first. */
  detach(): void {
    if (this.#file !== undefined) closeSync(this.#file)
    this.#file = undefined
    this.#pieces = []
  }

  discard(): void {
    if (this.#file === undefined) {
      this.#pieces = []
      return
    }
    closeSync(this.#file)
    this.#file = undefined
    rmSync(this.#path, { force: true })
  }
}
