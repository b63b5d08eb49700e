/** The claim check: bytes of large mails, by content. A port with two implementations (folder, S3-compatible). */
export interface Blobs {
  /** Resolves when the bytes are durable under their SHA-256; storing them again changes nothing. */
  put(bytes: Uint8Array): Promise<{ sha256: string; size: number }>
  /** The bytes, checked against the hash; null when they are not there. */
  get(sha256: string): Promise<Uint8Array | null>
}

/** Mails larger than this travel as a claim check; smaller ones lie in the event. */
export const INLINE_BYTES = 256 * 1024
