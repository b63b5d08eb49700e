/**
 * An answer that may take minutes. Proxies and clients cut a connection on which nothing moves; JSON may begin with
 * spaces, so after a while they are sent until the answer is there. A fault that comes later than that can only cut the
 * connection, which tells the client as much.
 */
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyReply } from 'fastify'
import { printableJson } from '../topics/printable.ts'

/** Proxies cut after a minute, some after half of one. */
const QUIET_MILLISECONDS = 15_000

export async function answerSlowly(
  reply: FastifyReply,
  answer: Promise<object>,
  quiet = QUIET_MILLISECONDS,
): Promise<FastifyReply> {
  answer.catch(() => undefined) // awaited below, or by the stream
  const early = await Promise.race([answer, sleep(quiet, null, { ref: false })])
  if (early !== null) return reply.send(early)
  const pieces = async function* () {
    for (;;) {
      yield ' '
      const done = await Promise.race([answer, sleep(quiet, null, { ref: false })])
      if (done === null) continue
      yield printableJson(JSON.stringify(done))
      return
    }
  }
  return reply.type('application/json; charset=utf-8').send(Readable.from(pieces()))
}
