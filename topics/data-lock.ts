/**
 * One owner for a data folder. The lock is an exclusive SQLite transaction on `owner.lock`, that is a lock of the
 * operating system: it ends with the process, however that ends, and no pid left behind ever refuses anyone.
 * `owner.json` beside it only says who holds it; it counts while the lock is held.
 *
 * `owner.lock` must not be opened by anything but SQLite within the owner's process: on Unix, closing any other handle
 * of a file drops the process's locks on it.
 */
import { existsSync } from 'node:fs'
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'

export interface Owner {
  readonly pid: number
  /** Where the owner answers HTTP; null until it listens. */
  readonly url: string | null
}

export interface DataLock {
  /** Tells others where the owner answers. */
  setUrl(url: string): Promise<void>
  /** Lets the folder go. May be called again. */
  release(): Promise<void>
}

export class DataFolderInUse extends Error {
  readonly folder: string
  readonly owner: Owner | null
  constructor(folder: string, owner: Owner | null) {
    const process = owner === null ? 'another process' : `process ${owner.pid}`
    const server = owner?.url == null ? '' : ` at ${owner.url}`
    super(`The data folder ${folder} is in use by ${process}${server}; stop it first or name another folder.`)
    this.folder = folder
    this.owner = owner
  }
}

/** Whoever asks for the owner holds a shared lock for an instant, and a new owner needs one to write who it is. */
const PATIENCE_MS = 300
const PAUSE_MS = 50
const SQLITE_BUSY = 5

const isBusy = (error: unknown) =>
  error instanceof Error && 'errcode' in error && (Number(error.errcode) & 0xff) === SQLITE_BUSY

/** Opens the lock file and runs the statement that takes the lock; null when another connection holds it. */
function takeLock(path: string, statement: string, readOnly: boolean): DatabaseSync | null {
  const db = new DatabaseSync(path, { timeout: 0, readOnly })
  try {
    db.exec(statement)
    return db
  } catch (error) {
    db.close()
    if (isBusy(error)) return null
    throw error
  }
}

/** Calls until the answer is not null or patience ends. */
async function patiently<T>(attempt: () => T | null | Promise<T | null>): Promise<T | null> {
  for (let waited = 0; ; waited += PAUSE_MS) {
    const answer = await attempt()
    if (answer !== null || waited >= PATIENCE_MS) return answer
    await sleep(PAUSE_MS)
  }
}

async function readOwnerFile(folder: string): Promise<Owner | null> {
  try {
    const { pid, url } = JSON.parse(await readFile(join(folder, 'owner.json'), 'utf8')) as Record<string, unknown>
    return typeof pid === 'number' ? { pid, url: typeof url === 'string' ? url : null } : null
  } catch (error) {
    // Not there yet, or not there any more, or not ours: then it is not known who the owner is.
    if (error instanceof SyntaxError || (error instanceof Error && 'code' in error && error.code === 'ENOENT'))
      return null
    throw error
  }
}

async function writeOwnerFile(folder: string, owner: Owner & { readonly started: string }): Promise<void> {
  const path = join(folder, 'owner.json')
  const written = `${path}.${owner.pid}`
  await writeFile(written, `${JSON.stringify(owner)}\n`)
  await rename(written, path)
}

/** Makes the folder when needed and takes its lock, or throws `DataFolderInUse`. */
export async function acquireDataLock(folder: string, self: { pid: number; url?: string }): Promise<DataLock> {
  const { pid, url = null } = self
  await mkdir(folder, { recursive: true })
  // Nothing is ever written, so there is nothing to journal; in WAL mode others could still read, that is enter.
  const path = join(folder, 'owner.lock')
  const db = await patiently(() => takeLock(path, 'PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE', false))
  if (db === null) throw new DataFolderInUse(folder, await readOwnerFile(folder))
  const started = new Date().toISOString()
  const announce = (address: string | null) => writeOwnerFile(folder, { pid, url: address, started })
  try {
    await announce(url)
  } catch (error) {
    db.close()
    throw error
  }
  return {
    setUrl: announce,
    release: async () => {
      if (!db.isOpen) return
      await rm(join(folder, 'owner.json'), { force: true })
      if (db.isOpen) db.close()
    },
  }
}

/** The process that holds the folder now, or null when none does. */
export async function readOwner(folder: string): Promise<Owner | null> {
  const path = join(folder, 'owner.lock')
  if (!existsSync(path)) return null
  const found = await patiently(async () => {
    const free = takeLock(path, 'SELECT count(*) FROM sqlite_schema', true)
    if (free !== null) {
      free.close()
      return { owner: null }
    }
    const owner = await readOwnerFile(folder)
    return owner === null ? null : { owner }
  })
  return found?.owner ?? null
}
