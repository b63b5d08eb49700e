/**
 * Topic `verdicts`, key = report key: what a rule set says of each record. It holds keys and no facts, but for the three
 * that every answer about verdicts is counted by: the address, the messages, and how the record was evaluated.
 */
import { defineEvent, type EventData } from './avro.ts'
import { causeFields } from './cause.ts'

export const VERDICTS = 'verdicts'

/** Every verdict there is, in the order in which answers list them. */
export const verdictNames = [
  'authenticated',
  'forwarded',
  'signing_broken',
  'misconfigured',
  'spoofed',
  'unknown',
] as const
export type Verdict = (typeof verdictNames)[number]

const ints = { type: 'array', items: 'int' } as const

/** Bits of `outcome`. */
export const OUTCOME_DKIM_ALIGNED = 1
export const OUTCOME_SPF_ALIGNED = 2
export const OUTCOME_QUARANTINE = 4
export const OUTCOME_REJECT = 8

export const DmarcRecordsEvaluated = defineEvent(VERDICTS, {
  type: 'record',
  name: 'DmarcRecordsEvaluated',
  doc: 'Sender, verdict and rule of a chunk of the records of one DMARC aggregate report',
  fields: [
    ...causeFields,
    { name: 'report_key', type: 'string' },
    { name: 'variant', type: 'string' },
    { name: 'policy_domain', type: 'string' },
    { name: 'day', type: 'string', doc: 'YYYY-MM-DD, as in the chunk of facts' },
    { name: 'rule_set', type: 'string', doc: 'id of the rule set' },
    { name: 'chunk', type: 'int', doc: 'from 0' },
    { name: 'first', type: 'int', doc: 'index in the report of the first record, from 0' },
    {
      name: 'records',
      type: {
        type: 'record',
        name: 'VerdictColumns',
        fields: [
          { name: 'dict', type: { type: 'array', items: 'string' }, doc: 'entry 0 is empty and stands for "none"' },
          { name: 'source_ip', type: ints, doc: 'as in the chunk of facts; what is no address, as text' },
          { name: 'messages', type: { type: 'array', items: 'long' }, doc: 'what the record adds to totals' },
          { name: 'outcome', type: ints, doc: 'bits: 1 DKIM aligned, 2 SPF aligned, 4 quarantined, 8 rejected' },
          { name: 'sender', type: ints, doc: 'id of the sender' },
          { name: 'verdict', type: ints },
          { name: 'rule', type: ints, doc: 'id of the rule that decided' },
          { name: 'excluded', type: ints, doc: 'reason of the exclusion that takes it out of triage' },
        ],
      },
    },
  ],
})
export type DmarcRecordsEvaluated = EventData<typeof DmarcRecordsEvaluated>
