/** The bytes of a mail, from the log or, for a large one, from the blob store. */
import type { Blobs } from '../topics/blobs.ts'
import { ingestHeader, parseBlobReference } from '../topics/ingest.ts'
import { isErased, type Log, type LogEvent } from '../topics/log.ts'

/** The event that brought the mail; null when the log no longer keeps it, or it was erased. */
export async function mailEvent(
  log: Log,
  topic: string,
  place: { readonly ingest_partition: number; readonly ingest_offset: number },
): Promise<LogEvent | null> {
  const event = await log.get(topic, place.ingest_partition, place.ingest_offset)
  return event === null || isErased(event) ? null : event
}

/** Null when the event is a claim check and the blob is missing. */
export async function mailBytes(event: LogEvent, blobs: Blobs): Promise<Uint8Array | null> {
  const claim = event.headers[ingestHeader.blob]
  if (claim === undefined) return event.value
  const reference = parseBlobReference(claim)
  return reference === null ? null : blobs.get(reference.sha256)
}
