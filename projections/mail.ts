/** One row per reading of a mail: a delivery of it, or a retry. */
import { MailRead } from '../topics/private.ts'
import { array, dateTime64, fixedHex, lowCardinality, pushTexts, string, uint16, uint32, uint64 } from './native.ts'
import { defineProjection } from './projection.ts'

export const mail = defineProjection({
  table: 'mail',
  topic: 'private',
  from: MailRead,
  columns: () => ({
    mail_id: fixedHex(32),
    received_at: dateTime64(),
    parser_version: lowCardinality(),
    kind: lowCardinality(),
    rejected: uint32(),
    received_from: lowCardinality(),
    source: string(),
    envelope_from: string(),
    envelope_to: string(),
    ingest_partition: uint16(),
    ingest_offset: uint64(),
    from: string(),
    to: string(),
    subject: string(),
    date: string(),
    message_id: string(),
    size: uint64(),
    found_kind: array(lowCardinality()),
    found_part: array(string()),
    found_key: array(fixedHex(32)),
    warning_code: array(lowCardinality()),
    warning_detail: array(string()),
    authentication: lowCardinality(),
    authentication_reason: lowCardinality(),
    authentication_domain: lowCardinality(),
  }),
  append(read, columns) {
    columns.mail_id.pushHex(read.mail_id)
    columns.received_at.push(read.received_at)
    columns.parser_version.push(read.parser_version)
    columns.kind.push(read.kind)
    columns.rejected.push(read.rejected)
    columns.received_from.push(read.received_from ?? '')
    columns.source.push(read.source ?? '')
    columns.envelope_from.push(read.envelope_from ?? '')
    columns.envelope_to.push(read.envelope_to ?? '')
    columns.ingest_partition.push(read.ingest_partition)
    columns.ingest_offset.push(read.ingest_offset)
    columns.from.push(read.from ?? '')
    columns.to.push(read.to ?? '')
    columns.subject.push(read.subject ?? '')
    columns.date.push(read.date ?? '')
    columns.message_id.push(read.message_id ?? '')
    columns.size.push(read.size)
    columns.found_kind.offsets.push(read.found.length)
    columns.found_part.offsets.push(read.found.length)
    columns.found_key.offsets.push(read.found.length)
    for (const { kind, part, key } of read.found) {
      columns.found_kind.items.push(kind)
      columns.found_part.items.push(part)
      columns.found_key.items.pushHex(key)
    }
    pushTexts(
      columns.warning_code,
      read.warnings.map(({ code }) => code),
    )
    pushTexts(
      columns.warning_detail,
      read.warnings.map(({ detail }) => detail),
    )
    columns.authentication.push(read.authenticated)
    columns.authentication_reason.push(read.authentication_reason)
    columns.authentication_domain.push(read.authenticated_domain ?? '')
  },
})
