/**
 * Topic `ingest`: raw RFC 5322 bytes without a schema, so that any producer can write it. Kept longest; everything
 * else is computed from it. The headers are optional (see `IngestHeaders`).
 */
import { hash } from 'node:crypto'

export const INGEST = 'ingest'

/** Names of the optional headers of an `ingest` event; values are UTF-8 text. */
export const ingestHeader = {
  /** Free text: where the mail came from. */
  source: 'mailtrail-source',
  envelopeFrom: 'envelope-from',
  envelopeTo: 'envelope-to',
  /** ISO 8601; counts when it is valid and not after the event's timestamp. */
  receivedAt: 'received-at',
  /** What `received-at` was taken from: `received` (field), `mbox`, `maildir`, `import`, `http`. */
  receivedFrom: 'received-from',
  /** Claim check: `sha256:HEX;size=N`; the value is then empty and the bytes are in the blob store. */
  blob: 'mailtrail-blob',
  /** Present when the same mail is delivered again on purpose; holds the time of the request. */
  retry: 'mailtrail-retry',
} as const

/** SHA-256 of the mail's bytes as 64 lower-case hex digits: the mail's identity. */
export function mailId(bytes: Uint8Array): string {
  return hash('sha256', bytes)
}

/** Reads a claim check. Returns null when the header is not one. */
export function parseBlobReference(header: string): { sha256: string; size: number } | null {
  const match = /^sha256:([0-9a-f]{64});size=(\d{1,15})$/.exec(header)
  return match === null ? null : { sha256: match[1]!, size: Number(match[2]) }
}

export function blobReference(sha256: string, size: number): string {
  return `sha256:${sha256};size=${size}`
}

/**
 * When a delivery was received, in milliseconds: the `received-at` header when it is a valid instant not after the
 * event's own timestamp, else that timestamp.
 */
export function receivedAt(headers: Readonly<Record<string, string>>, timestamp: number): number {
  const header = headers[ingestHeader.receivedAt]
  if (header === undefined) return timestamp
  const stated = Date.parse(header)
  return Number.isNaN(stated) || stated > timestamp || stated < 0 ? timestamp : stated
}
