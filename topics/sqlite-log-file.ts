/**
 * The log's database file: opening, transactions, and what belongs to no single topic. Used by one thread of one
 * process only; the lock that SQLite takes (`locking_mode=EXCLUSIVE`) keeps any other out, and also means that there is
 * no shared-memory file, whose growth on a full disk would be an I/O error rather than "full".
 */
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import type {
  AppendReply,
  AppendRequest,
  CommitRequest,
  Failure,
  LogCounters,
  Operations,
  SeekReply,
  SeekRequest,
  TopicInfo,
} from './sqlite-log-messages.ts'
import { createTables, dropTables, type RemovedRow, TopicTable } from './sqlite-log-topic.ts'
import { readFileVersion } from './sqlite-log-version.ts'

/** Version of the tables, in `PRAGMA user_version`. */
const SCHEMA_VERSION = 1
/** "mtlg": tells our files from other SQLite databases. */
const APPLICATION_ID = 0x6d746c67
/** Halves the cost of appending values of 5 KB against 4 KB pages. Takes effect before the first table only. */
const PAGE_SIZE = 16384
/** 16 MB of write-ahead log; a checkpoint of it takes some 20 ms, during which appends wait. */
const CHECKPOINT_PAGES = 1024
/**
 * Earlier versions can lose committed transactions when the write-ahead log is reset while another connection
 * checkpoints (fixed in 3.51.3, and in the branches 3.50.7 and 3.44.6). We keep to one connection, but whoever opens
 * the file with a tool of their own after a crash should not depend on that. `wal_checkpoint(NOOP)` needs 3.51 anyway.
 */
const OLDEST_SQLITE = [3, 51, 3] as const

/** Free pages that one transaction of `scrub` overwrites, between which appends go on. */
const SCRUB_PAGES = 1024
/** Pages of one row of zeros. */
const SCRUB_ROW_PAGES = 64

const SQLITE = { BUSY: 5, IOERR: 10, CORRUPT: 11, FULL: 13, CANTOPEN: 14, NOTADB: 26 } as const

function primaryCode(error: unknown): number | undefined {
  const code = error instanceof Error && 'errcode' in error ? error.errcode : undefined
  return typeof code === 'number' ? code & 0xff : undefined
}

/** Tells a full disk and a failing one from everything else. */
export function failureOf(error: unknown): Failure {
  const message = error instanceof Error ? error.message : String(error)
  switch (primaryCode(error)) {
    case SQLITE.FULL:
      return {
        code: 'full',
        message: `The disk of the log is full or its quota is reached (${message}): nothing of this call was kept. Make room and try again.`,
      }
    case SQLITE.IOERR:
    case SQLITE.CORRUPT:
    case SQLITE.NOTADB:
    case SQLITE.CANTOPEN:
      return {
        code: 'broken',
        message: `The disk of the log answered with an error (${message}), so what is durable is not known. Check the disk, then start again.`,
      }
    default:
      return { code: 'error', message }
  }
}

/** Throws when this SQLite is too old to be trusted with a log. */
export function assertSafeSqlite(version: string): void {
  const parts = version.split('.').map(Number)
  const differs = OLDEST_SQLITE.findIndex((part, i) => part !== parts[i])
  if (differs === -1 || (parts[differs] ?? 0) > OLDEST_SQLITE[differs]!) return
  throw new Error(
    `Node ${process.version} brings SQLite ${version}, which can lose data; the log needs ${OLDEST_SQLITE.join('.')} or later. Install a newer Node.`,
  )
}

/** Refuses a file that is not ours or newer than we know, and changes nothing of it. */
function assertReadable(path: string): void {
  const version = readFileVersion(path)
  if (version === null || version.empty) return
  if (version.applicationId !== APPLICATION_ID)
    throw new Error(`${path} is a SQLite database but not a log of mailtrail; name another data folder.`)
  if (version.userVersion > SCHEMA_VERSION)
    throw new Error(
      `The log ${path} has version ${version.userVersion}, written by a newer mailtrail; this one knows up to ${SCHEMA_VERSION}. Install the newer one. Nothing was changed.`,
    )
}

const SETTINGS = `
  PRAGMA locking_mode = EXCLUSIVE;
  PRAGMA page_size = ${PAGE_SIZE};
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = FULL;
  PRAGMA fullfsync = ON;
  PRAGMA wal_autocheckpoint = 0;
  PRAGMA journal_size_limit = 67108864;
  PRAGMA cache_size = -32768;
  PRAGMA secure_delete = FAST;
`

const TABLES = `
  CREATE TABLE topics (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    partitions INTEGER NOT NULL,
    max_value_bytes INTEGER NOT NULL,
    retention_milliseconds INTEGER,
    retention_bytes INTEGER
  );
  CREATE TABLE removed (
    topic INTEGER NOT NULL,
    partition INTEGER NOT NULL,
    low INTEGER NOT NULL,
    removed INTEGER NOT NULL,
    PRIMARY KEY (topic, partition)
  ) WITHOUT ROWID;
  CREATE TABLE positions (
    topic INTEGER NOT NULL,
    "group" TEXT NOT NULL,
    partition INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    PRIMARY KEY (topic, "group", partition)
  ) WITHOUT ROWID;
  CREATE TABLE schemas (
    id INTEGER NOT NULL,
    subject TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    schema TEXT NOT NULL,
    PRIMARY KEY (subject, fingerprint)
  );
  CREATE INDEX schemas_id ON schemas (id);
  CREATE INDEX schemas_fingerprint ON schemas (fingerprint);
`

/** A call to append, or a commit of a group: both go into the transaction that is next. */
export type Write =
  | { readonly kind: 'append'; readonly request: AppendRequest }
  | { readonly kind: 'commit'; readonly request: CommitRequest }

export class LogFile {
  readonly #db: DatabaseSync
  readonly #topics = new Map<number, TopicTable>()
  readonly #commit: StatementSync
  readonly #position: StatementSync
  readonly #walPages: StatementSync
  #counters = { events: 0, calls: 0, transactions: 0 }

  private constructor(db: DatabaseSync) {
    this.#db = db
    this.#commit = db.prepare(
      `INSERT INTO positions VALUES (?, ?, ?, ?)
       ON CONFLICT DO UPDATE SET offset = excluded.offset WHERE excluded.offset > positions.offset`,
    )
    this.#position = db.prepare('SELECT partition, offset FROM positions WHERE topic = ? AND "group" = ?')
    this.#walPages = db.prepare('PRAGMA wal_checkpoint(NOOP)')
    for (const row of db.prepare('SELECT * FROM topics ORDER BY id').all()) this.#openTopic(topicInfo(row))
  }

  /** Opens or makes the file. `maxBytes` caps its size as a full disk would. */
  static open(path: string, maxBytes: number | null): LogFile {
    assertSafeSqlite(process.versions.sqlite ?? '0')
    try {
      assertReadable(path)
      const db = new DatabaseSync(path, { enableForeignKeyConstraints: false })
      db.exec(SETTINGS)
      if (maxBytes !== null) db.exec(`PRAGMA max_page_count = ${Math.floor(maxBytes / PAGE_SIZE)}`)
      const { user_version } = db.prepare('PRAGMA user_version').get() as { user_version: number }
      if (user_version === 0)
        db.exec(
          `BEGIN IMMEDIATE; ${TABLES} PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${SCHEMA_VERSION}; COMMIT`,
        )
      db.exec('DROP TABLE IF EXISTS scrub') // of a process that was ended meanwhile
      return new LogFile(db)
    } catch (error) {
      if (primaryCode(error) !== SQLITE.BUSY) throw error
      throw new Error(`The log ${path} is in use by another process; stop that one first.`, { cause: error })
    }
  }

  #openTopic(info: TopicInfo): TopicTable {
    const removed = this.#db.prepare('SELECT partition, low, removed FROM removed WHERE topic = ?').all(info.id)
    const topic = new TopicTable(this.#db, info, removed as unknown as RemovedRow[])
    this.#topics.set(info.id, topic)
    return topic
  }

  topics(): TopicInfo[] {
    return [...this.#topics.values()].map(({ info }) => info)
  }

  topic(id: number): TopicTable {
    const topic = this.#topics.get(id)
    if (topic === undefined) throw new Error(`There is no topic with number ${id} in the log.`)
    return topic
  }

  #transaction<T>(work: () => T, topics: Iterable<TopicTable> = []): T {
    this.#db.exec('BEGIN IMMEDIATE')
    try {
      for (const topic of topics) topic.begin()
      const result = work()
      this.#db.exec('COMMIT')
      for (const topic of topics) topic.committed()
      return result
    } catch (error) {
      for (const topic of topics) topic.rollback()
      // On some errors SQLite has rolled back by itself.
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK')
      throw error
    }
  }

  createTopic(settings: Omit<TopicInfo, 'id'>): TopicInfo {
    const { name, partitions, maxValueBytes, retentionMilliseconds, retentionBytes } = settings
    const existing = [...this.#topics.values()].find(({ info }) => info.name === name)
    if (existing !== undefined && existing.info.partitions !== partitions)
      throw new Error(
        `Topic ${name} has ${existing.info.partitions} partitions and cannot get ${partitions}: the count never changes.`,
      )
    const info = this.#transaction(() => {
      const row = this.#db
        .prepare(
          `INSERT INTO topics (name, partitions, max_value_bytes, retention_milliseconds, retention_bytes) VALUES (?, ?, ?, ?, ?)
           ON CONFLICT (name) DO UPDATE SET max_value_bytes = excluded.max_value_bytes,
             retention_milliseconds = excluded.retention_milliseconds, retention_bytes = excluded.retention_bytes
           RETURNING *`,
        )
        .get(name, partitions, maxValueBytes, retentionMilliseconds, retentionBytes)
      const created = topicInfo(row!)
      if (existing === undefined) createTables(this.#db, created.id)
      return created
    })
    if (existing === undefined) this.#openTopic(info)
    else existing.info = info
    return info
  }

  deleteTopic(id: number): null {
    this.topic(id)
    this.#transaction(() => {
      dropTables(this.#db, id)
      for (const table of ['removed', 'positions']) this.#db.prepare(`DELETE FROM ${table} WHERE topic = ?`).run(id)
      this.#db.prepare('DELETE FROM topics WHERE id = ?').run(id)
    })
    this.#topics.delete(id)
    return null
  }

  /**
   * Does all of it in one transaction. With appends in it, it is on disk when this returns. Positions alone survive the
   * end of the process but are not synced: after a power cut a group reads some events again, which it must bear anyway.
   */
  write(writes: readonly Write[]): (AppendReply | null)[] {
    const appends = writes.filter(({ kind }) => kind === 'append').length
    if (appends === 0) this.#db.exec('PRAGMA synchronous = NORMAL')
    try {
      const touched = new Set(writes.map(({ request }) => this.topic(request.topic)))
      const replies = this.#transaction(() => {
        const results = writes.map((write) => {
          if (write.kind === 'append') return this.topic(write.request.topic).append(write.request)
          const { topic, group, positions } = write.request
          for (const [partition, offset] of positions) this.#commit.run(topic, group, partition, offset)
          return null
        })
        for (const topic of touched) topic.flush()
        return results
      }, touched)
      for (const reply of replies) if (reply !== null) this.#counters.events += reply.offsets.length
      this.#counters.calls += appends
      if (appends > 0) this.#counters.transactions++
      return replies
    } finally {
      if (appends === 0) this.#db.exec('PRAGMA synchronous = FULL')
    }
  }

  seek({ topic, group, from }: SeekRequest): SeekReply {
    const positions = new Map(group === null ? [] : this.committed(topic, group))
    const table = this.topic(topic)
    const starts = Array.from(
      { length: table.info.partitions },
      (_, partition) => from[partition] ?? positions.get(partition) ?? 0,
    )
    return table.seek(starts)
  }

  committed(topic: number, group: string): [number, number][] {
    const rows = this.#position.all(topic, group) as { partition: number; offset: number }[]
    return rows.map(({ partition, offset }) => [partition, offset])
  }

  /** Removes one slice of what the topic no longer keeps. */
  retain(id: number, now: number): { more: boolean } {
    const topic = this.topic(id)
    return this.#transaction(() => {
      const { more, removed } = topic.retain(now)
      const remember = this.#db.prepare('INSERT OR REPLACE INTO removed VALUES (?, ?, ?, ?)')
      for (const row of removed) remember.run(id, row.partition, row.low, row.removed)
      return { more }
    }, [topic])
  }

  /** Empties events. Pages that become free are overwritten in the same transaction. */
  erase({ topic: id, offsets, keepOnceIds }: Operations['erase']['request']): { found: number } {
    const topic = this.topic(id)
    this.#db.exec('PRAGMA secure_delete = ON')
    try {
      return this.#transaction(() => ({ found: topic.erase(offsets, keepOnceIds) }), [topic])
    } finally {
      this.#db.exec('PRAGMA secure_delete = FAST')
    }
  }

  /**
   * Overwrites pages that were freed before, a slice of them, and at the end cuts off the write-ahead log. Pages that
   * retention or the end of a topic frees keep their bytes until they are used again: overwriting them at once would
   * write as much as is removed, through the write-ahead log. Free pages are the first to be used, so a table of zeros
   * covers them all; when it is dropped they are free again.
   */
  scrub(): { more: boolean } {
    const free = () => (this.#db.prepare('PRAGMA freelist_count').get() as { freelist_count: number }).freelist_count
    if (free() > 0) {
      this.#transaction(() => {
        this.#db.exec('CREATE TABLE IF NOT EXISTS scrub (zeros BLOB)')
        const insert = this.#db.prepare('INSERT INTO scrub VALUES (zeroblob(?))')
        for (let covered = 0, left = free(); left > 0 && covered < SCRUB_PAGES; left = free()) {
          const pages = Math.min(SCRUB_ROW_PAGES, left)
          insert.run(pages > 2 ? (pages - 1) * PAGE_SIZE : PAGE_SIZE / 2)
          covered += pages
        }
      })
      if (free() > 0) return { more: true }
    }
    this.#db.exec('DROP TABLE IF EXISTS scrub')
    this.#db.exec('PRAGMA wal_checkpoint(TRUNCATE)')
    return { more: false }
  }

  register({ subject, fingerprint, schema }: Operations['register']['request']): number {
    const known = this.#db
      .prepare('SELECT id, subject FROM schemas WHERE fingerprint = ? ORDER BY subject = ? DESC LIMIT 1')
      .get(fingerprint, subject) as { id: number; subject: string } | undefined
    if (known?.subject === subject) return known.id
    return this.#transaction(() => {
      const added = this.#db
        .prepare(
          `INSERT INTO schemas VALUES (coalesce(?, (SELECT coalesce(max(id), 0) + 1 FROM schemas)), ?, ?, ?) RETURNING id`,
        )
        .get(known?.id ?? null, subject, fingerprint, schema) as { id: number }
      return added.id
    })
  }

  schema(id: number): string | null {
    const row = this.#db.prepare('SELECT schema FROM schemas WHERE id = ? LIMIT 1').get(id)
    return row === undefined ? null : (row.schema as string)
  }

  counters(): LogCounters {
    return { ...this.#counters }
  }

  /**
   * Moves the write-ahead log into the file when it has grown. Done by hand because SQLite's automatic checkpoint keeps
   * a failed sync to itself. A disk too full for it is no failure: the write-ahead log is durable, appends say so.
   */
  checkpointWhenDue(): void {
    const { log } = this.#walPages.get() as { log: number }
    if (log < CHECKPOINT_PAGES) return
    try {
      this.#db.exec('PRAGMA wal_checkpoint(PASSIVE)')
    } catch (error) {
      if (primaryCode(error) !== SQLITE.FULL) throw error
    }
  }

  /** Moves the write-ahead log into the file and closes it. */
  close(): void {
    try {
      this.#db.exec('PRAGMA wal_checkpoint(TRUNCATE)')
    } catch (error) {
      if (primaryCode(error) !== SQLITE.FULL) throw error
    } finally {
      this.#db.close()
    }
  }
}

function topicInfo(row: Record<string, unknown>): TopicInfo {
  return {
    id: row.id as number,
    name: row.name as string,
    partitions: row.partitions as number,
    maxValueBytes: row.max_value_bytes as number,
    retentionMilliseconds: row.retention_milliseconds as number | null,
    retentionBytes: row.retention_bytes as number | null,
  }
}
