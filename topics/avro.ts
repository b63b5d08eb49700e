/**
 * Avro, once: a schema written as a constant is the codec, the documentation and the TypeScript type of an event.
 *
 * On the wire an event is framed as Confluent's clients do: byte 0 is 0x00, bytes 1–4 are the schema's id in the
 * registry in use (big-endian), the rest is plain Avro binary. The id is local to one registry, so nothing is ever
 * hashed or compared over encoded bytes.
 */
import avsc from 'avsc'

export interface AvroField {
  readonly name: string
  readonly type: AvroSchema
  readonly doc?: string
  readonly default?: unknown
}
export interface AvroRecord {
  readonly type: 'record'
  readonly name: string
  readonly namespace?: string
  readonly doc?: string
  readonly fields: readonly AvroField[]
}
export type AvroSchema =
  | 'null'
  | 'boolean'
  | 'int'
  | 'long'
  | 'double'
  | 'string'
  | 'bytes'
  | AvroRecord
  | { readonly type: 'array'; readonly items: AvroSchema }
  | { readonly type: 'map'; readonly values: AvroSchema }
  | { readonly type: 'long'; readonly logicalType: 'timestamp-millis' }
  | readonly AvroSchema[]

/** The TypeScript type of a value of schema `S`. Arrays come as arrays, timestamps as milliseconds since 1970 UTC. */
export type FromAvro<S> = S extends 'null'
  ? null
  : S extends 'boolean'
    ? boolean
    : S extends 'int' | 'long' | 'double'
      ? number
      : S extends 'string'
        ? string
        : S extends 'bytes'
          ? Uint8Array
          : S extends { readonly type: 'record'; readonly fields: infer F extends readonly AvroField[] }
            ? { [K in F[number] as K['name']]: FromAvro<K['type']> }
            : S extends { readonly type: 'array'; readonly items: infer I }
              ? FromAvro<I>[]
              : S extends { readonly type: 'map'; readonly values: infer V }
                ? Record<string, FromAvro<V>>
                : S extends { readonly type: 'long' }
                  ? number
                  : S extends readonly (infer U)[]
                    ? FromAvro<U>
                    : never

/** An event type: its name (past tense), the topic it travels on, and its schema. */
export interface EventType<Name extends string = string, S extends AvroRecord = AvroRecord> {
  readonly name: Name
  readonly topic: string
  readonly schema: S
}
export type EventData<E> = E extends EventType<string, infer S> ? FromAvro<S> : never

/** Where a registry keeps the schema: by topic and name, so that a topic holds events of several types. */
export function subjectOf({ topic, name }: Pick<EventType, 'topic' | 'name'>): string {
  return `${topic}-mailtrail.${name}`
}

export function defineEvent<const S extends AvroRecord>(topic: string, schema: S): EventType<S['name'], S> {
  return { name: schema.name, topic, schema: { namespace: 'mailtrail', ...schema } as S }
}

/**
 * avsc writes into one buffer of 1 KB and, when a value does not fit, writes it all a second time. Chunks of records are
 * 10 to 250 KB. The call is documented by avsc but missing in its types.
 */
const SCRATCH_BYTES = 512 * 1024
;(avsc.Type as unknown as { __reset(size: number): void }).__reset(SCRATCH_BYTES)

/** A compiled schema. */
export type AvroType = avsc.Type

/** Compiles a schema. Named types are resolved within the schema only, so two schemas never share one by accident. */
export function compile(schema: AvroSchema): avsc.Type {
  return avsc.Type.forSchema(structuredClone(schema) as avsc.Schema, { wrapUnions: 'never' })
}

/** JSON with the names of every object in order, so that equal schemas give equal text. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) =>
    part !== null && typeof part === 'object' && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  )
}

/** Why events of the writer's schema cannot be read with the reader's; null when they can (Avro, Schema Resolution). */
export function whyUnreadable(reader: AvroRecord, writer: AvroRecord): string | null {
  return whyUnresolvable(compile(reader), compile(writer))
}

function whyUnresolvable(reader: avsc.Type, writer: avsc.Type): string | null {
  try {
    reader.createResolver(writer)
    return null
  } catch (error) {
    return (error as Error).message
  }
}

/** A store of schemas by number. Embedded: a table beside the log. Cluster: a Confluent-compatible registry. */
export interface SchemaRegistry {
  /** Id of the schema under the subject; registers it when new. The same schema always gets the same id. */
  register(subject: string, schema: AvroRecord): Promise<number>
  /** The writer schema with this id. Rejects when the registry does not know it; waits for one that does not answer. */
  schema(id: number): Promise<AvroRecord>
}

export class UnknownSchema extends Error {
  readonly schemaId: number
  constructor(schemaId: number) {
    super(`No schema with id ${schemaId} is known here; ask the registry for it first.`)
    this.schemaId = schemaId
  }
}

const FRAME = 5

/** The number of the writer schema in a framed value. Throws when the value is not framed. */
export function schemaIdOf(value: Uint8Array): number {
  if (value.length < FRAME || value[0] !== 0) throw new Error('The value has no Confluent frame (0x00, schema id).')
  return ((value[1]! << 24) | (value[2]! << 16) | (value[3]! << 8) | value[4]!) >>> 0
}

/** Puts the Confluent frame in front of Avro binary. */
export function frame(schemaId: number, ...body: readonly Uint8Array[]): Buffer {
  const head = Buffer.allocUnsafe(FRAME)
  head[0] = 0
  head.writeUInt32BE(schemaId, 1)
  return Buffer.concat([head, ...body])
}

export interface DecodedEvent<E extends EventType> {
  readonly type: E['name']
  readonly data: EventData<E>
}

/** The decoded event of one of several types; `type` tells which. */
export type DecodedOf<E extends EventType> = E extends EventType ? DecodedEvent<E> : never

/**
 * Writes and reads events of the given types. `open` registers each schema once; `decode` resolves an older writer's
 * schema to ours and remembers the resolver.
 */
export class EventCodec<E extends EventType> {
  readonly #registry: SchemaRegistry
  readonly #byName = new Map<string, { readonly id: number; readonly type: avsc.Type }>()
  readonly #byId = new Map<
    number,
    { readonly name: string; readonly reader: avsc.Type; readonly resolver: avsc.Resolver | undefined }
  >()
  readonly #readers = new Map<string, avsc.Type>()

  private constructor(registry: SchemaRegistry) {
    this.#registry = registry
  }

  static async open<E extends EventType>(registry: SchemaRegistry, types: readonly E[]): Promise<EventCodec<E>> {
    const codec = new EventCodec<E>(registry)
    const open = async ({ name, topic, schema }: E) => {
      const type = compile(schema)
      const id = await registry.register(subjectOf({ name, topic }), schema)
      codec.#byName.set(name, { id, type })
      codec.#byId.set(id, { name, reader: type, resolver: undefined })
      codec.#readers.set(name, type)
    }
    // At once: a registry over a network takes some requests for each.
    await Promise.all(types.map(open))
    return codec
  }

  /** Schema ids by event name, for a worker that frames its own values. */
  ids(): Record<string, number> {
    return Object.fromEntries([...this.#byName].map(([name, { id }]) => [name, id]))
  }

  encode<T extends E>(type: T, data: EventData<T>): Buffer {
    const known = this.#byName.get(type.name)
    if (known === undefined) throw new Error(`${type.name} is not an event type of this codec.`)
    return frame(known.id, known.type.toBuffer(data))
  }

  /** Throws `UnknownSchema` when the writer's schema has not been learnt yet: `await learn(id)`, then again. */
  decode(value: Uint8Array): DecodedOf<E> {
    const id = schemaIdOf(value)
    const known = this.#byId.get(id)
    if (known === undefined) throw new UnknownSchema(id)
    const body = Buffer.from(value.buffer, value.byteOffset + FRAME, value.byteLength - FRAME)
    return { type: known.name, data: known.reader.fromBuffer(body, known.resolver) } as DecodedOf<E>
  }

  /** Fetches the writer schema and prepares its resolution to ours. */
  async learn(id: number): Promise<void> {
    const schema = await this.#registry.schema(id)
    const reader = this.#readers.get(schema.name)
    if (reader === undefined)
      throw new Error(`Schema ${id} is of ${schema.name}, which is not an event type read here.`)
    const writer = compile(schema)
    const reason = whyUnresolvable(reader, writer)
    if (reason !== null)
      throw new Error(
        `Events of schema ${id} of ${schema.name} cannot be read here: ${reason}. A newer mailtrail wrote them; run that one.`,
      )
    this.#byId.set(id, { name: schema.name, reader, resolver: reader.createResolver(writer) })
  }

  /** As `decode`, asking the registry when needed. */
  async read(value: Uint8Array): Promise<DecodedOf<E>> {
    try {
      return this.decode(value)
    } catch (error) {
      if (!(error instanceof UnknownSchema)) throw error
      await this.learn(error.schemaId)
      return this.decode(value)
    }
  }
}
