/** Worker thread of `parseToJson`: some mails in, their lines out. */
import { workerData } from 'node:worker_threads'
import type { Limits } from './formats/limits.ts'
import { type JsonAnswer, jsonOf, type SourcedMail } from './parse-to-json.ts'
import { transferring } from './transfer.ts'

const { limits, folder } = workerData as { limits: Limits; folder: string }

export default async function parseJson(mails: readonly SourcedMail[]): Promise<JsonAnswer> {
  const spool = await jsonOf(mails, limits, folder)
  const file = spool.path
  if (file === null) {
    const bytes = new Uint8Array(Buffer.concat([...spool.read()]))
    return transferring({ bytes, file }, bytes)
  }
  spool.flush()
  spool.detach()
  return { bytes: null, file }
}
