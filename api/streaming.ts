/** Lists as CSV (RFC 4180) and NDJSON, written piecewise in constant memory. */
import type { TObject, TSchema } from 'typebox'
import { csvText } from '../topics/printable.ts'

export type ListFormat = 'json' | 'csv' | 'ndjson'

export const contentTypes = {
  csv: 'text/csv; charset=utf-8; header=present',
  ndjson: 'application/x-ndjson; charset=utf-8',
} as const

/** The format that `Accept` prefers among those that there are; JSON when it names none of the others. */
export function acceptedFormat(accept: string | undefined): ListFormat {
  const known: Readonly<Record<string, ListFormat>> = {
    'application/json': 'json',
    'text/csv': 'csv',
    'application/x-ndjson': 'ndjson',
  }
  let best: { format: ListFormat; weight: number } = { format: 'json', weight: 0 }
  for (const range of (accept ?? '').split(',')) {
    const [type, ...parameters] = range.split(';').map((part) => part.trim().toLowerCase())
    const format = known[type ?? '']
    const stated = parameters.find((parameter) => parameter.startsWith('q='))
    const weight = stated === undefined ? 1 : Number(stated.slice(2))
    if (format !== undefined && weight > best.weight) best = { format, weight }
  }
  return best.format
}

/** A column of the CSV: the way into the item. */
type Column = readonly string[]

/** Columns of an item schema: members of nested objects become `outer_inner`; lists stay one cell of JSON. */
export function csvColumns(item: TObject, before: Column = []): Column[] {
  return Object.entries(item.properties as Record<string, TSchema>).flatMap(([name, schema]) =>
    'properties' in schema ? csvColumns(schema as TObject, [...before, name]) : [[...before, name]],
  )
}

export function csvHeader(columns: readonly Column[]): string {
  return `${columns.map((column) => column.join('_')).join(',')}\r\n`
}

export function csvLine(columns: readonly Column[], item: unknown): string {
  return `${columns.map((column) => csvCell(valueAt(item, column))).join(',')}\r\n`
}

function valueAt(item: unknown, column: Column): unknown {
  let value = item
  for (const name of column) value = (value as Record<string, unknown> | null | undefined)?.[name]
  return value
}

/** Numbers are numbers and stay as they are; -1 is no formula. */
function csvCell(value: unknown): string {
  if (value === null || value === undefined) return ''
  if (typeof value === 'number' || typeof value === 'boolean') return String(value)
  return csvText(typeof value === 'string' ? value : JSON.stringify(value))
}
