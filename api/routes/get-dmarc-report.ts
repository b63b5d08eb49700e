/** One aggregate report: what it says, where it came from, and what else arrived under its identity. */
import Type from 'typebox'
import { type DmarcReportRow, dmarcReportFacts, dmarcReportFactsOf } from '../dmarc-report-answer.ts'
import { ApiError } from '../errors.ts'
import { openReading } from '../reading.ts'
import type { Route } from '../route.ts'
import {
  closed,
  count,
  errorAnswer,
  hexId,
  idParam,
  instant,
  nullable,
  readQuery,
  stamp,
  verdictSums,
} from '../schemas.ts'
import { readVerdictSums } from '../verdict-sums.ts'

const delivery = { mail_id: hexId('of /mail/{id}'), part: Type.String(), received_at: instant() }

const schema = {
  tags: ['dmarc'],
  summary: 'One aggregate report',
  description:
    'Its records: `/dmarc/records?domain=…`. `conflicts` are other contents under the same identity: they are kept ' +
    'and do not count. An id names one report, whatever the range. `verdicts` is null until all records are judged.',
  params: idParam,
  querystring: closed(readQuery),
  response: {
    200: closed({
      ...dmarcReportFacts,
      verdicts: nullable(verdictSums),
      variant: Type.String(),
      deliveries: Type.Array(closed(delivery), { description: 'every mail that brought this content' }),
      conflicts: Type.Array(
        closed({
          variant: Type.String(),
          records: count(),
          messages: count(),
          deliveries: Type.Array(closed(delivery)),
        }),
      ),
      ...stamp,
    }),
    '4xx': errorAnswer,
    503: errorAnswer,
  },
}

type DeliveryRow = DmarcReportRow & { content: string }

export const getDmarcReport: Route = (server, context) => {
  server.get('/api/v1/dmarc/reports/:id', { schema }, async (request, reply) => {
    const reading = openReading(context, request.query, reply)
    const rows = await reading.query<DeliveryRow>(
      `SELECT * EXCEPT (report_key, variant, mail_id), lower(hex(report_key)) AS key, lower(hex(variant)) AS content,
         lower(hex(mail_id)) AS mail
       FROM ${reading.tables.dmarc_reports} WHERE report_key = toFixedString(unhex({id:String}), 32)
       ORDER BY received_at, variant, mail_id, part, parser_version`,
      { id: request.params.id },
    )
    const winner = rows[0]
    if (winner === undefined) throw new ApiError('report_unknown')
    const contents = [...new Set(rows.map(({ content }) => content))].filter((content) => content !== winner.content)
    const verdicts = await readVerdictSums(
      reading,
      'policy_domain',
      'policy_domain = {domain:String} AND day = {day:Date} AND report_key = toFixedString(unhex({id:String}), 32)',
      { domain: winner.policy_domain, day: winner.day, id: request.params.id },
    )
    return {
      ...dmarcReportFactsOf(winner),
      verdicts: verdicts?.get(winner.policy_domain) ?? null,
      variant: winner.content,
      deliveries: deliveriesOf(rows, winner.content),
      conflicts: contents.map((content) => {
        const { records, messages } = rows.find((row) => row.content === content)!
        return { variant: content, records, messages, deliveries: deliveriesOf(rows, content) }
      }),
      ...reading.stamp,
    }
  })
}

/** A delivery is a part of a mail; a mail that was read again, or delivered again, is still one. */
function deliveriesOf(rows: readonly DeliveryRow[], content: string) {
  const first = new Map<string, { mail_id: string; part: string; received_at: string }>()
  for (const { mail, part, received_at } of rows.filter((row) => row.content === content)) {
    const place = `${mail} ${part}`
    if (!first.has(place)) first.set(place, { mail_id: mail, part, received_at })
  }
  return [...first.values()]
}
