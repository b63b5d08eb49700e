/**
 * Blobs in a bucket of an S3-compatible store, by content: `PREFIX/ab/abcdef….` The store keeps an object whole or not at
 * all, and answers when it is durable.
 */
import { createHash, randomUUID } from 'node:crypto'
import { open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { type Blobs, BlobsUnavailable, type LocalBlob } from '../topics/blobs.ts'
import { blobName } from './blob-name.ts'
import { BlobsRefused } from './blob-refusal.ts'
import { type S3Answer, type S3Place, S3Requests } from './blob-requests.ts'

export interface S3Options extends S3Place {
  /** In front of every object's name; empty, or without a slash at its end. */
  readonly prefix: string
  /** Told once when the store goes away or refuses, once when it is back, and of every object that is damaged. */
  readonly onProblem?: (message: string) => void
}

export interface S3Blobs extends Blobs {
  /** Rejects with `BlobsUnavailable`, which says what is wrong, when the bucket cannot be read. */
  check(): Promise<void>
}

/** Looks at an object that does not hold its bytes, before it is called damaged. */
const LOOKS = 2
const NO_BLOB = '0'.repeat(64)

export function openS3Blobs(options: S3Options): S3Blobs {
  const requests = new S3Requests(options)
  const { prefix, bucket, onProblem } = options
  const keyOf = (sha256: string) => (prefix === '' ? blobName(sha256) : `${prefix}/${blobName(sha256)}`)
  const reading = tellOnce('gives blobs', onProblem)
  const writing = tellOnce('takes blobs', onProblem)

  /** Reads the object with `read`, which says whether the bytes are those of the hash. */
  const verified = async <Result>(
    sha256: string,
    read: (answer: S3Answer) => Promise<{ isWhole: boolean; result: Result }>,
  ): Promise<Result | null> => {
    const key = keyOf(sha256)
    for (let look = 1; look <= LOOKS; look++) {
      const given = await reading(requests.send('GET', key, async (answer) => (answer.found ? read(answer) : null)))
      if (given === null) return null
      if (given.isWhole) return given.result
    }
    onProblem?.(
      `The object ${key} in bucket ${bucket} does not hold the bytes that its name says. ` +
        'Put back a copy of it, or delete it and deliver its mail again.',
    )
    return null
  }

  return {
    async put(bytes) {
      const sha256 = createHash('sha256').update(bytes).digest('hex')
      const key = keyOf(sha256)
      if (!(await writing(isThere(requests, key, bytes.length))))
        await writing(requests.send('PUT', key, async () => undefined, { bytes, sha256 }))
      return { sha256, size: bytes.length }
    },

    get: (sha256) =>
      verified(sha256, async (answer) => {
        const pieces: Uint8Array[] = []
        for await (const piece of answer.bytes()) pieces.push(piece)
        const result = Buffer.concat(pieces)
        return { isWhole: createHash('sha256').update(result).digest('hex') === sha256, result }
      }),

    async fetch(sha256, folder) {
      const path = join(folder, `${sha256}.${randomUUID()}.blob`)
      const release = () => rm(path, { force: true })
      try {
        const local = await verified(sha256, async (answer) => {
          const isWhole = (await writeInto(path, answer)) === sha256
          return { isWhole, result: { path, release } satisfies LocalBlob }
        })
        if (local === null) await release()
        return local
      } catch (error) {
        await release()
        throw error
      }
    },

    async remove(sha256) {
      await writing(requests.send('DELETE', keyOf(sha256), async () => undefined))
    },

    async check() {
      await reading(requests.send('GET', keyOf(NO_BLOB), async () => undefined))
    },
  }
}

/** Whether an object of this size is there already. Who may not ask puts it again: that changes nothing. */
async function isThere(requests: S3Requests, key: string, bytes: number): Promise<boolean> {
  try {
    return await requests.send('HEAD', key, async ({ found, size }) => found && size === bytes)
  } catch (error) {
    if (error instanceof BlobsRefused) return false
    throw error
  }
}

/** Returns the SHA-256 of what was written. */
async function writeInto(path: string, answer: S3Answer): Promise<string> {
  const hash = createHash('sha256')
  const file = await open(path, 'w')
  try {
    for await (const piece of answer.bytes()) {
      hash.update(piece)
      await file.writeFile(piece)
    }
  } finally {
    await file.close()
  }
  return hash.digest('hex')
}

/** Passes results and errors on; tells when the store goes away and when it is back, not once a request. */
function tellOnce(
  does: string,
  onProblem: ((message: string) => void) | undefined,
): <T>(request: Promise<T>) => Promise<T> {
  let isAway = false
  return async (request) => {
    try {
      const result = await request
      if (isAway) onProblem?.(`The blob store ${does} again.`)
      isAway = false
      return result
    } catch (error) {
      if (error instanceof BlobsUnavailable && !isAway) {
        isAway = true
        onProblem?.(error.message)
      }
      throw error
    }
  }
}
