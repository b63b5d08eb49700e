/** A generation maps every stage and table to the physical topic or table that holds its result. */
import { CONTROL } from './control.ts'
import { ENRICHED } from './enriched.ts'
import { INGEST } from './ingest.ts'
import { OBSERVATIONS } from './observations.ts'
import { PRIVATE } from './private.ts'
import { REJECTS } from './rejects.ts'
import { REPORTS } from './reports.ts'
import { VERDICTS } from './verdicts.ts'

/** Topics that are there once, whatever generations there are. */
export const sharedTopics = [INGEST, OBSERVATIONS, CONTROL] as const
/** Topics that belong to a generation carry its number: `reports.g1`. */
export const derivedTopics = [REPORTS, PRIVATE, REJECTS, ENRICHED, VERDICTS] as const
export type SharedTopic = (typeof sharedTopics)[number]
export type DerivedTopic = (typeof derivedTopics)[number]
export type LogicalTopic = SharedTopic | DerivedTopic

/** Tables of facts, filled from `enriched`, `private` and `rejects`. */
export const factTables = [
  'dmarc_records',
  'dmarc_reports',
  'tls_policies',
  'tls_failures',
  'tls_reports',
  'failure_reports',
  'mail',
  'rejects',
] as const
/** Tables of verdicts, filled from `verdicts`: all that a new rule set changes. */
export const verdictTables = ['record_verdicts', 'report_verdicts'] as const
export const tableNames = [...factTables, ...verdictTables] as const
export type TableName = (typeof tableNames)[number]

/** Where the building of a generation begins: at the raw mail, or at the facts that its parent has. */
export const startPoints = ['ingest', 'enriched'] as const
export type StartPoint = (typeof startPoints)[number]

export interface Generation {
  /** n-th generation ever started, from 1; never reused. */
  readonly number: number
  readonly name: string
  /** Id of the rule set that it was evaluated under, null while there are no rules. */
  readonly ruleSet: string | null
  readonly from: StartPoint
  /** Number of the generation that it shares the rest with; null when all is its own. */
  readonly parent: number | null
  /** Observation epoch. */
  readonly epoch: number
  readonly topics: Readonly<Record<LogicalTopic, string>>
  readonly tables: Readonly<Record<TableName, string>>
}

export interface GenerationStart {
  readonly number: number
  readonly ruleSet: string | null
  readonly from: StartPoint
  /** Null only when it starts from `ingest`. */
  readonly parent: Generation | null
  readonly epoch: number
  /** Applies to topics, not to tables. */
  readonly topicPrefix: string
}

/** Names what the start point changes after the generation, and points at the parent's for the rest. */
export function makeGeneration({ number, ruleSet, from, parent, epoch, topicPrefix }: GenerationStart): Generation {
  const name = `g${number}`
  const own = (topic: DerivedTopic) => [topic, `${topicPrefix}${topic}.${name}`]
  const ownTable = (table: TableName) => [table, `${table}__${name}`]
  const isPartial = from === 'enriched'
  if (isPartial && parent === null) throw new Error(`Generation ${number} starts from enriched and has no parent.`)
  const topics = {
    ...Object.fromEntries(sharedTopics.map((topic) => [topic, `${topicPrefix}${topic}`])),
    ...(isPartial ? parent!.topics : {}),
    ...Object.fromEntries((isPartial ? ([VERDICTS] as const) : derivedTopics).map(own)),
  } as Record<LogicalTopic, string>
  const tables = {
    ...(isPartial ? parent!.tables : {}),
    ...Object.fromEntries((isPartial ? verdictTables : tableNames).map(ownTable)),
  } as Record<TableName, string>
  return { number, name, ruleSet, from, parent: isPartial ? parent!.number : null, epoch, topics, tables }
}

/** The generation that a new installation begins with. */
export function firstGeneration(topicPrefix: string, ruleSet: string | null = null): Generation {
  return makeGeneration({ number: 1, ruleSet, from: 'ingest', parent: null, epoch: 1, topicPrefix })
}
