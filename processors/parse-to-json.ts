/** Reads mails to lines of JSON, in this thread or in workers, in input order. Stores nothing. */
import { createReadStream, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { extname, join } from 'node:path'
import { threadId } from 'node:worker_threads'
import { Piscina } from 'piscina'
import type { Limits } from './formats/limits.ts'
import { type JsonPart, MailJson } from './mail-json.ts'
import { readReportMail } from './read-mail.ts'
import { Spool } from './spool.ts'

export interface SourcedMail {
  readonly source: string
  readonly bytes: Uint8Array
}

let serial = 0

/** The lines of some mails, piece by piece; records of large reports lie in `folder` meanwhile. */
export async function jsonOf(mails: readonly SourcedMail[], limits: Limits, folder: string): Promise<JsonPart[]> {
  const newSpool = () => new Spool(folder, `${process.pid}-${threadId}-${serial++}.spool`)
  const parts: JsonPart[] = []
  for (const { source, bytes } of mails) {
    const json = new MailJson(source, parts, newSpool)
    try {
      await readReportMail(bytes, limits, json)
    } catch (error) {
      json.rejected('', { code: 'reader_failed', detail: `mailtrail itself failed here: ${(error as Error).message}` })
    }
  }
  return joined(parts)
}

/** The same with neighbouring bytes in one piece. */
function joined(parts: readonly JsonPart[]): JsonPart[] {
  const result: JsonPart[] = []
  let bytes: Uint8Array[] = []
  for (const part of parts) {
    if (part instanceof Spool) {
      result.push(Buffer.concat(bytes), part)
      bytes = []
    } else bytes.push(part)
  }
  return [...result, Buffer.concat(bytes)]
}

/** A task of so many bytes keeps a worker busy for some milliseconds, long against the cost of sending it. */
const TASK_BYTES = 512 * 1024
const TASK_MAILS = 64
/** Tasks sent ahead per worker. */
const AHEAD = 3

export interface ParseToJsonOptions {
  readonly limits: Limits
  readonly workers: number
}

/** Lines of JSON for all mails, in order. A fault of the reader in one mail is a rejected line, and the rest goes on. */
export async function* parseToJson(
  mails: AsyncIterable<SourcedMail>,
  { limits, workers }: ParseToJsonOptions,
): AsyncIterable<Uint8Array> {
  const folder = mkdtempSync(join(tmpdir(), 'mailtrail-parse-'))
  try {
    const tasks = tasksOf(mails)
    if (workers > 1) {
      const first = await tasks.next()
      const second = first.done ? first : await tasks.next()
      // Starting a worker takes longer than reading some mails.
      if (!second.done) {
        yield* inWorkers(startingWith([first.value as SourcedMail[], second.value], tasks), limits, workers, folder)
        return
      }
      if (!first.done) yield* inThisThread(first.value, limits, folder)
      return
    }
    for await (const task of tasks) yield* inThisThread(task, limits, folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function* startingWith<T>(first: readonly T[], rest: AsyncIterable<T>): AsyncIterable<T> {
  yield* first
  yield* rest
}

async function* inThisThread(task: readonly SourcedMail[], limits: Limits, folder: string): AsyncIterable<Uint8Array> {
  for (const part of await jsonOf(task, limits, folder)) yield* drain(part)
}

function* drain(part: JsonPart): Iterable<Uint8Array> {
  if (part instanceof Spool) {
    yield* part.read()
    part.discard()
  } else yield part
}

/** What a worker answers: bytes, and names of files that hold what comes between them. */
export type JsonAnswer = readonly (Uint8Array | string)[]

async function* inWorkers(
  tasks: AsyncIterable<readonly SourcedMail[]>,
  limits: Limits,
  workers: number,
  folder: string,
): AsyncIterable<Uint8Array> {
  const pool = new Piscina<readonly SourcedMail[], JsonAnswer>({
    filename: new URL(`./parse-json-worker${extname(import.meta.url)}`, import.meta.url).href,
    minThreads: workers,
    maxThreads: workers,
    workerData: { limits, folder },
    resourceLimits: { maxYoungGenerationSizeMb: 48 },
  })
  const answers: Promise<JsonAnswer>[] = []
  try {
    for await (const task of tasks) {
      // A view may share its buffer with others: a worker gets memory of its own.
      const own = task.map(({ source, bytes }) => ({ source, bytes: new Uint8Array(bytes) }))
      const answer = pool.run(own, { transferList: own.map(({ bytes }) => bytes.buffer) })
      answer.catch(() => undefined) // awaited in order below; until then a failure is not unhandled
      answers.push(answer)
      while (answers.length >= workers * AHEAD) yield* open(await answers.shift()!)
    }
    for (const answer of answers) yield* open(await answer)
  } finally {
    await pool.destroy()
  }
}

async function* open(answer: JsonAnswer): AsyncIterable<Uint8Array> {
  for (const part of answer) {
    if (typeof part !== 'string') {
      yield part
      continue
    }
    yield* createReadStream(part, { highWaterMark: 256 * 1024 })
    rmSync(part, { force: true })
  }
}

async function* tasksOf(mails: AsyncIterable<SourcedMail>): AsyncGenerator<SourcedMail[], undefined> {
  let task: SourcedMail[] = []
  let size = 0
  for await (const mail of mails) {
    task.push(mail)
    size += mail.bytes.length
    if (size >= TASK_BYTES || task.length >= TASK_MAILS) {
      yield task
      task = []
      size = 0
    }
  }
  if (task.length > 0) yield task
}
