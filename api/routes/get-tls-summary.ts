/** TLS sessions over time, and what failed by result type, submitter and MX. */
import Type, { type Static } from 'typebox'
import { winningTlsFailures, winningTlsPolicies } from '../../projections/winners.ts'
import { allOf } from '../filters.ts'
import { openReading } from '../reading.ts'
import type { Route } from '../route.ts'
import { said } from '../said.ts'
import { closed, count, day, errorAnswer, nullable, readQuery, stamp, text } from '../schemas.ts'
import { inRange, intervalStart, intervalStarts, intervals, timeRange } from '../time-range.ts'
import { tlsReportFilters, tlsRowConditions } from '../tls-filters.ts'

const sessions = {
  successful: count('sessions'),
  failed: count('sessions'),
  reports: count(),
}
const sessionSums = closed(sessions)
type Sessions = Static<typeof sessionSums>

const schema = {
  tags: ['tls'],
  summary: 'TLS sessions over time',
  description:
    'Sessions are the totals of the policies. `by_result_type` and `by_mx` add up failure details, which reporters may ' +
    'state several times over: they show where failures lie and are no totals. Example: ' +
    '`/api/v1/tls/summary?domain=example.com&interval=week`',
  querystring: closed({ ...readQuery, ...tlsReportFilters, interval: Type.Optional(Type.Enum([...intervals])) }),
  response: {
    200: closed({
      from: day(),
      to: day(),
      interval: Type.Enum([...intervals]),
      totals: sessionSums,
      series: Type.Array(closed({ start: day('first day of the interval'), ...sessions })),
      by_policy_type: Type.Array(closed({ type: text(), host_level: Type.Boolean(), ...sessions })),
      by_submitter: Type.Array(closed({ org: Type.String(), ...sessions })),
      by_result_type: Type.Array(closed({ result_type: text(), failed: count(), details: count() })),
      by_mx: Type.Array(closed({ receiving_mx_hostname: nullable(Type.String()), failed: count(), details: count() })),
      ...stamp,
    }),
    '4xx': errorAnswer,
    503: errorAnswer,
  },
}

/** Rows of each breakdown: the largest. */
const MAX_GROUPS = 100

export const getTlsSummary: Route = (server, context) => {
  server.get('/api/v1/tls/summary', { schema }, async (request, reply) => {
    const reading = openReading(context, request.query, reply)
    const range = timeRange(request.query, context.now())
    const interval = request.query.interval ?? 'day'
    const starts = intervalStarts(range, interval)
    const { sql, parameters } = allOf(tlsRowConditions(request.query))
    const chosen = `${inRange} AND ${sql}`
    const values = { ...range, ...parameters }
    const policies = `FROM ${winningTlsPolicies(reading.tables, inRange, chosen)}`
    const failures = `FROM ${winningTlsFailures(reading.tables, inRange, chosen)}`
    const sums = 'sum(successful) AS ok, sum(failed) AS bad, uniqExact(report_key) AS reports'
    const largest = `ORDER BY bad DESC, ok DESC, 1 LIMIT ${MAX_GROUPS}`
    const detailSums = 'sum(ifNull(count, 0)) AS bad, count() AS details'
    const [days, types, submitters, results, hosts] = await Promise.all([
      reading.query<SumRow & { day: string }>(`SELECT day, ${sums} ${policies} GROUP BY day`, values),
      reading.query<SumRow & { type: string; host_level: boolean }>(
        `SELECT type, host_level, ${sums} ${policies} GROUP BY type, host_level ${largest}`,
        values,
      ),
      reading.query<SumRow & { org: string }>(`SELECT org, ${sums} ${policies} GROUP BY org ${largest}`, values),
      reading.query<DetailSumRow & { result_type: string }>(
        `SELECT result_type, ${detailSums} ${failures} GROUP BY result_type ORDER BY bad DESC, 1 LIMIT ${MAX_GROUPS}`,
        values,
      ),
      reading.query<DetailSumRow & { host: string }>(
        `SELECT receiving_mx_hostname AS host, ${detailSums} ${failures} GROUP BY host ORDER BY bad DESC, 1 LIMIT ${MAX_GROUPS}`,
        values,
      ),
    ])
    const totals = none()
    const series = new Map(starts.map((start) => [start, none()]))
    for (const row of days) {
      add(totals, row)
      const step = series.get(intervalStart(row.day, interval))
      if (step !== undefined) add(step, row)
    }
    return {
      ...range,
      interval,
      totals,
      series: [...series].map(([start, step]) => ({ start, ...step })),
      by_policy_type: types.map(({ type, host_level, ...row }) => ({ type: said(type), host_level, ...read(row) })),
      by_submitter: submitters.map(({ org, ...row }) => ({ org, ...read(row) })),
      by_result_type: results.map(({ result_type, bad, details }) => {
        return { result_type: said(result_type), failed: bad, details }
      }),
      by_mx: hosts.map(({ host, bad, details }) => ({ receiving_mx_hostname: said(host), failed: bad, details })),
      ...reading.stamp,
    }
  })
}

interface SumRow {
  readonly ok: number
  readonly bad: number
  readonly reports: number
}
interface DetailSumRow {
  readonly bad: number
  readonly details: number
}

const none = (): Sessions => ({ successful: 0, failed: 0, reports: 0 })
const read = ({ ok, bad, reports }: SumRow): Sessions => ({ successful: ok, failed: bad, reports })

/** A report belongs to one day, so distinct reports of days add up. */
function add(sums: Sessions, { ok, bad, reports }: SumRow): void {
  sums.successful += ok
  sums.failed += bad
  sums.reports += reports
}
