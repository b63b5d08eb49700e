/** Aggregate reports that count, newest first. */
import type { Static } from 'typebox'
import Type from 'typebox'
import { winningDmarcReports } from '../../projections/winners.ts'
import { authenticatedConditions, authenticatedFilter } from '../authentication-answer.ts'
import { type DmarcReportRow, dmarcReportFacts, dmarcReportFactsOf } from '../dmarc-report-answer.ts'
import { allOf } from '../filters.ts'
import { answerList, listRange } from '../lists.ts'
import { itemsOf, newestFirst } from '../newest-first.ts'
import { openReading } from '../reading.ts'
import { reportConditions, reportFilters } from '../record-filters.ts'
import type { Route } from '../route.ts'
import { closed, count, errorAnswer, listAnswer, listQuery } from '../schemas.ts'
import { inRange } from '../time-range.ts'

const item = closed({
  ...dmarcReportFacts,
  conflicts: count('other contents that arrived under the same identity; see the report'),
})
type Item = Static<typeof item>

const key = Type.Tuple([
  Type.String({ pattern: '^\\d{4}-\\d\\d-\\d\\d$' }),
  Type.String({ maxLength: 1024 }),
  Type.String({ pattern: '^[0-9a-f]{64}$' }),
])
type Key = Static<typeof key>

const schema = {
  tags: ['dmarc'],
  summary: 'Aggregate reports',
  description: 'Example: `/api/v1/dmarc/reports?domain=example.com&org=google.com`',
  querystring: closed({ ...listQuery, ...reportFilters, ...authenticatedFilter }),
  response: { 200: listAnswer(item), '4xx': errorAnswer, 503: errorAnswer },
}

export const getDmarcReports: Route = (server, context) => {
  server.get('/api/v1/dmarc/reports', { schema }, async (request, reply) => {
    const reading = openReading(context, request.query, reply)
    const range = listRange(request.query, context.now())
    const { tables } = reading
    const reports = allOf(reportConditions(request.query))
    const authenticated = allOf(authenticatedConditions(request.query.authenticated))
    const chosen = `${inRange} AND ${reports.sql}`
    const statement = `SELECT w.* EXCEPT (report_key, variant, mail_id), lower(hex(w.report_key)) AS key,
        lower(hex(w.mail_id)) AS mail, v.variants AS variants
      FROM (SELECT * FROM (${winningDmarcReports(tables, chosen, ['*'])})
        WHERE ${authenticated.sql} AND {after}) AS w
      INNER JOIN (SELECT report_key, uniqExact(variant) AS variants FROM ${tables.dmarc_reports}
        WHERE ${chosen} GROUP BY report_key) AS v ON v.report_key = w.report_key
      ORDER BY w.day DESC, w.policy_domain, w.report_key`
    const rows = (after: Key | null, limit: number | null) =>
      newestFirst<DmarcReportRow & { variants: number }>(
        reading,
        range,
        {
          statement,
          after: after === null ? null : afterReport(after),
          days: `SELECT day FROM ${tables.dmarc_reports} WHERE ${chosen}`,
          parameters: { ...reports.parameters, ...authenticated.parameters },
        },
        limit,
      )
    const page = await answerList(
      { request, reply, reading, range },
      {
        item,
        key,
        keyOf: (report: Item): Key => [report.day, report.domain, report.id],
        read: (after: Key | null, limit: number | null) =>
          itemsOf(rows(after, limit), (row) => ({ ...dmarcReportFactsOf(row), conflicts: row.variants - 1 })),
      },
    )
    return page ?? reply
  })
}

function afterReport([day, domain, id]: Key) {
  return {
    day,
    sql: `(day < {after_day:Date} OR (day = {after_day:Date} AND (policy_domain, report_key)
      > ({after_domain:String}, toFixedString(unhex({after_report:String}), 32))))`,
    parameters: { after_day: day, after_domain: domain, after_report: id },
  }
}
