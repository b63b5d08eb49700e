/** How every edge that takes mail puts it on `ingest`: by content hash, with its headers, large mail as a claim check. */
import { type Blobs, INLINE_BYTES } from './blobs.ts'
import { blobReference, ingestHeader, mailId } from './ingest.ts'
import type { NewEvent } from './log.ts'

export interface MailOrigin {
  /** Free text: where the mail came from. */
  readonly source: string
  /** When it was received, ISO 8601. */
  readonly receivedAt: string
  /** What that was taken from: `received`, `mbox`, `maildir`, `import`, `http`. */
  readonly receivedFrom: string
  readonly envelopeFrom?: string | undefined
  readonly envelopeTo?: string | undefined
  /** Delivered again on purpose, at this time: appended even when the log has it. */
  readonly retryAt?: string
}

/** Header values are one line of text without control characters, of at most 1,000 characters. */
function headerText(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  return text.replace(/[\u0000-\u001f\u007f]/g, ' ').slice(0, 1000)
}

const nothingBlocked = { isBlocked: () => false }

/** The event for a mail that was erased for good: it says that it came, and nothing of it is stored again. */
export function blockedEvent(id: string, size: number): NewEvent & { readonly onceId: string } {
  return { key: null, value: new Uint8Array(), headers: { [ingestHeader.blob]: blobReference(id, size) }, onceId: id }
}

/**
 * The event for a mail. When the mail is large its bytes are durable in the blob store before this resolves, so the
 * event may be appended.
 */
export async function ingestEvent(
  bytes: Uint8Array,
  origin: MailOrigin,
  blobs: Blobs,
  blocked: { isBlocked(mailId: string): boolean } = nothingBlocked,
): Promise<{ id: string; event: NewEvent }> {
  const id = mailId(bytes)
  if (blocked.isBlocked(id)) return { id, event: blockedEvent(id, bytes.length) }
  const headers: Record<string, string> = {
    [ingestHeader.source]: headerText(origin.source),
    [ingestHeader.receivedAt]: origin.receivedAt,
    [ingestHeader.receivedFrom]: origin.receivedFrom,
  }
  if (origin.envelopeFrom !== undefined) headers[ingestHeader.envelopeFrom] = headerText(origin.envelopeFrom)
  if (origin.envelopeTo !== undefined) headers[ingestHeader.envelopeTo] = headerText(origin.envelopeTo)
  if (origin.retryAt !== undefined) headers[ingestHeader.retry] = origin.retryAt
  const once = origin.retryAt === undefined ? { onceId: id } : {}
  if (bytes.length <= INLINE_BYTES) return { id, event: { key: null, value: bytes, headers, ...once } }
  const { sha256, size } = await blobs.put(bytes)
  headers[ingestHeader.blob] = blobReference(sha256, size)
  return { id, event: { key: null, value: new Uint8Array(), headers, ...once } }
}
