/** TLS reports that count, newest first. */
import Type, { type Static } from 'typebox'
import { winningTlsReports } from '../../projections/winners.ts'
import { authenticatedConditions, authenticatedFilter } from '../authentication-answer.ts'
import { allOf } from '../filters.ts'
import { answerList, listRange } from '../lists.ts'
import { itemsOf, newestFirst } from '../newest-first.ts'
import { openReading } from '../reading.ts'
import type { Route } from '../route.ts'
import { closed, count, errorAnswer, listAnswer, listQuery } from '../schemas.ts'
import { inRange } from '../time-range.ts'
import { tlsReportConditions, tlsReportFilters } from '../tls-filters.ts'
import { type TlsReportRow, tlsReportFacts, tlsReportFactsOf } from '../tls-report-answer.ts'

const item = closed({
  ...tlsReportFacts,
  policies: count(),
  details: count('failure details'),
  conflicts: count('other contents that arrived under the same identity; see the report'),
})
type Item = Static<typeof item>

const key = Type.Tuple([Type.String({ pattern: '^\\d{4}-\\d\\d-\\d\\d$' }), Type.String({ pattern: '^[0-9a-f]{64}$' })])
type Key = Static<typeof key>

const schema = {
  tags: ['tls'],
  summary: 'TLS reports',
  description: 'Example: `/api/v1/tls/reports?domain=example.com`',
  querystring: closed({ ...listQuery, ...tlsReportFilters, ...authenticatedFilter }),
  response: { 200: listAnswer(item), '4xx': errorAnswer, 503: errorAnswer },
}

export const getTlsReports: Route = (server, context) => {
  server.get('/api/v1/tls/reports', { schema }, async (request, reply) => {
    const reading = openReading(context, request.query, reply)
    const range = listRange(request.query, context.now())
    const { tables } = reading
    const reports = allOf(tlsReportConditions(request.query))
    const authenticated = allOf(authenticatedConditions(request.query.authenticated))
    const chosen = `${inRange} AND ${reports.sql}`
    const statement = `SELECT w.* EXCEPT (report_key, variant, mail_id), lower(hex(w.report_key)) AS key,
        lower(hex(w.mail_id)) AS mail, v.variants AS variants
      FROM (SELECT * FROM (${winningTlsReports(tables, chosen, ['*'])})
        WHERE ${authenticated.sql} AND {after}) AS w
      INNER JOIN (SELECT report_key, uniqExact(variant) AS variants FROM ${tables.tls_reports}
        WHERE ${chosen} GROUP BY report_key) AS v ON v.report_key = w.report_key
      ORDER BY w.day DESC, w.report_key`
    const rows = (after: Key | null, limit: number | null) =>
      newestFirst<TlsReportRow & { policies: number; details: number; variants: number }>(
        reading,
        range,
        {
          statement,
          after: after === null ? null : afterReport(after),
          days: `SELECT day FROM ${tables.tls_reports} WHERE ${chosen}`,
          parameters: { ...reports.parameters, ...authenticated.parameters },
        },
        limit,
      )
    const page = await answerList(
      { request, reply, reading, range },
      {
        item,
        key,
        keyOf: (report: Item): Key => [report.day, report.id],
        read: (after: Key | null, limit: number | null) =>
          itemsOf(rows(after, limit), (row) => {
            const { policies, details, variants } = row
            return { ...tlsReportFactsOf(row), policies, details, conflicts: variants - 1 }
          }),
      },
    )
    return page ?? reply
  })
}

function afterReport([day, id]: Key) {
  return {
    day,
    sql: `(day < {after_day:Date} OR (day = {after_day:Date}
      AND report_key > toFixedString(unhex({after_report:String}), 32)))`,
    parameters: { after_day: day, after_report: id },
  }
}
