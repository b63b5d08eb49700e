/** Reports that have records and no closing row: they do not count. */
import Type from 'typebox'
import { openReading } from '../reading.ts'
import type { Route } from '../route.ts'
import { closed, count, day, errorAnswer, hexId, readQuery, stamp } from '../schemas.ts'

const schema = {
  tags: ['operation'],
  summary: 'Reports that were begun and not finished',
  description:
    'Normal for a moment while a report is being read; if they stay, its mail is to be read again. At most 1000, of all ' +
    'days.',
  querystring: closed(readQuery),
  response: {
    200: closed({
      unfinished: Type.Array(
        closed({ report_key: hexId(), policy_domain: Type.String(), day: day(), records: count('rows so far') }),
      ),
      ...stamp,
    }),
    '4xx': errorAnswer,
    503: errorAnswer,
  },
}

export const getReportsUnfinished: Route = (server, context) => {
  server.get('/api/v1/reports/unfinished', { schema }, async (request, reply) => {
    const reading = openReading(context, request.query, reply)
    const { tables } = reading
    const unfinished = await reading.query<{ report_key: string; policy_domain: string; day: string; records: number }>(
      `SELECT lower(hex(r.report_key)) AS report_key, toString(any(r.policy_domain)) AS policy_domain, any(r.day) AS day,
         uniqExact(r.record_index) AS records
       FROM ${tables.dmarc_records} AS r
       WHERE (r.report_key, r.variant) NOT IN (SELECT report_key, variant FROM ${tables.dmarc_reports})
       GROUP BY r.report_key, r.variant ORDER BY day DESC, report_key LIMIT 1000`,
    )
    return { unfinished, ...reading.stamp }
  })
}
