/** What the observer needs of `State` (`state/state.ts`): that folder is not this one's to import. */
import type { AddressObservation } from '../topics/observations.ts'

export interface AddressDay {
  /** YYYY-MM-DD, UTC day of receipt. */
  readonly day: string
  readonly address: string
}

export interface DatedObservation {
  readonly day: string
  readonly observation: AddressObservation
}

export interface ObservationState {
  observationPositions(): Promise<ReadonlyMap<number, number>>
  findObservations(epoch: number, wanted: readonly AddressDay[]): Promise<(AddressObservation | undefined)[]>
  keepObservations(
    epoch: number,
    rows: readonly DatedObservation[],
    positions: ReadonlyMap<number, number>,
  ): Promise<AddressObservation[]>
  forgetObservations(): Promise<void>
}
