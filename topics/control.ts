/**
 * Topic `control`, one partition, kept for ever: rule sets published, generations started, promoted, rolled back, mails
 * erased. Every process folds it (`control-state.ts`). An event whose precondition does not hold at its place is void.
 */
import { defineEvent, type EventData } from './avro.ts'

export const CONTROL = 'control'

const at = {
  name: 'at',
  type: { type: 'long', logicalType: 'timestamp-millis' },
  doc: 'clock of the edge that appended',
} as const
const generation = { name: 'generation', type: 'int', doc: 'number of the generation' } as const

/** An immutable set of rules. Publishing the same again changes nothing. */
export const RuleSetPublished = defineEvent(CONTROL, {
  type: 'record',
  name: 'RuleSetPublished',
  doc: 'A rule set may be used from here on',
  fields: [
    at,
    { name: 'rule_set', type: 'string', doc: 'SHA-256 of the canonical form, hex' },
    { name: 'name', type: 'string' },
    { name: 'yaml', type: 'string', doc: 'as published' },
  ],
})
export type RuleSetPublished = EventData<typeof RuleSetPublished>

/** The n-th valid one is generation n. */
export const GenerationStarted = defineEvent(CONTROL, {
  type: 'record',
  name: 'GenerationStarted',
  doc: 'A generation is to be built',
  fields: [
    at,
    { name: 'rule_set', type: 'string' },
    { name: 'from', type: 'string', doc: 'ingest: everything is computed anew; enriched: only the verdicts are' },
    { name: 'parent', type: 'int', doc: 'number of the generation that it shares the rest with; 0 = none' },
    { name: 'epoch', type: 'int', doc: 'observation epoch' },
    { name: 'parser_version', type: 'string', doc: 'reader at work when it was started' },
  ],
})
export type GenerationStarted = EventData<typeof GenerationStarted>

/** Answers come from this generation; the one before is kept for a while. */
export const GenerationPromoted = defineEvent(CONTROL, {
  type: 'record',
  name: 'GenerationPromoted',
  doc: 'The generation is live',
  fields: [at, generation, { name: 'accept_gap', type: 'boolean', doc: 'it may cover less than the one before' }],
})
export type GenerationPromoted = EventData<typeof GenerationPromoted>

/** Back to the generation that was live before. */
export const GenerationRolledBack = defineEvent(CONTROL, {
  type: 'record',
  name: 'GenerationRolledBack',
  doc: 'The generation before is live again',
  fields: [at, { ...generation, doc: 'the one that is live again' }],
})
export type GenerationRolledBack = EventData<typeof GenerationRolledBack>

export const GenerationPaused = defineEvent(CONTROL, {
  type: 'record',
  name: 'GenerationPaused',
  doc: 'Its loops rest',
  fields: [at, generation],
})
export type GenerationPaused = EventData<typeof GenerationPaused>

export const GenerationResumed = defineEvent(CONTROL, {
  type: 'record',
  name: 'GenerationResumed',
  doc: 'Its loops go on',
  fields: [at, generation],
})
export type GenerationResumed = EventData<typeof GenerationResumed>

export const GenerationCancelled = defineEvent(CONTROL, {
  type: 'record',
  name: 'GenerationCancelled',
  doc: 'It was never live, and what is its own is deleted',
  fields: [at, generation],
})
export type GenerationCancelled = EventData<typeof GenerationCancelled>

export const GenerationRetired = defineEvent(CONTROL, {
  type: 'record',
  name: 'GenerationRetired',
  doc: 'It was live once, and what is its own is deleted',
  fields: [at, generation],
})
export type GenerationRetired = EventData<typeof GenerationRetired>

/** Addresses are asked about anew; a generation may name the epoch. */
export const ObservationEpochBegun = defineEvent(CONTROL, {
  type: 'record',
  name: 'ObservationEpochBegun',
  doc: 'A new observation epoch',
  fields: [at, { name: 'epoch', type: 'int', doc: 'from 2; the first is there from the beginning' }],
})
export type ObservationEpochBegun = EventData<typeof ObservationEpochBegun>

/** Events were removed before a group had read them, and somebody decided to go on without them. */
export const GapAccepted = defineEvent(CONTROL, {
  type: 'record',
  name: 'GapAccepted',
  doc: 'A group goes on behind events that are gone',
  fields: [
    at,
    { name: 'topic', type: 'string', doc: 'name on the log' },
    { name: 'group', type: 'string' },
    { name: 'partition', type: 'int' },
    { name: 'position', type: 'long', doc: 'the first offset that was not read' },
    { name: 'low', type: 'long', doc: 'the first offset that is still there' },
  ],
})
export type GapAccepted = EventData<typeof GapAccepted>
/** These mails are not to be read any more. The n-th one is erasure n. Ids only: this topic is kept for ever. */
export const MailErased = defineEvent(CONTROL, {
  type: 'record',
  name: 'MailErased',
  doc: 'Mails whose bytes, fields and failure reports are to be removed wherever they are',
  fields: [
    at,
    { name: 'mail_ids', type: { type: 'array', items: 'string' }, doc: 'SHA-256, hex' },
    { name: 'reason', type: 'string', doc: 'what it was asked by: address, mail_id' },
    { name: 'block', type: 'boolean', doc: 'true: the same mail stays unread when it is delivered again' },
  ],
})
export type MailErased = EventData<typeof MailErased>

/** Appended when all that could be removed is. Until then every start takes the work up again. */
export const MailErasureFinished = defineEvent(CONTROL, {
  type: 'record',
  name: 'MailErasureFinished',
  doc: 'What an erasure means is done',
  fields: [at, { name: 'erasure', type: 'int', doc: 'number of the erasure' }],
})
export type MailErasureFinished = EventData<typeof MailErasureFinished>
