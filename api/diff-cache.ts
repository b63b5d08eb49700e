/** Diffs that were worked out lately: the next page, and whoever asks at the same time, need no second reading. */
import { createHash } from 'node:crypto'
import type { Store } from '../projections/store.ts'
import type { Generation } from '../topics/generation.ts'
import { type DiffRequest, diffGenerations, type GenerationDiff } from './generation-diff.ts'

/** Kept at once; each holds 20,000 transitions (25 MB) at the most. */
const KEPT = 3

interface Entry {
  readonly made: string
  readonly result: Promise<GenerationDiff>
  readonly ending: AbortController
  /** Requests that wait for it. */
  waiting: number
  finished: boolean
}

export type DiffOf = Pick<DiffRequest, 'store' | 'from' | 'to' | 'domain'>

export class DiffCache {
  /** The one used last stands last. */
  readonly #entries = new Map<string, Entry>()

  /**
   * `made` says what the tables held when the diff was begun. With `wanted`, one made of that is taken when it is still
   * there, so that pages of one diff fit together. A diff that nobody waits for any more is given up.
   */
  async get(of: DiffOf, wanted: string | null, signal: AbortSignal): Promise<{ diff: GenerationDiff; made: string }> {
    const name = JSON.stringify([of.from.name, of.to.name, of.domain])
    const known = this.#entries.get(name)
    const made = wanted !== null && known?.made === wanted ? wanted : await contentsOf(of.store, [of.from, of.to])
    const current = this.#entries.get(name)
    const entry = current?.made === made && !current.ending.signal.aborted ? current : this.#begin(name, of, made)
    this.#entries.delete(name)
    this.#entries.set(name, entry)
    return { diff: await this.#wait(entry, signal), made }
  }

  #begin(name: string, of: DiffOf, made: string): Entry {
    const ending = new AbortController()
    const result = diffGenerations({ ...of, signal: ending.signal })
    const entry: Entry = { made, result, ending, waiting: 0, finished: false }
    result.then(
      () => {
        entry.finished = true
      },
      () => {
        if (this.#entries.get(name) === entry) this.#entries.delete(name)
      },
    )
    for (const [oldest, { finished }] of this.#entries) {
      if (this.#entries.size < KEPT) break
      if (finished) this.#entries.delete(oldest)
    }
    return entry
  }

  async #wait(entry: Entry, signal: AbortSignal): Promise<GenerationDiff> {
    const gone = Promise.withResolvers<never>()
    gone.promise.catch(() => undefined) // the race below hears of it, when it is still on
    const leave = () => gone.reject(signal.reason)
    signal.addEventListener('abort', leave, { once: true })
    entry.waiting++
    try {
      signal.throwIfAborted()
      return await Promise.race([entry.result, gone.promise])
    } finally {
      signal.removeEventListener('abort', leave)
      if (--entry.waiting === 0 && !entry.finished) entry.ending.abort()
    }
  }
}

/** A hash over what the compared tables hold: block numbers grow with every insert, and not with merges. */
async function contentsOf(store: Store, sides: readonly Generation[]): Promise<string> {
  const tables = new Set(sides.flatMap(({ tables: t }) => [t.record_verdicts, t.report_verdicts, t.dmarc_reports]))
  const rows = await store.query(
    `SELECT table, max(max_block_number) AS block, min(modification_time) AS first FROM system.parts
     WHERE active AND database = currentDatabase() AND table IN {tables:Array(String)} GROUP BY table ORDER BY table`,
    // On a cluster the parts are those of the tables below the distributed ones.
    { parameters: { tables: [...tables].flatMap((table) => [table, `${table}__local`]) } },
  )
  return createHash('sha256').update(JSON.stringify(rows)).digest('base64url').slice(0, 16)
}
