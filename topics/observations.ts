/**
 * Topic `observations`: what the outside world answered about an address or a DKIM key, or that it did not. Per
 * observation epoch, UTC day of receipt and address (or name of a key) the *first* answer on the topic holds for
 * everyone; a replay reads it here and asks nobody.
 *
 * An event about addresses holds the addresses of one partition that were asked about together: one event an address would cost more
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

/** What became of a question for a key. Whoever has an answer has what DNS says, be it that nothing is there. */
export const keyOutcomes = ['answered', 'no_answer', 'not_looked_up'] as const
export type KeyOutcome = (typeof keyOutcomes)[number]

/** A key of DKIM (RFC 6376 §3.6.2). The event's key is the name, so all answers about a name have one order. */
export const KeyObserved = defineEvent(OBSERVATIONS, {
  type: 'record',
  name: 'KeyObserved',
  doc: 'What DNS said of one key of DKIM on one day of receipt',
  fields: [
    { name: 'epoch', type: 'int', doc: 'observation epoch, from 1; `re-observe` begins a new one' },
    { name: 'day', type: 'string', doc: 'YYYY-MM-DD, UTC day on which the mail was received' },
    { name: 'observed_at', type: { type: 'long', logicalType: 'timestamp-millis' } },
    { name: 'name', type: 'string', doc: 'SELECTOR._domainkey.DOMAIN, lower case, A-labels, no trailing dot' },
    {
      name: 'outcome',
      type: 'string',
      doc: 'answered, be it that there is no key; no_answer within the budget; not_looked_up: look-ups are off, or a replay',
    },
    {
      name: 'records',
      type: { type: 'array', items: 'string' },
      doc: 'TXT records in alphabetical order, the strings of each joined; at most 4, each cut at 4,096 octets',
    },
  ],
})
export type KeyObserved = EventData<typeof KeyObserved>
export type KeyObservation = Pick<KeyObserved, 'name' | 'outcome' | 'records'>
