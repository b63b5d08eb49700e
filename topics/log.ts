/**
 * The log: the only truth. A port with two implementations (SQLite file, Kafka) that pass one contract test.
 *
 * Offsets grow within a partition and may have gaps. Events with one key stay in one partition, in order.
 */

export interface TopicSettings {
  readonly name: string
  readonly partitions: number
  /** Larger values are refused by `append` with `OversizedEvent`. */
  readonly maxValueBytes: number
  readonly retention?: { readonly milliseconds?: number; readonly bytes?: number }
}

export interface NewEvent {
  /** Chooses the partition; null spreads. */
  readonly key: string | null
  /** Instead of the one that the key chooses: for copies of a topic. */
  readonly partition?: number
  readonly value: Uint8Array
  readonly headers?: Readonly<Record<string, string>>
  /** Milliseconds since 1970 UTC, the producer's time; default: now. */
  readonly timestamp?: number
  /**
   * When given, the log appends the event only if this topic has never held one with the same `onceId`. Exact in the
   * embedded log; Kafka ignores it, and readers must be idempotent anyway.
   */
  readonly onceId?: string
}

export interface Appended {
  readonly partition: number
  readonly offset: number
  /** True when `onceId` was known already: nothing was appended, and the position is that of the first. */
  readonly duplicate: boolean
}

export interface LogEvent {
  readonly topic: string
  readonly partition: number
  readonly offset: number
  readonly key: string | null
  readonly value: Uint8Array
  readonly headers: Readonly<Record<string, string>>
  readonly timestamp: number
}

/** Events of one or several partitions, in order within each. */
export interface Batch {
  readonly events: readonly LogEvent[]
  /** Makes the group start after these events next time. Never moves a position back. */
  commit(): Promise<void>
}

export interface ReadOptions {
  readonly group: string
  readonly signal: AbortSignal
  /**
   * Where to begin, asked once per partition before it is read: the offset of the first event wanted, or undefined for
   * the group's committed offset (and the beginning when there is none). An offset given here wins over the group's.
   */
  readonly from?: (partition: number) => number | undefined | Promise<number | undefined>
  /** At most so many events (default 1000) and, when they are more than one, so many value bytes (default 8 MB) a batch. */
  readonly maxEvents?: number
  readonly maxBytes?: number
  /**
   * Asked when events that the group has not read are gone: its position is above 0 and below the low watermark. When it
   * resolves the read goes on at the low watermark; without it the read rejects with `OffsetGone`.
   */
  readonly onGap?: (gap: Gap) => void | Promise<void>
}

/** Events that retention removed before a group had read them: from `position` to below `low`. */
export interface Gap {
  readonly topic: string
  readonly group: string
  readonly partition: number
  readonly position: number
  readonly low: number
}

export interface FollowOptions {
  readonly signal: AbortSignal
  /** First offset wanted by partition; default the beginning. */
  readonly from?: ReadonlyMap<number, number>
}

export interface Watermark {
  readonly partition: number
  /** Offset of the oldest event kept: what lies below has been removed by retention. */
  readonly low: number
  /** Offset that the next event will get at the earliest; `low === high` when empty. */
  readonly high: number
}

export interface Log {
  /** Makes the topic if it is not there; the partition count of an existing topic never changes. */
  createTopic(settings: TopicSettings): Promise<void>
  topics(): Promise<readonly string[]>
  /** Removes the topic with its events and all groups' positions. Nobody may be reading it. Nothing happens when it is not there. */
  deleteTopic(name: string): Promise<void>
  /**
   * Resolves when all events are durable (on disk, past a power cut; on all in-sync replicas). When it rejects, the
   * embedded log has kept none of them; Kafka may have kept some, and appending them again is harmless to readers.
   */
  append(topic: string, events: readonly NewEvent[]): Promise<readonly Appended[]>
  /** Consumes as a member of a group. Ends promptly and without error when the signal aborts. */
  read(topic: string, options: ReadOptions): AsyncIterable<Batch>
  /** Reads without a group and without commits. Ends promptly when the signal aborts. */
  follow(topic: string, options: FollowOptions): AsyncIterable<readonly LogEvent[]>
  /** One event, or null when it is not there (any more). */
  get(topic: string, partition: number, offset: number): Promise<LogEvent | null>
  watermarks(topic: string): Promise<readonly Watermark[]>
  /** What the topic holds: its events, and the bytes that they take on disk. */
  size(topic: string): Promise<{ readonly events: number; readonly bytes: number }>
  /** Committed offset (next to be read) by partition; partitions without one are absent. */
  committed(topic: string, group: string): Promise<ReadonlyMap<number, number>>
  /** How many reads of the group are open now, in all processes. */
  members(group: string): Promise<number>
  /** Events between the group's position (`from` or else committed) and the head, and the timestamp of the oldest. */
  lag(topic: string, positions: ReadonlyMap<number, number>): Promise<{ events: number; oldest: number | null }>
  /** Whether single events can be taken off the log. Where not (Kafka), an event is gone when retention removes it. */
  readonly canErase: boolean
  /**
   * Empties these events: value, key and headers are gone, in their place stands `erasedHeader`, and offsets, timestamps
   * and counts stay. What is not there (any more), or is empty already, is passed over. Returns how many were found.
   * Their `onceId`s are forgotten, so that the same may be appended again, unless they are to be kept. On the disk the
   * bytes may still lie until `scrub`. Throws where `canErase` is false.
   */
  erase(topic: string, positions: readonly Position[], options?: { readonly keepOnceIds?: boolean }): Promise<number>
  /** Resolves when nothing of what was erased or removed is left in the log's files. Throws where `canErase` is false. */
  scrub(): Promise<void>
  /** Afterwards every verb throws `LogClosed`. */
  close(): Promise<void>
}

export interface Position {
  readonly partition: number
  readonly offset: number
}

/** Name of the one header that an erased event has. */
export const erasedHeader = 'mailtrail-erased'

/** Whether the event was erased: there is nothing in it to be read, and nothing is to be made of it. */
export function isErased({ value, headers }: Pick<LogEvent, 'value' | 'headers'>): boolean {
  return value.length === 0 && headers[erasedHeader] !== undefined
}

export class LogClosed extends Error {
  constructor() {
    super('The log is closed.')
  }
}
export class UnknownTopic extends Error {
  constructor(topic: string) {
    super(`There is no topic ${topic}; create it first.`)
  }
}
export class OversizedEvent extends Error {
  constructor(topic: string, bytes: number, limit: number) {
    super(`An event of ${bytes} bytes is larger than topic ${topic} takes (${limit} bytes).`)
  }
}
/** Events that a group has not read are gone: retention was shorter than the reader's absence. */
export class OffsetGone extends Error {
  readonly gap: Gap
  constructor(gap: Gap) {
    super(
      `Group ${gap.group} has read ${gap.topic}, partition ${gap.partition}, up to ${gap.position}, but it begins at ${gap.low}: ` +
        `${gap.low - gap.position} events were removed before they were read. Start with --accept-gap to go on without them, and make the retention longer.`,
    )
    this.gap = gap
  }
}
/** The disk is full or the quota reached: nothing of the call was kept, and it may be tried again. */
export class LogFull extends Error {}
/**
 * The log could not be reached in time. Of an append, some may be kept, or be kept later; it may be tried again, and
 * readers bear the second copy.
 */
export class LogUnavailable extends Error {}
/** The disk answered with an error, so what is durable is not known: the process must stop and recover. */
export class LogBroken extends Error {}
