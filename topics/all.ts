/** Every topic and every event type, once. */
import {
  CONTROL,
  GapAccepted,
  GenerationCancelled,
  GenerationPaused,
  GenerationPromoted,
  GenerationResumed,
  GenerationRetired,
  GenerationRolledBack,
  GenerationStarted,
  MailErased,
  MailErasureFinished,
  ObservationEpochBegun,
  RuleSetPublished,
} from './control.ts'
import { DmarcRecordsEnriched, ENRICHED } from './enriched.ts'
import { derivedTopics, type Generation, type LogicalTopic, sharedTopics } from './generation.ts'
import { INGEST } from './ingest.ts'
import type { TopicSettings } from './log.ts'
import { AddressesObserved, KeyObserved, OBSERVATIONS } from './observations.ts'
import { FailureReportRead, MailRead, PRIVATE } from './private.ts'
import { MailRejected, REJECTS } from './rejects.ts'
import { DmarcRecordsRead, DmarcReportRead, REPORTS, TlsPoliciesRead, TlsReportRead } from './reports.ts'
import { DmarcRecordsEvaluated, VERDICTS } from './verdicts.ts'

export const controlEvents = [
  RuleSetPublished,
  GenerationStarted,
  GenerationPromoted,
  GenerationRolledBack,
  GenerationPaused,
  GenerationResumed,
  GenerationCancelled,
  GenerationRetired,
  ObservationEpochBegun,
  GapAccepted,
  MailErased,
  MailErasureFinished,
] as const
export type ControlEventType = (typeof controlEvents)[number]

export const eventTypes = [
  DmarcRecordsRead,
  DmarcReportRead,
  TlsPoliciesRead,
  TlsReportRead,
  MailRead,
  FailureReportRead,
  MailRejected,
  DmarcRecordsEnriched,
  DmarcRecordsEvaluated,
  AddressesObserved,
  KeyObserved,
  ...controlEvents,
] as const
export type AnyEventType = (typeof eventTypes)[number]

/** Partitions of every topic but `control`, in both modes; the count of a topic never changes. */
export const PARTITIONS = 12

/** No derived event is larger: strings and lists are cut before (see `processors/formats/codes.ts`). */
export const MAX_EVENT_BYTES = 1024 * 1024

export interface TopicOptions {
  readonly maxMailBytes: number
  readonly retentionIngest: number | null
  readonly retentionPrivate: number | null
}

/** How a topic of a generation is to be made. */
export function settingsOf(topic: LogicalTopic, generation: Generation, options: TopicOptions): TopicSettings {
  const retention: Record<LogicalTopic, number | null> = {
    [INGEST]: options.retentionIngest,
    [REPORTS]: options.retentionIngest,
    [ENRICHED]: options.retentionIngest,
    [VERDICTS]: options.retentionIngest,
    [REJECTS]: options.retentionIngest,
    [OBSERVATIONS]: options.retentionIngest,
    [PRIVATE]: options.retentionPrivate,
    [CONTROL]: null,
  }
  const milliseconds = retention[topic]
  return {
    name: generation.topics[topic],
    partitions: topic === CONTROL ? 1 : PARTITIONS,
    maxValueBytes: topic === INGEST ? options.maxMailBytes : MAX_EVENT_BYTES,
    ...(milliseconds === null ? {} : { retention: { milliseconds } }),
  }
}

/** Settings of all topics of a generation, the shared ones among them. */
export function topicSettings(options: TopicOptions, generation: Generation): readonly TopicSettings[] {
  return [...sharedTopics, ...derivedTopics].map((topic) => settingsOf(topic, generation, options))
}
