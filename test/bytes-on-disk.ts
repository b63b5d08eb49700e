/** Looks for bytes in all files of a folder, as somebody would who has the disk: as they are, and in what is packed. */
import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { createZstdDecompress } from 'node:zlib'

const ZSTD_MAGIC = Buffer.from([0x28, 0xb5, 0x2f, 0xfd])
/** As much as lies in one piece of a SQLite file at least; a longer frame is unpacked as far as it goes. */
const FRAME_BYTES = 64 * 1024

/** Paths in the folder of files that hold the text, in plain or in a zstd frame. Files that vanish meanwhile are none. */
export async function filesWith(folder: string, text: string): Promise<string[]> {
  const wanted = Buffer.from(text)
  const found: string[] = []
  for (const name of await readdir(folder, { recursive: true })) {
    const path = join(folder, name)
    const bytes = await contentOf(path)
    if (bytes !== null && (bytes.includes(wanted) || (await isInFrame(bytes, wanted)))) found.push(name)
  }
  return found
}

async function contentOf(path: string): Promise<Buffer | null> {
  try {
    return (await stat(path)).isFile() ? await readFile(path) : null
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
}

async function isInFrame(bytes: Buffer, wanted: Buffer): Promise<boolean> {
  for (let at = bytes.indexOf(ZSTD_MAGIC); at !== -1; at = bytes.indexOf(ZSTD_MAGIC, at + 1))
    if ((await unpacked(bytes.subarray(at, at + FRAME_BYTES))).includes(wanted)) return true
  return false
}

/** What comes out until the frame ends or makes no sense any more. */
function unpacked(frame: Buffer): Promise<Buffer> {
  return new Promise((resolve) => {
    const pieces: Buffer[] = []
    const stream = createZstdDecompress()
    const end = () => resolve(Buffer.concat(pieces))
    stream.on('data', (piece: Buffer) => pieces.push(piece))
    stream.once('end', end).once('error', end)
    stream.end(frame)
  })
}
