/** What the main thread asks of the log's worker thread, and what it answers. */

export interface TopicInfo {
  readonly id: number
  readonly name: string
  readonly partitions: number
  readonly maxValueBytes: number
  readonly retentionMilliseconds: number | null
  readonly retentionBytes: number | null
}

/** Events as columns. The values lie one behind the other in `values`, which is transferred, not copied. */
export interface EventColumns {
  readonly partitions: number[]
  readonly keys: (string | null)[]
  /** JSON of an object of strings; null = no headers. */
  readonly headers: (string | null)[]
  readonly timestamps: number[]
  readonly sizes: number[]
  readonly values: ArrayBuffer
}

export interface AppendRequest extends EventColumns {
  readonly topic: number
  /** Null when no event of the call has one. */
  readonly onceIds: (string | undefined)[] | null
}
export interface AppendReply {
  readonly offsets: number[]
  /** Where an event was a duplicate: the partition of the first; else -1. Null when nothing was one. */
  readonly duplicateOf: number[] | null
}

export interface CommitRequest {
  readonly topic: number
  readonly group: string
  /** Pairs of partition and next offset. */
  readonly positions: readonly (readonly [number, number])[]
}

export interface SeekRequest {
  readonly topic: number
  readonly group: string | null
  /** First offset wanted by partition; undefined: the group's, else the beginning. */
  readonly from: readonly (number | undefined)[]
}
export interface SeekReply {
  readonly starts: number[]
  /** No event that is wanted lies below this offset. */
  readonly scanFrom: number
}

export interface ScanRequest {
  readonly topic: number
  readonly scanFrom: number
  /** Events below their partition's start are passed over; null when no start is above `scanFrom`. */
  readonly starts: readonly number[] | null
  readonly maxEvents: number
  readonly maxBytes: number
}
export interface ScanReply extends EventColumns {
  readonly offsets: number[]
  readonly scanFrom: number
  /** True when nothing was left behind these events. */
  readonly atHead: boolean
}

export interface LogCounters {
  readonly events: number
  readonly calls: number
  /** Transactions that wrote appended events. */
  readonly transactions: number
}

export interface Operations {
  createTopic: { request: Omit<TopicInfo, 'id'>; reply: TopicInfo }
  deleteTopic: { request: { topic: number }; reply: null }
  append: { request: AppendRequest; reply: AppendReply }
  commit: { request: CommitRequest; reply: null }
  seek: { request: SeekRequest; reply: SeekReply }
  scan: { request: ScanRequest; reply: ScanReply }
  watermarks: { request: { topic: number }; reply: { partition: number; low: number; high: number }[] }
  size: { request: { topic: number }; reply: { events: number; bytes: number } }
  committed: { request: { topic: number; group: string }; reply: [number, number][] }
  lag: {
    request: { topic: number; positions: ReadonlyMap<number, number> }
    reply: { events: number; oldest: number | null }
  }
  erase: { request: { topic: number; offsets: readonly number[]; keepOnceIds: boolean }; reply: { found: number } }
  scrub: { request: null; reply: { more: boolean } }
  retain: { request: { topic: number; now: number }; reply: { more: boolean } }
  register: { request: { subject: string; fingerprint: string; schema: string }; reply: number }
  schema: { request: { id: number }; reply: string | null }
  counters: { request: null; reply: LogCounters }
  close: { request: null; reply: null }
}
export type Operation = keyof Operations

/** One question; `T` distributes, so that `kind` tells the type of `request`. */
export type Question<T extends Operation = Operation> = T extends Operation
  ? { readonly id: number; readonly kind: T; readonly request: Operations[T]['request'] }
  : never

/** `full`: nothing was kept and it may be tried again. `broken`: the process must stop. `error`: anything else. */
export interface Failure {
  readonly code: 'full' | 'broken' | 'error'
  readonly message: string
}
export type Answer =
  | { readonly id: number; readonly reply: Operations[Operation]['reply'] }
  | { readonly id: number; readonly failure: Failure }

/** The worker sends one `opened`, or one `refused` and ends; after that, answers, several at a time. */
export type WorkerMessage =
  | { readonly opened: readonly TopicInfo[] }
  | { readonly refused: Failure }
  | { readonly answers: readonly Answer[] }

export interface WorkerSettings {
  readonly path: string
  readonly maxBytes: number | null
}
