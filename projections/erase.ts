/**
 * Takes rows out of the tables that hold personal data. A row that is deleted lies on in the part that it was in until
 * ClickHouse removes that part, eight minutes later or when it next finds something to do, so the parts are cleared here.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Generation, TableName } from '../topics/generation.ts'
import { storedTable } from './ddl.ts'
import type { Parameters, Store } from './store.ts'

/** Tables with fields of mails and of failure reports, or with what was said of a mail that could not be read. */
export const personalTables = ['mail', 'failure_reports', 'rejects'] as const satisfies readonly TableName[]

/** A part of the size of a large table is rewritten in this time. */
const MUTATION_SECONDS = 3600
/** Ids in one statement: they travel in the address of the request. */
const IDS_AT_ONCE = 5000
const CLEARINGS = 100
const LOOK_MILLISECONDS = 100

/**
 * Resolves when the rows of these mails are gone: true when from the disk as well, false when a query still reads them
 * there. Done again it changes nothing, and clears what an attempt that was cut off left. On a cluster the servers remove
 * the old parts themselves, in their own time.
 */
export async function deleteMails(
  store: Store,
  generations: readonly Generation[],
  mailIds: readonly string[],
): Promise<boolean> {
  let isCleared = true
  for (const table of tablesOf(generations)) {
    for (let at = 0; at < mailIds.length; at += IDS_AT_ONCE) {
      const ids = mailIds.slice(at, at + IDS_AT_ONCE)
      await deleteRows(store, table, 'lower(hex(mail_id)) IN {ids:Array(String)}', { ids })
    }
    isCleared = (await clearOldParts(store, table)) && isCleared
  }
  return isCleared
}

/** Removes the rows of mail that was received before an instant (milliseconds since 1970 UTC). Returns how many. */
export async function deleteReceivedBefore(
  store: Store,
  generations: readonly Generation[],
  instant: number,
): Promise<number> {
  let deleted = 0
  for (const table of tablesOf(generations)) {
    const rows = await deleteRows(
      store,
      table,
      'received_at < fromUnixTimestamp64Milli({instant:Int64}, {zone:String})',
      {
        instant,
        zone: 'UTC',
      },
    )
    if (rows > 0) await clearOldParts(store, table)
    deleted += rows
  }
  return deleted
}

/** Each table once: generations share them. */
const tablesOf = (generations: readonly Generation[]) => [
  ...new Set(generations.flatMap(({ tables }) => personalTables.map((table) => tables[table]))),
]

/** The condition is of our own. Returns how many rows there were. */
async function deleteRows(store: Store, table: string, condition: string, parameters: Parameters): Promise<number> {
  const [found] = await store.query<{ rows: number }>(`SELECT count() AS rows FROM ${table} WHERE ${condition}`, {
    parameters,
  })
  if (found === undefined || found.rows === 0) return 0
  await store.command(
    `ALTER TABLE ${storedTable(table, store.cluster ?? null)} DELETE WHERE ${condition} SETTINGS mutations_sync = 2`,
    {
      parameters,
      timeout: MUTATION_SECONDS,
    },
  )
  return found.rows
}

/**
 * Makes ClickHouse remove the parts of before. It looks for them when partitions are dropped, so one that no table has is
 * dropped, until none is left: a part that a query reads stays as long as that. Answers whether none is.
 */
async function clearOldParts(store: Store, table: string): Promise<boolean> {
  if (store.cluster !== undefined) return true
  let isCleared = false
  await store.command(`ALTER TABLE ${table} MODIFY SETTING old_parts_lifetime = 0`)
  for (let clearing = 0; clearing < CLEARINGS; clearing++) {
    await store.command(`ALTER TABLE ${table} DROP PARTITION ID 'none'`)
    const [old] = await store.query<{ parts: number }>(
      'SELECT count() AS parts FROM system.parts WHERE database = currentDatabase() AND table = {table:String} AND NOT active',
      { parameters: { table } },
    )
    isCleared = old === undefined || old.parts === 0
    if (isCleared) break
    await sleep(LOOK_MILLISECONDS)
  }
  await store.command(`ALTER TABLE ${table} RESET SETTING old_parts_lifetime`)
  return isCleared
}
