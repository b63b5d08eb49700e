import { createHash } from 'node:crypto'
import { mkdtempSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { blobPath, openBlobFolder } from '../../edges/blob-folder.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mailtrail-blobs-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const bytes = Buffer.alloc(300_000, 'mail')
const sha256 = createHash('sha256').update(bytes).digest('hex')

test('bytes come back under their hash, and storing them twice keeps one file', async () => {
  const blobs = openBlobFolder(folder)
  expect(await blobs.put(bytes)).toEqual({ sha256, size: bytes.length })
  expect(await blobs.put(bytes)).toEqual({ sha256, size: bytes.length })
  expect(readdirSync(join(folder, sha256.slice(0, 2)))).toEqual([sha256])
  expect(Buffer.from((await blobs.get(sha256))!).equals(bytes)).toBe(true)
})

test('the same bytes stored at once by many are stored once, whole', async () => {
  const blobs = openBlobFolder(folder)
  await Promise.all(Array.from({ length: 20 }, () => blobs.put(bytes)))
  expect(readdirSync(join(folder, sha256.slice(0, 2)))).toEqual([sha256])
  expect(Buffer.from((await blobs.get(sha256))!).equals(bytes)).toBe(true)
})

test('a file that is not there or does not hold its bytes is null, and a cut one is written anew', async () => {
  const blobs = openBlobFolder(folder)
  expect(await blobs.get(sha256)).toBeNull()
  await blobs.put(bytes)
  truncateSync(blobPath(folder, sha256), 10)
  expect(await blobs.get(sha256)).toBeNull()
  await blobs.put(bytes)
  expect(Buffer.from((await blobs.get(sha256))!).equals(bytes)).toBe(true)
  writeFileSync(blobPath(folder, sha256), Buffer.alloc(bytes.length, 'evil'))
  expect(await blobs.get(sha256)).toBeNull()
})

test('a name that is no hash is refused', () => {
  expect(() => blobPath(folder, '../../etc/passwd')).toThrow('64 lower-case hex digits')
})
