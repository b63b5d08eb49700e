/** Topic `rejects`, key = mail id: what could not be read, and why. */
import { defineEvent, type EventData } from './avro.ts'
import { causeFields } from './cause.ts'

export const REJECTS = 'rejects'

export const MailRejected = defineEvent(REJECTS, {
  type: 'record',
  name: 'MailRejected',
  doc: 'A mail or a part of it that could not be read',
  fields: [
    ...causeFields,
    { name: 'stage', type: 'string', doc: 'the processor that gave up: parse-mail' },
    { name: 'code', type: 'string', doc: 'listed in processors/formats/codes.ts' },
    { name: 'detail', type: 'string', doc: 'a sentence that a person can act on' },
    { name: 'deterministic', type: 'boolean', doc: 'false: an accident (time, memory), another try may succeed' },
    { name: 'ingest_partition', type: 'int' },
    { name: 'ingest_offset', type: 'long' },
    { name: 'size', type: 'long' },
  ],
})
export type MailRejected = EventData<typeof MailRejected>
