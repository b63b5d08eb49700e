/** Answers as events: each holds addresses of one day whose partition is the same, which a key out of them leads to. */
import { PARTITIONS } from '../topics/all.ts'
import type { EventData } from '../topics/avro.ts'
import type { NewEvent } from '../topics/log.ts'
import { AddressesObserved, type KeyObservation, KeyObserved } from '../topics/observations.ts'
import { partitionOf } from '../topics/partition.ts'
import type { DatedObservation } from './observation-state.ts'

/** The part of `EventCodec` that writes. */
export interface ObservationWriter {
  encode<T extends typeof AddressesObserved | typeof KeyObserved>(type: T, data: EventData<T>): Uint8Array
}

export interface AboutObservations {
  readonly epoch: number
  /** Milliseconds since 1970 UTC. */
  readonly observedAt: number
  readonly dataVersion: string | null
}

const MAX_ADDRESSES = 200
const MAX_BYTES = 64 * 1024
/** An address, numbers and lengths. */
const FIXED_BYTES = 64

export interface ObservationEvents {
  readonly events: readonly NewEvent[]
  /** For each event which rows are in it, in their order. */
  readonly order: readonly (readonly number[])[]
}

/** The event that addresses of one day and partition go into now. */
interface Group {
  places: number[]
  bytes: number
}

/** Rows with the same address always go to the same partition, so that they have an order. */
export function observationEvents(
  codec: ObservationWriter,
  about: AboutObservations,
  rows: readonly DatedObservation[],
): ObservationEvents {
  const days = new Map<string, Group[]>()
  const order: number[][] = []
  for (let i = 0; i < rows.length; i++) {
    const { day, observation } = rows[i]!
    let groups = days.get(day)
    if (groups === undefined) {
      groups = Array.from({ length: PARTITIONS }, () => ({ places: [], bytes: MAX_BYTES }))
      days.set(day, groups)
    }
    const group = groups[partitionOf(observation.address, PARTITIONS)]!
    const bytes = sizeOf(observation)
    if (group.places.length >= MAX_ADDRESSES || group.bytes + bytes > MAX_BYTES) {
      group.places = []
      group.bytes = 0
      order.push(group.places)
    }
    group.places.push(i)
    group.bytes += bytes
  }
  const events = order.map((places) => {
    const addresses = places.map((place) => rows[place]!.observation)
    const data: AddressesObserved = {
      epoch: about.epoch,
      day: rows[places[0]!]!.day,
      observed_at: about.observedAt,
      data_version: about.dataVersion,
      addresses,
    }
    return { key: addresses[0]!.address, value: codec.encode(AddressesObserved, data), timestamp: about.observedAt }
  })
  return { events, order }
}

/** A key has an event of its own: they are few. */
export function keyEvent(
  codec: ObservationWriter,
  about: Pick<AboutObservations, 'epoch' | 'observedAt'>,
  day: string,
  key: KeyObservation,
): NewEvent {
  const data: KeyObserved = { epoch: about.epoch, day, observed_at: about.observedAt, ...key }
  return { key: key.name, value: codec.encode(KeyObserved, data), timestamp: about.observedAt }
}

function sizeOf({ ptr, as_name }: DatedObservation['observation']): number {
  let bytes = FIXED_BYTES + (as_name === null ? 0 : as_name.length * 3)
  for (const { name } of ptr) bytes += name.length + 4
  return bytes
}
