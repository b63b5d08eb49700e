/** Failure reports, newest first. */
import Type, { type Static } from 'typebox'
import { shownFailures } from '../../projections/winners.ts'
import { authenticatedConditions, authenticatedFilter } from '../authentication-answer.ts'
import { type FailureRow, failureColumns, failureFacts, failureFactsOf } from '../failure-answer.ts'
import { allOf, domainName, oneOf } from '../filters.ts'
import { answerList, listRange } from '../lists.ts'
import { itemsOf, newestFirst } from '../newest-first.ts'
import { openReading } from '../reading.ts'
import type { Route } from '../route.ts'
import { closed, errorAnswer, filter, listAnswer, listQuery } from '../schemas.ts'
import { inRange } from '../time-range.ts'

const item = closed(failureFacts)
type Item = Static<typeof item>

const key = Type.Tuple([Type.String({ pattern: '^\\d{4}-\\d\\d-\\d\\d$' }), Type.String({ pattern: '^[0-9a-f]{64}$' })])
type Key = Static<typeof key>

const schema = {
  tags: ['failures'],
  summary: 'Failure reports',
  description: 'By UTC day of receipt. Example: `/api/v1/failures?domain=example.com`',
  querystring: closed({ ...listQuery, domain: filter('reported domain'), ...authenticatedFilter }),
  response: { 200: listAnswer(item), '4xx': errorAnswer, 503: errorAnswer },
}

export const getFailures: Route = (server, context) => {
  server.get('/api/v1/failures', { schema }, async (request, reply) => {
    const reading = openReading(context, request.query, reply)
    const range = listRange(request.query, context.now())
    const table = reading.tables.failure_reports
    const { sql, parameters } = allOf(oneOf('domain', 'reported_domain', request.query.domain, domainName))
    const authenticated = allOf(authenticatedConditions(request.query.authenticated))
    // A report is shown on the day of its first delivery, which may lie before the range.
    const touched = `failure_id IN (SELECT failure_id FROM ${table} WHERE ${inRange} AND ${sql})`
    const rows = (after: Key | null, limit: number | null) =>
      newestFirst<FailureRow>(
        reading,
        range,
        {
          statement: `SELECT ${failureColumns} FROM (${shownFailures(reading.tables, touched)})
            WHERE ${inRange} AND ${authenticated.sql} AND {after} ORDER BY day DESC, failure_id`,
          after: after === null ? null : afterFailure(after),
          days: `SELECT day FROM ${table} WHERE ${inRange} AND ${sql}`,
          parameters: { ...parameters, ...authenticated.parameters },
        },
        limit,
      )
    const page = await answerList(
      { request, reply, reading, range },
      {
        item,
        key,
        keyOf: (failure: Item): Key => [failure.day, failure.id],
        read: (after: Key | null, limit: number | null) => itemsOf(rows(after, limit), failureFactsOf),
      },
    )
    return page ?? reply
  })
}

function afterFailure([day, id]: Key) {
  return {
    day,
    sql: `(day < {after_day:Date} OR (day = {after_day:Date}
      AND failure_id > toFixedString(unhex({after_id:String}), 32)))`,
    parameters: { after_day: day, after_id: id },
  }
}
