import type { Log, LogEvent } from '../topics/log.ts'

/** All events that the topic holds when this is called, then ends. */
export async function* eventsOfTopic(log: Log, topic: string, signal: AbortSignal): AsyncIterable<LogEvent> {
  const marks = await log.watermarks(topic)
  const heads = new Map(marks.filter(({ low, high }) => high > low).map(({ partition, high }) => [partition, high]))
  const open = new Set(heads.keys())
  if (open.size === 0) return
  const stop = new AbortController()
  for await (const events of log.follow(topic, { signal: AbortSignal.any([signal, stop.signal]) })) {
    for (const event of events) {
      const head = heads.get(event.partition) ?? 0
      if (event.offset + 1 >= head) open.delete(event.partition)
      if (event.offset < head) yield event
    }
    if (open.size === 0) stop.abort()
  }
}
