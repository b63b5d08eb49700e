/** Events as callers know them, and as columns that travel between the threads. */
import { type LogEvent, type NewEvent, OversizedEvent } from './log.ts'
import { partitionOf } from './partition.ts'
import type { AppendRequest, ScanReply, TopicInfo } from './sqlite-log-messages.ts'

/**
 * Copies the events of a call into columns and one buffer that belongs to nobody else. Throws `OversizedEvent`.
 * `nextRound` is asked once, when there are events without a key, for the partition of all of them.
 */
export function columnsOf(
  topic: TopicInfo,
  events: readonly NewEvent[],
  now: number,
  nextRound: () => number,
): AppendRequest {
  let total = 0
  for (const { value } of events) {
    if (value.length > topic.maxValueBytes) throw new OversizedEvent(topic.name, value.length, topic.maxValueBytes)
    total += value.length
  }
  const values = new Uint8Array(new ArrayBuffer(total))
  let at = 0
  for (const { value } of events) {
    values.set(value, at)
    at += value.length
  }
  const withoutKey = events.some(({ key }) => key === null) ? nextRound() : 0
  return {
    topic: topic.id,
    partitions: events.map(
      ({ key, partition }) => partition ?? (key === null ? withoutKey : partitionOf(key, topic.partitions)),
    ),
    keys: events.map(({ key }) => key),
    headers: events.map(({ headers }) => (headers === undefined ? null : headerText(headers))),
    timestamps: events.map(({ timestamp }) => timestamp ?? now),
    onceIds: events.some(({ onceId }) => onceId !== undefined) ? events.map(({ onceId }) => onceId) : null,
    sizes: events.map(({ value }) => value.length),
    values: values.buffer,
  }
}

function headerText(headers: Readonly<Record<string, string>>): string | null {
  const text = JSON.stringify(headers)
  return text === '{}' ? null : text
}

/** The events of a scan; their values are views of one buffer, so that none of them may be transferred. */
export function eventsOf(topic: string, reply: ScanReply): LogEvent[] {
  let start = 0
  return reply.offsets.map((offset, i) => {
    const headers = reply.headers[i] ?? null
    const size = reply.sizes[i]!
    const value = new Uint8Array(reply.values, start, size)
    start += size
    return {
      topic,
      partition: reply.partitions[i]!,
      offset,
      key: reply.keys[i] ?? null,
      value,
      headers: headers === null ? {} : (JSON.parse(headers) as Record<string, string>),
      timestamp: reply.timestamps[i]!,
    }
  })
}
