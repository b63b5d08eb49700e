/** Filters of lists: values become bound parameters, never part of a statement. */
import { domainToASCII, domainToUnicode } from 'node:url'
import type { Parameters } from '../projections/store.ts'

/** A piece of a WHERE clause and the values that it names. */
export interface Condition {
  readonly sql: string
  readonly parameters: Parameters
}

/** All of them; with none, everything. */
export function allOf(conditions: readonly Condition[]): Condition {
  return {
    sql: conditions.length === 0 ? '1' : conditions.map(({ sql }) => `(${sql})`).join(' AND '),
    parameters: Object.assign({}, ...conditions.map(({ parameters }) => parameters)),
  }
}

/** What was asked for and, behind `!`, what is to be left out. */
function split(values: readonly string[]): { wanted: string[]; unwanted: string[] } {
  return {
    wanted: values.filter((value) => !value.startsWith('!')),
    unwanted: values.filter((value) => value.startsWith('!')).map((value) => value.slice(1)),
  }
}

/** The column is one of the values, and none of those behind `!`. `name` must be unique in the statement. */
export function oneOf(
  name: string,
  expression: string,
  values: readonly string[] | undefined,
  read: (value: string) => string = (value) => value,
): Condition[] {
  return listCondition(name, values, read, (list) => `${expression} IN (${list})`)
}

/** As `oneOf`, for a column that is a list: one of its entries. */
export function anyEntry(
  name: string,
  expression: string,
  values: readonly string[] | undefined,
  read: (value: string) => string = (value) => value,
): Condition[] {
  return listCondition(name, values, read, (list) => `hasAny(${expression}, ${list})`)
}

function listCondition(
  name: string,
  values: readonly string[] | undefined,
  read: (value: string) => string,
  test: (list: string) => string,
): Condition[] {
  const { wanted, unwanted } = split(values ?? [])
  const conditions: Condition[] = []
  if (wanted.length > 0) {
    conditions.push({ sql: test(`{${name}_in:Array(String)}`), parameters: { [`${name}_in`]: wanted.map(read) } })
  }
  if (unwanted.length > 0) {
    const sql = `NOT ${test(`{${name}_out:Array(String)}`)}`
    conditions.push({ sql, parameters: { [`${name}_out`]: unwanted.map(read) } })
  }
  return conditions
}

/** Any of several conditions, each made of one value, and none of those behind `!`. */
export function anyCondition(
  values: readonly string[] | undefined,
  make: (value: string, index: number) => Condition,
): Condition[] {
  const { wanted, unwanted } = split(values ?? [])
  const made = wanted.map(make)
  const excluded = unwanted.map((value, index) => make(value, wanted.length + index))
  const any = (conditions: readonly Condition[], sql: string): Condition => ({
    sql,
    parameters: Object.assign({}, ...conditions.map(({ parameters }) => parameters)),
  })
  return [
    ...(made.length > 0 ? [any(made, made.map(({ sql }) => `(${sql})`).join(' OR '))] : []),
    ...(excluded.length > 0 ? [any(excluded, `NOT (${excluded.map(({ sql }) => `(${sql})`).join(' OR ')})`)] : []),
  ]
}

/** A domain as it is stored: lower case, A-labels, no trailing dot. What is no domain stays text and matches nothing. */
export function domainName(text: string): string {
  const lower = text.toLowerCase().replace(/\.$/, '')
  return domainToASCII(lower) || lower
}

/** A domain as people read it: U-labels. */
export function shownDomain(domain: string): string {
  return domainToUnicode(domain) || domain
}
