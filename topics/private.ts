/** Topic `private`, key = mail id: what holds personal data travels apart, so that it can be erased. */
import { authenticationFields } from './authentication.ts'
import { defineEvent, type EventData } from './avro.ts'
import { causeFields, warningSchema } from './cause.ts'

export const PRIVATE = 'private'

const text = ['null', 'string'] as const
const texts = { type: 'array', items: 'string' } as const

/** One for each mail that was read, whatever was in it. */
export const MailRead = defineEvent(PRIVATE, {
  type: 'record',
  name: 'MailRead',
  doc: 'A mail as received: its fields, its kind and the keys of what was found in it',
  fields: [
    ...causeFields,
    {
      name: 'received_from',
      type: text,
      doc: 'what received_at was taken from: received, mbox, maildir, import, http; null = the log',
    },
    { name: 'source', type: text, doc: 'where it came from, free text' },
    { name: 'envelope_from', type: text },
    { name: 'envelope_to', type: text },
    { name: 'ingest_partition', type: 'int' },
    { name: 'ingest_offset', type: 'long' },
    { name: 'from', type: text },
    { name: 'to', type: text },
    { name: 'subject', type: text },
    { name: 'date', type: text, doc: 'ISO 8601 UTC with Z' },
    { name: 'message_id', type: text },
    { name: 'size', type: 'long', doc: 'bytes' },
    { name: 'kind', type: 'string', doc: 'dmarc, tls, failure, other, rejected; of several the first of these' },
    {
      name: 'found',
      type: {
        type: 'array',
        items: {
          type: 'record',
          name: 'Found',
          fields: [
            { name: 'kind', type: 'string', doc: 'dmarc, tls, failure' },
            { name: 'part', type: 'string' },
            { name: 'key', type: 'string', doc: 'report key, or the failure report id' },
          ],
        },
      },
    },
    { name: 'rejected', type: 'int', doc: 'number of parts that could not be read' },
    { name: 'warnings', type: warningSchema, doc: 'about the mail itself, not about its reports' },
    ...authenticationFields,
  ],
})
export type MailRead = EventData<typeof MailRead>

/** A failure report (RFC 6591, RFC 9991): each is an incident of its own. Its `id` identifies it. */
export const FailureReportRead = defineEvent(PRIVATE, {
  type: 'record',
  name: 'FailureReportRead',
  doc: 'One failure report (ARF or plain text)',
  fields: [
    ...causeFields,
    { name: 'index', type: 'int', doc: 'of the failure reports in this mail, from 0' },
    { name: 'feedback_type', type: text },
    { name: 'auth_failure', type: texts },
    { name: 'source_ip', type: text },
    { name: 'reported_domain', type: text },
    { name: 'original_mail_from', type: text },
    { name: 'original_rcpt_to', type: text },
    { name: 'arrival', type: text, doc: 'ISO 8601 UTC with Z' },
    { name: 'delivery_result', type: text },
    { name: 'identity_alignment', type: text, doc: 'as stated; its meaning changed between RFC 7489 and RFC 9991' },
    { name: 'user_agent', type: text },
    { name: 'incidents', type: 'double' },
    { name: 'dkim_domain', type: text },
    { name: 'dkim_selector', type: text },
    { name: 'spf_dns', type: text },
    { name: 'subject', type: text },
    { name: 'message_id', type: text },
    { name: 'from', type: text },
    { name: 'warnings', type: warningSchema },
    ...authenticationFields,
  ],
})
export type FailureReportRead = EventData<typeof FailureReportRead>
