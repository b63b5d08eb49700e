/**
 * One topic in the log's database: a table of events, an index by partition, a table of once-ids.
 *
 * Values are kept in blocks of up to 64 KB, compressed as one: zstd in Node costs some 20 µs a call whatever the size,
 * so a call for every value would halve the speed of the log, and small events compress far better together. The row
 * of a block's first event holds the block; the others say where in it they lie.
 */
import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import { erasedHeader } from './log.ts'
import type { AppendReply, AppendRequest, ScanReply, ScanRequest, SeekReply, TopicInfo } from './sqlite-log-messages.ts'

const BLOCK_BYTES = 64 * 1024
/** A block is removed as a whole, in one slice of retention. */
const BLOCK_EVENTS = 256
/** Below this a frame's own overhead eats what it saves. */
const SMALLEST_TO_COMPRESS = 64
/** Offsets looked at by one scan, so that passing over many events never blocks appends for long. */
const SCAN_WINDOW = 50_000
const SLICE_EVENTS = 1000
const SLICE_BYTES = 16 * 1024 * 1024

const compression = { params: { [constants.ZSTD_c_compressionLevel]: 1 } }

interface PendingEvent {
  readonly partition: number
  readonly offset: number
  readonly sequence: number
  readonly timestamp: number
  readonly key: string | null
  readonly headers: string | null
  readonly once_id: Uint8Array | string | null
  readonly value: Uint8Array
}

/**
 * Per partition: `low` and `removed` (events) grow by retention, `high` and `sequence` (events) by appends. Offsets are
 * counted by topic, so the oldest event kept may lie above `low`; nothing that was below `low` is left.
 */
interface PartitionState {
  low: number
  removed: number
  high: number
  sequence: number
}

/** Written by retention only: what the rows that are left cannot tell. */
export interface RemovedRow {
  readonly partition: number
  readonly low: number
  readonly removed: number
}

type ScanRow = [
  offset: number,
  partition: number,
  key: string | null,
  headers: string | null,
  timestamp: number,
  block: number,
  start: number,
  size: number,
  codec: number | null,
  bytes: Uint8Array | null,
]
type SliceRow = [
  offset: number,
  partition: number,
  sequence: number,
  timestamp: number,
  once_id: Uint8Array | string | null,
  block: number,
  stored: number | null,
]
type BlockRow = [
  offset: number,
  start: number,
  size: number,
  key: string | null,
  headers: string | null,
  once_id: Uint8Array | string | null,
]
type PositionRow = [offset: number, sequence: number, timestamp: number]

const ERASED_HEADERS = JSON.stringify({ [erasedHeader]: 'true' })

export function dropTables(db: DatabaseSync, id: number): void {
  db.exec(`DROP TABLE events_${id}; DROP TABLE once_${id};`)
}

export function createTables(db: DatabaseSync, id: number): void {
  db.exec(`
    CREATE TABLE events_${id} (
      offset INTEGER PRIMARY KEY AUTOINCREMENT,
      partition INTEGER NOT NULL,
      sequence INTEGER NOT NULL,
      timestamp INTEGER NOT NULL,
      key TEXT,
      headers TEXT,
      once_id BLOB,
      block INTEGER NOT NULL,
      start INTEGER NOT NULL,
      size INTEGER NOT NULL,
      codec INTEGER,
      bytes BLOB
    );
    CREATE INDEX events_${id}_partition ON events_${id} (partition);
    CREATE TABLE once_${id} (once_id BLOB PRIMARY KEY, partition INTEGER NOT NULL, offset INTEGER NOT NULL) WITHOUT ROWID;
  `)
}

/** 64 lower-case hex digits take 32 bytes; anything else stays text, which SQLite never takes for bytes. */
function onceKey(onceId: string): Uint8Array | string {
  return /^[0-9a-f]{64}$/.test(onceId) ? Buffer.from(onceId, 'hex') : onceId
}

export class TopicTable {
  info: TopicInfo
  readonly #insert: StatementSync
  readonly #scan: StatementSync
  readonly #block: StatementSync
  readonly #firstFrom: StatementSync
  readonly #slice: StatementSync
  readonly #remove: StatementSync
  readonly #findOnce: StatementSync
  readonly #addOnce: StatementSync
  readonly #removeOnce: StatementSync
  readonly #storedBytes: StatementSync
  readonly #blockOf: StatementSync
  readonly #blockRows: StatementSync
  readonly #rewriteRow: StatementSync
  readonly #rewriteBlock: StatementSync

  #next: number
  #partitions: PartitionState[]
  /** Bytes of all blocks; counted when somebody first asks, undefined until then. */
  #stored: number | undefined
  #pending: PendingEvent[] = []
  #pendingBytes = 0
  #saved: { next: number; partitions: PartitionState[]; stored: number | undefined } | undefined

  constructor(db: DatabaseSync, info: TopicInfo, removed: readonly RemovedRow[]) {
    const events = `events_${info.id}`
    const once = `once_${info.id}`
    const prepare = (sql: string) => {
      const statement = db.prepare(sql)
      statement.setReturnArrays(true)
      return statement
    }
    this.info = info
    this.#insert = prepare(
      `INSERT INTO ${events} (offset, partition, sequence, timestamp, key, headers, once_id, block, start, size, codec, bytes)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    )
    this.#scan = prepare(
      `SELECT offset, partition, key, headers, timestamp, block, start, size, codec, bytes FROM ${events}
       WHERE offset >= ?1 AND offset < ?2 AND (?3 IS NULL OR offset >= json_extract(?3, '$[' || partition || ']'))
       ORDER BY offset LIMIT ?4`,
    )
    this.#block = prepare(`SELECT codec, bytes FROM ${events} WHERE offset = ?`)
    this.#firstFrom = prepare(
      `SELECT offset, sequence, timestamp FROM ${events} WHERE partition = ? AND offset >= ? ORDER BY offset LIMIT 1`,
    )
    this.#slice = prepare(
      `SELECT offset, partition, sequence, timestamp, once_id, block, length(bytes) FROM ${events} ORDER BY offset LIMIT ?`,
    )
    this.#remove = prepare(`DELETE FROM ${events} WHERE offset <= ?`)
    this.#findOnce = prepare(`SELECT partition, offset FROM ${once} WHERE once_id = ?`)
    this.#addOnce = prepare(`INSERT INTO ${once} VALUES (?, ?, ?)`)
    this.#removeOnce = prepare(`DELETE FROM ${once} WHERE once_id = ?`)
    this.#storedBytes = prepare(`SELECT coalesce(sum(length(bytes)), 0) FROM ${events}`)

    this.#blockOf = prepare(`SELECT block FROM ${events} WHERE offset = ?`)
    this.#blockRows = prepare(
      `SELECT offset, start, size, key, headers, once_id FROM ${events}
       WHERE offset >= ?1 AND offset < ?1 + ${BLOCK_EVENTS} AND block = ?1 ORDER BY offset`,
    )
    this.#rewriteRow = prepare(
      `UPDATE ${events} SET start = ?2, size = ?3, key = ?4, headers = ?5, once_id = ?6 WHERE offset = ?1`,
    )
    this.#rewriteBlock = prepare(`UPDATE ${events} SET codec = ?2, bytes = ?3 WHERE offset = ?1`)

    const last = prepare(`SELECT offset, sequence FROM ${events} WHERE partition = ? ORDER BY offset DESC LIMIT 1`)
    this.#partitions = Array.from({ length: info.partitions }, (_, partition) => {
      const kept = removed.find((row) => row.partition === partition) ?? { low: 0, removed: 0 }
      const [offset, sequence] = (last.get(partition) as [number, number] | undefined) ?? [
        kept.low - 1,
        kept.removed - 1,
      ]
      return { low: kept.low, removed: kept.removed, high: offset + 1, sequence: sequence + 1 }
    })
    const used = prepare('SELECT seq FROM sqlite_sequence WHERE name = ?').get(events) as [number] | undefined
    this.#next = used === undefined ? 0 : used[0] + 1
  }

  /** Remembers what `rollback` goes back to. */
  begin(): void {
    this.#saved ??= {
      next: this.#next,
      partitions: this.#partitions.map((partition) => ({ ...partition })),
      stored: this.#stored,
    }
  }
  committed(): void {
    this.#saved = undefined
  }
  rollback(): void {
    if (this.#saved !== undefined) {
      this.#next = this.#saved.next
      this.#partitions = this.#saved.partitions
      this.#stored = this.#saved.stored
    }
    this.#saved = undefined
    this.#pending = []
    this.#pendingBytes = 0
  }

  /** Takes the events of one call into the transaction; `flush` writes what is still gathered. */
  append(call: AppendRequest): AppendReply {
    const offsets: number[] = new Array(call.sizes.length)
    let duplicateOf: number[] | null = null
    let start = 0
    for (let i = 0; i < call.sizes.length; i++) {
      const size = call.sizes[i]!
      const value = new Uint8Array(call.values, start, size)
      start += size
      const onceId = call.onceIds?.[i]
      const once_id = onceId === undefined ? null : onceKey(onceId)
      const first = once_id === null ? undefined : (this.#findOnce.get(once_id) as [number, number] | undefined)
      if (first !== undefined) {
        duplicateOf ??= new Array(call.sizes.length).fill(-1)
        duplicateOf[i] = first[0]
        offsets[i] = first[1]
        continue
      }
      offsets[i] = this.#take(call, i, once_id, value)
    }
    return { offsets, duplicateOf }
  }

  #take(call: AppendRequest, i: number, once_id: Uint8Array | string | null, value: Uint8Array): number {
    const partition = call.partitions[i]!
    const state = this.#partitions[partition]!
    const offset = this.#next++
    if (once_id !== null) this.#addOnce.run(once_id, partition, offset)
    if (this.#pendingBytes + value.length > BLOCK_BYTES || this.#pending.length >= BLOCK_EVENTS) this.flush()
    this.#pending.push({
      partition,
      offset,
      sequence: state.sequence,
      timestamp: call.timestamps[i]!,
      key: call.keys[i]!,
      headers: call.headers[i]!,
      once_id,
      value,
    })
    this.#pendingBytes += value.length
    state.high = offset + 1
    state.sequence++
    return offset
  }

  /** Writes the gathered events as one block. */
  flush(): void {
    const first = this.#pending[0]
    if (first === undefined) return
    const raw = this.#pending.length === 1 ? first.value : Buffer.concat(this.#pending.map(({ value }) => value))
    const { codec, bytes } = pack(raw)
    let start = 0
    for (const event of this.#pending) {
      const { offset, partition, sequence, timestamp, key, headers, once_id, value } = event
      const block = event === first ? [codec, bytes] : [null, null]
      this.#insert.run(
        offset,
        partition,
        sequence,
        timestamp,
        key,
        headers,
        once_id,
        first.offset,
        start,
        value.length,
        ...block,
      )
      start += value.length
    }
    if (this.#stored !== undefined) this.#stored += bytes.length
    this.#pending = []
    this.#pendingBytes = 0
  }

  /** Empties events and writes their blocks anew without them. Returns how many were found. */
  erase(offsets: readonly number[], keepOnceIds: boolean): number {
    const wanted = new Set(offsets)
    const blocks = new Set<number>()
    for (const offset of wanted) {
      const row = this.#blockOf.get(offset) as [number] | undefined
      if (row !== undefined) blocks.add(row[0])
    }
    let found = 0
    for (const block of blocks) found += this.#eraseIn(block, wanted, keepOnceIds)
    return found
  }

  #eraseIn(block: number, wanted: ReadonlySet<number>, keepOnceIds: boolean): number {
    const old = this.#block.get(block) as unknown as [number, Uint8Array]
    const raw = this.#unpack(...old)
    const values: Uint8Array[] = []
    let next = 0
    let found = 0
    for (const row of this.#blockRows.all(block) as unknown as BlockRow[]) {
      const [offset, start, size, key, headers, once_id] = row
      if (wanted.has(offset)) {
        found++
        if (once_id !== null && !keepOnceIds) this.#removeOnce.run(once_id)
        this.#rewriteRow.run(offset, next, 0, null, ERASED_HEADERS, keepOnceIds ? once_id : null)
        continue
      }
      values.push(raw.subarray(start, start + size))
      this.#rewriteRow.run(offset, next, size, key, headers, once_id)
      next += size
    }
    const { codec, bytes } = pack(Buffer.concat(values))
    this.#rewriteBlock.run(block, codec, bytes)
    if (this.#stored !== undefined) this.#stored += bytes.length - old[1].length
    return found
  }

  watermarks(): { partition: number; low: number; high: number }[] {
    return this.#partitions.map(({ low, high }, partition) => ({ partition, low, high }))
  }

  size(): { events: number; bytes: number } {
    this.#stored ??= (this.#storedBytes.get() as unknown as [number])[0]
    let events = 0
    for (const { sequence, removed } of this.#partitions) events += sequence - removed
    return { events, bytes: this.#stored }
  }

  #first(partition: number, offset: number): PositionRow | undefined {
    return this.#firstFrom.get(partition, offset) as PositionRow | undefined
  }

  seek(starts: number[]): SeekReply {
    const firsts = starts.map((start, partition) => this.#first(partition, start)?.[0] ?? this.#next)
    return { starts, scanFrom: Math.min(...firsts) }
  }

  lag(positions: ReadonlyMap<number, number>): { events: number; oldest: number | null } {
    let events = 0
    let oldest: number | null = null
    this.#partitions.forEach(({ sequence, high }, partition) => {
      const position = positions.get(partition) ?? 0
      const first = position >= high ? undefined : this.#first(partition, position)
      if (first === undefined) return
      events += sequence - first[1]
      oldest = oldest === null ? first[2] : Math.min(oldest, first[2])
    })
    return { events, oldest }
  }

  #unpack(codec: number, bytes: Uint8Array): Uint8Array {
    return codec === 0 ? bytes : zstdDecompressSync(bytes)
  }

  #readBlock(offset: number): Uint8Array {
    const row = this.#block.get(offset) as [number | null, Uint8Array | null] | undefined
    if (row === undefined || row[0] === null || row[1] === null)
      throw new Error(`Topic ${this.info.name} has no block at offset ${offset}.`)
    return this.#unpack(row[0], row[1])
  }

  scan({ scanFrom, starts, maxEvents, maxBytes }: Omit<ScanRequest, 'topic'>): ScanReply {
    const end = Math.min(scanFrom + SCAN_WINDOW, this.#next)
    const columns = {
      offsets: [] as number[],
      partitions: [] as number[],
      keys: [] as (string | null)[],
      headers: [] as (string | null)[],
      timestamps: [] as number[],
      sizes: [] as number[],
    }
    const values: Uint8Array[] = []
    let total = 0
    let next = end
    let block = -1
    let raw: Uint8Array = new Uint8Array()
    const rows = this.#scan.iterate(scanFrom, end, starts === null ? null : JSON.stringify(starts), maxEvents)
    for (const row of rows as Iterable<unknown> as Iterable<ScanRow>) {
      const [offset, partition, key, headers, timestamp, blockOffset, start, size, codec, bytes] = row
      if (values.length > 0 && total + size > maxBytes) {
        next = offset
        break
      }
      if (blockOffset !== block) {
        raw = codec === null || bytes === null ? this.#readBlock(blockOffset) : this.#unpack(codec, bytes)
        block = blockOffset
      }
      columns.offsets.push(offset)
      columns.partitions.push(partition)
      columns.keys.push(key)
      columns.headers.push(headers)
      columns.timestamps.push(timestamp)
      columns.sizes.push(size)
      values.push(raw.subarray(start, start + size))
      total += size
      if (values.length === maxEvents) next = offset + 1
    }
    return { ...columns, values: concat(values, total), scanFrom: next, atHead: next >= this.#next }
  }

  /**
   * Removes the oldest blocks whose events are all older than the topic keeps, or whose bytes are too many; a bounded
   * slice of them. `removed` holds what must be remembered of each partition.
   */
  retain(now: number): { more: boolean; removed: RemovedRow[] } {
    const { retentionMilliseconds, retentionBytes } = this.info
    const oldestKept = retentionMilliseconds === null ? -Infinity : now - retentionMilliseconds
    if (retentionBytes !== null) this.#stored ??= (this.#storedBytes.get() as unknown as [number])[0]
    let excess = retentionBytes === null ? 0 : this.#stored! - retentionBytes
    let slice = 0
    const removedRows: SliceRow[] = []
    const blocks = this.#oldestBlocks()
    for (const rows of blocks) {
      const stored = rows[0]![6] ?? 0
      const expired = rows.every(([, , , timestamp]) => timestamp < oldestKept)
      if (!(expired || excess > 0)) return { more: false, removed: this.#removeRows(removedRows) }
      if (slice > 0 && slice + stored > SLICE_BYTES) break
      slice += stored
      excess -= stored
      removedRows.push(...rows)
    }
    return { more: blocks.length > 0, removed: this.#removeRows(removedRows) }
  }

  /** The oldest events as whole blocks. */
  #oldestBlocks(): SliceRow[][] {
    const rows = this.#slice.all(SLICE_EVENTS) as unknown as SliceRow[]
    const blocks: SliceRow[][] = []
    for (const row of rows) {
      if (row[0] === row[5]) blocks.push([])
      blocks.at(-1)!.push(row)
    }
    if (rows.length === SLICE_EVENTS) blocks.pop()
    return blocks
  }

  #removeRows(rows: readonly SliceRow[]): RemovedRow[] {
    const touched = new Set<number>()
    for (const [offset, partition, sequence, , once_id, , stored] of rows) {
      const state = this.#partitions[partition]!
      state.low = offset + 1
      state.removed = sequence + 1
      touched.add(partition)
      if (once_id !== null) this.#removeOnce.run(once_id)
      if (this.#stored !== undefined) this.#stored -= stored ?? 0
    }
    const last = rows.at(-1)
    if (last !== undefined) this.#remove.run(last[0])
    return [...touched].map((partition) => {
      const { low, removed } = this.#partitions[partition]!
      return { partition, low, removed }
    })
  }
}

/** A block as it is stored: packed when that makes it smaller. */
function pack(raw: Uint8Array): { codec: number; bytes: Uint8Array } {
  const packed = raw.length < SMALLEST_TO_COMPRESS ? raw : zstdCompressSync(raw, compression)
  return packed.length < raw.length ? { codec: 1, bytes: packed } : { codec: 0, bytes: raw }
}

/** One buffer that belongs to nobody else, so that it can be transferred. */
function concat(parts: readonly Uint8Array[], total: number): ArrayBuffer {
  const joined = new Uint8Array(new ArrayBuffer(total))
  let at = 0
  for (const part of parts) {
    joined.set(part, at)
    at += part.length
  }
  return joined.buffer
}
