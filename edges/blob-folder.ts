/**
 * Blobs in a folder, by content: `ab/abcdef….` A file is complete or not there: it is written beside its place, synced,
 * renamed, and the folder is synced before `put` resolves, so that no event can name bytes that a power cut takes away.
 */
import { createHash, randomUUID } from 'node:crypto'
import { access, mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import type { Blobs } from '../topics/blobs.ts'
import { blobName } from './blob-name.ts'

/** Where a blob lies in its folder. */
export function blobPath(folder: string, sha256: string): string {
  return join(folder, blobName(sha256))
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

async function hasFile(path: string, size: number): Promise<boolean> {
  try {
    return (await stat(path)).size === size
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
    throw error
  }
}

export function openBlobFolder(folder: string): Blobs {
  return {
    async put(bytes) {
      const sha256 = createHash('sha256').update(bytes).digest('hex')
      const path = blobPath(folder, sha256)
      const reference = { sha256, size: bytes.length }
      if (await hasFile(path, bytes.length)) return reference
      if ((await mkdir(dirname(path), { recursive: true })) !== undefined) await syncFolder(folder)
      const beside = `${path}.${randomUUID()}.tmp`
      try {
        const file = await open(beside, 'wx')
        try {
          await file.writeFile(bytes)
          await file.sync()
        } finally {
          await file.close()
        }
        await rename(beside, path)
      } catch (error) {
        await rm(beside, { force: true })
        throw error
      }
      await syncFolder(dirname(path))
      return reference
    },

    async get(sha256) {
      try {
        const bytes = await readFile(blobPath(folder, sha256))
        return createHash('sha256').update(bytes).digest('hex') === sha256 ? bytes : null
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
        throw error
      }
    },

    async fetch(sha256) {
      const path = blobPath(folder, sha256)
      try {
        await access(path)
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
        throw error
      }
      return { path, release: async () => undefined }
    },

    async remove(sha256) {
      const path = blobPath(folder, sha256)
      const parent = dirname(path)
      const names = await readdir(parent).catch((error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT') return []
        throw error
      })
      const own = names.filter((name) => name.startsWith(basename(path)))
      for (const name of own) await rm(join(parent, name), { force: true })
      if (own.length > 0) await syncFolder(parent)
    },
  }
}
