/** What could not be read and still stands, newest first, with the number of each code. */
import Type, { type Static } from 'typebox'
import { unresolvedRejects } from '../../projections/winners.ts'
import { allOf, oneOf } from '../filters.ts'
import { answerList, listRange } from '../lists.ts'
import { itemsOf, newestFirst } from '../newest-first.ts'
import { openReading } from '../reading.ts'
import type { Route } from '../route.ts'
import { closed, count, day, errorAnswer, filter, hexId, instant, listAnswer, listQuery } from '../schemas.ts'

const item = closed({
  mail_id: hexId('of /mail/{id}'),
  part: Type.String({ description: 'where in the mail; empty: the whole mail' }),
  code: Type.String(),
  detail: Type.String({ description: 'a sentence that a person can act on' }),
  day: day('UTC day of receipt'),
  received_at: instant(),
  stage: Type.String(),
  deterministic: Type.Boolean({ description: 'false: an accident, another try may succeed' }),
  size: count('bytes'),
  parser_version: Type.String(),
})
type Item = Static<typeof item>

const key = Type.Tuple([
  Type.String({ pattern: '^\\d{4}-\\d\\d-\\d\\d$' }),
  Type.String({ pattern: '^[0-9a-f]{64}$' }),
  Type.String({ maxLength: 4096 }),
  Type.String({ maxLength: 255 }),
])
type Key = Static<typeof key>

const schema = {
  tags: ['mail'],
  summary: 'Rejects that still stand',
  description: 'By UTC day of receipt. Example: `/api/v1/rejects?code=xml_malformed`',
  querystring: closed({ ...listQuery, code: filter('reject code') }),
  response: {
    200: closed({
      ...listAnswer(item).properties,
      codes: Type.Array(closed({ code: Type.String(), rejects: count(), mails: count() }), {
        description: 'of the whole range, most first',
      }),
    }),
    '4xx': errorAnswer,
    503: errorAnswer,
  },
}

interface RejectRow extends Omit<Item, 'mail_id'> {
  readonly mail: string
}

export const getRejects: Route = (server, context) => {
  server.get('/api/v1/rejects', { schema }, async (request, reply) => {
    const reading = openReading(context, request.query, reply)
    const range = listRange(request.query, context.now())
    const { tables } = reading
    const { sql, parameters } = allOf(oneOf('code', 'code', request.query.code))
    const received = 'toDate(received_at) BETWEEN {from:Date} AND {to:Date}'
    // A reject is shown on the day of the first delivery of its mail, which may lie before the range.
    const touched = `mail_id IN (SELECT mail_id FROM ${tables.rejects} WHERE ${received} AND ${sql}) AND ${sql}`
    const standing = `SELECT * FROM (${unresolvedRejects(tables, touched)}) WHERE ${received}`
    const rows = (after: Key | null, limit: number | null) =>
      newestFirst<RejectRow>(
        reading,
        range,
        {
          statement: `SELECT * EXCEPT (mail_id), lower(hex(mail_id)) AS mail, toDate(received_at) AS day
            FROM (${standing}) WHERE {after} ORDER BY day DESC, mail_id, part, code`,
          after: after === null ? null : afterReject(after),
          days: `SELECT toDate(received_at) AS day FROM ${tables.rejects} WHERE ${sql}`,
          parameters,
        },
        limit,
      )
    const answer = await answerList(
      { request, reply, reading, range },
      {
        item,
        key,
        keyOf: (reject: Item): Key => [reject.day, reject.mail_id, reject.part, reject.code],
        read: (after: Key | null, limit: number | null) => itemsOf(rows(after, limit), rejectOf),
      },
    )
    if (answer === null) return reply
    const codes = await reading.query<{ code: string; rejects: number; mails: number }>(
      `SELECT code, count() AS rejects, uniqExact(mail_id) AS mails FROM (${standing})
       GROUP BY code ORDER BY rejects DESC, code`,
      { ...range, ...parameters },
    )
    return { ...answer, codes }
  })
}

function rejectOf({
  mail,
  part,
  code,
  detail,
  day,
  received_at,
  stage,
  deterministic,
  size,
  parser_version,
}: RejectRow): Item {
  return { mail_id: mail, part, code, detail, day, received_at, stage, deterministic, size, parser_version }
}

function afterReject([day, mail, part, code]: Key) {
  return {
    day,
    sql: `(toDate(received_at) < {after_day:Date} OR (toDate(received_at) = {after_day:Date} AND (mail_id, part, code)
      > (toFixedString(unhex({after_mail:String}), 32), {after_part:String}, {after_code:String})))`,
    parameters: { after_day: day, after_mail: mail, after_part: part, after_code: code },
  }
}
