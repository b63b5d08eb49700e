/** One mail: its fields, what was found in it, and what could not be read. */
import Type from 'typebox'
import { shownMail, unresolvedRejects } from '../../projections/winners.ts'
import { ApiError } from '../errors.ts'
import { type MailRow, mailColumns, mailFacts, mailFactsOf } from '../mail-answer.ts'
import { openReading } from '../reading.ts'
import type { Route } from '../route.ts'
import { closed, count, errorAnswer, idParam, instant, readQuery, stamp } from '../schemas.ts'

const schema = {
  tags: ['mail'],
  summary: 'One mail',
  description: 'An id names one mail, whatever the range. Its bytes: `/api/v1/mail/{id}/raw`.',
  params: idParam,
  querystring: closed(readQuery),
  response: {
    200: closed({
      ...mailFacts,
      position: closed({ partition: count(), offset: count() }, 'where it lies on the log'),
      rejects: Type.Array(
        closed({
          part: Type.String({ description: 'empty: the whole mail' }),
          code: Type.String(),
          detail: Type.String(),
          received_at: instant(),
          deterministic: Type.Boolean(),
        }),
        { description: 'rejects that still stand' },
      ),
      ...stamp,
    }),
    '4xx': errorAnswer,
    503: errorAnswer,
  },
}

export const getMail: Route = (server, context) => {
  server.get('/api/v1/mail/:id', { schema }, async (request, reply) => {
    const reading = openReading(context, request.query, reply)
    const named = 'mail_id = toFixedString(unhex({id:String}), 32)'
    const [mail] = await reading.query<MailRow>(`SELECT ${mailColumns} FROM (${shownMail(reading.tables, named)})`, {
      id: request.params.id,
    })
    if (mail === undefined) throw new ApiError('mail_unknown')
    const rejects = await reading.query<{
      part: string
      code: string
      detail: string
      received_at: string
      deterministic: boolean
    }>(
      `SELECT part, code, detail, received_at, deterministic FROM (${unresolvedRejects(reading.tables, named)})
       ORDER BY part, code`,
      { id: request.params.id },
    )
    return {
      ...mailFactsOf(mail),
      position: { partition: mail.ingest_partition, offset: mail.ingest_offset },
      rejects,
      ...reading.stamp,
    }
  })
}
