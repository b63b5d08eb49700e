/**
 * Where the parts of a report wait until it has been read to its end: in memory, and beyond a limit in a file, so that
 * a report of any size is held in constant memory.
 */
import { closeSync, openSync, readSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'

/** Held in memory up to here; the next piece goes to the file. */
const MEMORY_BYTES = 4 * 1024 * 1024

export interface SpooledPiece {
  readonly start: number
  readonly length: number
}

export class Spool {
  readonly #path: string
  #pieces: Uint8Array[] = []
  #held = 0
  #file: number | undefined
  #written = 0

  /** `folder` must exist; `name` must be unique in it. The file is made only when it is needed. */
  constructor(folder: string, name: string) {
    this.#path = join(folder, name)
  }

  get size(): number {
    return this.#written + this.#held
  }

  /** The file that holds the beginning of the spool, or null while all is in memory. */
  get path(): string | null {
    return this.#file === undefined ? null : this.#path
  }

  /** Keeps the bytes; the array must not be changed afterwards. */
  write(bytes: Uint8Array): SpooledPiece {
    const piece = { start: this.size, length: bytes.length }
    this.#pieces.push(bytes)
    this.#held += bytes.length
    if (this.#held > MEMORY_BYTES) this.flush()
    return piece
  }

  /** Moves what is in memory to the file. */
  flush(): void {
    this.#file ??= openSync(this.#path, 'wx+', 0o600)
    const bytes = Buffer.concat(this.#pieces)
    for (let done = 0; done < bytes.length; ) done += writeSync(this.#file, bytes, done)
    this.#written += bytes.length
    this.#held = 0
    this.#pieces = []
  }

  /** All that was written, in order, piece by piece. */
  *read(): Iterable<Uint8Array> {
    for (let at = 0; at < this.#written; ) {
      const buffer = Buffer.allocUnsafe(Math.min(MEMORY_BYTES, this.#written - at))
      const count = readSync(this.#file as number, buffer, 0, buffer.length, at)
      if (count === 0) throw new Error(`The spool file ${this.#path} is shorter than what was written to it.`)
      at += count
      yield buffer.subarray(0, count)
    }
    if (this.#held > 0) yield Buffer.concat(this.#pieces)
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
