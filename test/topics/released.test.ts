/** Logs hold events of every version that was released: the schemas of today can read them all, known without a registry. */
import { globSync, readdirSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { eventTypes } from '../../topics/all.ts'
import { type AvroRecord, whyUnreadable } from '../../topics/avro.ts'

const RELEASED = join(import.meta.dirname, '..', '..', 'topics', 'released')
const versions = readdirSync(RELEASED, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => name)
const current = new Map<string, AvroRecord>(eventTypes.map(({ name, schema }) => [name, schema]))
const readSchema = (path: string) => JSON.parse(readFileSync(path, 'utf8')) as AvroRecord

test('schemas of a release are kept', () => {
  expect(versions.length).toBeGreaterThan(0)
  for (const version of versions) expect(version).toMatch(/^\d+\.\d+\.\d+$/)
})

describe.each(versions)('events of version %s', (version) => {
  const files = globSync('*.json', { cwd: join(RELEASED, version) }).sort()

  test('are all still known', () => {
    expect(files.length).toBeGreaterThan(0)
    expect(files.map((file) => basename(file, '.json')).filter((name) => !current.has(name))).toEqual([])
  })

  test.each(files)('%s can be read', (file) => {
    const writer = readSchema(join(RELEASED, version, file))
    expect(basename(file, '.json')).toBe(writer.name)
    expect(whyUnreadable(current.get(writer.name)!, writer)).toBeNull()
  })
})

describe('what would break reading is found', () => {
  const [type] = eventTypes
  const older: AvroRecord = type.schema
  const [first, ...rest] = older.fields

  test('a field that is added without a default', () => {
    const newer = { ...older, fields: [...older.fields, { name: 'weight', type: 'int' as const }] }
    expect(whyUnreadable(newer, older)).toContain('weight')
    const fine = { ...older, fields: [...older.fields, { name: 'weight', type: 'int' as const, default: 0 }] }
    expect(whyUnreadable(fine, older)).toBeNull()
  })

  test('a field of another type, and a type that was null too', () => {
    expect(whyUnreadable({ ...older, fields: [{ ...first!, type: 'boolean' }, ...rest] }, older)).not.toBeNull()
    const loose = { ...older, fields: [{ ...first!, type: ['null', 'string'] as const }, ...rest] }
    const strict = { ...older, fields: [{ ...first!, type: 'string' as const }, ...rest] }
    expect(whyUnreadable(loose, strict)).toBeNull()
    expect(whyUnreadable(strict, loose)).not.toBeNull()
  })

  test('a field that is gone is none', () => {
    expect(whyUnreadable({ ...older, fields: rest }, older)).toBeNull()
  })
})
