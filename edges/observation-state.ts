/** What the observer needs of `State` (`state/state.ts`): that folder is not this one's to import. */
import type { AddressObservation, KeyObservation } from '../topics/observations.ts'

export interface AddressDay {
  /** YYYY-MM-DD, UTC day of receipt. */
  readonly day: string
  readonly address: string
}

export interface DatedObservation {
  readonly day: string
  readonly observation: AddressObservation
}

export interface KeyDay {
  readonly day: string
  /** SELECTOR._domainkey.DOMAIN */
  readonly name: string
}

export interface DatedKey {
  readonly day: string
  readonly key: KeyObservation
}

export interface ObservationState {
  observationPositions(): Promise<ReadonlyMap<number, number>>
  findObservations(epoch: number, wanted: readonly AddressDay[]): Promise<(AddressObservation | undefined)[]>
  keepObservations(
    epoch: number,
    rows: readonly DatedObservation[],
    positions: ReadonlyMap<number, number>,
  ): Promise<AddressObservation[]>
  findKeys(epoch: number, wanted: readonly KeyDay[]): Promise<(KeyObservation | undefined)[]>
  keepKeys(epoch: number, rows: readonly DatedKey[]): Promise<void>
  forgetObservations(): Promise<void>
}
