/**
 * State in Postgres, shared by all processes of an installation. Every verb is one statement over arrays.
 *
 * Why the first answer on the topic stands, although several processes fold the same partition at different offsets:
 *
 * 1. All answers about one epoch, day and address are in one partition. Each process folds a partition in order, from
 *    the position that it read here, and keeps the rows of an event before it folds the next one.
 * 2. A position N here means: the rows of all events below N are kept. A process writes N in the transaction of the last of
 *    the rows that it folded itself, from a position S that it had read here; below S that is so by induction. Positions
 *    only grow, so a process that lags does not take that back.
 * 3. So whoever brings the second answer has kept the first one itself, or began above it, at a position that says that
 *    it is kept: it is committed in either case, and a row that is there is never changed. `INSERT … ON CONFLICT DO
 *    NOTHING` leaves it, also when two processes bring the same row at once: one waits for the other's commit.
 *
 * Two things could break 2. Somebody forgets everything while others fold: what is forgotten gets a new number (`fold`), and
 * the rows of the old one are no longer read, so that who still writes there does no harm, and is told. The server loses
 * transactions that it had acknowledged (a replica that lagged took over, a backup was restored): then a position is
 * behind what this process wrote itself; nothing is written then, and the process must begin again from what is there.
 */
import type { AddressObservation, KeyObservation } from '../topics/observations.ts'
import { Postgres, type PostgresOptions } from './postgres.ts'
import { migrate } from './postgres-tables.ts'
import type { AddressDay, DatedKey, DatedObservation, KeyDay, State } from './state.ts'

/** Bounds the parameters of a statement to some megabytes. */
const ROWS_OF_A_STATEMENT = 5000
const DELETED_AT_ONCE = 20_000

export interface PostgresStateOptions extends PostgresOptions {
  /** Installations in one database are kept apart by it; the topic prefix. */
  readonly scope?: string
}

/**
 * Opens the state; makes or renews its tables, which processes that start together do one after the other. Waits for a
 * server that is not there yet, until the signal aborts.
 */
export async function openPostgresState({ scope = '', ...options }: PostgresStateOptions): Promise<State> {
  const server = new Postgres(options)
  try {
    await server.checkVersion()
    await migrate(server)
    const state = new PostgresState(server, escaped(scope), options.onProblem)
    await state.begin()
    return state
  } catch (error) {
    await server.close(error as Error)
    throw error
  }
}

/**
 * ASCII without control characters: text of Postgres cannot hold NUL, which names of DNS may, and a database may have an
 * encoding that lacks letters. Different strings stay different; addresses stay as they are.
 */
function escaped(text: string): string {
  return asciiOf(JSON.stringify(text)).slice(1, -1)
}

function asciiOf(json: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: all but ASCII is looked for
  return json.replace(/[^\x00-\x7e]/g, (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/** All of an observation but its address, without the names of its fields. */
type Answer = readonly [
  observed: 0 | 1,
  asn: number | null,
  asName: string | null,
  country: string | null,
  ...ptr: (string | 0 | 1)[],
]

interface Row {
  readonly day: string
  readonly address: string
  readonly answer: string
}

function textOf({ observed, asn, as_name, country, ptr }: AddressObservation): string {
  const names = ptr.flatMap(({ name, confirmed }): (string | 0 | 1)[] => [name, confirmed ? 1 : 0])
  const answer: Answer = [observed ? 1 : 0, asn, as_name, country, ...names]
  return asciiOf(JSON.stringify(answer))
}

/** Keys of DKIM lie in the same table, where no address can be. */
const keyAddress = (name: string) => `TXT ${name}`

function keyText({ outcome, records }: KeyObservation): string {
  return asciiOf(JSON.stringify([outcome, ...records]))
}

function keyOf(name: string, text: string): KeyObservation {
  const [outcome, ...records] = JSON.parse(text) as [string, ...string[]]
  return { name, outcome, records }
}

function observationOf(address: string, text: string): AddressObservation {
  const [observed, asn, as_name, country, ...rest] = JSON.parse(text) as Answer
  const ptr: AddressObservation['ptr'] = []
  for (let i = 0; i < rest.length; i += 2) ptr.push({ name: rest[i] as string, confirmed: rest[i + 1] === 1 })
  return { address, observed: observed === 1, ptr, asn, as_name, country }
}

function* slicesOf<T>(items: readonly T[]): Iterable<readonly T[]> {
  for (let start = 0; start < items.length; start += ROWS_OF_A_STATEMENT)
    yield items.slice(start, start + ROWS_OF_A_STATEMENT)
}

class PostgresState implements State {
  readonly #server: Postgres
  readonly #scope: string
  readonly #onProblem: (message: string) => void
  readonly #sql: ReturnType<typeof statements>
  /** Number of what this process folds into. */
  #fold = 0
  /** Positions that this process has read or written: the server must not be behind them. */
  #seen = new Map<number, number>()
  #cleaning: Promise<void> = Promise.resolve()
  #closed = false

  constructor(server: Postgres, scope: string, onProblem: (message: string) => void) {
    this.#server = server
    this.#scope = scope
    this.#onProblem = onProblem
    this.#sql = statements(server.schema)
  }

  async begin(): Promise<void> {
    await this.#server.query(this.#sql.enter, [this.#scope])
    await this.observationPositions()
    this.#clean()
  }

  async observationPositions(): Promise<ReadonlyMap<number, number>> {
    this.#assertOpen()
    const rows = await this.#server.query(this.#sql.positions, [this.#scope])
    const positions = new Map<number, number>()
    for (const { partition, next } of rows) if (partition !== null) positions.set(Number(partition), Number(next))
    this.#fold = Number(rows[0]!.fold)
    this.#seen = new Map(positions)
    return positions
  }

  async findObservations(epoch: number, wanted: readonly AddressDay[]): Promise<(AddressObservation | undefined)[]> {
    const answers = await this.#findAnswers(epoch, wanted)
    return answers.map((answer, i) => (answer === null ? undefined : observationOf(wanted[i]!.address, answer)))
  }

  async findKeys(epoch: number, wanted: readonly KeyDay[]): Promise<(KeyObservation | undefined)[]> {
    const places = wanted.map(({ day, name }) => ({ day, address: keyAddress(name) }))
    const answers = await this.#findAnswers(epoch, places)
    return answers.map((answer, i) => (answer === null ? undefined : keyOf(wanted[i]!.name, answer)))
  }

  async #findAnswers(epoch: number, wanted: readonly AddressDay[]): Promise<(string | null)[]> {
    this.#assertOpen()
    const found: (string | null)[] = []
    for (const slice of slicesOf(wanted)) {
      const days = slice.map(({ day }) => escaped(day))
      const addresses = slice.map(({ address }) => escaped(address))
      const rows = await this.#server.query(this.#sql.find, [this.#fold, epoch, days, addresses])
      for (const { answer } of rows) found.push(answer as string | null)
    }
    return found
  }

  async keepKeys(epoch: number, rows: readonly DatedKey[]): Promise<void> {
    this.#assertOpen()
    for (const slice of slicesOf(rows)) {
      const firsts = new Map<string, Row>()
      for (const { day, key } of slice) {
        const place = `${day} ${key.name}`
        if (!firsts.has(place)) firsts.set(place, { day, address: keyAddress(key.name), answer: keyText(key) })
      }
      await this.#insert(epoch, [...firsts.values()], new Map())
    }
  }

  async keepObservations(
    epoch: number,
    rows: readonly DatedObservation[],
    positions: ReadonlyMap<number, number>,
  ): Promise<AddressObservation[]> {
    this.#assertOpen()
    const standing: AddressObservation[] = []
    const slices = rows.length === 0 ? [[]] : [...slicesOf(rows)]
    for (const [i, slice] of slices.entries()) {
      const isLast = i === slices.length - 1
      standing.push(...(await this.#keep(epoch, slice, isLast ? positions : new Map())))
    }
    return standing
  }

  async #keep(
    epoch: number,
    rows: readonly DatedObservation[],
    positions: ReadonlyMap<number, number>,
  ): Promise<AddressObservation[]> {
    const firsts = new Map<string, DatedObservation>()
    const keys = rows.map((row) => {
      const key = `${row.day} ${row.observation.address}`
      if (!firsts.has(key)) firsts.set(key, row)
      return key
    })
    const distinct = [...firsts.values()]
    const given = distinct.map(({ day, observation }) => ({
      day,
      address: observation.address,
      answer: textOf(observation),
    }))
    const kept = await this.#insert(epoch, given, positions)
    if (kept === distinct.length) return keys.map((key) => firsts.get(key)!.observation)
    // Others were there before some of them. A new statement sees them: they are committed, else ours would have waited.
    const wanted = distinct.map(({ day, observation }) => ({ day, address: observation.address }))
    const found = await this.findObservations(epoch, wanted)
    if (found.includes(undefined)) throw wentBack()
    const places = new Map([...firsts.keys()].map((key, place) => [key, place]))
    return keys.map((key) => found[places.get(key)!]!)
  }

  /** Rows that are distinct. Gives back how many of them were not there before. */
  async #insert(epoch: number, rows: readonly Row[], positions: ReadonlyMap<number, number>): Promise<number> {
    const [outcome] = await this.#server.query(this.#sql.keep, [
      this.#scope,
      this.#fold,
      [...this.#seen.keys()],
      [...this.#seen.values()],
      epoch,
      rows.map(({ day }) => escaped(day)),
      rows.map(({ address }) => escaped(address)),
      rows.map(({ answer }) => answer),
      [...positions.keys()],
      [...positions.values()],
    ])
    if (outcome!.is_current !== true) throw wentBack()
    for (const [partition, next] of positions) this.#seen.set(partition, Math.max(next, this.#seen.get(partition) ?? 0))
    return Number(outcome!.kept)
  }

  async forgetObservations(): Promise<void> {
    this.#assertOpen()
    await this.#server.query(this.#sql.forget, [this.#scope, this.#fold])
    // When another process was first, then what it began is what we go on with: it is not forgotten a second time.
    await this.observationPositions()
    this.#clean()
  }

  /** Deletes rows that nobody reads any more, in the background and in parts: they may be many millions. */
  #clean(): void {
    this.#cleaning = this.#cleaning
      .then(() => this.#deleteForgotten())
      .catch((error: Error) => {
        if (!this.#closed)
          this.#onProblem(
            `Forgotten observations could not be deleted, and will be at the next start: ${error.message}`,
          )
      })
  }

  async #deleteForgotten(): Promise<void> {
    for (const { fold } of await this.#server.query(this.#sql.forgotten)) {
      let deleted = DELETED_AT_ONCE
      while (deleted > 0 && !this.#closed) {
        const [row] = await this.#server.query(this.#sql.deleteSome, [fold, DELETED_AT_ONCE])
        deleted = Number(row!.deleted)
      }
      if (!this.#closed) await this.#server.query(this.#sql.deleteFold, [fold])
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    await this.#server.close(new Error('The state is closed.'))
    await this.#cleaning
  }

  #assertOpen(): void {
    if (this.#closed) throw new Error('The state is closed.')
  }
}

function wentBack(): Error {
  return new Error(
    'Postgres knows less about observations than this process had told it: another process forgot them, or a backup or ' +
      'a replica that lagged took over. Nothing was written. Start this process again: it then reads the topic again.',
  )
}

function statements(schema: string) {
  return {
    enter: `INSERT INTO ${schema}.installations (scope) VALUES ($1) ON CONFLICT DO NOTHING`,
    positions: `
      SELECT i.fold, p.partition, p.next
      FROM ${schema}.installations i LEFT JOIN ${schema}.observation_positions p ON p.fold = i.fold
      WHERE i.scope = $1`,
    // One look into the index for each. As a join it reads the whole table while there are no statistics about it yet.
    find: `
      SELECT (
        SELECT answer FROM ${schema}.observations o
        WHERE o.fold = $1 AND o.epoch = $2 AND o.day = wanted.day AND o.address = wanted.address
      ) AS answer
      FROM unnest($3::text[], $4::text[]) WITH ORDINALITY AS wanted(day, address, place)
      ORDER BY place`,
    // Rows are locked in one order, rows before positions, so that processes wait for each other and never in a ring.
    keep: `
      WITH current AS (
        SELECT FROM ${schema}.installations
        WHERE scope = $1 AND fold = $2 AND NOT EXISTS (
          SELECT FROM unnest($3::int[], $4::bigint[]) AS seen(partition, next)
          LEFT JOIN ${schema}.observation_positions p ON p.fold = $2 AND p.partition = seen.partition
          WHERE coalesce(p.next, 0) < seen.next
        )
      ), kept AS (
        INSERT INTO ${schema}.observations (fold, epoch, day, address, answer)
        SELECT $2, $5, day, address, answer
        FROM unnest($6::text[], $7::text[], $8::text[]) AS given(day, address, answer)
        WHERE EXISTS (SELECT FROM current)
        ORDER BY day COLLATE "C", address COLLATE "C"
        ON CONFLICT DO NOTHING
        RETURNING 1
      ), moved AS (
        INSERT INTO ${schema}.observation_positions (fold, partition, next)
        SELECT $2, partition, next FROM unnest($9::int[], $10::bigint[]) AS given(partition, next)
        WHERE EXISTS (SELECT FROM current) AND (SELECT count(*) FROM kept) >= 0
        ORDER BY partition
        ON CONFLICT (fold, partition) DO UPDATE SET next = excluded.next
          WHERE ${schema}.observation_positions.next < excluded.next
      )
      SELECT EXISTS (SELECT FROM current) AS is_current, (SELECT count(*) FROM kept) AS kept`,
    forget: `
      WITH begun AS (
        UPDATE ${schema}.installations SET fold = nextval('${schema}.folds') WHERE scope = $1 AND fold = $2 RETURNING 1
      )
      INSERT INTO ${schema}.forgotten_folds SELECT $2::int FROM begun ON CONFLICT DO NOTHING`,
    forgotten: `SELECT fold FROM ${schema}.forgotten_folds`,
    deleteSome: `
      WITH deleted AS (
        DELETE FROM ${schema}.observations WHERE fold = $1 AND ctid = ANY (
          ARRAY(SELECT ctid FROM ${schema}.observations WHERE fold = $1 LIMIT $2)
        ) RETURNING 1
      )
      SELECT count(*) AS deleted FROM deleted`,
    deleteFold: `
      WITH positions AS (DELETE FROM ${schema}.observation_positions WHERE fold = $1)
      DELETE FROM ${schema}.forgotten_folds WHERE fold = $1`,
  }
}
