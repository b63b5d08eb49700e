/** One TLS report with its policies. */
import Type from 'typebox'
import { ApiError } from '../errors.ts'
import { openReading } from '../reading.ts'
import type { Route } from '../route.ts'
import { said } from '../said.ts'
import { closed, count, errorAnswer, hexId, idParam, instant, nullable, readQuery, stamp, text } from '../schemas.ts'
import { type TlsReportRow, tlsReportFacts, tlsReportFactsOf } from '../tls-report-answer.ts'

const detail = {
  result_type: text(),
  sending_mta_ip: text(),
  receiving_mx_hostname: text(),
  receiving_mx_helo: text(),
  receiving_ip: text(),
  count: nullable(count()),
  additional_information: text(),
  reason_code: text(),
}
/** Details shown with a report; /tls/failures has all. */
const MAX_DETAILS = 1000

const schema = {
  tags: ['tls'],
  summary: 'One TLS report',
  description: `The first ${MAX_DETAILS} failure details are shown with their policy; /tls/failures has all.`,
  params: idParam,
  querystring: closed(readQuery),
  response: {
    200: closed({
      ...tlsReportFacts,
      variant: Type.String(),
      policies: Type.Array(
        closed({
          type: text(),
          domain: Type.String(),
          host_level: Type.Boolean({ description: 'the policy is about a host that receives mail (an MX)' }),
          policy_string: Type.Array(Type.String()),
          mx_host: Type.Array(Type.String()),
          successful: count('sessions'),
          failed: count('sessions'),
          details: Type.Array(closed(detail)),
        }),
      ),
      conflicts: Type.Array(
        closed({
          variant: Type.String(),
          mail_id: hexId(),
          received_at: instant(),
          successful: count(),
          failed: count(),
        }),
      ),
      ...stamp,
    }),
    '4xx': errorAnswer,
    503: errorAnswer,
  },
}

type DeliveryRow = TlsReportRow & { content: string }
interface PolicyRow {
  readonly policy_index: number
  readonly type: string
  readonly policy_domain: string
  readonly host_level: boolean
  readonly policy_string: string[]
  readonly mx_host: string[]
  readonly successful: number
  readonly failed: number
}
type DetailRow = Record<Exclude<keyof typeof detail, 'count'>, string> & { policy_index: number; count: number | null }

export const getTlsReport: Route = (server, context) => {
  server.get('/api/v1/tls/reports/:id', { schema }, async (request, reply) => {
    const reading = openReading(context, request.query, reply)
    const { tables } = reading
    const { id } = request.params
    const deliveries = await reading.query<DeliveryRow>(
      `SELECT * EXCEPT (report_key, variant, mail_id), lower(hex(report_key)) AS key, lower(hex(variant)) AS content,
         lower(hex(mail_id)) AS mail
       FROM ${tables.tls_reports} WHERE report_key = toFixedString(unhex({id:String}), 32)
       ORDER BY received_at, variant, mail_id, part, parser_version`,
      { id },
    )
    const winner = deliveries[0]
    if (winner === undefined) throw new ApiError('report_unknown')
    const ofWinner = `policy_domain IN {domains:Array(String)} AND day = {day:Date}
      AND report_key = toFixedString(unhex({id:String}), 32) AND variant = toFixedString(unhex({variant:String}), 16)`
    const named = { id, variant: winner.content, domains: winner.domains, day: winner.day }
    const policies = await reading.query<PolicyRow>(
      `SELECT * EXCEPT (report_key, variant) FROM ${tables.tls_policies} FINAL WHERE ${ofWinner} ORDER BY policy_index`,
      named,
    )
    const details = await reading.query<DetailRow>(
      `SELECT * EXCEPT (report_key, variant) FROM ${tables.tls_failures} FINAL WHERE ${ofWinner}
       ORDER BY policy_index, detail_index LIMIT ${MAX_DETAILS}`,
      named,
    )
    return {
      ...tlsReportFactsOf(winner),
      variant: winner.content,
      policies: policies.map((policy) => policyOf(policy, details)),
      conflicts: deliveries
        .filter(({ content }) => content !== winner.content)
        .map(({ content, mail, received_at, successful, failed }) => {
          return { variant: content, mail_id: mail, received_at, successful, failed }
        }),
      ...reading.stamp,
    }
  })
}

function policyOf(policy: PolicyRow, details: readonly DetailRow[]) {
  return {
    type: said(policy.type),
    domain: policy.policy_domain,
    host_level: policy.host_level,
    policy_string: policy.policy_string,
    mx_host: policy.mx_host,
    successful: policy.successful,
    failed: policy.failed,
    details: details
      .filter(({ policy_index }) => policy_index === policy.policy_index)
      .map((row) => ({
        result_type: said(row.result_type),
        sending_mta_ip: said(row.sending_mta_ip),
        receiving_mx_hostname: said(row.receiving_mx_hostname),
        receiving_mx_helo: said(row.receiving_mx_helo),
        receiving_ip: said(row.receiving_ip),
        count: row.count,
        additional_information: said(row.additional_information),
        reason_code: said(row.reason_code),
      })),
  }
}
