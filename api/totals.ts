/** Totals of everything that is there, for `/status`. */
import { unresolvedRejects, winningDmarcReports, winningTlsReports } from '../projections/winners.ts'
import type { Reading } from './reading.ts'
import { isIdle, type StageStatus } from './stages.ts'

export interface Totals {
  /** Distinct by id. */
  readonly mails: number
  /** DMARC + TLS + failure, each once. */
  readonly reports: number
  /** Records of the reports that count. */
  readonly records: number
  /** Mails with an unresolved reject. */
  readonly rejects: number
}

/** Milliseconds for which totals are good enough while mail is arriving. */
const FRESH = 1000

/**
 * Asks the store for totals at most once at a time and once a second while something moves. Totals that were read
 * while all stages stood idle hold until a position moves: an idle answer never shows older totals.
 */
export class TotalsCache {
  #latest: { at: number; settledAt: string | null; totals: Totals } | null = null
  #running: { settledAt: string | null; totals: Promise<Totals> } | null = null

  async read(reading: Reading, stages: readonly StageStatus[], now: number): Promise<Totals> {
    const positions = stages.map(({ stage, topic, position }) => `${stage} ${topic} ${position}`).join('\n')
    const settledAt = isIdle(stages) ? `${reading.generation.name}\n${positions}` : null
    const latest = this.#latest
    if (latest !== null && this.#holds(latest, settledAt, now)) return latest.totals
    if (this.#running !== null && (settledAt === null || this.#running.settledAt === settledAt))
      return this.#running.totals
    const running = { settledAt, totals: readTotals(reading) }
    this.#running = running
    try {
      const totals = await running.totals
      this.#latest = { at: now, settledAt, totals }
      return totals
    } finally {
      if (this.#running === running) this.#running = null
    }
  }

  #holds(latest: { at: number; settledAt: string | null }, settledAt: string | null, now: number): boolean {
    return settledAt === null ? now - latest.at < FRESH : latest.settledAt === settledAt
  }
}

async function readTotals(reading: Reading): Promise<Totals> {
  const { tables } = reading
  const dmarc = winningDmarcReports(tables, '1', ['records'])
  const [row] = await reading.query<Totals>(`SELECT
    (SELECT count() FROM (SELECT mail_id FROM ${tables.mail} GROUP BY mail_id)) AS mails,
    dmarc.1 AS records,
    dmarc.2 + (SELECT count() FROM (${winningTlsReports(tables, '1', ['report_key'])}))
      + (SELECT uniqExact(failure_id) FROM ${tables.failure_reports}) AS reports,
    (SELECT uniqExact(mail_id) FROM (${unresolvedRejects(tables, '1')})) AS rejects,
    (SELECT (sum(records), count()) FROM (${dmarc})) AS dmarc`)
  const { mails, reports, records, rejects } = row!
  return { mails, reports, records, rejects }
}

/** Aggregate reports that arrived with different contents under one identity. */
export async function countConflicts(reading: Reading): Promise<number> {
  const [row] = await reading.query<{ conflicts: number }>(
    `SELECT count() AS conflicts FROM (SELECT report_key FROM ${reading.tables.dmarc_reports}
     GROUP BY report_key HAVING min(variant) != max(variant))`,
  )
  return row!.conflicts
}
