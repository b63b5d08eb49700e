/** Every topic and every event type, once. */
import { INGEST } from './ingest.ts'
import type { TopicSettings } from './log.ts'
import { FailureReportRead, MailRead, PRIVATE } from './private.ts'
import { MailRejected, REJECTS } from './rejects.ts'
import { DmarcRecordsRead, DmarcReportRead, REPORTS, TlsPoliciesRead, TlsReportRead } from './reports.ts'

export const eventTypes = [
  DmarcRecordsRead,
  DmarcReportRead,
  TlsPoliciesRead,
  TlsReportRead,
  MailRead,
  FailureReportRead,
  MailRejected,
] as const
export type AnyEventType = (typeof eventTypes)[number]

/** Partitions of every topic but `control`, in both modes; the count of a topic never changes. */
export const PARTITIONS = 12

/** No derived event is larger: strings and lists are cut before (see `processors/formats/codes.ts`). */
export const MAX_EVENT_BYTES = 1024 * 1024

export type LogicalTopic = typeof INGEST | typeof REPORTS | typeof PRIVATE | typeof REJECTS

/** Topics that belong to a generation carry its number: `reports.g1`. */
export const derivedTopics = [REPORTS, PRIVATE, REJECTS] as const

export interface TopicOptions {
  readonly prefix: string
  readonly maxMailBytes: number
  readonly retentionIngest: number | null
  readonly retentionPrivate: number | null
}

/** Settings of every topic of the first generation; `physical` maps a logical name to the name on the log. */
export function topicSettings(
  options: TopicOptions,
  physical: (topic: LogicalTopic) => string,
): readonly TopicSettings[] {
  const kept = (milliseconds: number | null) => (milliseconds === null ? {} : { retention: { milliseconds } })
  return [
    {
      name: physical(INGEST),
      partitions: PARTITIONS,
      maxValueBytes: options.maxMailBytes,
      ...kept(options.retentionIngest),
    },
    {
      name: physical(REPORTS),
      partitions: PARTITIONS,
      maxValueBytes: MAX_EVENT_BYTES,
      ...kept(options.retentionIngest),
    },
    {
      name: physical(PRIVATE),
      partitions: PARTITIONS,
      maxValueBytes: MAX_EVENT_BYTES,
      ...kept(options.retentionPrivate),
    },
    {
      name: physical(REJECTS),
      partitions: PARTITIONS,
      maxValueBytes: MAX_EVENT_BYTES,
      ...kept(options.retentionIngest),
    },
  ]
}
