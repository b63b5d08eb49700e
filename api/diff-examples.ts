/** The addresses behind examples: read when a page is shown, for few examples are. */
import type { Store } from '../projections/store.ts'
import type { Generation } from '../topics/generation.ts'
import { sourceAddress } from './said.ts'
import type { ExampleKey, Transition } from './transitions.ts'

export interface Example {
  readonly record_id: string
  readonly source_ip: string
  readonly day: string
}

interface SourceRow {
  readonly id: string
  readonly ip: string
  readonly source_text: string
}

const recordId = ({ report, variant, index }: ExampleKey) => `${report}:${variant}:${index}`

/** Examples of each transition, in order. One whose rows are gone meanwhile is left out. */
export async function examplesOf(
  store: Store,
  sides: readonly Generation[],
  transitions: readonly Transition[],
  signal: AbortSignal,
): Promise<readonly (readonly Example[])[]> {
  const wanted = transitions.flatMap(({ examples }) => examples)
  const sources = wanted.length === 0 ? new Map<string, string>() : await sourcesOf(store, sides, wanted, signal)
  return transitions.map(({ examples }) =>
    examples.flatMap((key) => {
      const source_ip = sources.get(recordId(key))
      return source_ip === undefined ? [] : [{ record_id: recordId(key), source_ip, day: key.day }]
    }),
  )
}

async function sourcesOf(
  store: Store,
  sides: readonly Generation[],
  wanted: readonly ExampleKey[],
  signal: AbortSignal,
): Promise<ReadonlyMap<string, string>> {
  const asked = `arrayJoin(arrayZip({reports:Array(String)}, {variants:Array(String)}, {indexes:Array(UInt32)}))`
  const keys = `SELECT toFixedString(unhex(k.1), 32), toFixedString(unhex(k.2), 16), k.3 FROM (SELECT ${asked} AS k)`
  const rows = ({ tables }: Generation) => `SELECT report_key, variant, record_index, source_ip, source_text
    FROM ${tables.record_verdicts} WHERE policy_domain IN {domains:Array(String)} AND day IN {days:Array(Date)}
    AND (report_key, variant, record_index) IN (${keys})`
  const statement = `SELECT DISTINCT concat(lower(hex(report_key)), ':', lower(hex(variant)), ':', toString(record_index)) AS id,
      toString(source_ip) AS ip, source_text FROM (${sides.map(rows).join(' UNION ALL ')})`
  const found = await store.query<SourceRow>(statement, {
    parameters: {
      domains: [...new Set(wanted.map(({ domain }) => domain))],
      days: [...new Set(wanted.map(({ day }) => day))],
      reports: wanted.map(({ report }) => report),
      variants: wanted.map(({ variant }) => variant),
      indexes: wanted.map(({ index }) => index),
    },
    signal,
  })
  return new Map(found.map(({ id, ip, source_text }) => [id, sourceAddress(ip, source_text)]))
}
