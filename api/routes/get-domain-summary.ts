/** The sums of one domain, over the range and over time. */
import Type from 'typebox'
import { domainName, shownDomain } from '../filters.ts'
import { openReading } from '../reading.ts'
import type { Route } from '../route.ts'
import { closed, day, domainParam, domainSums, errorAnswer, readQuery, stamp } from '../schemas.ts'
import { reportFacts, SumsOverTime, type SumsRow, sumsOfFacts } from '../sums.ts'
import { type Interval, intervalStart, intervalStarts, intervals, timeRange } from '../time-range.ts'

const schema = {
  tags: ['domains'],
  summary: 'One domain over time',
  description:
    'A series entry names the first day of its interval (weeks begin on Monday, months on the 1st) and counts only days ' +
    'of the range; empty intervals are zeros. With `subdomains=true` the policy domains below count too; `policy` stays ' +
    'that of the domain itself. Example: `/api/v1/domains/example.com/summary?interval=week`',
  params: domainParam,
  querystring: closed({
    ...readQuery,
    interval: Type.Optional(Type.Enum([...intervals])),
    subdomains: Type.Optional(Type.Boolean({ description: 'policy domains below it count too' })),
  }),
  response: {
    200: closed({
      domain: Type.String(),
      name: Type.String(),
      from: day(),
      to: day(),
      interval: Type.Enum([...intervals]),
      totals: closed({ domain: Type.String(), ...domainSums }),
      series: Type.Array(closed({ start: day('first day of the interval'), ...domainSums })),
      ...stamp,
    }),
    '4xx': errorAnswer,
    503: errorAnswer,
  },
}

export const getDomainSummary: Route = (server, context) => {
  server.get('/api/v1/domains/:domain/summary', { schema }, async (request, reply) => {
    const reading = openReading(context, request.query, reply)
    const range = timeRange(request.query, context.now())
    const interval: Interval = request.query.interval ?? 'day'
    const starts = intervalStarts(range, interval)
    const domain = domainName(request.params.domain)
    const below = request.query.subdomains === true ? "OR endsWith(policy_domain, concat('.', {domain:String}))" : ''
    const rows = await reading.query<SumsRow & { day: string }>(
      `SELECT f.day AS day, ${sumsOfFacts}
       FROM (SELECT * REPLACE(if(policy_domain = {domain:String}, policy_rank, 0) AS policy_rank)
             FROM (${reportFacts(reading.tables, `(policy_domain = {domain:String} ${below})`)})) AS f
       GROUP BY f.day ORDER BY f.day`,
      { ...range, domain },
    )
    const totals = new SumsOverTime()
    const steps = new Map(starts.map((start) => [start, new SumsOverTime()]))
    for (const row of rows) {
      totals.add(row)
      steps.get(intervalStart(row.day, interval))?.add(row)
    }
    return {
      domain,
      name: shownDomain(domain),
      ...range,
      interval,
      totals: { domain, ...totals.value() },
      series: [...steps].map(([start, step]) => ({ start, ...step.value() })),
      ...reading.stamp,
    }
  })
}
