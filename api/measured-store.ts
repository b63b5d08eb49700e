/** A store that is counted and timed, whichever serves it. */
import type { InsertOptions, QueryOptions, Store } from '../projections/store.ts'
import { errorType } from './measured-log.ts'

export type StoreOperation = 'INSERT' | 'SELECT' | 'COMMAND'

export interface StoreMeter {
  /** `table` without its database and generation, empty when the statement is not about one; `error` null when it went well. */
  asked(operation: StoreOperation, table: string, seconds: number, error: string | null): void
  /** Rows that are on the store's disk now. */
  inserted(table: string, rows: number): void
}

export function measureStore(store: Store, meter: StoreMeter): Store {
  const timed = async <T>(operation: StoreOperation, table: string, work: () => Promise<T>): Promise<T> => {
    const began = performance.now()
    const seconds = () => (performance.now() - began) / 1000
    try {
      const result = await work()
      meter.asked(operation, table, seconds(), null)
      return result
    } catch (error) {
      meter.asked(operation, table, seconds(), errorType(error))
      throw error
    }
  }
  return {
    ...(store.cluster === undefined ? {} : { cluster: store.cluster }),
    query: (sql, options) => timed('SELECT', '', () => store.query(sql, options)),
    command: (sql, options) => timed('COMMAND', '', () => store.command(sql, options)),
    // How long a stream takes is up to who reads it.
    stream: <Row>(sql: string, options?: QueryOptions) => store.stream<Row>(sql, options),
    async insert(table: string, block: Uint8Array, options?: InsertOptions) {
      const name = logicalName(table)
      await timed('INSERT', name, () => store.insert(table, block, options))
      meter.inserted(name, rowsOfBlock(block))
    },
    close: () => store.close(),
  }
}

/** `mailtrail.dmarc_records__g3` → `dmarc_records`: every replay would else add its tables to the metrics. */
function logicalName(table: string): string {
  return table.replace(/^.*\./, '').replace(/__g\d+$/, '')
}

/** A Native block begins with the number of its columns and that of its rows, both varuints. */
export function rowsOfBlock(block: Uint8Array): number {
  let at = 0
  const varuint = () => {
    let value = 0
    for (let factor = 1; ; factor *= 128) {
      const byte = block[at++] ?? 0
      value += (byte & 0x7f) * factor
      if (byte < 0x80) return value
    }
  }
  varuint()
  return varuint()
}
