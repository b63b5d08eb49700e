/** The file of the state: whose it is, of which version, and that it is whole; else it is made anew. */
import { rmSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'

/** `MtSt`: whose file it is. */
const APPLICATION_ID = 0x4d745374
/** Changes with the tables or the form of what is in them; a file of another version is made anew. */
const VERSION = 2

const TABLES = `
  CREATE TABLE chunks (
    id INTEGER PRIMARY KEY,
    epoch INTEGER NOT NULL,
    day TEXT NOT NULL,
    hashes BLOB NOT NULL,
    answers TEXT NOT NULL
  ) STRICT;
  CREATE INDEX chunks_of_day ON chunks (epoch, day, id);
  CREATE TABLE keys (
    epoch INTEGER NOT NULL,
    day TEXT NOT NULL,
    name TEXT NOT NULL,
    answer TEXT NOT NULL,
    PRIMARY KEY (epoch, day, name)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE observation_positions (partition INTEGER PRIMARY KEY, next INTEGER NOT NULL) STRICT;
`

/** Opens the file. One that is damaged, not ours or of another version is deleted first, and `onRebuild` told why. */
export function openStateFile(path: string, onRebuild?: (reason: string) => void): DatabaseSync {
  const reason = whyUnusable(path)
  if (reason === null) return openFile(path)
  for (const suffix of ['', '-wal', '-shm']) rmSync(`${path}${suffix}`, { force: true })
  onRebuild?.(reason)
  const again = whyUnusable(path)
  if (again !== null) throw new Error(`A new state file at ${path} cannot be used: ${again} Check the disk.`)
  return openFile(path)
}

/**
 * With a write-ahead log and `synchronous=NORMAL` a power cut may take the newest transactions and tears nothing. With
 * an exclusive lock there is no shared memory, so no file for it.
 */
function openFile(path: string): DatabaseSync {
  const database = new DatabaseSync(path)
  try {
    database.exec('PRAGMA page_size = 16384; PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL')
    database.exec('PRAGMA synchronous = NORMAL; PRAGMA cache_size = -16384')
    return database
  } catch (error) {
    database.close()
    throw error
  }
}

/** Why the file cannot be used; null when it can. Makes the tables in a new one. */
function whyUnusable(path: string): string | null {
  let database: DatabaseSync | undefined
  try {
    database = openFile(path)
    if (pragma(database, 'user_version') === 0 && pragma(database, 'schema_version') === 0) {
      const marks = `PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${VERSION}`
      database.exec(`BEGIN; ${TABLES}; ${marks}; COMMIT`)
      return null
    }
    if (pragma(database, 'application_id') !== APPLICATION_ID) return 'It is not a state file of mailtrail.'
    const version = pragma(database, 'user_version')
    if (version !== VERSION) return `It has version ${version}, and this mailtrail writes ${VERSION}.`
    const found = pragma(database, 'quick_check(1)')
    return found === 'ok' ? null : `It is damaged: ${found}.`
  } catch (error) {
    if (isDamage(error)) return `It is damaged: ${error.message}.`
    throw error
  } finally {
    database?.close()
  }
}

function pragma(database: DatabaseSync, name: string): unknown {
  return Object.values(database.prepare(`PRAGMA ${name}`).get() ?? {})[0]
}

/** SQLITE_CORRUPT (11) and SQLITE_NOTADB (26), https://www.sqlite.org/rescode.html. */
function isDamage(error: unknown): error is Error {
  const code = error instanceof Error && 'errcode' in error ? Number(error.errcode) & 0xff : 0
  return code === 11 || code === 26
}
