/**
 * Whose a SQLite file is and of which version, told without SQLite: opening a file with a write-ahead log left by a
 * crash recovers it, so that asking SQLite would already change what is to be refused untouched.
 * Layout: https://www.sqlite.org/fileformat2.html, 1.3 (database header) and 4.1 (WAL format).
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'

const DATABASE_HEADER = 100
const WAL_HEADER = 32
const FRAME_HEADER = 24

export interface FileVersion {
  readonly applicationId: number
  readonly userVersion: number
  /** True when no table was ever made. */
  readonly empty: boolean
}

function withFile<T>(path: string, read: (fd: number, size: number) => T): T | null {
  let fd: number
  try {
    fd = openSync(path, 'r')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null
    throw error
  }
  try {
    return read(fd, fstatSync(fd).size)
  } finally {
    closeSync(fd)
  }
}

function readAt(fd: number, at: number, length: number): Buffer {
  const bytes = Buffer.alloc(length)
  const count = readSync(fd, bytes, 0, length, at)
  return bytes.subarray(0, count)
}

/** The database header in the newest committed frame of page 1, or null when the write-ahead log has none. */
function headerInWriteAheadLog(fd: number, size: number): Buffer | null {
  if (size < WAL_HEADER) return null
  const header = readAt(fd, 0, WAL_HEADER)
  const pageSize = header.readUInt32BE(8)
  const salts = header.subarray(16, 24)
  let seen: number | null = null
  let committed: number | null = null
  for (let at = WAL_HEADER; at + FRAME_HEADER + pageSize <= size; at += FRAME_HEADER + pageSize) {
    const frame = readAt(fd, at, FRAME_HEADER)
    if (!frame.subarray(8, 16).equals(salts)) break
    if (frame.readUInt32BE(0) === 1) seen = at + FRAME_HEADER
    if (frame.readUInt32BE(4) !== 0) committed = seen
  }
  return committed === null ? null : readAt(fd, committed, DATABASE_HEADER)
}

/** Null when there is no file, or an empty one, at the path. Throws when it is no SQLite file. */
export function readFileVersion(path: string): FileVersion | null {
  const inFile = withFile(path, (fd) => readAt(fd, 0, DATABASE_HEADER))
  const inLog = withFile(`${path}-wal`, headerInWriteAheadLog)
  const header = inLog ?? inFile
  if (header === null || header.length === 0) return null
  if (header.length < DATABASE_HEADER || header.toString('latin1', 0, 15) !== 'SQLite format 3')
    throw new Error(`${path} is not a SQLite file, so it is no log of mailtrail; name another data folder.`)
  return {
    applicationId: header.readInt32BE(68),
    userVersion: header.readInt32BE(60),
    empty: header.readUInt32BE(40) === 0,
  }
}
