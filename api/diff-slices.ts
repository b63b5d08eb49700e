/** Cuts all records into pieces that fit into memory, in the order of the tables' sort key. */
import { allOf, type Condition } from './filters.ts'

/** A cell of the table: what one domain was reported on one day. */
export interface Cell {
  readonly policy_domain: string
  readonly day: string
  readonly records: number
}

/** Records compared in one statement: 50 million took 27 s, and the store 780 MB; halves take longer (measured). */
const SLICE_RECORDS = 500_000
/** A cell is cut by the first two bytes of its report keys, which are hashes and so evenly spread. */
const KEY_PREFIXES = 65_536

/** Conditions over policy_domain, day and report_key that each hold for about so many records, and together for all. */
export async function* slices(cells: AsyncIterable<readonly Cell[]>, size = SLICE_RECORDS): AsyncGenerator<Condition> {
  let first: Cell | null = null
  let last: Cell | null = null
  let gathered = 0
  for await (const batch of cells) {
    for (const cell of batch) {
      if (first !== null && gathered + cell.records > size) {
        yield between(first, last!)
        first = null
        gathered = 0
      }
      if (cell.records > size) {
        yield* piecesOf(cell, Math.min(KEY_PREFIXES, Math.ceil(cell.records / size)))
        continue
      }
      first ??= cell
      last = cell
      gathered += cell.records
    }
  }
  if (first !== null) yield between(first, last!)
}

/** From the first cell to the last, both inclusive; written so that the primary index is used. */
function between(first: Cell, last: Cell): Condition {
  const parameters = { d1: first.policy_domain, t1: first.day, d2: last.policy_domain, t2: last.day }
  if (first.policy_domain === last.policy_domain)
    return { sql: 'policy_domain = {d1:String} AND day BETWEEN {t1:Date} AND {t2:Date}', parameters }
  return {
    sql: `policy_domain BETWEEN {d1:String} AND {d2:String} AND (policy_domain != {d1:String} OR day >= {t1:Date})
      AND (policy_domain != {d2:String} OR day <= {t2:Date})`,
    parameters,
  }
}

function* piecesOf(cell: Cell, pieces: number): Generator<Condition> {
  const border = (piece: number) =>
    Math.floor((piece * KEY_PREFIXES) / pieces)
      .toString(16)
      .padStart(4, '0')
      .padEnd(64, '0')
  const whole = between(cell, cell)
  for (let piece = 0; piece < pieces; piece++) {
    const conditions: Condition[] = [whole]
    if (piece > 0) {
      const parameters = { k1: border(piece) }
      conditions.push({ sql: 'report_key >= toFixedString(unhex({k1:String}), 32)', parameters })
    }
    if (piece < pieces - 1) {
      const parameters = { k2: border(piece + 1) }
      conditions.push({ sql: 'report_key < toFixedString(unhex({k2:String}), 32)', parameters })
    }
    yield allOf(conditions)
  }
}
