import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type AddressDay, enrich, type Observe } from '../../processors/enrich.ts'
import { sourceAddresses, sourceAddressesOf } from '../../processors/source-addresses.ts'
import { type AnyEventType, eventTypes } from '../../topics/all.ts'
import { compile, EventCodec, frame } from '../../topics/avro.ts'
import type { DmarcRecordsEnriched } from '../../topics/enriched.ts'
import type { LogEvent } from '../../topics/log.ts'
import type { AddressObservation } from '../../topics/observations.ts'
import { DmarcRecordsRead } from '../../topics/reports.ts'
import { openSqliteLog, type SqliteLog } from '../../topics/sqlite-log.ts'

let folder: string
let log: SqliteLog
let codec: EventCodec<AnyEventType>
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'mailtrail-enrich-'))
  log = await openSqliteLog({ path: join(folder, 'log.sqlite') })
  codec = await EventCodec.open(log, eventTypes)
})
afterEach(async () => {
  await log.close()
  rmSync(folder, { recursive: true, force: true })
})

const never = new AbortController().signal

const examplesOf = (type: AnyEventType) =>
  JSON.parse(
    readFileSync(join(import.meta.dirname, '..', '..', 'topics', 'examples', `${type.name}.json`), 'utf8'),
  ) as Record<string, unknown>[]
const [template] = examplesOf(DmarcRecordsRead) as unknown as DmarcRecordsRead[]

/** A chunk whose records have these source addresses, in this order. */
function chunkOf(receivedAt: string, ...sources: readonly string[]): DmarcRecordsRead {
  const dict = [...new Set(['', 'reject', 'example.org', '203.0.113.200', ...sources])]
  const column = sources.map(() => 1)
  const empty = Object.fromEntries(Object.keys(template!.records).map((name) => [name, [] as number[]]))
  const records = {
    ...empty,
    dict,
    source_ip: sources.map((address) => dict.indexOf(address)),
    count: column.map(() => 7),
    disposition: column,
    dkim: column,
    spf: column,
    header_from: column.map(() => 2),
    // An address that is no source is not observed.
    envelope_from: column.map(() => 3),
    envelope_to: column,
    reasons: column.map(() => 0),
    dkim_results: column.map(() => 0),
    spf_results: column.map(() => 0),
  } as unknown as DmarcRecordsRead['records']
  return { ...template!, received_at: Date.parse(receivedAt), records }
}

const eventOf = (value: Uint8Array, offset = 0): LogEvent => ({
  topic: 'reports.g1',
  partition: 3,
  offset,
  key: `key-${offset}`,
  value,
  headers: { note: `header ${offset}` },
  timestamp: 1_700_000_000_000 + offset,
})

const observationOf = ({ address, day }: AddressDay): AddressObservation => ({
  address,
  observed: true,
  ptr: [
    { name: `${day}.example`, confirmed: true },
    { name: `${address.replace(/[.:]+/g, '-')}.example`, confirmed: false },
  ],
  asn: address.startsWith('192.') ? 64496 : null,
  as_name: address.startsWith('192.') ? 'Example Network' : null,
  country: address.includes(':') ? 'NZ' : null,
})

/** An edge that keeps what it was asked. */
function edge() {
  const calls: { readonly requests: readonly AddressDay[]; readonly ask: boolean; readonly epoch: number }[] = []
  const observe: Observe = async (requests, { ask, epoch }) => {
    calls.push({ requests, ask, epoch })
    return requests.map(observationOf)
  }
  return { calls, observe }
}

/** What a reader sees: each observed address of the chunk with all about it. */
function observationsOf({ records, observations }: DmarcRecordsEnriched): AddressObservation[] {
  const { dict } = observations
  const text = (index: number) => (index === 0 ? null : dict[index]!)
  let at = 0
  return observations.address.map((index, i) => {
    const names = observations.ptr_names[i]!
    const ptr = Array.from({ length: names }, (_, n) => ({
      name: dict[observations.ptr_name[at + n]!]!,
      confirmed: observations.ptr_confirmed[at + n]!,
    }))
    at += names
    return {
      address: records.dict[index]!,
      observed: observations.observed[i]!,
      ptr,
      asn: observations.asn[i]! === 0 ? null : observations.asn[i]!,
      as_name: text(observations.as_name[i]!),
      country: text(observations.country[i]!),
    }
  })
}

const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value))

test('a chunk keeps its facts and gets what was observed about each address on the day of receipt', async () => {
  const { calls, observe } = edge()
  const chunk = chunkOf('2026-03-01T23:59:59.999Z', '192.0.2.1', '2001:db8::1', '192.0.2.1')
  const processor = enrich({ observe, epoch: 3, ask: () => true, codec })
  const [produced, ...others] = await processor.handle([eventOf(codec.encode(DmarcRecordsRead, chunk))], never)
  expect(others).toEqual([])
  const { type, data } = codec.decode(produced!.event.value)
  expect(type).toBe('DmarcRecordsEnriched')
  const { observations, ...facts } = data as DmarcRecordsEnriched
  expect(plain(facts)).toEqual(plain(chunk))
  const requests = ['192.0.2.1', '2001:db8::1'].map((address) => ({ day: '2026-03-01', address }))
  expect(calls).toEqual([{ requests, ask: true, epoch: 3 }])
  expect(observations.epoch).toBe(3)
  expect(observationsOf(data as DmarcRecordsEnriched)).toEqual(requests.map(observationOf))
})

test('results have the order, keys, headers and times of their events, and go to enriched', async () => {
  const { calls, observe } = edge()
  const events = Array.from({ length: 40 }, (_, n) =>
    eventOf(
      codec.encode(DmarcRecordsRead, chunkOf(`2026-03-${10 + (n % 3)}T12:00:00Z`, `192.0.2.${n}`, `192.0.2.${n + 1}`)),
      n,
    ),
  )
  const produced = await enrich({ observe, epoch: 1, ask: () => true, codec }).handle(events, never)
  expect(calls).toHaveLength(1)
  for (const [n, { topic, event }] of produced.entries()) {
    const { value, ...rest } = event
    expect(topic).toBe('enriched')
    expect(rest).toEqual({ key: `key-${n}`, headers: { note: `header ${n}` }, timestamp: 1_700_000_000_000 + n })
    const data = codec.decode(value).data as DmarcRecordsEnriched
    expect(observationsOf(data)).toEqual(
      [`192.0.2.${n}`, `192.0.2.${n + 1}`].map((address) => observationOf({ day: `2026-03-${10 + (n % 3)}`, address })),
    )
  }
})

test('every other event of reports goes on byte for byte', async () => {
  const { calls, observe } = edge()
  const others = eventTypes.filter(({ topic, name }) => topic === 'reports' && name !== 'DmarcRecordsRead')
  const events = others.flatMap((type) => examplesOf(type).map((data) => eventOf(codec.encode(type, data as never))))
  expect(events.length).toBeGreaterThanOrEqual(3)
  const produced = await enrich({ observe, epoch: 1, ask: () => true, codec }).handle(events, never)
  expect(produced.map(({ event }) => event.value)).toEqual(events.map(({ value }) => value))
  expect(calls).toEqual([])
})

test('text that is no address is not asked about and has no row', async () => {
  const { calls, observe } = edge()
  const chunk = chunkOf('2026-03-01T00:00:00Z', '64.x.x.x', '192.0.2.1', '', 'fe80::1%eth0', `${'1'.repeat(46)}`)
  const [produced] = await enrich({ observe, epoch: 1, ask: () => false, codec }).handle(
    [eventOf(codec.encode(DmarcRecordsRead, chunk))],
    never,
  )
  expect(calls).toEqual([{ requests: [{ day: '2026-03-01', address: '192.0.2.1' }], ask: false, epoch: 1 }])
  const data = codec.decode(produced!.event.value).data as DmarcRecordsEnriched
  expect(observationsOf(data).map(({ address }) => address)).toEqual(['192.0.2.1'])
})

test('whether the world may be asked is decided anew for each batch', async () => {
  const { calls, observe } = edge()
  let live = true
  const processor = enrich({ observe, epoch: 1, ask: () => live, codec })
  const events = [eventOf(codec.encode(DmarcRecordsRead, chunkOf('2026-03-01T00:00:00Z', '192.0.2.1')))]
  await processor.handle(events, never)
  live = false
  await processor.handle(events, never)
  expect(calls.map(({ ask }) => ask)).toEqual([true, false])
})

test('an outage of the edge is the failure of the batch', async () => {
  const observe: Observe = () => Promise.reject(new Error('the log is closed'))
  const events = [eventOf(codec.encode(DmarcRecordsRead, chunkOf('2026-03-01T00:00:00Z', '192.0.2.1')))]
  await expect(enrich({ observe, epoch: 1, ask: () => true, codec }).handle(events, never)).rejects.toThrow('closed')
})

describe('a chunk that another version wrote', () => {
  test('is read with its own schema and goes on in ours', async () => {
    const fields = [...DmarcRecordsRead.schema.fields, { name: 'of_later', type: 'string' }] as const
    const schema = { ...DmarcRecordsRead.schema, fields: fields.toReversed() }
    const id = await log.register('reports-mailtrail.DmarcRecordsRead', schema)
    const chunk = chunkOf('2026-03-01T00:00:00Z', '192.0.2.1', '64.x.x.x')
    const value = frame(id, compile(schema).toBuffer({ ...chunk, of_later: 'x' }))
    const { calls, observe } = edge()
    const [produced] = await enrich({ observe, epoch: 1, ask: () => true, codec }).handle([eventOf(value)], never)
    const { observations, ...facts } = codec.decode(produced!.event.value).data as DmarcRecordsEnriched
    expect(plain(facts)).toEqual(plain(chunk))
    expect(observations.address).toHaveLength(1)
    expect(calls[0]!.requests).toEqual([{ day: '2026-03-01', address: '192.0.2.1' }])
  })
})

describe('reading addresses out of the bytes', () => {
  test('finds what decoding in full finds, for any texts and instants', () => {
    const type = compile(DmarcRecordsRead.schema)
    const address = fc.oneof(fc.ipV4(), fc.ipV6(), fc.string(), fc.constantFrom('', '64.x.x.x', 'ü'.repeat(30)))
    const property = fc.property(
      fc.array(address, { maxLength: 40 }),
      fc.integer({ min: -1, max: 4e12 }),
      fc.option(fc.string({ maxLength: 200 })),
      fc.integer(),
      (sources, receivedAt, p, first) => {
        const chunk = {
          ...chunkOf('2026-03-01T00:00:00Z', ...sources),
          received_at: receivedAt,
          p,
          first,
          org: 'ü'.repeat(99),
        }
        expect(sourceAddresses(type.toBuffer(chunk), 0)).toEqual(sourceAddressesOf(chunk))
      },
    )
    fc.assert(property, { numRuns: 500 })
  })

  test('bytes that end too early are a fault, not an endless loop', () => {
    const bytes = compile(DmarcRecordsRead.schema).toBuffer(chunkOf('2026-03-01T00:00:00Z', '192.0.2.1'))
    for (let length = 0; length < bytes.indexOf('192.0.2.1'); length++)
      expect(() => sourceAddresses(bytes.subarray(0, length), 0)).toThrow('ends before its last field')
  })
})
