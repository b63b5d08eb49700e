/** Reads mails to lines of JSON, in this thread or in workers, in input order. Stores nothing. */
import { createReadStream, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { extname, join } from 'node:path'
import { Piscina } from 'piscina'
import type { Limits } from './formats/limits.ts'
import { MailJson } from './mail-json.ts'
import { readReportMail } from './read-mail.ts'
import { Spool } from './spool.ts'

export interface SourcedMail {
  readonly source: string
  readonly bytes: Uint8Array
}

let serial = 0

/** The lines of some mails, piece by piece; what is large lies in `folder` meanwhile. */
export async function jsonOf(mails: readonly SourcedMail[], limits: Limits, folder: string): Promise<Spool> {
  const newSpool = () => new Spool(folder, `${process.pid}-${serial++}.spool`)
  const out = newSpool()
  try {
    for (const { source, bytes } of mails) {
      const json = new MailJson(source, out, newSpool)
      try {
        await readReportMail(bytes, limits, json)
      } catch (error) {
        json.rejected('', {
          code: 'reader_failed',
          detail: `mailtrail itself failed here: ${(error as Error).message}`,
        })
      }
    }
    return out
  } catch (error) {
    out.discard()
    throw error
  }
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
    if (workers <= 1) {
      for await (const task of tasksOf(mails)) yield* drain(await jsonOf(task, limits, folder))
    } else yield* inWorkers(mails, limits, workers, folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function* drain(spool: Spool): Iterable<Uint8Array> {
  try {
    yield* spool.read()
  } finally {
    spool.discard()
  }
}

/** What a worker answers: the lines, or the file that holds them. */
export interface JsonAnswer {
  readonly bytes: Uint8Array | null
  readonly file: string | null
}

async function* inWorkers(
  mails: AsyncIterable<SourcedMail>,
  limits: Limits,
  workers: number,
  folder: string,
): AsyncIterable<Uint8Array> {
  const pool = new Piscina<readonly SourcedMail[], JsonAnswer>({
    filename: new URL(`./parse-json-worker${extname(import.meta.url)}`, import.meta.url).href,
    minThreads: workers,
    maxThreads: workers,
    workerData: { limits, folder },
  })
  const answers: Promise<JsonAnswer>[] = []
  try {
    for await (const task of tasksOf(mails)) {
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

async function* open({ bytes, file }: JsonAnswer): AsyncIterable<Uint8Array> {
  if (bytes !== null) yield bytes
  if (file === null) return
  yield* createReadStream(file, { highWaterMark: 1024 * 1024 })
  rmSync(file, { force: true })
}

async function* tasksOf(mails: AsyncIterable<SourcedMail>): AsyncIterable<SourcedMail[]> {
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
