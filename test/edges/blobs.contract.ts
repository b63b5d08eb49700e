/** What every implementation of `Blobs` does. */
import { createHash } from 'node:crypto'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Blobs } from '../../topics/blobs.ts'

/** A place for blobs, empty when it is made. */
export interface BlobPlace {
  readonly blobs: Blobs
  /** Names of the blobs that are kept. */
  names(): readonly string[]
  /** Replaces what is kept under a hash behind the back of the implementation. */
  tamper(sha256: string, bytes: Uint8Array): Promise<void>
  remove(): Promise<void>
}

const bytes = Buffer.alloc(300_000, 'mail')
const sha256 = createHash('sha256').update(bytes).digest('hex')
const none = '0'.repeat(64)

export function testBlobs(name: string, makePlace: () => Promise<BlobPlace>): void {
  describe(name, () => {
    let place: BlobPlace
    let folder: string
    beforeEach(async () => {
      place = await makePlace()
      folder = mkdtempSync(join(tmpdir(), 'mailtrail-blobs-'))
    })
    afterEach(async () => {
      await place.remove()
      rmSync(folder, { recursive: true, force: true })
    })

    test('bytes come back under their hash, and storing them twice keeps them once', async () => {
      expect(await place.blobs.put(bytes)).toEqual({ sha256, size: bytes.length })
      expect(await place.blobs.put(bytes)).toEqual({ sha256, size: bytes.length })
      expect(place.names()).toEqual([sha256])
      expect(Buffer.from((await place.blobs.get(sha256))!).equals(bytes)).toBe(true)
    })

    test('no bytes are bytes too', async () => {
      const { sha256: empty } = await place.blobs.put(new Uint8Array())
      expect(empty).toBe(createHash('sha256').digest('hex'))
      expect((await place.blobs.get(empty))?.length).toBe(0)
    })

    test('the same bytes stored at once by many are stored once, whole', async () => {
      await Promise.all(Array.from({ length: 20 }, () => place.blobs.put(bytes)))
      expect(place.names()).toEqual([sha256])
      expect(Buffer.from((await place.blobs.get(sha256))!).equals(bytes)).toBe(true)
    })

    test('many different ones stored at once do not mix', async () => {
      const mails = Array.from({ length: 30 }, (_, index) => Buffer.alloc(1000 * index + 1, `mail ${index}`))
      const kept = await Promise.all(mails.map((mail) => place.blobs.put(mail)))
      for (const [index, reference] of kept.entries()) {
        expect(Buffer.from((await place.blobs.get(reference.sha256))!).equals(mails[index]!)).toBe(true)
      }
    })

    test('the largest mail there is comes back whole', async () => {
      const large = Buffer.alloc(50 * 1024 * 1024, 'a mail of 50 MB with a long report ')
      const { sha256: name } = await place.blobs.put(large)
      expect(Buffer.from((await place.blobs.get(name))!).equals(large)).toBe(true)
    })

    test('what is not there is null', async () => {
      expect(await place.blobs.get(none)).toBeNull()
      expect(await place.blobs.fetch(none, folder)).toBeNull()
      expect(readdirSync(folder)).toEqual([])
    })

    test('what does not hold its bytes is null, and a cut one is written anew', async () => {
      await place.blobs.put(bytes)
      await place.tamper(sha256, bytes.subarray(0, 10))
      expect(await place.blobs.get(sha256)).toBeNull()
      await place.blobs.put(bytes)
      expect(Buffer.from((await place.blobs.get(sha256))!).equals(bytes)).toBe(true)
      await place.tamper(sha256, Buffer.alloc(bytes.length, 'evil'))
      expect(await place.blobs.get(sha256)).toBeNull()
    })

    test('a blob is fetched as a file of this machine, and what was copied is gone when it is released', async () => {
      await place.blobs.put(bytes)
      const local = (await place.blobs.fetch(sha256, folder))!
      expect(readFileSync(local.path).equals(bytes)).toBe(true)
      await local.release()
      expect(readdirSync(folder)).toEqual([])
      expect(Buffer.from((await place.blobs.get(sha256))!).equals(bytes)).toBe(true)
    })

    test('two that fetch one blob do not take it from each other', async () => {
      await place.blobs.put(bytes)
      const [first, second] = await Promise.all([place.blobs.fetch(sha256, folder), place.blobs.fetch(sha256, folder)])
      await first!.release()
      expect(existsSync(second!.path)).toBe(true)
      expect(readFileSync(second!.path).equals(bytes)).toBe(true)
      await second!.release()
    })

    test('what is removed is gone, also what a cut put left of it, and can be put again', async () => {
      await place.blobs.put(bytes)
      await place.blobs.remove(sha256)
      expect(await place.blobs.get(sha256)).toBeNull()
      expect(await place.blobs.fetch(sha256, folder)).toBeNull()
      await place.blobs.remove(sha256)
      await place.blobs.put(bytes)
      expect(Buffer.from((await place.blobs.get(sha256))!).equals(bytes)).toBe(true)
    })

    test('a name that is no hash is refused', async () => {
      const traversal = '../../etc/passwd'
      await expect(async () => place.blobs.get(traversal)).rejects.toThrow('64 lower-case hex digits')
      await expect(async () => place.blobs.remove(traversal)).rejects.toThrow('64 lower-case hex digits')
      await expect(async () => place.blobs.fetch(traversal, folder)).rejects.toThrow('64 lower-case hex digits')
    })
  })
}
