/**
 * Every event type has examples, and every consumer takes them: through Avro and back, and through each projection into
 * a real table, whose rows are compared with test/projections/golden. After a wanted change write those files anew:
 * UPDATE_GOLDEN=1 npm test -- test/topics/examples.test.ts
 */
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { rejectCodes, warningCodes } from '../../processors/formats/codes.ts'
import { projections } from '../../projections/all.ts'
import { type EmbeddedStore, openEmbeddedStore } from '../../projections/embedded-store.ts'
import type { Projection } from '../../projections/projection.ts'
import { layoutOf, prepareStore } from '../../projections/schema.ts'
import { type AnyEventType, controlEvents, eventTypes, MAX_EVENT_BYTES } from '../../topics/all.ts'
import { EventCodec } from '../../topics/avro.ts'
import { ENRICHED } from '../../topics/enriched.ts'
import { firstGeneration } from '../../topics/generation.ts'
import { AddressesObserved, KeyObserved } from '../../topics/observations.ts'
import { DmarcRecordsRead, REPORTS } from '../../topics/reports.ts'
import { openSqliteLog, type SqliteLog } from '../../topics/sqlite-log.ts'

const EXAMPLES = join(import.meta.dirname, '..', '..', 'topics', 'examples')
const GOLDEN = join(import.meta.dirname, '..', 'projections', 'golden')
const UPDATE = process.env.UPDATE_GOLDEN === '1'

type Example = Readonly<Record<string, unknown>>

const generation = firstGeneration('')
let folder: string
let log: SqliteLog
let codec: EventCodec<AnyEventType>
let store: EmbeddedStore
const examples = new Map<string, readonly Example[]>()

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mailtrail-examples-'))
  log = await openSqliteLog({ path: join(folder, 'log.sqlite') })
  codec = await EventCodec.open(log, eventTypes)
  store = await openEmbeddedStore({ folder: join(folder, 'store'), tmp: folder })
  await prepareStore(store, layoutOf(generation), { log })
  for (const file of await readdir(EXAMPLES))
    examples.set(file.replace(/\.json$/, ''), JSON.parse(await readFile(join(EXAMPLES, file), 'utf8')))
})
afterAll(async () => {
  await store.close()
  await log.close()
  await rm(folder, { recursive: true, force: true })
})

const names = eventTypes.map(({ name }) => name)

test('every event type has examples, and every file of examples is of an event type', () => {
  expect([...examples.keys()].sort()).toEqual([...names].sort())
  for (const [name, list] of examples) expect(list.length, name).toBeGreaterThan(0)
})

test('the examples of a type show each of its fields with a value, and each that may be missing without', () => {
  for (const { name, schema } of eventTypes) {
    for (const { name: field, type } of schema.fields) {
      const values = examples.get(name)!.map((example) => example[field])
      expect(
        values.every((value) => value !== undefined),
        `${name}.${field} is in every example`,
      ).toBe(true)
      expect(
        values.some((value) => value !== null),
        `${name}.${field} with a value`,
      ).toBe(true)
      const mayBeMissing = Array.isArray(type) && (type as readonly unknown[]).includes('null')
      if (mayBeMissing) expect(values, `${name}.${field} without`).toContain(null)
    }
  }
})

test('warnings and rejects in the examples have codes that exist', () => {
  for (const list of examples.values()) {
    for (const { warnings = [], code } of list as readonly { warnings?: { code: string }[]; code?: string }[]) {
      for (const warning of warnings) expect(Object.keys(warningCodes)).toContain(warning.code)
      if (code !== undefined) expect(Object.keys(rejectCodes)).toContain(code)
    }
  }
})

/** All of `reports` travels on `enriched` as well, and tables are filled from there. */
const projectedFrom = ({ topic }: AnyEventType) => (topic === REPORTS ? ENRICHED : topic)
/** Records are read with what was observed of their sources; the rest is no answer's matter. */
const inNoTable = new Set<AnyEventType>([DmarcRecordsRead, AddressesObserved, KeyObserved, ...controlEvents])

describe.each(eventTypes)('$name', (type) => {
  const encode = (example: Example) => codec.encode(type, example as never)

  test('comes through Avro as it went in, framed with the id of its schema', () => {
    for (const example of examples.get(type.name)!) {
      const value = encode(example)
      expect(value[0]).toBe(0)
      expect(value.readUInt32BE(1)).toBe(codec.ids()[type.name])
      expect(value.length).toBeLessThan(MAX_EVENT_BYTES)
      expect(JSON.parse(JSON.stringify(codec.decode(value)))).toEqual({ type: type.name, data: example })
    }
  })

  test('becomes the rows that stand in the golden file, or none', async () => {
    const rows: Record<string, unknown> = {}
    for (const projection of projections.filter(({ topic }) => topic === projectedFrom(type))) {
      const found = await rowsOf(projection, examples.get(type.name)!.map(encode))
      if (found.length > 0) rows[projection.table] = found
    }
    if (inNoTable.has(type)) {
      expect(rows).toEqual({})
      return
    }
    expect(Object.keys(rows).length, 'tables that take something from it').toBeGreaterThan(0)
    const path = join(GOLDEN, `${type.name}.json`)
    if (UPDATE) await writeFile(path, `${JSON.stringify(rows, null, 2)}\n`)
    expect(rows).toEqual(JSON.parse(await readFile(path, 'utf8')))
  })
})

/** What a projection makes of the events, as rows of its table: hashes in hex, in the order of the table. */
async function rowsOf(projection: Projection, values: readonly Buffer[]): Promise<readonly unknown[]> {
  const gathered = projection.gather()
  for (const value of values) gathered.append(codec.decode(value))
  if (gathered.rows() === 0) return []
  const table = generation.tables[projection.table]
  await store.command(`TRUNCATE TABLE ${table}`)
  await store.insert(table, gathered.encode())
  const columns = await store.query<{ name: string; type: string; default_kind: string }>(
    'SELECT name, type, default_kind FROM system.columns WHERE database = currentDatabase() AND table = {table:String}',
    { parameters: { table } },
  )
  expect(columns.filter(({ default_kind }) => default_kind === '').map(({ name }) => name)).toEqual(
    projection.columnNames,
  )
  const shown = columns.map(({ name, type }) => {
    const column = `\`${name}\``
    if (type.startsWith('FixedString')) return `lower(hex(${column})) AS ${column}`
    if (type.startsWith('Array(FixedString')) return `arrayMap(one -> lower(hex(one)), ${column}) AS ${column}`
    return column
  })
  return store.query(`SELECT ${shown.join(', ')} FROM (SELECT *, month FROM ${table} ORDER BY ALL)`)
}
