/**
 * The store: where answers are computed. A ClickHouse server, or our own child process that serves ClickHouse's HTTP
 * interface over chDB (`chdb-server.ts`); one client and one SQL for both.
 */

/** Values of `{name:Type}` placeholders; never put a value into the text of a statement. */
export type Parameters = Readonly<Record<string, unknown>>

export interface QueryOptions {
  readonly parameters?: Parameters
  readonly signal?: AbortSignal
  /** Seconds after which the store gives up; default 30. */
  readonly timeout?: number
}

export interface InsertOptions {
  /** Gives up; whether the rows went in is then not known. */
  readonly signal?: AbortSignal
}

export interface Store {
  /** The cluster that tables are made on; absent on one server. */
  readonly cluster?: { readonly name: string; readonly database: string }
  /** Rows as objects. Counts come as JSON numbers. */
  query<Row>(sql: string, options?: QueryOptions): Promise<Row[]>
  /** Rows as they come, in constant memory, for streams of any length. */
  stream<Row>(sql: string, options?: QueryOptions): AsyncIterable<readonly Row[]>
  /** A statement without an answer. */
  command(sql: string, options?: QueryOptions): Promise<void>
  /** Inserts one block in ClickHouse's Native format (see native.ts); resolves when the store has it on disk. */
  insert(table: string, block: Uint8Array, options?: InsertOptions): Promise<void>
  close(): Promise<void>
}

/** The store cannot be reached or answers with a fault that passes: try again later. */
export class StoreUnavailable extends Error {}
/** What the store holds is damaged; it must be rebuilt from the log. */
export class StoreDamaged extends Error {}
/** The store answers and refuses us: a name, a password or a right must be changed by a person, whom the message tells how. */
export class StoreRefused extends Error {}
