/** One row per reject of a mail or a part of it, and reading. */
import { MailRejected } from '../topics/rejects.ts'
import { bool, dateTime64, fixedHex, lowCardinality, string, uint16, uint64 } from './native.ts'
import { defineProjection } from './projection.ts'

export const rejects = defineProjection({
  table: 'rejects',
  topic: 'rejects',
  from: MailRejected,
  columns: () => ({
    mail_id: fixedHex(32),
    part: string(),
    code: lowCardinality(),
    received_at: dateTime64(),
    parser_version: lowCardinality(),
    stage: lowCardinality(),
    detail: string(),
    deterministic: bool(),
    ingest_partition: uint16(),
    ingest_offset: uint64(),
    size: uint64(),
  }),
  append(reject, columns) {
    columns.mail_id.pushHex(reject.mail_id)
    columns.part.push(reject.part)
    columns.code.push(reject.code)
    columns.received_at.push(reject.received_at)
    columns.parser_version.push(reject.parser_version)
    columns.stage.push(reject.stage)
    columns.detail.push(reject.detail)
    columns.deterministic.push(Number(reject.deterministic))
    columns.ingest_partition.push(reject.ingest_partition)
    columns.ingest_offset.push(reject.ingest_offset)
    columns.size.push(reject.size)
  },
})
