import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createDatabaseStatement, createStoreStatements, dropTableStatements } from '../../projections/ddl.ts'
import type { EmbeddedStore } from '../../projections/embedded-store.ts'
import { schemaVersion } from '../../projections/schema.ts'
import { makeGeneration, tableNames } from '../../topics/generation.ts'
import { generation, openStore, removeFolder, temporaryFolder } from './projecting.ts'

/** A generation of its own tables, and one that shares the facts with it. */
const second = makeGeneration({
  number: 2,
  ruleSet: null,
  from: 'enriched',
  parent: generation,
  epoch: 1,
  topicPrefix: '',
})
const layout = { live: second, kept: [generation, second] }
const single = { cluster: null, tunesMerges: true }
const cluster = { cluster: { name: 'reports', database: 'mailtrail' }, tunesMerges: false }

const variants = {
  single: [createDatabaseStatement('mailtrail', null), ...createStoreStatements(layout, single)],
  cluster: [createDatabaseStatement('mailtrail', 'reports'), ...createStoreStatements(layout, cluster)],
}

let folder: string
let store: EmbeddedStore
beforeAll(async () => {
  folder = await temporaryFolder()
  store = await openStore(folder)
})
afterAll(async () => {
  await store.close()
  await removeFolder(folder)
})

/** ClickHouse's own parser reads each statement. */
async function parse(statements: readonly string[]): Promise<void> {
  for (const sql of statements)
    await store.query('SELECT formatQuery({sql:String}) AS formatted', { parameters: { sql } })
}

describe.each(['single', 'cluster'] as const)('the statements for a %s store', (name) => {
  test('are the ones of the golden file', async () => {
    const text = `${variants[name].map((sql) => sql.trim()).join(';\n\n')};\n`
    await expect(text).toMatchFileSnapshot(`golden/ddl-${name}.sql`)
  })

  test('are read by ClickHouse', () => parse(variants[name]))
})

describe('on a cluster', () => {
  test('every statement goes to all servers', () => {
    const drops = [...Object.values(generation.tables), 'positions'].flatMap((table) =>
      dropTableStatements(table, cluster),
    )
    expect([...variants.cluster, ...drops].filter((sql) => !sql.includes('ON CLUSTER reports'))).toEqual([])
  })

  test('every table of rows is on shards below one that has its name, and both are dropped', () => {
    for (const table of tableNames) {
      const name = generation.tables[table]
      const below = variants.cluster.find((sql) => sql.includes(`EXISTS ${name}__local ON CLUSTER`))
      expect(below).toContain(
        "ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/{database}/{table}', '{replica}')",
      )
      const above = variants.cluster.find((sql) => sql.includes(`EXISTS ${name} ON CLUSTER`))
      expect(above).toContain(`Distributed('reports', 'mailtrail', '${name}__local', cityHash64(`)
      expect(dropTableStatements(name, cluster)).toHaveLength(2)
    }
  })

  test('rows that a query compares have one sharding key, which is in the sort key of their table', () => {
    const keyOf = (table: string) => new RegExp(`${table}__g1__local', cityHash64\\((\\w+)\\)`)
    const key = (table: string) => keyOf(table).exec(variants.cluster.join('\n'))?.[1]
    for (const table of ['dmarc_reports', 'record_verdicts', 'report_verdicts', 'tls_policies', 'tls_failures'])
      expect(key(table), table).toBe(key('dmarc_records'))
    expect(key('rejects')).toBe(key('mail'))
    for (const table of tableNames) {
      const sql = variants.cluster.find((text) => text.includes(`EXISTS ${generation.tables[table]}__local`))!
      expect(/ORDER BY \((.*)\)/.exec(sql)![1]!.split(', '), table).toContain(key(table))
    }
  })

  test('is another schema than on one server', () => {
    expect(schemaVersion(cluster.cluster)).not.toBe(schemaVersion())
  })
})

test('every setting of a table is known to this ClickHouse', async () => {
  const names = new Set(
    Object.values(variants)
      .flat()
      .flatMap((sql) => /^SETTINGS (.*)$/m.exec(sql)?.[1]?.split(', ') ?? [])
      .map((assignment) => assignment.split(' = ')[0]!)
      .filter((name) => name !== 'join_algorithm'),
  )
  expect(names.size).toBeGreaterThan(5)
  const known = await store.query<{ name: string }>('SELECT name FROM system.merge_tree_settings')
  const missing = [...names].filter((name) => !known.some((setting) => setting.name === name))
  expect(missing).toEqual([])
})

test('the statements in docs/clickhouse.md are read by ClickHouse', async () => {
  const text = readFileSync(join(import.meta.dirname, '../../docs/clickhouse.md'), 'utf8')
  const statements = [...text.matchAll(/```sql\n([\s\S]*?)```/g)]
    .flatMap(([, block]) => block!.split(/;\s*$/m))
    .map((sql) => sql.trim())
    .filter((sql) => sql !== '')
  expect(statements.length).toBeGreaterThan(8)
  await parse(statements)
})
