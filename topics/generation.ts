/** A generation maps every stage and table to the physical topic or table that holds its result. */
import { INGEST } from './ingest.ts'
import { PRIVATE } from './private.ts'
import { REJECTS } from './rejects.ts'
import { REPORTS } from './reports.ts'

export const tableNames = [
  'dmarc_records',
  'dmarc_reports',
  'tls_policies',
  'tls_failures',
  'tls_reports',
  'failure_reports',
  'mail',
  'rejects',
] as const
export type TableName = (typeof tableNames)[number]

export interface Generation {
  /** n-th generation ever started, from 1; never reused. */
  readonly number: number
  readonly name: string
  /** Id of the rule set that it was evaluated under, null while there are no rules. */
  readonly ruleSet: string | null
  readonly topics: Readonly<Record<typeof INGEST | typeof REPORTS | typeof PRIVATE | typeof REJECTS, string>>
  readonly tables: Readonly<Record<TableName, string>>
}

/** The generation that a new installation begins with. The prefix applies to topics, not to tables. */
export function firstGeneration(topicPrefix: string): Generation {
  const topic = (name: string) => `${topicPrefix}${name}.g1`
  return {
    number: 1,
    name: 'g1',
    ruleSet: null,
    topics: {
      ingest: `${topicPrefix}${INGEST}`,
      reports: topic(REPORTS),
      private: topic(PRIVATE),
      rejects: topic(REJECTS),
    },
    tables: Object.fromEntries(tableNames.map((name) => [name, `${name}__g1`])) as Record<TableName, string>,
  }
}
