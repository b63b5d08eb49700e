import { ingestHeader, mailId, parseBlobReference } from './ingest.ts'
import type { LogEvent } from './log.ts'

/** The id of the mail that an event of the topic `ingest` holds or stands for: what log lines about it carry as `mail_id`. */
export function mailIdOf({ headers, value }: Pick<LogEvent, 'headers' | 'value'>): string {
  return parseBlobReference(headers[ingestHeader.blob] ?? '')?.sha256 ?? mailId(value)
}
