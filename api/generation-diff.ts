/** What differs between the verdicts of two generations. Memory is bounded, however many records there are. */
import type { Store } from '../projections/store.ts'
import type { Generation } from '../topics/generation.ts'
import { type Cell, slices } from './diff-slices.ts'
import {
  type ComparedRow,
  compareRecords,
  compareReports,
  judgementsStatement,
  MAX_IRREGULAR,
  sizesStatement,
} from './diff-statements.ts'
import { allOf, type Condition } from './filters.ts'
import { type Folded, type Judged, type Transition, Transitions } from './transitions.ts'

export interface GenerationDiff {
  /** Records that count on either side. */
  readonly records: number
  readonly messages: number
  /** Of these, the ones whose sender, verdict or rule is another. */
  readonly changed_records: number
  readonly changed_messages: number
  /** Most messages first. */
  readonly transitions: readonly Transition[]
  readonly folded: Folded | null
}

export interface DiffRequest {
  readonly store: Store
  readonly from: Generation
  readonly to: Generation
  /** Only this policy domain, as stored. */
  readonly domain: string | null
  readonly signal: AbortSignal
  /** Records of a slice; smaller in tests. */
  readonly sliceRecords?: number
}

const STATEMENT_SECONDS = 600
const LIMITS = `SETTINGS max_execution_time = ${STATEMENT_SECONDS}, max_memory_usage = 1000000000,
  optimize_aggregation_in_order = 1, join_use_nulls = 0`
const NONE = '0'
const CELLS_A_PAGE = 50_000

/** Throws what the store throws. Slices are read one after the other; what arrives meanwhile may count or not. */
export async function diffGenerations(request: DiffRequest): Promise<GenerationDiff> {
  const sums = { records: 0, messages: 0, changed_records: 0, changed_messages: 0 }
  const transitions = new Transitions()
  const judgements = new Map<string, Judged>()
  for await (const slice of slices(cellsOf(request), request.sliceRecords)) {
    const rows = await compareSlice(request, slice)
    await learnJudgements(request, slice, rows, judgements)
    for (const row of rows) {
      sums.records += row.records
      sums.messages += row.messages
      if (row.from_code === row.to_code) continue
      sums.changed_records += row.records
      sums.changed_messages += row.messages
      transitions.add(transitionOf(row, judgements))
    }
  }
  return { ...sums, transitions: transitions.all(), folded: transitions.folded() }
}

/** In pages, so that no statement is held open while slices are compared. */
async function* cellsOf(request: DiffRequest): AsyncGenerator<readonly Cell[]> {
  const { from, to, domain } = request
  const ofDomain = domain === null ? [] : [{ sql: 'policy_domain = {domain:String}', parameters: { domain } }]
  for (let last: Cell | undefined, full = true; full; ) {
    const where = allOf([...ofDomain, ...(last === undefined ? [] : [after(last)])])
    const sql = `${sizesStatement([from.tables, to.tables], where.sql)} LIMIT ${CELLS_A_PAGE}`
    const cells = await ask<Cell>(request, { sql, parameters: where.parameters })
    yield cells
    last = cells.at(-1)
    full = cells.length === CELLS_A_PAGE
  }
}

const after = ({ policy_domain, day }: Cell): Condition => ({
  sql: 'policy_domain >= {d0:String} AND (policy_domain > {d0:String} OR day > {t0:Date})',
  parameters: { d0: policy_domain, t0: day },
})

async function compareSlice(request: DiffRequest, slice: Condition): Promise<readonly ComparedRow[]> {
  const { from, to } = request
  const rows = await ask<ComparedRow>(request, {
    sql: compareReports(from.tables, to.tables, slice.sql),
    parameters: slice.parameters,
  })
  const irregular = [...new Set(rows.flatMap((row) => row.irregular))]
  if (irregular.length === 0) return rows
  const some = irregular.length <= MAX_IRREGULAR
  const { sql, parameters } = compareRecords(from.tables, to.tables, slice.sql, some ? irregular : null)
  const others = await ask<ComparedRow>(request, { sql, parameters: { ...slice.parameters, ...parameters } })
  return some ? [...rows, ...others] : others
}

/** Looks up what codes stand for when one comes up for the first time. */
async function learnJudgements(
  request: DiffRequest,
  { sql, parameters }: Condition,
  rows: readonly ComparedRow[],
  known: Map<string, Judged>,
): Promise<void> {
  const codes = rows.flatMap(({ from_code, to_code }) => [from_code, to_code]).filter((code) => code !== NONE)
  if (codes.every((code) => known.has(code))) return
  const statement = judgementsStatement([request.from.tables, request.to.tables], sql)
  for (const { code, ...judged } of await ask<Judged & { code: string }>(request, { sql: statement, parameters })) {
    const same = known.get(code)
    if (same !== undefined && JSON.stringify(same) !== JSON.stringify(judged))
      throw new Error(`Two judgements have the code ${code}: ${JSON.stringify(same)} and ${JSON.stringify(judged)}.`)
    known.set(code, judged)
  }
}

function transitionOf(row: ComparedRow, judgements: ReadonlyMap<string, Judged>): Transition {
  const judgedOf = (code: string) => {
    if (code === NONE) return null
    const judged = judgements.get(code)
    if (judged === undefined) throw new Error(`Nothing is known of the code ${code}.`)
    return judged
  }
  return {
    domain: row.domain,
    from: judgedOf(row.from_code),
    to: judgedOf(row.to_code),
    records: row.records,
    messages: row.messages,
    examples: row.examples.map(([messages, day, report, variant, index]) => ({
      domain: row.domain,
      messages,
      day,
      report,
      variant,
      index,
    })),
  }
}

function ask<Row>({ store, signal }: DiffRequest, { sql, parameters }: Condition): Promise<Row[]> {
  return store.query<Row>(`${sql} ${LIMITS}`, { parameters, timeout: STATEMENT_SECONDS, signal })
}
