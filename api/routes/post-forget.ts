/** Erases mails by an address or by their ids. */
import Type from 'typebox'
import { erasureAnswer } from '../erasure-answer.ts'
import { ApiError } from '../errors.ts'
import type { Route } from '../route.ts'
import { closed, count, errorAnswer, hexId, nullable, text } from '../schemas.ts'

const MAX_LISTED = 1000
/** How long what was delivered before the call may take to be queryable: a mail that no table knows is not found. */
const SETTLE_MILLISECONDS = 60_000

const body = closed({
  address: Type.Optional(
    Type.String({ minLength: 3, maxLength: 320, pattern: '^[^\\s@]+@[^\\s@]+$', description: 'mail address' }),
  ),
  mail_ids: Type.Optional(Type.Array(hexId(), { minItems: 1, maxItems: 10_000, description: 'ids of mails' })),
  scan: Type.Optional(Type.Boolean({ description: 'look for the address in the bytes of every mail, too' })),
  block: Type.Optional(Type.Boolean({ description: 'the same mail stays unread when it is delivered again' })),
  dry_run: Type.Optional(Type.Boolean({ description: 'say what would be erased, and do nothing' })),
})

const schema = {
  tags: ['mail'],
  summary: 'Erase mails',
  description:
    'Mails from or to an address, by header or envelope, and mails with failure reports that name it; or mails by their ids. ' +
    'What is erased is gone for good: raw mail, fields, failure reports and rejects. Reports that were in it stay counted. ' +
    'The answer comes when the erasure is on record; `GET /api/v1/forget/{erasure}` says when it is done. ' +
    '`scan` finds the address as it is written in the bytes, not inside what is packed or encoded.',
  body: { ...body, examples: [{ address: 'anna@example.com', dry_run: true }] },
  response: {
    200: closed({
      dry_run: Type.Boolean(),
      matched: count('mails'),
      mails: Type.Array(
        closed({
          id: hexId(),
          found_in: Type.Array(Type.String(), { description: 'fields of the mail, failure_report, bytes, mail_id' }),
          received_at: text(),
          kind: text(),
          subject: text(),
          reports: count('aggregate and TLS reports in it, which stay counted'),
          failure_reports: count('failure reports in it, which are erased'),
          rejects: count('parts of it that could not be read'),
        }),
        { description: `the first ${MAX_LISTED} of them` },
      ),
      erasure: nullable(erasureAnswer),
    }),
    '4xx': errorAnswer,
    503: errorAnswer,
  },
}

export const postForget: Route = (server, context) => {
  server.post('/api/v1/forget', { schema, config: { scope: 'admin' } }, async (request, reply) => {
    const { forgetting } = context
    if (forgetting === undefined) throw new ApiError('role_missing')
    const { address, mail_ids: mailIds = [], scan = false, block = false, dry_run = false } = request.body
    if (address === undefined && mailIds.length === 0) throw new ApiError('forget_selector_missing')
    const gone = new AbortController()
    reply.raw.once('close', () => gone.abort())
    const progress = context.rebuilding()
    if (progress !== null) throw new ApiError('rebuilding', { progress, retryAfter: 5 })
    await settled(context.settle(AbortSignal.any([gone.signal, AbortSignal.timeout(SETTLE_MILLISECONDS)])))
    const mails = await forgetting.find({ address: address ?? null, mailIds, scan }, gone.signal)
    const reason = address === undefined ? 'mail_id' : 'address'
    const ids = mails.map(({ id }) => id)
    const erasure = dry_run || ids.length === 0 ? null : await forgetting.begin(ids, { reason, block })
    return {
      dry_run,
      matched: mails.length,
      mails: mails.slice(0, MAX_LISTED).map(({ found_in, ...mail }) => ({ ...mail, found_in: [...found_in] })),
      erasure,
    }
  })
}

async function settled(settling: Promise<void>): Promise<void> {
  try {
    await settling
  } catch (error) {
    if ((error as Error).name !== 'TimeoutError') throw error
    throw new ApiError('not_caught_up', {
      message: 'Mail that was taken before is still being processed, and could not be found; try again later.',
    })
  }
}
