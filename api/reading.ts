/** A read: it pins one generation when it starts, for all its statements, and ends when its client goes away. */
import type { FastifyReply } from 'fastify'
import type { Parameters, Store } from '../projections/store.ts'
import type { Generation, TableName } from '../topics/generation.ts'
import { clientGone } from './client-gone.ts'
import { generationOfCursor } from './cursor.ts'
import { ApiError } from './errors.ts'

export interface Stamp {
  readonly generation: string
  readonly rule_set: string | null
}

export interface Reading {
  readonly stamp: Stamp
  readonly generation: Generation
  /** Physical table names. */
  readonly tables: Readonly<Record<TableName, string>>
  query<Row>(sql: string, parameters?: Parameters): Promise<Row[]>
  stream<Row>(sql: string, parameters?: Parameters): AsyncIterable<readonly Row[]>
  /**
   * The rows of a list: with a limit, which the statement must keep to, at once, so that a page never leaves a statement
   * half read; without, as they come.
   */
  rows<Row>(sql: string, parameters: Parameters, limit: number | null): AsyncIterable<readonly Row[]>
}

/** Seconds; a page that takes longer is not worth waiting for. */
const QUERY_SECONDS = 30
/** A stream lasts as long as its client reads. */
const STREAM_SECONDS = 3600
/** Bytes a statement may hold; sorts and groups larger than half of it go to disk. */
const MEMORY = 400_000_000
const limits = (seconds: number) =>
  `SETTINGS max_execution_time = ${seconds}, max_memory_usage = ${MEMORY}, ` +
  `max_bytes_before_external_sort = ${MEMORY / 2}, max_bytes_before_external_group_by = ${MEMORY / 2}, ` +
  `optimize_read_in_order = 1, do_not_merge_across_partitions_select_final = 1`

/** A generation that is or was there; of one that is gone no table is left. */
export interface NamedGeneration {
  readonly generation: Generation
  readonly gone: boolean
}

interface ReadingSource {
  readonly store: Store
  generation(): Generation
  generationNamed(name: string): NamedGeneration | null
  rebuilding(): { done: number; total: number } | null
}

/** The generation asked for, that of the cursor, or the live one. */
function pinned(source: ReadingSource, asked: { generation?: string | undefined; cursor?: string | undefined }) {
  const name = asked.generation ?? (asked.cursor === undefined ? undefined : generationOfCursor(asked.cursor))
  if (name === undefined) return source.generation()
  const found = source.generationNamed(name)
  if (found !== null && !found.gone) return found.generation
  if (asked.generation !== undefined) throw new ApiError('generation_unknown', { field: 'generation' })
  throw new ApiError('cursor_expired', { field: 'cursor' })
}

/**
 * Throws `rebuilding`, `generation_unknown` and `cursor_expired`. A cursor goes on in the generation that it was made
 * in, whatever was promoted meanwhile. Without a reply the statements outlive the client: for answers that
 * several clients share.
 */
export function openReading(
  source: ReadingSource,
  asked: { generation?: string | undefined; partial?: boolean | undefined; cursor?: string | undefined },
  reply: FastifyReply | null,
): Reading {
  const progress = source.rebuilding()
  if (progress !== null && asked.partial !== true) throw new ApiError('rebuilding', { progress, retryAfter: 5 })
  const generation = pinned(source, asked)
  const gone = reply === null ? {} : { signal: clientGone(reply) }
  const reading: Reading = {
    generation,
    tables: generation.tables,
    stamp: { generation: generation.name, rule_set: generation.ruleSet },
    query: (sql, parameters = {}) =>
      source.store.query(`${sql} ${limits(QUERY_SECONDS)}`, { parameters, timeout: QUERY_SECONDS, ...gone }),
    stream: (sql, parameters = {}) =>
      source.store.stream(`${sql} ${limits(STREAM_SECONDS)}`, { parameters, timeout: STREAM_SECONDS, ...gone }),
    async *rows<Row>(sql: string, parameters: Parameters, limit: number | null) {
      if (limit === null) yield* reading.stream<Row>(sql, parameters)
      else yield await reading.query<Row>(sql, parameters)
    },
  }
  return reading
}
