import { join } from 'node:path'
import type { Config } from '../config.ts'
import { openBlobFolder } from '../edges/blob-folder.ts'
import { openBlobs, openKafka } from '../ports.ts'
import { settingsOf } from '../topics/all.ts'
import { type AvroRecord, frame, type SchemaRegistry, schemaIdOf } from '../topics/avro.ts'
import type { Blobs } from '../topics/blobs.ts'
import { acquireDataLock } from '../topics/data-lock.ts'
import { firstGeneration, type SharedTopic } from '../topics/generation.ts'
import { ingestHeader, parseBlobReference } from '../topics/ingest.ts'
import { isErased, type Log, type LogEvent, type NewEvent } from '../topics/log.ts'
import { openSqliteLog } from '../topics/sqlite-log.ts'
import { type Command, CommandError, type Context, counted, exitCode, UsageError } from './command.ts'
import { openProgress, type Progress } from './progress.ts'

/** What is copied; all else is computed from it. Mail last: whoever reads it must find what was observed and decided. */
const COPIED: readonly SharedTopic[] = ['observations', 'control', 'ingest']
/** On each copied event: where it lay, so that a copy that was cut off goes on where it was. */
const COPIED_FROM = 'mailtrail-copied-from'
const BATCH_EVENTS = 500
const BATCH_BYTES = 4 * 1024 * 1024
/** Events looked at in one step back, for the last one that was copied. */
const LOOK_BACK = 500

export const exportCommand: Command = {
  name: 'export',
  usage: 'export --to kafka [--data DIR]',
  about:
    'Copies a data folder to the Kafka that KAFKA_BROKERS and SCHEMA_REGISTRY_URL name: mail, what was observed and what was decided, with their\n' +
    'times and headers. The rest is computed there. Stop mailtrail first; run it again when it was cut off, and it goes on\n' +
    'where it was. Start the mailtrail on Kafka when it is done.',
  options: { to: { type: 'string', value: 'kafka', about: 'where to; kafka is all there is' } },
  example: 'mailtrail export --to kafka --data /var/lib/mailtrail',

  async run(args, context) {
    if (args.text('to') !== 'kafka' || args.positionals.length > 0)
      throw new UsageError('Say where to: mailtrail export --to kafka.')
    const data = args.text('data')
    const config = context.config(data === undefined ? {} : { MAILTRAIL_DATA: data })
    if (config.KAFKA_BROKERS.length === 0 || config.SCHEMA_REGISTRY_URL === null)
      throw new UsageError('Set KAFKA_BROKERS and SCHEMA_REGISTRY_URL to where the copy is to go.')
    const lock = await acquireDataLock(config.MAILTRAIL_DATA, { pid: process.pid })
    const source = await openSqliteLog({ path: join(config.MAILTRAIL_DATA, 'log.sqlite') })
    try {
      await copyAll(source, config, context)
    } finally {
      await source.close()
      await lock.release()
    }
    return exitCode.fine
  },
}

interface Copying {
  readonly from: Log
  readonly fromRegistry: SchemaRegistry
  readonly to: Log
  readonly toRegistry: SchemaRegistry
  /** Null when both places are the same. */
  readonly blobs: { readonly from: Blobs; readonly to: Blobs } | null
  readonly topic: SharedTopic
  readonly name: string
  readonly progress: Progress
  readonly signal: AbortSignal
}

async function copyAll(source: Log & SchemaRegistry, config: Config, context: Context): Promise<void> {
  const { stdout, stderr, signal } = context
  const onProblem = (message: string) => stderr.write(`${message}\n`)
  const { log: to, registry: toRegistry } = await openKafka(config, { onProblem, signal })
  const progress = openProgress(stderr, 'events')
  try {
    const first = firstGeneration(config.MAILTRAIL_TOPIC_PREFIX)
    const folder = join(config.MAILTRAIL_DATA, 'blobs')
    const blobs =
      config.MAILTRAIL_BLOBS === null
        ? null
        : { from: openBlobFolder(folder), to: openBlobs(config, folderOf(config, folder), onProblem) }
    const there = await source.topics()
    const options = {
      maxMailBytes: config.MAILTRAIL_MAX_MAIL_BYTES,
      retentionIngest: config.MAILTRAIL_RETENTION_INGEST,
      retentionPrivate: config.MAILTRAIL_RETENTION_PRIVATE,
    }
    await expectNoOtherControl(to, first.topics.control)
    for (const topic of COPIED) {
      const name = first.topics[topic]
      if (!there.includes(name))
        throw new CommandError(
          `${config.MAILTRAIL_DATA} has no topic ${name}. Is it a data folder, and the topic prefix the same?`,
        )
      await to.createTopic(settingsOf(topic, first, options))
      const copying = { from: source, fromRegistry: source, to, toRegistry, blobs, topic, name, progress, signal }
      const { copied, before } = await copyTopic(copying)
      progress.end()
      const earlier = before === 0 ? '' : `, after ${before} that were there`
      stdout.write(`${name}: ${counted(copied, 'event')} copied${earlier}.\n`)
    }
    stdout.write('Done. Start mailtrail on Kafka with the same settings; it computes the rest.\n')
  } finally {
    progress.end()
    await to.close()
  }
}

const folderOf = ({ MAILTRAIL_BLOBS: place }: Config, folder: string) =>
  place?.kind === 'folder' ? place.path : folder

/** What was decided in two places cannot be put together. */
async function expectNoOtherControl(to: Log, name: string): Promise<void> {
  if (!(await to.topics()).includes(name)) return
  const [mark] = await to.watermarks(name)
  if (mark === undefined || mark.low === mark.high) return
  const first = await to.get(name, mark.partition, mark.low)
  if (first !== null && first.headers[COPIED_FROM] === undefined)
    throw new CommandError(
      `A mailtrail has begun on that Kafka already (${name} is not empty). Export to another MAILTRAIL_TOPIC_PREFIX, or bring the mail alone: mailtrail import.`,
    )
}

/** Copies what is not there yet, partition by partition. */
async function copyTopic(copying: Copying): Promise<{ copied: number; before: number }> {
  const { from, name, progress, signal } = copying
  const marks = await from.watermarks(name)
  let copied = 0
  let before = 0
  const ids = new Map<number, number>()
  for (const { partition, low, high } of marks) {
    const next = Math.max(low, await nextToCopy(copying, partition))
    before += next - low
    let batch: LogEvent[] = []
    let bytes = 0
    const flush = async () => {
      if (batch.length > 0) await appendCopies(copying, partition, batch, ids)
      copied += batch.length
      batch = []
      bytes = 0
      progress.update(
        copied + before,
        marks.reduce((sum, mark) => sum + mark.high - mark.low, 0),
        name,
      )
    }
    for await (const event of eventsOf(from, name, partition, next, high, signal)) {
      batch.push(event)
      bytes += event.value.length
      if (batch.length >= BATCH_EVENTS || bytes >= BATCH_BYTES) await flush()
    }
    await flush()
  }
  signal.throwIfAborted()
  return { copied, before }
}

/** Events of one partition from an offset to below another. */
async function* eventsOf(log: Log, topic: string, only: number, start: number, end: number, signal: AbortSignal) {
  if (start >= end) return
  const stop = new AbortController()
  const from = new Map(
    (await log.watermarks(topic)).map(({ partition, high }) => [partition, partition === only ? start : high]),
  )
  for await (const events of log.follow(topic, { from, signal: AbortSignal.any([signal, stop.signal]) })) {
    for (const event of events) if (event.partition === only && event.offset < end) yield event
    if (events.some(({ partition, offset }) => partition === only && offset + 1 >= end)) return
  }
}

/** The source's offset after the last event that was copied. */
async function nextToCopy({ to, name, signal }: Copying, only: number): Promise<number> {
  const mark = (await to.watermarks(name)).find(({ partition }) => partition === only)
  if (mark === undefined) return 0
  for (let end = mark.high; end > mark.low; end -= LOOK_BACK) {
    let last: string | undefined
    for await (const { headers } of eventsOf(to, name, only, Math.max(mark.low, end - LOOK_BACK), end, signal))
      last = headers[COPIED_FROM] ?? last
    const [partition, offset] = (last ?? '').split('/').map(Number)
    if (last !== undefined && partition === only) return offset! + 1
  }
  return 0
}

async function appendCopies(
  copying: Copying,
  partition: number,
  events: readonly LogEvent[],
  ids: Map<number, number>,
): Promise<void> {
  const { topic, name, to } = copying
  const copies: NewEvent[] = []
  for (const { key, value, headers, timestamp, offset } of events) {
    if (topic === 'ingest') await copyBlob(copying, headers)
    copies.push({
      key,
      value: topic === 'ingest' || isErased({ value, headers }) ? value : await reframe(copying, value, ids),
      headers: { ...headers, [COPIED_FROM]: `${partition}/${offset}` },
      timestamp,
      partition,
    })
  }
  await to.append(name, copies)
}

async function copyBlob({ blobs }: Copying, headers: LogEvent['headers']): Promise<void> {
  const reference = parseBlobReference(headers[ingestHeader.blob] ?? '')
  if (reference === null || blobs === null) return
  const bytes = await blobs.from.get(reference.sha256)
  // What is missing here is missing there, too, and shows as a reject.
  if (bytes !== null) await blobs.to.put(bytes)
}

/** The same Avro under the number that the other registry has for its schema. */
async function reframe(copying: Copying, value: Uint8Array, ids: Map<number, number>): Promise<Uint8Array> {
  const { fromRegistry, toRegistry, topic } = copying
  const id = schemaIdOf(value)
  let other = ids.get(id)
  if (other === undefined) {
    const schema: AvroRecord = await fromRegistry.schema(id)
    other = await toRegistry.register(`${topic}-mailtrail.${schema.name}`, schema)
    ids.set(id, other)
  }
  return frame(other, value.subarray(5))
}
