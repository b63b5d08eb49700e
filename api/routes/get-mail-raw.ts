/** The bytes of a mail, exactly as received. */
import Type from 'typebox'
import { shownMail } from '../../projections/winners.ts'
import { ApiError } from '../errors.ts'
import { mailBytes, mailEvent } from '../raw-mail.ts'
import { openReading } from '../reading.ts'
import type { Route } from '../route.ts'
import { closed, errorAnswer, idParam, readQuery } from '../schemas.ts'

const schema = {
  tags: ['mail'],
  summary: 'The bytes of a mail',
  params: idParam,
  querystring: closed(readQuery),
  produces: ['message/rfc822'],
  response: {
    200: Type.Unsafe<Uint8Array>({ type: 'string', format: 'binary', description: 'the mail' }),
    '4xx': errorAnswer,
    503: errorAnswer,
  },
}

export const getMailRaw: Route = (server, context) => {
  server.get('/api/v1/mail/:id/raw', { schema }, async (request, reply) => {
    const reading = openReading(context, request.query, reply)
    const { id } = request.params
    const { control } = context.replays
    if (control.isUnread(id)) throw new ApiError('mail_erased')
    const named = 'mail_id = toFixedString(unhex({id:String}), 32)'
    const [place] = await reading.query<{ ingest_partition: number; ingest_offset: number }>(
      `SELECT ingest_partition, ingest_offset FROM (${shownMail(reading.tables, named)})`,
      { id },
    )
    if (place === undefined) throw new ApiError(control.wasErased(id) ? 'mail_erased' : 'mail_unknown')
    const event = await mailEvent(context.log, reading.generation.topics.ingest, place)
    const bytes = event === null ? null : await mailBytes(event, context.blobs)
    if (bytes === null) throw new ApiError('mail_bytes_gone')
    // A stranger wrote this: no browser may show it as a page of this server.
    return reply
      .header('content-disposition', `attachment; filename="${id}.eml"`)
      .header('content-security-policy', "default-src 'none'; sandbox")
      .type('message/rfc822')
      .send(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength))
  })
}
