/** What answers say of who sent the mail that a report came in, and the filter on it. */
import Type, { type Static } from 'typebox'
import {
  type AuthenticationOutcome,
  type AuthenticationReason,
  authenticationOutcomes,
  authenticationReasons,
} from '../topics/authentication.ts'
import { ApiError } from './errors.ts'
import { type Condition, oneOf } from './filters.ts'
import { said } from './said.ts'
import { closed, filter, text } from './schemas.ts'

const reasons = Object.entries(authenticationReasons).map(([code, { text: sentence }]) => `${code}: ${sentence}`)

export const authenticationFacts = {
  authenticated: Type.Enum([...authenticationOutcomes], {
    description:
      'whether the domain of the submitter vouches for the mail: pass; fail: it was checked and does not; none: nothing ' +
      'could be checked',
  }),
  authentication: closed(
    {
      reason: Type.String({ description: reasons.join('; ') }),
      explanation: Type.String(),
      domain: text('whose signature is valid, or whom a mail server of ours vouches for, be it not the submitter'),
    },
    'why',
  ),
}
const facts = Type.Object(authenticationFacts)

export interface AuthenticatedRow {
  readonly authentication: AuthenticationOutcome
  readonly authentication_reason: AuthenticationReason
  readonly authentication_domain: string
}

export function authenticationOf(row: AuthenticatedRow): Static<typeof facts> {
  const { authentication: authenticated, authentication_reason: reason, authentication_domain: domain } = row
  // A later version may have written the event, with a reason that is not known here.
  const { text: explanation } = authenticationReasons[reason] ?? authenticationReasons.not_checked
  return { authenticated, authentication: { reason, explanation, domain: said(domain) } }
}

export const authenticatedFilter = { authenticated: filter(authenticationOutcomes.join(', ')) }

/** On the rows that are shown: deliveries of one report may differ in it. */
export function authenticatedConditions(values: readonly string[] | undefined): Condition[] {
  return oneOf('authenticated', 'authentication', values, outcomeOf)
}

function outcomeOf(value: string): string {
  if ((authenticationOutcomes as readonly string[]).includes(value)) return value
  const message = `There is no outcome ${JSON.stringify(value)}; write ${authenticationOutcomes.join(', ')}.`
  throw new ApiError('parameter_invalid', { field: 'authenticated', message })
}
