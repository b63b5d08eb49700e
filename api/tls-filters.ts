/** Filters on TLS reports, their policies and their failure details. */
import { anyEntry, type Condition, domainName, oneOf } from './filters.ts'
import { filter } from './schemas.ts'

export const tlsReportFilters = { domain: filter('policy domain'), org: filter('submitter') }

type Values = readonly string[] | undefined

/** On the table of reports, where the domains of a report are a list: one of them is enough. */
export function tlsReportConditions(asked: { domain?: Values; org?: Values }): Condition[] {
  return [...anyEntry('domain', 'domains', asked.domain, domainName), ...orgCondition(asked.org)]
}

/** On the tables of policies and details, which have one domain a row. */
export function tlsRowConditions(asked: { domain?: Values; org?: Values }): Condition[] {
  return [...oneOf('domain', 'policy_domain', asked.domain, domainName), ...orgCondition(asked.org)]
}

function orgCondition(values: Values): Condition[] {
  return oneOf('org', 'org', values, (org) => org.toLowerCase())
}
