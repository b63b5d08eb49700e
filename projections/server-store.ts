/** The store on a ClickHouse server, or on a cluster of them: one connection that writes, and one that only reads. */
import { openClickhouseStore } from './clickhouse-store.ts'
import { untilStoreAnswers } from './run.ts'
import type { Store } from './store.ts'

export interface ServerStoreOptions {
  /** Address of the HTTP interface, without a path. */
  readonly url: string
  readonly username: string
  readonly password: string
  /** Made when it is not there and the user may make it. */
  readonly database: string
  /** Tables are replicated and sharded over the servers of this cluster; null: one server. */
  readonly cluster: string | null
  /** User that answers are read with, whose limits the server's operator sets (docs/clickhouse.md); null: the same. */
  readonly readUsername: string | null
  readonly readPassword: string
  /** The server is waited for until it aborts. */
  readonly signal: AbortSignal
  readonly onProblem: (message: string) => void
}

export interface ServerStore {
  readonly write: Store
  /** The same object as `write` when no user for reading is named. */
  readonly read: Store
}

/**
 * Kafka takes a partition from a consumer that does not come back within 60 s (its rebalance time-out). So an insert that a
 * server does not answer is given up before, in 40 s and the 5 that the client waits longer.
 */
const INSERT_SECONDS = 40

/**
 * Resolves when the server answers and the database is there, after waiting for both. Throws `StoreRefused` when the server
 * does not let one of the users in or the database cannot be made.
 */
export async function openServerStore(options: ServerStoreOptions): Promise<ServerStore> {
  const { url, username, password, database, cluster, readUsername, readPassword } = options
  const write = openClickhouseStore({ url, username, password, database, cluster, insertSeconds: INSERT_SECONDS })
  const read =
    readUsername === null
      ? write
      : openClickhouseStore({
          url,
          username: readUsername,
          password: readPassword,
          database,
          cluster,
          readOnly: true,
          credentials: 'CLICKHOUSE_READ_USER and CLICKHOUSE_READ_PASSWORD',
        })
  try {
    for (const store of new Set([write, read])) await untilStoreAnswers(options, () => store.query('SELECT 1'))
    return { write, read }
  } catch (error) {
    for (const store of new Set([write, read])) await store.close()
    throw error
  }
}
