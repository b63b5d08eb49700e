/** How many of some mails have a reject that is not resolved: what `import --wait` reports. */
import type { Store } from '../projections/store.ts'
import { unresolvedRejects } from '../projections/winners.ts'
import type { Generation } from '../topics/generation.ts'

/** Ids bound to one statement. */
const AT_ONCE = 1000

export async function countRejected(store: Store, generation: Generation, ids: readonly string[]): Promise<number> {
  const distinct = [...new Set(ids)]
  let rejected = 0
  for (let at = 0; at < distinct.length; at += AT_ONCE) {
    const condition = 'mail_id IN (SELECT toFixedString(unhex(arrayJoin({ids:Array(String)})), 32))'
    const rows = await store.query<{ mails: number }>(
      `SELECT uniqExact(mail_id) AS mails FROM (${unresolvedRejects(generation.tables, condition)})`,
      { parameters: { ids: distinct.slice(at, at + AT_ONCE) } },
    )
    rejected += rows[0]?.mails ?? 0
  }
  return rejected
}
