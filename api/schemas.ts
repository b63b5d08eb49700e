/** Schemas that several routes share: each validates, types and documents. */
import Type, { type TNumber, type TProperties, type TSchema } from 'typebox'
import { type Verdict, verdictNames } from '../topics/verdicts.ts'

export const text = (description?: string) => nullable(Type.String(described(description)))
export const nullable = <T extends TSchema>(schema: T) => Type.Union([schema, Type.Null()])
export const count = (description?: string) => Type.Number(described(description))
export const day = (description?: string) =>
  Type.String({ ...described(description), pattern: '^\\d{4}-\\d{2}-\\d{2}$', examples: ['2026-11-20'] })
export const instant = (description?: string) =>
  Type.String({ ...described(description ?? 'ISO 8601, UTC'), examples: ['2026-11-20T06:12:44.000Z'] })
export const hexId = (description?: string) =>
  Type.String({ ...described(description), pattern: '^[0-9a-f]{64}$', examples: ['c3'.repeat(32)] })
export const closed = <P extends TProperties>(properties: P, description?: string) =>
  Type.Object(properties, { additionalProperties: false, ...described(description) })

function described(description: string | undefined): { description?: string } {
  return description === undefined ? {} : { description }
}

/** Every answer says where it comes from. */
export const stamp = {
  generation: Type.String({ description: 'the generation that the answer comes from', examples: ['g1'] }),
  rule_set: text('id of the rule set, null while there are no rules'),
}

export const errorAnswer = closed({
  error: closed({
    code: Type.String(),
    message: Type.String({ description: 'a sentence that says what to do' }),
    field: text('the parameter, header or member at fault'),
    progress: Type.Optional(closed({ done: count(), total: count() })),
  }),
})

export const warning = closed({ code: Type.String(), detail: Type.String() })

/** Parameters of every read. */
export const readQuery = {
  from: Type.Optional(
    Type.String({ description: 'first day, UTC; default 29 days before `to`', examples: ['2026-11-01'] }),
  ),
  to: Type.Optional(Type.String({ description: 'last day, inclusive; default today', examples: ['2026-11-30'] })),
  generation: Type.Optional(
    Type.String({ maxLength: 64, description: 'name or number of a generation; default the live one' }),
  ),
  partial: Type.Optional(
    Type.Boolean({ description: 'true: answer from what is there while the store is being rebuilt' }),
  ),
}

export const MAX_LIMIT = 1000
export const DEFAULT_LIMIT = 100

/** Parameters of every list. */
export const listQuery = {
  ...readQuery,
  limit: Type.Optional(
    Type.Integer({ minimum: 1, maximum: MAX_LIMIT, description: `items a page; default ${DEFAULT_LIMIT}` }),
  ),
  cursor: Type.Optional(Type.String({ maxLength: 2048, description: 'next_cursor of the page before' })),
}

/** A filter: repeated = any of them, `!value` = none of them. */
export const filter = (description: string) =>
  Type.Optional(
    Type.Array(Type.String({ minLength: 1, maxLength: 1024 }), {
      maxItems: 100,
      description: `${description}; repeat for any of several, !value excludes`,
    }),
  )

export const listAnswer = <T extends TSchema>(item: T) =>
  closed({ items: Type.Array(item), next_cursor: text('for the next page; null at the end'), ...stamp })

export const policyAnswer = closed({ p: text(), sp: text(), np: text(), pct: nullable(Type.Number()) })

/** Messages by outcome (semantics: always weighted by count). */
export const messageSums = {
  messages: count('messages that the records count'),
  passed: count('DKIM or SPF aligned'),
  full_pass: count('DKIM and SPF aligned'),
  dkim_only: count(),
  spf_only: count(),
  failed: count('neither aligned'),
  none: count('delivered as usual'),
  quarantine: count(),
  reject: count(),
}

/** Messages by verdict; they add up to the messages of the reports that are judged. */
export const verdictSums = closed(
  Object.fromEntries(verdictNames.map((verdict) => [verdict, count()])) as Record<Verdict, TNumber>,
  'messages by verdict; null while there are no rules',
)

/** What `/domains` and `summary` say of a domain or of a span of time. */
export const domainSums = {
  ...messageSums,
  reports: count('aggregate reports'),
  tls_reports: count(),
  tls_successful: count('TLS sessions'),
  tls_failed: count('TLS sessions'),
  policy: policyAnswer,
  first_day: nullable(day()),
  last_day: nullable(day()),
}

export const domainParam = closed({
  domain: Type.String({ minLength: 1, maxLength: 255, description: 'policy domain', examples: ['example.com'] }),
})
export const idParam = closed({ id: hexId('64 lower-case hex digits') })
