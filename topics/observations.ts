/**
 * Topic `observations`: what the outside world answered about an address, or that it did not. Per observation epoch, UTC
 * day of receipt and address the *first* answer on the topic holds for everyone; a replay reads it here and asks nobody.
 *
 * An event holds the addresses of one partition that were asked about together: one event an address would cost more
 * than reading the report did. Its key is the first of them, and all others lead to the same
 * partition as keys, so all answers about one address stand in one partition, in one order.
 */
import { defineEvent, type EventData } from './avro.ts'

export const OBSERVATIONS = 'observations'

const text = ['null', 'string'] as const

export const AddressesObserved = defineEvent(OBSERVATIONS, {
  type: 'record',
  name: 'AddressesObserved',
  doc: 'What was found out about some addresses on one day of receipt',
  fields: [
    { name: 'epoch', type: 'int', doc: 'observation epoch, from 1; `re-observe` begins a new one' },
    { name: 'day', type: 'string', doc: 'YYYY-MM-DD, UTC day on which the mail was received' },
    { name: 'observed_at', type: { type: 'long', logicalType: 'timestamp-millis' } },
    { name: 'data_version', type: text, doc: 'version of the address data (ASN, country)' },
    {
      name: 'addresses',
      type: {
        type: 'array',
        items: {
          type: 'record',
          name: 'AddressObservation',
          fields: [
            { name: 'address', type: 'string', doc: 'IPv4, or IPv6 in RFC 5952 form' },
            {
              name: 'observed',
              type: 'boolean',
              doc: 'DNS answered, be it that there is no name; false: no answer within the budget, or look-ups are off',
            },
            {
              name: 'ptr',
              type: {
                type: 'array',
                items: {
                  type: 'record',
                  name: 'PtrName',
                  fields: [
                    { name: 'name', type: 'string', doc: 'lower case, no trailing dot, at most 255 characters' },
                    { name: 'confirmed', type: 'boolean', doc: 'the name has the address among its own' },
                  ],
                },
              },
            },
            { name: 'asn', type: ['null', 'long'] },
            { name: 'as_name', type: text },
            { name: 'country', type: text, doc: 'ISO 3166-1 alpha-2, upper case' },
          ],
        },
      },
    },
  ],
})
export type AddressesObserved = EventData<typeof AddressesObserved>
export type AddressObservation = AddressesObserved['addresses'][number]
