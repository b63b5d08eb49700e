/** What every event that was read from a mail says about where it came from, and how ids are derived. */
import { hash } from 'node:crypto'
import type { AvroField } from './avro.ts'

const timestamp = { type: 'long', logicalType: 'timestamp-millis' } as const

/**
 * Leading fields of every derived event. `received_at` is when this delivery of the mail was received; no id contains
 * it, so the same mail read again gives the same ids.
 */
export const causeFields = [
  { name: 'id', type: 'string', doc: 'SHA-256 of mail id, part, event type and index, hex' },
  { name: 'mail_id', type: 'string', doc: 'SHA-256 of the mail, hex' },
  { name: 'part', type: 'string', doc: 'Where in the mail: MIME part numbers, then ! and the entry of each container' },
  { name: 'received_at', type: timestamp },
  { name: 'parser_version', type: 'string' },
] as const satisfies readonly AvroField[]

/** A repair or oddity of what was read; codes are listed in `processors/formats/codes.ts`. */
export const warningSchema = {
  type: 'array',
  items: {
    type: 'record',
    name: 'Warning',
    fields: [
      { name: 'code', type: 'string' },
      { name: 'detail', type: 'string' },
    ],
  },
} as const

/** SHA-256 over the parts, each ended by a zero byte so that no two lists collide; 64 lower-case hex digits. */
export function hashOf(...parts: readonly string[]): string {
  // At once: a hash object costs three times as much as hashing so few bytes.
  return hash('sha256', `${parts.join('\0')}\0`)
}

/** Id of an event derived from a mail. */
export function eventId(mailId: string, part: string, type: string, index: number): string {
  return hashOf(mailId, part, type, String(index))
}
