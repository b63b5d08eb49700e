/** The tables of the state in Postgres, and how those of an older version become the newest. */

import { type Postgres, PostgresError, type Query } from './postgres.ts'
import { lockKey } from './postgres-locks.ts'

/**
 * Each entry leads from the version of its place to the next one; what was released is never changed. State is computed
 * from topics, so a step may as well drop a table and make it anew.
 */
const STEPS: readonly ((schema: string) => string)[] = [
  (schema) => `
    CREATE SEQUENCE ${schema}.folds AS integer;
    CREATE TABLE ${schema}.installations (
      scope text PRIMARY KEY,
      fold integer NOT NULL DEFAULT nextval('${schema}.folds')
    );
    CREATE TABLE ${schema}.forgotten_folds (fold integer PRIMARY KEY);
    CREATE TABLE ${schema}.observations (
      fold integer NOT NULL,
      epoch integer NOT NULL,
      day text COLLATE "C" NOT NULL,
      address text COLLATE "C" NOT NULL,
      answer text COLLATE "C" NOT NULL,
      PRIMARY KEY (fold, epoch, day, address)
    );
    CREATE TABLE ${schema}.observation_positions (
      fold integer NOT NULL,
      partition integer NOT NULL,
      next bigint NOT NULL,
      PRIMARY KEY (fold, partition)
    ) WITH (fillfactor = 50);
  `,
]

/** Brings the tables to the newest version. Throws a sentence, and changes nothing, when they are of a newer one. */
export async function migrate(server: Postgres): Promise<void> {
  await server.transaction(async (query) => {
    // Until the transaction ends; processes that start together come one after the other.
    await query('SELECT pg_advisory_xact_lock($1)', [lockKey(server.schemaName, 'migrations')])
    const version = await readVersion(query, server)
    if (version > STEPS.length)
      throw new PostgresError(
        `The tables in schema ${server.schema} of Postgres have version ${version}, and this mailtrail knows ${STEPS.length}: ` +
          'a newer mailtrail made them. Run that one, or name another schema with search_path in DATABASE_URL.',
      )
    for (const step of STEPS.slice(version)) await query(step(server.schema))
    if (version < STEPS.length) await query(`UPDATE ${server.schema}.state_version SET version = ${STEPS.length}`)
  })
}

async function readVersion(query: Query, { schema, schemaName }: Postgres): Promise<number> {
  // Asked first: to make what is there already needs rights that the user may not have.
  const [found] = await query(
    `SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1) AS has_schema,
      EXISTS (SELECT FROM pg_tables WHERE schemaname = $1 AND tablename = 'state_version') AS has_version`,
    [schemaName],
  )
  if (found!.has_schema !== true) await query(`CREATE SCHEMA ${schema}`)
  if (found!.has_version !== true)
    await query(`CREATE TABLE ${schema}.state_version (version integer NOT NULL);
      INSERT INTO ${schema}.state_version VALUES (0)`)
  const [row] = await query(`SELECT version FROM ${schema}.state_version`)
  return Number(row!.version)
}
