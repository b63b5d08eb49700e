/**
 * `reports` → `enriched`: each chunk of records with what was observed about its source addresses; all else as it is.
 * Neither asks the world nor knows a clock: what was observed comes from `observe`, which gives the same answer for the
 * same epoch, day and address for ever.
 */
import { compile, frame, schemaIdOf } from '../topics/avro.ts'
import { DmarcRecordsEnriched } from '../topics/enriched.ts'
import type { LogEvent } from '../topics/log.ts'
import type { AddressObservation } from '../topics/observations.ts'
import { DmarcRecordsRead } from '../topics/reports.ts'
import type { BatchProcessor, ProducedEvent } from './processor.ts'
import { type SourceAddresses, sourceAddresses, sourceAddressesOf } from './source-addresses.ts'

/** An address on the UTC day (YYYY-MM-DD) on which a report that names it was received. */
export interface AddressDay {
  readonly day: string
  readonly address: string
}

/** The edge: answers in the order of the requests. Rejects on an outage, and when the signal aborts. */
export type Observe = (
  requests: readonly AddressDay[],
  options: { readonly epoch: number; readonly ask: boolean; readonly signal: AbortSignal },
) => Promise<readonly AddressObservation[]>

/** The part of `EventCodec`, over all event types, that reads what another version wrote. */
export interface EnrichCodec {
  ids(): Readonly<Record<string, number>>
  read(value: Uint8Array): Promise<{ readonly type: string; readonly data: unknown }>
}

export interface EnrichOptions {
  readonly observe: Observe
  /** Observation epoch of the generation. */
  readonly epoch: number
  /** Whether the world may be asked now: only the live generation asks. */
  readonly ask: () => boolean
  readonly codec: EnrichCodec
}

const FRAME_BYTES = 5
const DAY_MILLISECONDS = 86_400_000

const observationsType = compile(DmarcRecordsEnriched.schema.fields.find(({ name }) => name === 'observations')!.type)

export function enrich({ observe, epoch, ask, codec }: EnrichOptions): BatchProcessor {
  const ids = codec.ids()
  const readId = ids[DmarcRecordsRead.name]!
  const enrichedId = ids[DmarcRecordsEnriched.name]!
  const nameOfSchema = schemaNames(codec, ids)
  return {
    name: 'enrich',
    from: 'reports',
    to: ['enriched'],
    async handle(events, signal) {
      const chunks = new Array<Chunk | null>(events.length)
      for (let i = 0; i < events.length; i++) {
        const event = events[i]!
        const id = schemaIdOf(event.value)
        if (id === readId) chunks[i] = currentChunk(event)
        else
          chunks[i] = (await nameOfSchema(id, event)) === DmarcRecordsRead.name ? await olderChunk(event, codec) : null
      }
      const requests: AddressDay[] = []
      for (const chunk of chunks) {
        if (chunk === null) continue
        const day = dayOf(chunk.found.receivedAt)
        for (const address of chunk.found.addresses) requests.push({ day, address })
      }
      const observations = requests.length === 0 ? [] : await observe(requests, { epoch, ask: ask(), signal })
      let next = 0
      return events.map((event, i): ProducedEvent => {
        const { key, headers, timestamp } = event
        const chunk = chunks[i]!
        if (chunk === null) return { topic: 'enriched', event: { key, value: event.value, headers, timestamp } }
        const columns = observationColumns(epoch, chunk.found.indexes, observations, next)
        next += chunk.found.indexes.length
        const value = frame(enrichedId, chunk.body, observationsType.toBuffer(columns))
        return { topic: 'enriched', event: { key, value, headers, timestamp } }
      })
    },
  }
}

interface Chunk {
  readonly found: SourceAddresses
  /** Avro binary of the facts, in the current schema. */
  readonly body: Uint8Array
}

function currentChunk({ value }: LogEvent): Chunk {
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength)
  return { found: sourceAddresses(bytes, FRAME_BYTES), body: bytes.subarray(FRAME_BYTES) }
}

const recordsType = compile(DmarcRecordsRead.schema)

async function olderChunk({ value }: LogEvent, codec: EnrichCodec): Promise<Chunk> {
  const records = (await codec.read(value)).data as DmarcRecordsRead // its schema has that name
  return { found: sourceAddressesOf(records), body: recordsType.toBuffer(records) }
}

/** What type of event a schema is of. A schema of another version is learnt by reading an event of it, once. */
function schemaNames(codec: EnrichCodec, ids: Readonly<Record<string, number>>) {
  const names = new Map(Object.entries(ids).map(([name, id]) => [id, name]))
  return async (id: number, { value }: LogEvent): Promise<string> => {
    const known = names.get(id)
    if (known !== undefined) return known
    const { type } = await codec.read(value)
    names.set(id, type)
    return type
  }
}

let lastDay = { number: Number.NaN, name: '' }

/** UTC day of an instant, YYYY-MM-DD. */
function dayOf(milliseconds: number): string {
  const number = Math.floor(milliseconds / DAY_MILLISECONDS)
  if (number !== lastDay.number)
    lastDay = { number, name: new Date(number * DAY_MILLISECONDS).toISOString().slice(0, 10) }
  return lastDay.name
}

type Columns = DmarcRecordsEnriched['observations']

/** The observations from `from` on, one for each address of the chunk, as columns. */
function observationColumns(
  epoch: number,
  address: readonly number[],
  observations: readonly AddressObservation[],
  from: number,
): Columns {
  const index = new Map<string, number>()
  const dict = ['']
  const indexOf = (text: string | null): number => {
    if (text === null || text === '') return 0
    const known = index.get(text)
    if (known !== undefined) return known
    const added = dict.push(text) - 1
    index.set(text, added)
    return added
  }
  const columns: Columns = {
    epoch,
    dict,
    address: address as number[],
    observed: [],
    ptr_names: [],
    ptr_name: [],
    ptr_confirmed: [],
    asn: [],
    as_name: [],
    country: [],
  }
  for (let i = 0; i < address.length; i++) {
    const { observed, ptr, asn, as_name, country } = observations[from + i]!
    columns.observed.push(observed)
    columns.ptr_names.push(ptr.length)
    for (const { name, confirmed } of ptr) {
      columns.ptr_name.push(indexOf(name))
      columns.ptr_confirmed.push(confirmed)
    }
    columns.asn.push(asn ?? 0)
    columns.as_name.push(indexOf(as_name))
    columns.country.push(indexOf(country))
  }
  return columns
}
