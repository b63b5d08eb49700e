import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { blobPath, openBlobFolder } from '../../edges/blob-folder.ts'
import { type BlobPlace, testBlobs } from './blobs.contract.ts'

async function makePlace(): Promise<BlobPlace & { readonly folder: string }> {
  const folder = mkdtempSync(join(tmpdir(), 'mailtrail-blobs-'))
  return {
    folder,
    blobs: openBlobFolder(folder),
    names: () => readdirSync(folder).flatMap((part) => readdirSync(join(folder, part))),
    tamper: (sha256, bytes) => writeFile(blobPath(folder, sha256), bytes),
    remove: async () => rmSync(folder, { recursive: true, force: true }),
  }
}

testBlobs('blobs in a folder', makePlace)

test('a file that was being written when the power went is in nobody’s way', async () => {
  const place = await makePlace()
  try {
    const { sha256 } = await place.blobs.put(Buffer.from('a mail'))
    await place.tamper(sha256, Buffer.from('a m'))
    await writeFile(`${blobPath(place.folder, sha256)}.cut.tmp`, 'a')
    await place.blobs.put(Buffer.from('a mail'))
    expect(Buffer.from((await place.blobs.get(sha256))!).toString()).toBe('a mail')
  } finally {
    await place.remove()
  }
})
