/** Failure details of the TLS reports that count, newest first. */
import Type, { type Static } from 'typebox'
import { winningTlsFailures, winningTlsReports } from '../../projections/winners.ts'
import { allOf, oneOf } from '../filters.ts'
import { answerList, listRange } from '../lists.ts'
import { itemsOf, newestFirst } from '../newest-first.ts'
import { openReading } from '../reading.ts'
import type { Route } from '../route.ts'
import { said } from '../said.ts'
import { closed, count, day, errorAnswer, filter, hexId, listAnswer, listQuery, nullable, text } from '../schemas.ts'
import { inRange } from '../time-range.ts'
import { tlsReportFilters, tlsRowConditions } from '../tls-filters.ts'

const item = closed({
  report_id: hexId('of /tls/reports/{id}'),
  policy_index: count('of the policy in its report, from 0'),
  detail_index: count('in its report, from 0'),
  domain: Type.String({ description: 'policy domain' }),
  day: day(),
  org: Type.String({ description: 'submitter, lower case' }),
  org_name: text(),
  result_type: text(),
  sending_mta_ip: text(),
  receiving_mx_hostname: text(),
  receiving_mx_helo: text(),
  receiving_ip: text(),
  count: nullable(count('failed sessions; details may overlap, so they never add up to a total')),
  additional_information: text(),
  reason_code: text(),
})
type Item = Static<typeof item>

const whole = Type.Integer({ minimum: 0, maximum: 0xffffffff })
const key = Type.Tuple([
  Type.String({ pattern: '^\\d{4}-\\d\\d-\\d\\d$' }),
  Type.String({ maxLength: 1024 }),
  Type.String({ pattern: '^[0-9a-f]{64}$' }),
  whole,
  whole,
])
type Key = Static<typeof key>

const schema = {
  tags: ['tls'],
  summary: 'TLS failure details',
  description: 'Example: `/api/v1/tls/failures?domain=example.com&result_type=certificate-expired`',
  querystring: closed({
    ...listQuery,
    ...tlsReportFilters,
    result_type: filter('such as certificate-expired (RFC 8460 §4.3)'),
    mx: filter('host that received'),
  }),
  response: { 200: listAnswer(item), '4xx': errorAnswer, 503: errorAnswer },
}

interface FailureRow {
  readonly key: string
  readonly policy_index: number
  readonly detail_index: number
  readonly policy_domain: string
  readonly day: string
  readonly org: string
  readonly org_name: string
  readonly result_type: string
  readonly sending_mta_ip: string
  readonly receiving_mx_hostname: string
  readonly receiving_mx_helo: string
  readonly receiving_ip: string
  readonly count: number | null
  readonly additional_information: string
  readonly reason_code: string
}

export const getTlsFailures: Route = (server, context) => {
  server.get('/api/v1/tls/failures', { schema }, async (request, reply) => {
    const reading = openReading(context, request.query, reply)
    const range = listRange(request.query, context.now())
    const { tables } = reading
    const chosen = allOf([
      ...tlsRowConditions(request.query),
      ...oneOf('result_type', 'result_type', request.query.result_type),
      ...oneOf('mx', 'receiving_mx_hostname', request.query.mx, (host) => host.toLowerCase()),
    ])
    const failures = winningTlsFailures(tables, inRange, `${inRange} AND ${chosen.sql} AND {after}`)
    const statement = `SELECT f.* EXCEPT (report_key, variant), lower(hex(f.report_key)) AS key, w.org_name AS org_name
      FROM (SELECT * FROM ${failures}) AS f
      INNER JOIN (${winningTlsReports(tables, inRange, ['report_key', 'org_name'])}) AS w ON w.report_key = f.report_key
      ORDER BY f.day DESC, f.policy_domain, f.report_key, f.policy_index, f.detail_index`
    const rows = (after: Key | null, limit: number | null) =>
      newestFirst<FailureRow>(
        reading,
        range,
        {
          statement,
          after: after === null ? null : afterFailure(after),
          days: `SELECT day FROM ${tables.tls_failures} WHERE ${inRange} AND ${chosen.sql}`,
          parameters: chosen.parameters,
        },
        limit,
      )
    const page = await answerList(
      { request, reply, reading, range },
      {
        item,
        key,
        keyOf: (row: Item): Key => [row.day, row.domain, row.report_id, row.policy_index, row.detail_index],
        read: (after: Key | null, limit: number | null) => itemsOf(rows(after, limit), failureOf),
      },
    )
    return page ?? reply
  })
}

function afterFailure([day, domain, report, policy, detail]: Key) {
  return {
    day,
    sql: `(day < {after_day:Date} OR (day = {after_day:Date}
      AND (policy_domain, report_key, policy_index, detail_index) > ({after_domain:String},
        toFixedString(unhex({after_report:String}), 32), {after_policy:UInt32}, {after_detail:UInt32})))`,
    parameters: {
      after_day: day,
      after_domain: domain,
      after_report: report,
      after_policy: policy,
      after_detail: detail,
    },
  }
}

function failureOf(row: FailureRow): Item {
  return {
    report_id: row.key,
    policy_index: row.policy_index,
    detail_index: row.detail_index,
    domain: row.policy_domain,
    day: row.day,
    org: row.org,
    org_name: said(row.org_name),
    result_type: said(row.result_type),
    sending_mta_ip: said(row.sending_mta_ip),
    receiving_mx_hostname: said(row.receiving_mx_hostname),
    receiving_mx_helo: said(row.receiving_mx_helo),
    receiving_ip: said(row.receiving_ip),
    count: row.count,
    additional_information: said(row.additional_information),
    reason_code: said(row.reason_code),
  }
}
