/**
 * The requests that kafkajs lacks (DescribeLogDirs) or that are ours for speed and for what they tell (Produce, Fetch
 * with the log's start). Kafka 2.3 and newer understand these versions.
 */
import { type ByteReader, ByteWriter } from './kafka-log-bytes.ts'
import type { AbortedTransaction } from './kafka-log-records.ts'

export interface RawRequest<T> {
  readonly apiKey: number
  readonly apiVersion: number
  readonly apiName: string
  readonly body: Buffer
  /** Milliseconds after which the connection counts as dead. */
  readonly timeout?: number
  readonly decode: (answer: ByteReader) => T
}

export interface ProduceBatch {
  readonly topic: string
  readonly partition: number
  readonly bytes: Buffer
}
export interface ProduceAnswer {
  readonly topic: string
  readonly partition: number
  readonly errorCode: number
  readonly baseOffset: number
}

const ALL_REPLICAS = -1

/** Produce 7: the first version that takes zstd. `timeout` is what the broker waits for its replicas, in milliseconds. */
export function produceRequest(batches: readonly ProduceBatch[], timeout: number): RawRequest<ProduceAnswer[]> {
  const size = batches.reduce((sum, { bytes, topic }) => sum + bytes.length + topic.length + 32, 64)
  const out = new ByteWriter(size).string(null).int16(ALL_REPLICAS).int32(timeout)
  out.array([...Map.groupBy(batches, ({ topic }) => topic)], ([topic, ofTopic]) => {
    out.string(topic).array(ofTopic, ({ partition, bytes }) => {
      out.int32(partition).int32(bytes.length).raw(bytes)
    })
  })
  return { apiKey: 0, apiVersion: 7, apiName: 'Produce', body: out.written(), decode: readProduceAnswer }
}

function readProduceAnswer(answer: ByteReader): ProduceAnswer[] {
  const topics = answer.array(() => {
    const topic = answer.string() ?? ''
    return answer.array(() => {
      const partition = answer.int32()
      const errorCode = answer.int16()
      const baseOffset = answer.int64()
      answer.int64() // time of append
      answer.int64() // start of the log
      return { topic, partition, errorCode, baseOffset }
    })
  })
  return topics.flat()
}

export interface FetchPartition {
  readonly partition: number
  readonly offset: number
  readonly maxBytes: number
}
export interface FetchedPartition {
  readonly partition: number
  readonly errorCode: number
  /** What a reader of committed transactions may read up to. */
  readonly stableOffset: number
  readonly logStart: number
  readonly aborted: readonly AbortedTransaction[]
  readonly records: Buffer
}

const NOT_A_REPLICA = -1
const READ_COMMITTED = 1
const ANY = -1

/** Fetch 11 of one topic, without a fetch session. Answers at once when a byte is there, else after `maxWait` ms. */
export function fetchRequest(
  topic: string,
  partitions: readonly FetchPartition[],
  maxWait: number,
  maxBytes: number,
): RawRequest<FetchedPartition[]> {
  const out = new ByteWriter(128 + 40 * partitions.length)
    .int32(NOT_A_REPLICA)
    .int32(maxWait)
    .int32(1)
    .int32(maxBytes)
    .int8(READ_COMMITTED)
    .int32(0)
    .int32(ANY)
    .int32(1)
    .string(topic)
  out.array(partitions, (wanted) => {
    out.int32(wanted.partition).int32(ANY).int64(wanted.offset).int64(ANY).int32(wanted.maxBytes)
  })
  out.int32(0).string('')
  return { apiKey: 1, apiVersion: 11, apiName: 'Fetch', body: out.written(), decode: readFetchAnswer }
}

function readFetchAnswer(answer: ByteReader): FetchedPartition[] {
  answer.int32() // throttle time
  const errorCode = answer.int16()
  answer.int32() // session
  const topics = answer.array(() => {
    answer.string()
    return answer.array(() => readFetchedPartition(answer))
  })
  if (errorCode !== 0) throw new Error(`The broker refused a fetch with error ${errorCode}.`)
  return topics.flat()
}

function readFetchedPartition(answer: ByteReader): FetchedPartition {
  const partition = answer.int32()
  const errorCode = answer.int16()
  answer.int64() // high watermark, beyond open transactions
  const stableOffset = answer.int64()
  const logStart = answer.int64()
  const aborted = answer.array(() => ({ producerId: answer.bigint64(), firstOffset: answer.int64() }))
  answer.int32() // preferred replica
  return { partition, errorCode, stableOffset, logStart, aborted, records: answer.blob() }
}

export interface LogDirPartition {
  readonly partition: number
  readonly bytes: number
}

/** DescribeLogDirs 1: what the partitions of a topic take on one broker's disks. */
export function logDirsRequest(topic: string, partitions: readonly number[]): RawRequest<LogDirPartition[]> {
  const out = new ByteWriter().int32(1).string(topic)
  out.array(partitions, (partition) => out.int32(partition))
  return { apiKey: 35, apiVersion: 1, apiName: 'DescribeLogDirs', body: out.written(), decode: readLogDirs }
}

function readLogDirs(answer: ByteReader): LogDirPartition[] {
  answer.int32() // throttle time
  const folders = answer.array(() => {
    const errorCode = answer.int16()
    answer.string() // folder
    const partitions = answer.array(() => {
      answer.string() // topic
      return answer.array(() => {
        const partition = answer.int32()
        const bytes = answer.int64()
        answer.int64() // how far a moving replica is behind
        const isFuture = answer.int8() !== 0
        return { partition, bytes: isFuture ? 0 : bytes }
      })
    })
    return errorCode === 0 ? partitions.flat() : []
  })
  return folders.flat()
}
