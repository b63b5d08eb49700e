/** What a projection is: a table, and a pure function from an event of one type to rows of it. */
import type { EventData, EventType } from '../topics/avro.ts'
import type { TableName } from '../topics/generation.ts'
import { type Column, clearColumns, encodeBlock, rowsOf } from './native.ts'

export type ProjectedTopic = 'enriched' | 'private' | 'rejects' | 'verdicts'

/** An event as the codec gives it; a projection takes those of its own type and leaves the others. */
export interface ProjectedEvent {
  readonly type: string
  readonly data: unknown
}

/** Rows gathered for one insert. */
export interface GatheredRows {
  readonly table: TableName
  append(event: ProjectedEvent): void
  rows(): number
  /** One Native block of all rows. */
  encode(): Buffer
  clear(): void
}

export interface Projection {
  readonly table: TableName
  readonly topic: ProjectedTopic
  /** Its rows make others count (a report's row), so they are inserted after those are acknowledged. */
  readonly closes: boolean
  readonly columnNames: readonly string[]
  gather(): GatheredRows
}

export interface ProjectionDefinition<E extends EventType, C extends Readonly<Record<string, Column>>> {
  readonly table: TableName
  /** Where its events travel: those of `reports` are read on `enriched`, which carries all of them. */
  readonly topic: ProjectedTopic
  readonly from: E
  readonly closes?: boolean
  readonly columns: () => C
  /** Pushes the same number of rows to every column: one, or as many as a chunk holds. */
  readonly append: (data: EventData<E>, columns: C) => void
}

export function defineProjection<E extends EventType, C extends Readonly<Record<string, Column>>>(
  definition: ProjectionDefinition<E, C>,
): Projection {
  return {
    table: definition.table,
    topic: definition.topic,
    closes: definition.closes ?? false,
    columnNames: Object.keys(definition.columns()),
    gather() {
      const columns = definition.columns()
      return {
        table: definition.table,
        append(event) {
          // The codec decoded the event by the schema of its name, so its data has that schema's type.
          if (event.type === definition.from.name) definition.append(event.data as EventData<E>, columns)
        },
        rows: () => rowsOf(columns),
        encode: () => encodeBlock(columns),
        clear: () => clearColumns(columns),
      }
    },
  }
}
