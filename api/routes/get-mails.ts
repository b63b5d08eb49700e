/** Mails as received, newest first: the daily review of what is no report begins here. */
import Type, { type Static } from 'typebox'
import { shownMail } from '../../projections/winners.ts'
import { authenticatedConditions, authenticatedFilter } from '../authentication-answer.ts'
import { allOf, oneOf } from '../filters.ts'
import { answerList, listRange } from '../lists.ts'
import { type MailRow, mailColumns, mailFacts, mailFactsOf, mailKinds } from '../mail-answer.ts'
import { itemsOf, newestFirst } from '../newest-first.ts'
import { openReading } from '../reading.ts'
import type { Route } from '../route.ts'
import { closed, errorAnswer, filter, listAnswer, listQuery } from '../schemas.ts'

const item = closed(mailFacts)
type Item = Static<typeof item>

const key = Type.Tuple([Type.String({ pattern: '^\\d{4}-\\d\\d-\\d\\d$' }), Type.String({ pattern: '^[0-9a-f]{64}$' })])
type Key = Static<typeof key>

const schema = {
  tags: ['mail'],
  summary: 'Mails as received',
  description: 'By UTC day of receipt. Example: `/api/v1/mail?kind=other`',
  querystring: closed({ ...listQuery, kind: filter(mailKinds.join(', ')), ...authenticatedFilter }),
  response: { 200: listAnswer(item), '4xx': errorAnswer, 503: errorAnswer },
}

export const getMails: Route = (server, context) => {
  server.get('/api/v1/mail', { schema }, async (request, reply) => {
    const reading = openReading(context, request.query, reply)
    const range = listRange(request.query, context.now())
    const table = reading.tables.mail
    const { sql, parameters } = allOf([
      ...oneOf('kind', 'kind', request.query.kind),
      ...authenticatedConditions(request.query.authenticated),
    ])
    const received = 'toDate(received_at) BETWEEN {from:Date} AND {to:Date}'
    // A mail is shown on the day of its first delivery, which may lie before the range.
    const touched = `mail_id IN (SELECT mail_id FROM ${table} WHERE ${received})`
    const rows = (after: Key | null, limit: number | null) =>
      newestFirst<MailRow>(
        reading,
        range,
        {
          statement: `SELECT ${mailColumns} FROM (${shownMail(reading.tables, touched)})
            WHERE ${received} AND ${sql} AND {after} ORDER BY day DESC, mail_id`,
          after: after === null ? null : afterMail(after),
          days: `SELECT toDate(received_at) AS day FROM ${table}`,
          parameters,
        },
        limit,
      )
    const page = await answerList(
      { request, reply, reading, range },
      {
        item,
        key,
        keyOf: (mail: Item): Key => [mail.day, mail.id],
        read: (after: Key | null, limit: number | null) => itemsOf(rows(after, limit), mailFactsOf),
      },
    )
    return page ?? reply
  })
}

function afterMail([day, id]: Key) {
  return {
    day,
    sql: `(toDate(received_at) < {after_day:Date} OR (toDate(received_at) = {after_day:Date}
      AND mail_id > toFixedString(unhex({after_id:String}), 32)))`,
    parameters: { after_day: day, after_id: id },
  }
}
