/** Worker thread of `parseToJson`: some mails in, their lines out. */
import { workerData } from 'node:worker_threads'
import type { Limits } from './formats/limits.ts'
import { type JsonAnswer, jsonOf, type SourcedMail } from './parse-to-json.ts'
import { Spool } from './spool.ts'
import { transferring } from './transfer.ts'

const { limits, folder } = workerData as { limits: Limits; folder: string }

export default async function parseJson(mails: readonly SourcedMail[]): Promise<JsonAnswer> {
  const answer: (Uint8Array | string)[] = []
  const buffers: Uint8Array[] = []
  for (const part of await jsonOf(mails, limits, folder)) {
    if (!(part instanceof Spool)) {
      // A small Buffer is a view of a pool that many share: only memory of its own can be given away.
      const own = new Uint8Array(part)
      buffers.push(own)
      answer.push(own)
    } else {
      part.flush()
      answer.push(part.path!)
      part.detach()
    }
  }
  return transferring(answer, ...buffers)
}
