/**
 * Topic `enriched`, key = report key: the facts of `reports` with what was observed about each source address. Chunks of
 * records are enriched; closing events and TLS reports pass through as they are, on the same key, in their order.
 */
import { defineEvent, type EventData } from './avro.ts'
import { dmarcRecordsFields } from './reports.ts'

export const ENRICHED = 'enriched'

const ints = { type: 'array', items: 'int' } as const

/**
 * All fields of `DmarcRecordsRead`, in their order, and one more at the end: so the bytes of the one are the beginning of
 * the bytes of the other, and `enrich` need not write the facts again.
 */
export const DmarcRecordsEnriched = defineEvent(ENRICHED, {
  type: 'record',
  name: 'DmarcRecordsEnriched',
  doc: 'A chunk of the records of one DMARC aggregate report, with what was observed about their sources',
  fields: [
    ...dmarcRecordsFields,
    {
      name: 'observations',
      doc: 'A row for each distinct address of the chunk; what is no address has none',
      type: {
        type: 'record',
        name: 'ObservationColumns',
        fields: [
          { name: 'epoch', type: 'int', doc: 'observation epoch' },
          {
            name: 'dict',
            type: { type: 'array', items: 'string' },
            doc: 'entry 0 is empty and stands for "not known"',
          },
          { name: 'address', type: ints, doc: 'index of the address in `records.dict`, each once' },
          { name: 'observed', type: { type: 'array', items: 'boolean' } },
          { name: 'ptr_names', type: ints, doc: 'number of names of each address' },
          { name: 'ptr_name', type: ints, doc: 'index in `dict`' },
          { name: 'ptr_confirmed', type: { type: 'array', items: 'boolean' }, doc: 'one for each of `ptr_name`' },
          { name: 'asn', type: { type: 'array', items: 'long' }, doc: '0 = not known' },
          { name: 'as_name', type: ints },
          { name: 'country', type: ints },
        ],
      },
    },
  ],
})
export type DmarcRecordsEnriched = EventData<typeof DmarcRecordsEnriched>
