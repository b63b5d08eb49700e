/** Says of each record who sent it and what that means. Same facts and same rules give the same verdicts. */
import { setImmediate } from 'node:timers/promises'
import type { CompiledRules } from '../rules/compile.ts'
import type { AnyEventType } from '../topics/all.ts'
import { type EventCodec, schemaIdOf } from '../topics/avro.ts'
import { eventId } from '../topics/cause.ts'
import { DmarcRecordsEnriched, ENRICHED } from '../topics/enriched.ts'
import { DmarcRecordsEvaluated, VERDICTS } from '../topics/verdicts.ts'
import type { BatchProcessor, ProducedEvent } from './processor.ts'

/** After so many records (about 2 ms) HTTP and everything else on this thread gets its turn. */
const RECORDS_A_TURN = 500

export interface EvaluateOptions {
  readonly rules: CompiledRules
  readonly codec: EventCodec<AnyEventType>
}

/**
 * `enriched` → `verdicts`: one `DmarcRecordsEvaluated` for each chunk of records, on the same key and with its time;
 * nothing for the other events.
 */
export function evaluate({ rules, codec }: EvaluateOptions): BatchProcessor {
  const { [DmarcRecordsEnriched.name]: _, ...others } = codec.ids()
  /** Schemas of events that are known to hold no records: they need not be read to be passed over. */
  const passedOver: ReadonlySet<number> = new Set(Object.values(others))
  return {
    name: 'evaluate',
    from: ENRICHED,
    to: [VERDICTS],
    async handle(events, signal) {
      const produced: ProducedEvent[] = []
      let records = 0
      for (const { value, key, timestamp } of events) {
        if (passedOver.has(schemaIdOf(value))) continue
        const event = await codec.read(value)
        if (event.type !== 'DmarcRecordsEnriched') continue
        const evaluated = evaluateChunk(rules, event.data)
        produced.push({
          topic: VERDICTS,
          event: { key, timestamp, value: codec.encode(DmarcRecordsEvaluated, evaluated) },
        })
        records += evaluated.records.source_ip.length
        if (records >= RECORDS_A_TURN) {
          records = 0
          await setImmediate()
          signal.throwIfAborted()
        }
      }
      return produced
    },
  }
}

function evaluateChunk(rules: CompiledRules, chunk: DmarcRecordsEnriched): DmarcRecordsEvaluated {
  const { mail_id, part, received_at, parser_version, report_key, variant, policy_domain, day, first } = chunk
  return {
    id: eventId(mail_id, part, DmarcRecordsEvaluated.name, chunk.chunk),
    mail_id,
    part,
    received_at,
    parser_version,
    report_key,
    variant,
    policy_domain,
    day,
    rule_set: rules.id,
    chunk: chunk.chunk,
    first,
    records: rules.evaluate(chunk),
  }
}
