/** Events outlive the schema that they were written with: a newer reader takes them, and asks for what it does not know. */
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type AnyEventType, eventTypes } from '../../topics/all.ts'
import { type AvroField, EventCodec, type EventType, frame, UnknownSchema } from '../../topics/avro.ts'
import { openSqliteLog, type SqliteLog } from '../../topics/sqlite-log.ts'

let folder: string
let registry: SqliteLog

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mailtrail-evolution-'))
  registry = await openSqliteLog({ path: join(folder, 'log.sqlite') })
})
afterEach(async () => {
  await registry.close()
  await rm(folder, { recursive: true, force: true })
})

async function exampleOf({ name }: AnyEventType): Promise<Readonly<Record<string, unknown>>> {
  const path = join(import.meta.dirname, '..', '..', 'topics', 'examples', `${name}.json`)
  return JSON.parse(await readFile(path, 'utf8'))[0]
}

/** The type as a later version may have it: fields more, at the end or in between. */
function withFields({ name, topic, schema }: EventType, ...added: readonly AvroField[]): EventType {
  const [first, ...rest] = schema.fields
  return { name, topic, schema: { ...schema, fields: [first!, ...added, ...rest] } }
}

describe.each(eventTypes)('$name', (type) => {
  test('written before fields were added is read with their defaults', async () => {
    const example = await exampleOf(type)
    const old = await EventCodec.open(registry, eventTypes)
    const value = old.encode(type, example as never)
    const later = withFields(
      type,
      { name: 'sender', type: ['null', 'string'], default: null },
      { name: 'notes', type: { type: 'array', items: 'string' }, default: [] },
      { name: 'weight', type: 'int', default: 1 },
    )
    const reader = await EventCodec.open(registry, [later])
    const read: unknown = await reader.read(value)
    expect(JSON.parse(JSON.stringify(read))).toEqual({
      type: type.name,
      data: { ...example, sender: null, notes: [], weight: 1 },
    })
  })

  test('written after a field was added is read without it', async () => {
    const example = await exampleOf(type)
    const later = withFields(type, { name: 'sender', type: ['null', 'string'], default: null })
    const value = (await EventCodec.open(registry, [later])).encode(later, { ...example, sender: 'crm' } as never)
    const reader = await EventCodec.open(registry, eventTypes)
    const { data } = await reader.read(value)
    expect(JSON.parse(JSON.stringify(data))).toEqual(example)
  })
})

describe('a schema that is not known here', () => {
  const [type] = eventTypes

  test('is told by its id, learnt from the registry, and then read', async () => {
    const example = await exampleOf(type)
    const later = withFields(type, { name: 'sender', type: ['null', 'string'], default: null })
    const reader = await EventCodec.open(registry, eventTypes)
    const value = (await EventCodec.open(registry, [later])).encode(later, { ...example, sender: null } as never)
    const id = value.readUInt32BE(1)
    expect(() => reader.decode(value)).toThrow(UnknownSchema)
    expect(() => reader.decode(value)).toThrow(`id ${id}`)
    await reader.learn(id)
    expect(JSON.parse(JSON.stringify(reader.decode(value).data))).toEqual(example)
  })

  test('and not in the registry either, is an error that names it', async () => {
    const reader = await EventCodec.open(registry, eventTypes)
    await expect(reader.read(frame(4711, Buffer.of(0)))).rejects.toThrow('4711')
  })

  test('and of an event that is not read here, is an error that names the event', async () => {
    const stranger = {
      name: 'CupOfTeaMade',
      topic: 'reports',
      schema: { type: 'record', name: 'CupOfTeaMade', fields: [] },
    } as const
    const value = (await EventCodec.open(registry, [stranger])).encode(stranger, {})
    const reader = await EventCodec.open(registry, eventTypes)
    await expect(reader.read(value)).rejects.toThrow('CupOfTeaMade')
  })

  test('a value without the frame is refused', async () => {
    const reader = await EventCodec.open(registry, eventTypes)
    expect(() => reader.decode(Buffer.from('From: a@example.com\r\n\r\n'))).toThrow('frame')
    expect(() => reader.decode(Buffer.alloc(4))).toThrow('frame')
  })
})

test('the same schema has the same id, in whatever order its parts stand, and after the log was closed', async () => {
  const [type] = eventTypes
  const id = await registry.register('subject', type.schema)
  const { fields, ...rest } = type.schema
  expect(await registry.register('subject', { fields, ...rest })).toBe(id)
  await registry.close()
  registry = await openSqliteLog({ path: join(folder, 'log.sqlite') })
  expect(await registry.register('subject', type.schema)).toBe(id)
  expect(await registry.schema(id)).toEqual(JSON.parse(JSON.stringify(type.schema)))
})
