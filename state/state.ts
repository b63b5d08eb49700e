/**
 * State: what a process wants to know quickly and can lose, because it is computed from topics. A port; the embedded
 * implementation is a SQLite file. No SQL outside.
 */
import type { AddressObservation, KeyObservation } from '../topics/observations.ts'

/** A day and an address: what an observation is about. */
export interface AddressDay {
  /** YYYY-MM-DD, UTC day of receipt. */
  readonly day: string
  readonly address: string
}

export interface DatedObservation {
  readonly day: string
  readonly observation: AddressObservation
}

/** A day and the name of a key of DKIM. */
export interface KeyDay {
  /** YYYY-MM-DD, UTC day of receipt. */
  readonly day: string
  /** SELECTOR._domainkey.DOMAIN */
  readonly name: string
}

export interface DatedKey {
  readonly day: string
  readonly key: KeyObservation
}

export interface State {
  /**
   * Offset of the first event of `observations` that is not kept yet, by partition; partitions without one are absent.
   * What is kept may be behind what `keepObservations` was told, never ahead.
   */
  observationPositions(): Promise<ReadonlyMap<number, number>>
  /** What is kept of each, in the order of the requests; undefined where nothing is. */
  findObservations(epoch: number, wanted: readonly AddressDay[]): Promise<(AddressObservation | undefined)[]>
  /**
   * Keeps answers as they follow on the topic: for an epoch, day and address the first that was ever kept stands.
   * Resolves to what stands for each row. `positions` are what `observationPositions` is to say once the rows are kept.
   */
  keepObservations(
    epoch: number,
    rows: readonly DatedObservation[],
    positions: ReadonlyMap<number, number>,
  ): Promise<AddressObservation[]>
  /** What is kept of each key, in the order of the requests; undefined where nothing is. */
  findKeys(epoch: number, wanted: readonly KeyDay[]): Promise<(KeyObservation | undefined)[]>
  /**
   * Keeps keys as they follow on the topic: for an epoch, day and name the first that was ever kept stands. To be called
   * before the `keepObservations` whose positions pass the events that they came in.
   */
  keepKeys(epoch: number, rows: readonly DatedKey[]): Promise<void>
  /** Forgets all observations, keys and positions. */
  forgetObservations(): Promise<void>
  close(): Promise<void>
}
