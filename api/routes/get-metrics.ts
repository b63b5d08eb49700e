/** What Prometheus scrapes. */
import Type from 'typebox'
import { unresolvedRejects } from '../../projections/winners.ts'
import { openReading, type Reading } from '../reading.ts'
import type { Route, RouteContext } from '../route.ts'
import { countConflicts } from '../totals.ts'

const schema = {
  tags: ['operation'],
  summary: 'Metrics for Prometheus',
  produces: ['text/plain'],
  response: { 200: Type.String({ description: 'Prometheus text format' }) },
}

/** Milliseconds between two looks at what the store must count. */
const LOOK_EVERY = 60_000

export const getMetrics: Route = (server, context) => {
  let lookedAt = Number.NEGATIVE_INFINITY
  server.get('/metrics', { schema }, async (_request, reply) => {
    // Of several processes only those that answer questions look: it is one store, and one answer.
    if (context.roles.has('api') && performance.now() - lookedAt > LOOK_EVERY) {
      lookedAt = performance.now()
      await lookAtStore(context)
    }
    return reply.type(context.metrics.contentType).send(await context.metrics.text())
  })
}

/** Carriers that have a series of their own: any sender may make up names. */
const CARRIERS = 10

/** Who sent how many mails within the last hour. The rest are together under `other`, and so are those without a domain. */
async function countCarriers(reading: Reading): Promise<readonly { carrier: string; mails: number }[]> {
  const rows = await reading.query<{ carrier: string; mails: number }>(
    `SELECT lower(extract(from, '@([A-Za-z0-9.-]{1,253})[> ]*$')) AS carrier, uniqExact(mail_id) AS mails
     FROM ${reading.tables.mail} WHERE received_at > now() - INTERVAL 1 HOUR GROUP BY carrier ORDER BY mails DESC, carrier`,
  )
  const named = rows.filter(({ carrier }) => carrier !== '' && carrier !== 'other').slice(0, CARRIERS)
  const rest = rows.filter((row) => !named.includes(row)).reduce((sum, { mails }) => sum + mails, 0)
  return [...named, { carrier: 'other', mails: rest }]
}

async function lookAtStore(context: RouteContext): Promise<void> {
  const { conflicts, rejectedMails, carrierMails } = context.metrics
  try {
    const reading = openReading(context, { partial: true }, null)
    conflicts.set(await countConflicts(reading))
    const codes = await reading.query<{ code: string; mails: number }>(
      `SELECT code, uniqExact(mail_id) AS mails FROM (${unresolvedRejects(reading.tables, '1')}) GROUP BY code`,
    )
    rejectedMails.reset()
    for (const { code, mails } of codes) rejectedMails.set({ code }, mails)
    const carriers = await countCarriers(reading)
    carrierMails.reset()
    for (const { carrier, mails } of carriers) carrierMails.set({ carrier }, mails)
  } catch (error) {
    // The other metrics say that the store is down; the scrape must not fail because of it.
    context.logger.warn({ err: error }, 'conflicts and rejects could not be counted')
  }
}
