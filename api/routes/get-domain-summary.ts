/** The sums of one domain, over the range and over time. */
import Type from 'typebox'
import { domainName, shownDomain } from '../filters.ts'
import { openReading } from '../reading.ts'
import type { Route } from '../route.ts'
import {
  closed,
  day,
  domainParam,
  domainSums,
  errorAnswer,
  nullable,
  readQuery,
  stamp,
  verdictSums,
} from '../schemas.ts'
import { reportFacts, SumsOverTime, type SumsRow, sumsOfFacts } from '../sums.ts'
import { type Interval, inRange, intervalStart, intervalStarts, intervals, timeRange } from '../time-range.ts'
import { addVerdictSums, noVerdictSums, readVerdictSums, type VerdictSums } from '../verdict-sums.ts'

const sums = { ...domainSums, verdicts: nullable(verdictSums) }

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
      totals: closed({ domain: Type.String(), ...sums }),
      series: Type.Array(closed({ start: day('first day of the interval'), ...sums })),
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
    const chosen = `(policy_domain = {domain:String} ${below})`
    const [rows, verdicts] = await Promise.all([
      reading.query<SumsRow & { day: string }>(
        `SELECT f.day AS day, ${sumsOfFacts}
         FROM (SELECT * REPLACE(if(policy_domain = {domain:String}, policy_rank, 0) AS policy_rank)
               FROM (${reportFacts(reading.tables, chosen)})) AS f
         GROUP BY f.day ORDER BY f.day`,
        { ...range, domain },
      ),
      readVerdictSums(reading, 'day', `${inRange} AND ${chosen}`, { ...range, domain }),
    ])
    const totals = new Step(verdicts !== null)
    const steps = new Map(starts.map((start) => [start, new Step(verdicts !== null)]))
    for (const row of rows) {
      const ofDay = verdicts?.get(row.day) ?? null
      totals.add(row, ofDay)
      steps.get(intervalStart(row.day, interval))?.add(row, ofDay)
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

/** An interval, or the whole range. */
class Step {
  readonly #sums = new SumsOverTime()
  readonly #verdicts: VerdictSums | null

  constructor(hasRules: boolean) {
    this.#verdicts = hasRules ? noVerdictSums() : null
  }

  add(row: SumsRow, verdicts: VerdictSums | null): void {
    this.#sums.add(row)
    if (this.#verdicts !== null && verdicts !== null) addVerdictSums(this.#verdicts, verdicts)
  }

  value() {
    return { ...this.#sums.value(), verdicts: this.#verdicts }
  }
}
