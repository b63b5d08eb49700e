/**
 * State in one SQLite file, for one process. Rows wait in memory until there are some or a moment has passed, then go in
 * as chunks of one day, with the positions, in one transaction. What a crash takes away is read again from the topic,
 * because the positions are behind as well.
 *
 * A row of its own for each address cost 9 µs to look up and insert, for addresses come in no order and each insert
 * rewrites a page: so chunks, and an index of the days in use in memory (`day-index.ts`).
 */
import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import type { DatabaseSync, StatementSync } from 'node:sqlite'
import type { AddressObservation, KeyObservation } from '../topics/observations.ts'
import { addressHash, DayIndex } from './day-index.ts'
import { openStateFile } from './sqlite-state-file.ts'
import type { AddressDay, DatedKey, DatedObservation, KeyDay, State } from './state.ts'

const FLUSH_ROWS = 8192
const FLUSH_MILLISECONDS = 5000
/** One that is wanted out of a chunk costs reading all of it. A power of two: rows are numbered chunk * this + place. */
const CHUNK_ROWS = 64
/** Decoded chunks kept: answers that were kept together are asked for together, in a replay. */
const CACHED_CHUNKS = 512
/** Rows of all indexes in memory, at 12 to 24 bytes each. */
const INDEXED_ROWS = 4_000_000

export interface SqliteStateOptions {
  /** The file; it is made when it is not there, and made anew when it is damaged or of another version. */
  readonly path: string
  /** Told why a file was made anew. */
  readonly onRebuild?: (reason: string) => void
}

/** Opens the state. It owns the file: one process at a time, which the lock of the data folder sees to. */
export async function openSqliteState({ path, onRebuild }: SqliteStateOptions): Promise<State> {
  mkdirSync(dirname(path), { recursive: true })
  return new SqliteState(openStateFile(path, onRebuild))
}

/** All of an observation, without the names of its fields. */
type Answer = readonly [
  address: string,
  observed: 0 | 1,
  asn: number | null,
  asName: string | null,
  country: string | null,
  ...ptr: (string | 0 | 1)[],
]

function answerOf({ address, observed, asn, as_name, country, ptr }: AddressObservation): Answer {
  const answer: [string, 0 | 1, number | null, string | null, string | null, ...(string | 0 | 1)[]] = [
    address,
    observed ? 1 : 0,
    asn,
    as_name,
    country,
  ]
  for (const { name, confirmed } of ptr) answer.push(name, confirmed ? 1 : 0)
  return answer
}

function observationOf([address, observed, asn, as_name, country, ...rest]: Answer): AddressObservation {
  const ptr: AddressObservation['ptr'] = []
  for (let i = 0; i < rest.length; i += 2) ptr.push({ name: rest[i] as string, confirmed: rest[i + 1] === 1 })
  return { address, observed: observed === 1, ptr, asn, as_name, country }
}

interface Day {
  readonly epoch: number
  readonly day: string
  readonly index: DayIndex
  /** Ids of the day's chunks in the file. */
  readonly chunks: number[]
  /** Answers not in the file yet, by address. */
  readonly waiting: Map<string, AddressObservation>
  /** Number of the call that used it last. */
  usedIn: number
}

class SqliteState implements State {
  readonly #database: DatabaseSync
  readonly #readDay: StatementSync
  readonly #readChunk: StatementSync
  readonly #insert: StatementSync
  readonly #move: StatementSync
  readonly #readKey: StatementSync
  readonly #insertKey: StatementSync
  /** The days in use, by epoch and day. */
  readonly #days = new Map<number, Map<string, Day>>()
  readonly #decoded = new Map<number, readonly AddressObservation[]>()
  readonly #positions = new Map<number, number>()
  #lastDay: Day | undefined
  #calls = 0
  #waitingRows = 0
  #indexedRows = 0
  #timer: NodeJS.Timeout | undefined
  #failure: unknown
  #closed = false

  constructor(database: DatabaseSync) {
    this.#database = database
    this.#readDay = database.prepare('SELECT id, hashes FROM chunks WHERE epoch = ? AND day = ? ORDER BY id')
    this.#readChunk = database.prepare('SELECT answers FROM chunks WHERE id = ?')
    this.#insert = database.prepare('INSERT INTO chunks (epoch, day, hashes, answers) VALUES (?, ?, ?, ?)')
    this.#move = database.prepare('INSERT OR REPLACE INTO observation_positions VALUES (?, ?)')
    this.#readKey = database.prepare('SELECT answer FROM keys WHERE epoch = ? AND day = ? AND name = ?')
    this.#insertKey = database.prepare('INSERT OR IGNORE INTO keys VALUES (?, ?, ?, ?)')
    for (const row of database.prepare('SELECT partition, next FROM observation_positions').all())
      this.#positions.set(row.partition as number, row.next as number)
  }

  async observationPositions(): Promise<ReadonlyMap<number, number>> {
    this.#assertUsable()
    return new Map(this.#positions)
  }

  async findObservations(epoch: number, wanted: readonly AddressDay[]): Promise<(AddressObservation | undefined)[]> {
    this.#assertUsable()
    this.#calls++
    const found = wanted.map(({ day, address }) => this.#find(this.#day(epoch, day), address))
    this.#forgetIdleDays()
    return found
  }

  async keepObservations(
    epoch: number,
    rows: readonly DatedObservation[],
    positions: ReadonlyMap<number, number>,
  ): Promise<AddressObservation[]> {
    this.#assertUsable()
    this.#calls++
    const standing = rows.map(({ day: name, observation }) => {
      const day = this.#day(epoch, name)
      const known = this.#find(day, observation.address)
      if (known !== undefined) return known
      day.waiting.set(observation.address, observation)
      this.#waitingRows++
      return observation
    })
    for (const [partition, next] of positions) this.#positions.set(partition, next)
    if (this.#waitingRows >= FLUSH_ROWS) this.#flush()
    else this.#timer ??= setTimeout(() => this.#flushLater(), FLUSH_MILLISECONDS).unref()
    this.#forgetIdleDays()
    return standing
  }

  #find(day: Day, address: string): AddressObservation | undefined {
    const waiting = day.waiting.get(address)
    if (waiting !== undefined) return waiting
    let found: AddressObservation | undefined
    day.index.find(addressHash(address), (row) => {
      const candidate = this.#chunk(day.chunks[Math.floor(row / CHUNK_ROWS)]!)[row % CHUNK_ROWS]
      if (candidate?.address === address) found = candidate
      return found !== undefined
    })
    return found
  }

  #chunk(id: number): readonly AddressObservation[] {
    const known = this.#decoded.get(id)
    if (known !== undefined) return known
    const { answers } = this.#readChunk.get(id) as { readonly answers: string }
    const decoded = (JSON.parse(answers) as Answer[]).map(observationOf)
    if (this.#decoded.size >= CACHED_CHUNKS) this.#decoded.delete(this.#decoded.keys().next().value!)
    this.#decoded.set(id, decoded)
    return decoded
  }

  /** The day with its index, read from the file when it is not in use. */
  #day(epoch: number, name: string): Day {
    const last = this.#lastDay
    if (last !== undefined && last.day === name && last.epoch === epoch) return last
    let days = this.#days.get(epoch)
    if (days === undefined) {
      days = new Map()
      this.#days.set(epoch, days)
    }
    let day = days.get(name)
    if (day === undefined) {
      day = this.#loadDay(epoch, name)
      days.set(name, day)
    }
    day.usedIn = this.#calls
    this.#lastDay = day
    return day
  }

  #loadDay(epoch: number, name: string): Day {
    const day: Day = { epoch, day: name, index: new DayIndex(), chunks: [], waiting: new Map(), usedIn: 0 }
    for (const row of this.#readDay.all(epoch, name)) this.#indexChunk(day, row.id as number, row.hashes as Uint8Array)
    return day
  }

  #indexChunk(day: Day, id: number, hashes: Uint8Array): void {
    const first = (day.chunks.push(id) - 1) * CHUNK_ROWS
    const view = new DataView(hashes.buffer, hashes.byteOffset, hashes.byteLength)
    for (let i = 0; i < hashes.length / 4; i++) day.index.add(view.getUint32(4 * i), first + i)
    this.#indexedRows += hashes.length / 4
  }

  /** Lets go of the indexes that were not used for longest. Days with rows that wait stay. */
  #forgetIdleDays(): void {
    if (this.#indexedRows <= INDEXED_ROWS) return
    for (const day of this.#allDays().sort((a, b) => a.usedIn - b.usedIn)) {
      if (this.#indexedRows <= INDEXED_ROWS) return
      if (day.waiting.size > 0) continue
      this.#days.get(day.epoch)!.delete(day.day)
      this.#indexedRows -= day.index.size
      if (this.#lastDay === day) this.#lastDay = undefined
    }
  }

  #allDays(): Day[] {
    return [...this.#days.values()].flatMap((days) => [...days.values()])
  }

  #flush(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const written: { readonly day: Day; readonly id: number; readonly hashes: Uint8Array }[] = []
    this.#database.exec('BEGIN IMMEDIATE')
    try {
      for (const day of this.#allDays()) {
        if (day.waiting.size === 0) continue
        const observations = [...day.waiting.values()]
        for (let start = 0; start < observations.length; start += CHUNK_ROWS) {
          const rows = observations.slice(start, start + CHUNK_ROWS)
          const hashes = Buffer.allocUnsafe(4 * rows.length)
          for (const [i, { address }] of rows.entries()) hashes.writeUInt32BE(addressHash(address), 4 * i)
          const answers = JSON.stringify(rows.map(answerOf))
          const { lastInsertRowid } = this.#insert.run(day.epoch, day.day, hashes, answers)
          written.push({ day, id: Number(lastInsertRowid), hashes })
        }
      }
      for (const [partition, next] of this.#positions) this.#move.run(partition, next)
      this.#database.exec('COMMIT')
    } catch (error) {
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK')
      throw error
    }
    for (const { day, id, hashes } of written) {
      this.#indexChunk(day, id, hashes)
      day.waiting.clear()
    }
    this.#waitingRows = 0
  }

  /** A failure without a caller is told to the next one. */
  #flushLater(): void {
    try {
      this.#flush()
    } catch (error) {
      this.#failure = error
    }
  }

  async findKeys(epoch: number, wanted: readonly KeyDay[]): Promise<(KeyObservation | undefined)[]> {
    this.#assertUsable()
    return wanted.map(({ day, name }) => {
      const row = this.#readKey.get(epoch, day, name)
      if (row === undefined) return undefined
      const [outcome, ...records] = JSON.parse(row.answer as string) as [string, ...string[]]
      return { name, outcome, records }
    })
  }

  /** Keys are few, so they are written at once: a position never passes one that is not in the file. */
  async keepKeys(epoch: number, rows: readonly DatedKey[]): Promise<void> {
    this.#assertUsable()
    this.#database.exec('BEGIN IMMEDIATE')
    try {
      for (const { day, key } of rows)
        this.#insertKey.run(epoch, day, key.name, JSON.stringify([key.outcome, ...key.records]))
      this.#database.exec('COMMIT')
    } catch (error) {
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK')
      throw error
    }
  }

  async forgetObservations(): Promise<void> {
    this.#assertUsable()
    this.#days.clear()
    this.#lastDay = undefined
    this.#decoded.clear()
    this.#positions.clear()
    this.#waitingRows = 0
    this.#indexedRows = 0
    this.#database.exec('BEGIN; DELETE FROM chunks; DELETE FROM keys; DELETE FROM observation_positions; COMMIT')
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    clearTimeout(this.#timer)
    try {
      this.#flush()
    } finally {
      this.#database.close()
    }
  }

  #assertUsable(): void {
    if (this.#closed) throw new Error('The state is closed.')
    if (this.#failure === undefined) return
    const failure = this.#failure
    this.#failure = undefined
    throw failure
  }
}
