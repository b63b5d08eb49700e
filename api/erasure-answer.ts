/** An erasure as the API shows it. */
import Type from 'typebox'
import { closed, count, instant, text } from './schemas.ts'

export const erasureAnswer = closed({
  erasure: count('for GET /forget/{erasure}'),
  state: Type.Union([Type.Literal('erasing'), Type.Literal('erased'), Type.Literal('unreadable')], {
    description:
      'erasing: under way, also across restarts; erased: gone from log, blobs and tables; unreadable: nothing reads it any ' +
      'more, but Kafka holds it until its retention removes it',
  }),
  mails: count(),
  block: Type.Boolean({ description: 'the same mail stays unread when it is delivered again' }),
  begun_at: instant(),
  finished_at: text('ISO 8601, UTC'),
  raw_until: text('when Kafka has removed the raw mails at the latest; null when they are gone or kept for ever'),
  raw_for_ever: Type.Boolean({ description: 'Kafka keeps the raw mails for ever: MAILTRAIL_RETENTION_INGEST' }),
  rebuilt_by: text('the generation that is built without the mails; promote it, and the others go'),
})
