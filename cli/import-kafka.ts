/** Mail from a topic of any Kafka cluster: raw messages, as anybody's producer wrote them, or another mailtrail's `ingest`. */
import type { Config } from '../config.ts'
import { openKafkaLog } from '../ports.ts'
import { ingestHeader } from '../topics/ingest.ts'
import type { Log, LogEvent } from '../topics/log.ts'
import { CommandError, type Context, counted, type Delivered, type IncomingMail, UsageError } from './command.ts'
import type { Destination, ImportSummary } from './destination.ts'
import { openProgress } from './progress.ts'

/** The group whose offsets say how far an import of the topic has got. */
const GROUP = 'mailtrail-import'

export interface KafkaSource {
  readonly broker: string
  readonly topic: string
}

/** `kafka://HOST:PORT/TOPIC`. Throws `UsageError`. */
export function kafkaSource(address: string): KafkaSource {
  const match = /^kafka:\/\/([^/@]+:\d{1,5})\/([A-Za-z0-9._-]{1,249})$/.exec(address)
  if (match === null)
    throw new UsageError(
      `--from ${address} must be kafka://HOST:PORT/TOPIC. TLS and the user come from KAFKA_SSL, KAFKA_USERNAME and so on.`,
    )
  return { broker: match[1]!, topic: match[2]! }
}

/**
 * Brings what the topic holds now to the destination, and remembers in the group's offsets how far it came: run again, it
 * goes on from there.
 */
export async function importKafka(
  { broker, topic }: KafkaSource,
  destination: Destination,
  wait: boolean,
  config: Config,
  { stderr, signal }: Context,
): Promise<{ summary: ImportSummary; failed: boolean }> {
  const summary: ImportSummary = { read: 0, new: 0, duplicates: 0, rejects: null }
  const complain = (message: string) => stderr.write(`${message}\n`)
  const log = await openKafkaLog({ ...config, KAFKA_BROKERS: [broker] }, { onProblem: complain, signal })
  const progress = openProgress(stderr, 'mails')
  const delivered: Delivered[] = []
  let failed = false
  try {
    await expectTopic(log, topic, broker)
    const left = await unread(log, topic)
    const total = [...left.values()].reduce((sum, { events }) => sum + events, 0)
    const ended = new AbortController()
    if (left.size === 0) ended.abort()
    const reading = { group: GROUP, signal: AbortSignal.any([signal, ended.signal]) }
    for await (const batch of log.read(topic, reading)) {
      const mails = batch.events.flatMap((event) => {
        const mail = mailOf(event, broker)
        if (mail === null) {
          failed = true
          complain(
            `${topic}, partition ${event.partition}, offset ${event.offset} only says where its mail lies; its blob store is not read here.`,
          )
        }
        return mail === null ? [] : [mail]
      })
      summary.read += mails.length
      for (const answer of await destination.deliver(mails)) {
        delivered.push(answer)
        if (answer.duplicate) summary.duplicates++
        else summary.new++
      }
      await batch.commit()
      progress.update(summary.read, total, topic)
      for (const { partition, offset } of batch.events)
        if (offset + 1 >= (left.get(partition)?.head ?? 0)) left.delete(partition)
      if (left.size === 0) ended.abort()
    }
    if (wait && !signal.aborted) summary.rejects = await destination.settle(delivered)
  } finally {
    progress.end()
    await log.close()
  }
  if (signal.aborted)
    throw new CommandError(`Interrupted after ${counted(summary.read, 'mail')}. Run the same import again; it goes on.`)
  return { summary, failed }
}

async function expectTopic(log: Log, topic: string, broker: string): Promise<void> {
  const topics = await log.topics()
  if (!topics.includes(topic))
    throw new CommandError(`${broker} has no topic ${topic}. It has: ${topics.slice(0, 20).join(', ') || 'none'}.`)
}

/** Partitions with events that the group has not read, up to the head of now. */
async function unread(
  log: Log,
  topic: string,
): Promise<Map<number, { readonly head: number; readonly events: number }>> {
  const committed = await log.committed(topic, GROUP)
  const left = new Map<number, { head: number; events: number }>()
  for (const { partition, low, high } of await log.watermarks(topic)) {
    const start = Math.max(low, committed.get(partition) ?? low)
    if (high > start) left.set(partition, { head: high, events: high - start })
  }
  return left
}

/** Null for a claim check: the bytes are elsewhere. */
function mailOf(
  { topic, partition, offset, value, headers, timestamp }: LogEvent,
  broker: string,
): IncomingMail | null {
  if (value.length === 0 && headers[ingestHeader.blob] !== undefined) return null
  const stated = headers[ingestHeader.receivedAt]
  const isInstant = stated !== undefined && !Number.isNaN(Date.parse(stated))
  return {
    source: headers[ingestHeader.source] ?? `kafka://${broker}/${topic}/${partition}/${offset}`,
    bytes: value,
    receivedAt: isInstant ? stated : new Date(timestamp).toISOString(),
    receivedFrom: 'import',
    envelopeFrom: headers[ingestHeader.envelopeFrom],
    envelopeTo: headers[ingestHeader.envelopeTo],
  }
}
