/**
 * Schemas in a Confluent-compatible registry, through its usual client. Of that client's transport nothing is used: it has
 * no end for a request that hangs, and an answer that it does not expect leaves a promise that nobody can catch.
 */
import { SchemaRegistry as Client, COMPATIBILITY, SchemaType } from '@kafkajs/confluent-schema-registry'
import { type AvroRecord, canonicalJson, type SchemaRegistry, whyUnreadable } from './avro.ts'
import { RegistryAway, RegistryConnection, RegistryRefusal } from './registry-connection.ts'
import { SchemaCache } from './schema-cache.ts'

/** A newer reader reads what all older writers wrote: the log holds events of every version, for ever. */
const LEVEL = COMPATIBILITY.BACKWARD_TRANSITIVE

const WAITING = 'waiting until it does'

/** Of a registry of several nodes one may not have heard yet of what another one said. */
const ATTEMPTS_FOR_AN_ID = 5
const PAUSE_FOR_AN_ID_MILLISECONDS = 500
const CONFLICT = 409
const ATTEMPTS_TO_REGISTER = 4
const PAUSE_TO_REGISTER_MILLISECONDS = 100

export interface SchemaRegistryOptions {
  /** Address of its API, such as https://registry:8081. */
  readonly url: string
  readonly user: string | null
  readonly password: string | null
  /** False: schemas must be there, for `mailtrail schemas register` has put them there. */
  readonly mayRegister: boolean
  /** What the registry said is kept here, for a start while it is away; null: nowhere. */
  readonly cacheFile: string | null
  /** Told in one sentence, once, when the registry is away, and what is not as it should be. */
  readonly onProblem: (message: string) => void
  /** Ends all waiting. */
  readonly signal: AbortSignal
}

/** What a registry holds under a subject, beside a schema of ours. */
export interface SubjectReport {
  readonly subject: string
  /** Compatibility that the registry checks for the subject; null when none is set. */
  readonly level: string | null
  /** Versions under the subject, oldest first. */
  readonly versions: readonly { readonly version: number; readonly id: number }[]
  /** Id of our schema; null when it is not there. */
  readonly id: number | null
  /** Why our schema cannot take the place of those; empty when it can. */
  readonly conflicts: readonly string[]
}

export interface RegistryClient extends SchemaRegistry {
  inspect(subject: string, schema: AvroRecord): Promise<SubjectReport>
}

/** Does not connect yet. Both verbs of `SchemaRegistry` wait for a registry that is away, unless the cache knows. */
export function openSchemaRegistry(options: SchemaRegistryOptions): RegistryClient {
  return new ConfluentRegistry(options)
}

class ConfluentRegistry implements RegistryClient {
  readonly #options: SchemaRegistryOptions
  readonly #connection: RegistryConnection
  readonly #client: Client
  readonly #cache: SchemaCache
  readonly #asked = new Map<number, Promise<AvroRecord>>()
  readonly #toldLevels = new Set<string>()
  #verifying: Promise<void> = Promise.resolve()

  constructor(options: SchemaRegistryOptions) {
    this.#options = options
    this.#connection = new RegistryConnection(options)
    this.#client = clientOver(this.#connection)
    this.#cache = new SchemaCache(options.cacheFile, options.url, options.onProblem)
  }

  async register(subject: string, schema: AvroRecord): Promise<number> {
    const text = canonicalJson(schema)
    const ask = () => (this.#options.mayRegister ? this.#put(subject, schema, text) : this.#find(subject, schema, text))
    const remembered = this.#cache.idOf(subject, text)
    if (remembered === undefined) return this.#connection.patiently(ask, WAITING)
    try {
      if (!this.#connection.isAway) return await this.#connection.attempt(ask)
    } catch (error) {
      if (!(error instanceof RegistryAway)) throw error
      this.#connection.tellAway(error, `going on with what ${this.#options.cacheFile} says`)
    }
    this.#verifyLater(subject, remembered, ask)
    return remembered
  }

  /** Ids begin anew in a registry that lost what it held; then ours say something else there, or nothing. */
  #verifyLater(subject: string, remembered: number, ask: () => Promise<number>): void {
    this.#verifying = this.#verifying
      .then(async () => {
        const id = await this.#connection.patiently(ask, null)
        if (id !== remembered)
          this.#connection.tell(
            `The schema registry gives ${subject} the id ${id}, and this process was told ${remembered} before and writes ` +
              'events with that: the registry has lost what it held. Restore it, or restart this process.',
          )
      })
      .catch((error: Error) => {
        if (!this.#options.signal.aborted) this.#connection.tell(error.message)
      })
  }

  async #put(subject: string, { name }: AvroRecord, text: string): Promise<number> {
    for (let attempt = 1; ; attempt++) {
      try {
        // The client knows fewer levels than registries do; it only compares this with what the registry says.
        const compatibility = (await this.#ensureLevel(subject)) as COMPATIBILITY
        const { id } = await this.#client.register({ type: SchemaType.AVRO, schema: text }, { subject, compatibility })
        return this.#keepId(subject, text, id)
      } catch (error) {
        if (!(error instanceof RegistryRefusal) || error.status !== CONFLICT) throw error
        if (attempt >= ATTEMPTS_TO_REGISTER)
          throw new Error(
            `${name} cannot be registered: the registry holds a version under ${subject} that ours is not compatible ` +
              `with, and says: ${error.message}. A field that is added needs a default. When a newer mailtrail registered ` +
              'it, run that one; mailtrail schemas check says more.',
          )
      }
      // Processes that start together may be in each other's way, which a registry also calls a conflict.
      await this.#connection.pause(attempt * PAUSE_TO_REGISTER_MILLISECONDS * (0.5 + Math.random()))
    }
  }

  async #find(subject: string, { name }: AvroRecord, text: string): Promise<number> {
    const id = await this.#idOf(subject, text)
    if (id !== null) return this.#keepId(subject, text, id)
    throw new Error(
      `The schema of ${name} is not registered under ${subject}, and MAILTRAIL_REGISTER_SCHEMAS is false. ` +
        'Run: mailtrail schemas register',
    )
  }

  #keepId(subject: string, text: string, id: unknown): number {
    if (!isId(id)) throw new RegistryAway(`it gives ${subject} the id ${JSON.stringify(id)}`)
    this.#cache.keepId(subject, text, id)
    this.#cache.keepSchema(id, text)
    return id
  }

  /** The level that holds for the subject. One that somebody else has set is left, and told. */
  async #ensureLevel(subject: string): Promise<string> {
    const level = await this.#levelOf(subject)
    if (level === null) {
      const body = JSON.stringify({ compatibility: LEVEL })
      await this.#connection.ask('PUT', `/config/${encodeURIComponent(subject)}`, body)
      return LEVEL
    }
    if (level !== LEVEL && !this.#toldLevels.has(subject))
      this.#connection.tell(
        `The schema registry checks ${subject} for ${level}; mailtrail needs ${LEVEL}, so that old events can always be ` +
          'read. It is left as it is: set it with PUT /config, or find out who changed it.',
      )
    if (level !== LEVEL) this.#toldLevels.add(subject)
    return level
  }

  async #levelOf(subject: string): Promise<string | null> {
    const answer = await this.#askUnlessMissing('GET', `/config/${encodeURIComponent(subject)}`)
    if (answer === null) return null
    const level = fieldOf(answer, 'compatibilityLevel') ?? fieldOf(answer, 'compatibility')
    if (typeof level !== 'string') throw new RegistryAway('it does not say which compatibility it checks')
    return level.toUpperCase()
  }

  async #idOf(subject: string, text: string): Promise<number | null> {
    const path = `/subjects/${encodeURIComponent(subject)}`
    const answer = await this.#askUnlessMissing('POST', path, JSON.stringify({ schema: text }))
    if (answer === null) return null
    const id = fieldOf(answer, 'id')
    if (!isId(id)) throw new RegistryAway(`it gives ${subject} the id ${JSON.stringify(id)}`)
    return id
  }

  /** Null when the registry says that there is no such thing. */
  async #askUnlessMissing(method: string, path: string, body?: string): Promise<unknown> {
    try {
      return await this.#connection.ask(method, path, body)
    } catch (error) {
      if (error instanceof RegistryRefusal && error.status === 404) return null
      throw error
    }
  }

  schema(id: number): Promise<AvroRecord> {
    let asked = this.#asked.get(id)
    if (asked === undefined) {
      asked = this.#fetchSchema(id)
      this.#asked.set(id, asked)
      asked.catch(() => this.#asked.delete(id)) // who asks next asks the registry again
    }
    return asked
  }

  async #fetchSchema(id: number): Promise<AvroRecord> {
    const remembered = this.#cache.schemaOf(id)
    if (remembered !== undefined && this.#connection.isAway) return JSON.parse(remembered) as AvroRecord
    const ask = async () => {
      const text = fieldOf(await this.#connection.ask('GET', `/schemas/ids/${id}`), 'schema')
      const schema = recordOf(text)
      if (schema === null) throw new RegistryAway(`schema ${id} is no Avro record`)
      this.#cache.keepSchema(id, text as string)
      return schema
    }
    for (let attempt = 1; ; attempt++) {
      try {
        if (remembered !== undefined) return await this.#connection.attempt(ask)
        return await this.#connection.patiently(
          ask,
          `events of schema ${id}, which is not known here, wait until it does`,
        )
      } catch (error) {
        if (error instanceof RegistryAway && remembered !== undefined) return JSON.parse(remembered) as AvroRecord
        if (!(error instanceof RegistryRefusal) || error.status !== 404) throw error
        if (attempt >= ATTEMPTS_FOR_AN_ID)
          throw new Error(
            `The schema registry at ${this.#connection.url} has no schema with id ${id}, which an event was written with: ` +
              'it is not the registry of that topic, or it has lost what it held. Check SCHEMA_REGISTRY_URL.',
          )
      }
      await this.#connection.pause(PAUSE_FOR_AN_ID_MILLISECONDS)
    }
  }

  inspect(subject: string, schema: AvroRecord): Promise<SubjectReport> {
    return this.#connection.patiently(async () => {
      const text = canonicalJson(schema)
      const path = `/subjects/${encodeURIComponent(subject)}/versions`
      const numbers = (await this.#askUnlessMissing('GET', path)) ?? []
      if (!Array.isArray(numbers)) throw new RegistryAway(`it does not list the versions of ${subject}`)
      const versions: { version: number; id: number }[] = []
      const conflicts: string[] = []
      for (const version of numbers as number[]) {
        const held = await this.#connection.ask('GET', `${path}/${version}`)
        const writer = recordOf(fieldOf(held, 'schema'))
        versions.push({ version, id: Number(fieldOf(held, 'id')) })
        const reason = writer === null ? 'it is no Avro record' : whyUnreadable(schema, writer)
        if (reason !== null) conflicts.push(`version ${version} could not be read any more: ${reason}`)
      }
      const id = versions.length === 0 ? null : await this.#idOf(subject, text)
      if (id === null && versions.length > 0 && !(await this.#wouldBeTaken(subject, text)))
        conflicts.push('the registry would refuse it')
      return { subject, level: await this.#levelOf(subject), versions, id, conflicts }
    }, WAITING)
  }

  async #wouldBeTaken(subject: string, text: string): Promise<boolean> {
    const path = `/compatibility/subjects/${encodeURIComponent(subject)}/versions`
    const answer = await this.#connection.ask('POST', path, JSON.stringify({ schema: text }))
    return fieldOf(answer, 'is_compatible') === true
  }
}

/** The client, with our connection in place of its own transport. */
function clientOver(connection: RegistryConnection): Client {
  type Middlewares = NonNullable<ConstructorParameters<typeof Client>[0]['middlewares']>
  const transport: Middlewares[number] = () => ({
    response: async (_next, _renew, request) => {
      const path = request.url().slice(request.host().length)
      const body = request.body()
      const answer = await connection.ask(request.method().toUpperCase(), path, body == null ? undefined : String(body))
      // Of a response the client only ever takes the data.
      return { data: () => answer } as unknown as Awaited<ReturnType<typeof _next>>
    },
  })
  return new Client({ host: connection.url, middlewares: [transport], retry: { retries: 0 } })
}

function fieldOf(answer: unknown, name: string): unknown {
  return (answer as Record<string, unknown>)[name]
}

const isId = (id: unknown): id is number => Number.isInteger(id) && (id as number) >= 0 && (id as number) < 2 ** 32

function recordOf(text: unknown): AvroRecord | null {
  if (typeof text !== 'string') return null
  try {
    const schema = JSON.parse(text) as Partial<AvroRecord> | null
    const isRecord = schema?.type === 'record' && typeof schema.name === 'string' && Array.isArray(schema.fields)
    return isRecord ? (schema as AvroRecord) : null
  } catch (error) {
    if (error instanceof SyntaxError) return null
    throw error
  }
}
