/** The claim check: bytes of large mails, by content. A port with two implementations (folder, S3-compatible). */
export interface Blobs {
  /** Resolves when the bytes are durable under their SHA-256; storing them again changes nothing. */
  put(bytes: Uint8Array): Promise<{ sha256: string; size: number }>
  /** The bytes, checked against the hash; null when they are not there. */
  get(sha256: string): Promise<Uint8Array | null>
  /**
   * The bytes as a file on this machine, for a thread that opens it itself; null when they are not there. What must be
   * fetched is put into `folder`. Whoever reads the file checks the hash.
   */
  fetch(sha256: string, folder: string): Promise<LocalBlob | null>
  /** Removes the bytes and what a `put` that was cut off left of them; nothing happens when they are not there. */
  remove(sha256: string): Promise<void>
}

export interface LocalBlob {
  readonly path: string
  /** The file is needed no longer: a copy is removed, an original stays. */
  release(): Promise<void>
}

/** Mails larger than this travel as a claim check; smaller ones lie in the event. */
export const INLINE_BYTES = 256 * 1024

/**
 * Whether the bytes are there cannot be told now: the store is away, or refuses us. Nothing is wrong with the mail, so
 * whoever needs it waits and asks again. The message says what an operator can do.
 */
export class BlobsUnavailable extends Error {}
