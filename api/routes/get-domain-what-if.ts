/** What another policy would have done to the messages of a domain. */
import Type, { type Static } from 'typebox'
import { domainName, shownDomain } from '../filters.ts'
import { openReading } from '../reading.ts'
import { groupRecords, type RecordsOfDomain } from '../record-groups.ts'
import type { Route } from '../route.ts'
import { said } from '../said.ts'
import { closed, count, day, domainParam, errorAnswer, readQuery, stamp, text } from '../schemas.ts'
import { type Interval, intervalStart, intervalStarts, intervals, timeRange } from '../time-range.ts'
import { type AskedPolicy, assumptions, unknowable } from '../what-if-limits.ts'

const affected = { messages: count(), affected: count('of these, would have been quarantined or rejected') }
const perVerdict = closed({ verdict: Type.String(), ...affected })
const perSender = closed({ sender: text('null: the rules name none'), ...affected })
const perStart = closed({ start: day('first day of the interval'), ...affected })

const schema = {
  tags: ['domains'],
  summary: 'What another policy would have done',
  description:
    'Counts the messages that failed DMARC and would have been quarantined or rejected. A failing record is affected by ' +
    '`p` when its From domain is the policy domain, else by `sp`, else by `p`. Nothing is guessed: `assumes` says what ' +
    'the numbers take for granted, `cannot_know` what no report can tell. Example: ' +
    '`/api/v1/domains/example.com/what-if?p=reject&sp=none`',
  params: domainParam,
  querystring: closed({
    ...readQuery,
    p: Type.Enum(['quarantine', 'reject'], { description: 'policy for the domain itself' }),
    sp: Type.Optional(Type.Enum(['none', 'quarantine', 'reject'], { description: 'policy for domains below it' })),
    interval: Type.Optional(Type.Enum([...intervals])),
  }),
  response: {
    200: closed({
      ...{ domain: Type.String(), name: Type.String(), from: day(), to: day() },
      ...{ p: Type.String(), sp: text('null when not asked: p holds below as well') },
      assumes: Type.Array(Type.String(), { description: 'sentences' }),
      messages: count(),
      would_be_affected: count('quarantined or rejected'),
      would_be_quarantined: count(),
      would_be_rejected: count(),
      already_affected: count('of would_be_affected, were quarantined or rejected as it was'),
      by_verdict: Type.Array(perVerdict, { description: 'most affected first; empty while there are no rules' }),
      by_sender: Type.Array(perSender, { description: 'most affected first; empty while there are no rules' }),
      interval: Type.Enum([...intervals]),
      series: Type.Array(perStart),
      cannot_know: Type.Array(Type.String(), { description: 'sentences' }),
      ...stamp,
    }),
    '4xx': errorAnswer,
    503: errorAnswer,
  },
}

/** Days, verdicts and senders: a year of 40 senders is 90,000 groups. */
const MOST_GROUPS = 2_000_000

interface GroupRow {
  readonly k0: string
  readonly k1: string
  readonly k2: string
  readonly total: number
  /** Failing messages sent as the domain itself, and as others. */
  readonly itself: number
  readonly below: number
  readonly itself_already: number
  readonly below_already: number
  readonly unsaid: number
}

export const getDomainWhatIf: Route = (server, context) => {
  server.get('/api/v1/domains/:domain/what-if', { schema }, async (request, reply) => {
    const { query } = request
    const reading = openReading(context, query, reply)
    const range = timeRange(query, context.now())
    const interval: Interval = query.interval ?? 'day'
    const starts = intervalStarts(range, interval)
    const policy: AskedPolicy = { p: query.p, sp: query.sp ?? null }
    const domain = domainName(request.params.domain)
    const hasRules = reading.generation.ruleSet !== null
    // Where both policies do the same, nothing depends on the From domain.
    const isOne = policy.sp === null || policy.sp === policy.p
    const asked: RecordsOfDomain = { domain, range, needs: { facts: !isOne || !hasRules, verdicts: hasRules } }
    const outcome = new Outcome(policy)
    const steps = new Map(starts.map((start) => [start, new Outcome(policy)]))
    const verdicts = new Map<string, Outcome>()
    const senders = new Map<string, Outcome>()
    const of = (outcomes: Map<string, Outcome>, name: string) => {
      const known = outcomes.get(name) ?? new Outcome(policy)
      outcomes.set(name, known)
      return known
    }
    for await (const rows of groupRecords<GroupRow>(reading, asked, groups(asked), MOST_GROUPS)) {
      for (const row of rows) {
        outcome.add(row)
        steps.get(intervalStart(row.k0, interval))?.add(row)
        if (hasRules) of(verdicts, row.k1).add(row)
        if (hasRules) of(senders, row.k2).add(row)
      }
    }
    return {
      ...{ domain, name: shownDomain(domain), ...range, ...policy },
      assumes: assumptions(policy, outcome.unsaid),
      ...outcome.all(),
      by_verdict: mostAffected(verdicts).map(([verdict, sums]) => ({ verdict, ...sums })),
      by_sender: mostAffected(senders).map(([sender, sums]) => ({ sender: said(sender), ...sums })),
      interval,
      series: [...steps].map(([start, step]) => ({ start, ...step.sums() })),
      cannot_know: unknowable(policy),
      ...reading.stamp,
    }
  })
}

function groups({ needs }: RecordsOfDomain) {
  const fails = 'NOT dkim_aligned AND NOT spf_aligned'
  const itself = needs.facts ? "header_from IN ('', {domain:String})" : '1'
  const already = '(is_quarantined OR is_rejected)'
  return {
    keys: ['day', 'verdict', 'sender'],
    columns: [
      'sum(messages) AS total',
      `sumIf(messages, ${fails} AND ${itself}) AS itself`,
      `sumIf(messages, ${fails} AND NOT (${itself})) AS below`,
      `sumIf(messages, ${fails} AND ${itself} AND ${already}) AS itself_already`,
      `sumIf(messages, ${fails} AND NOT (${itself}) AND ${already}) AS below_already`,
      needs.facts ? `sumIf(messages, ${fails} AND header_from = '') AS unsaid` : '0 AS unsaid',
    ],
    matches: { sql: '1', parameters: {} },
    order: 'k0, k1, k2',
  }
}

/** Sums of some groups under the policy asked about. */
class Outcome {
  readonly #policy: AskedPolicy
  unsaid = 0
  #messages = 0
  #already = 0
  readonly #done = { none: 0, quarantine: 0, reject: 0 }

  constructor(policy: AskedPolicy) {
    this.#policy = policy
  }

  add(row: GroupRow): void {
    const { p, sp } = this.#policy
    const below = sp ?? p
    this.#messages += row.total
    this.unsaid += row.unsaid
    this.#done[p] += row.itself
    this.#done[below] += row.below
    this.#already += row.itself_already + (below === 'none' ? 0 : row.below_already)
  }

  sums(): Static<Type.TObject<typeof affected>> {
    return { messages: this.#messages, affected: this.#done.quarantine + this.#done.reject }
  }

  all() {
    const { messages, affected: would_be_affected } = this.sums()
    return {
      messages,
      would_be_affected,
      would_be_quarantined: this.#done.quarantine,
      would_be_rejected: this.#done.reject,
      already_affected: this.#already,
    }
  }
}

function mostAffected(outcomes: ReadonlyMap<string, Outcome>) {
  return [...outcomes]
    .map(([name, outcome]) => [name, outcome.sums()] as const)
    .toSorted(([a, x], [b, y]) => y.affected - x.affected || y.messages - x.messages || (a < b ? -1 : 1))
}
