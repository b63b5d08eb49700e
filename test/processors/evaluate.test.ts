import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { evaluate } from '../../processors/evaluate.ts'
import { compileRules } from '../../rules/compile.ts'
import { readRules } from '../../rules/read.ts'
import { type AnyEventType, eventTypes } from '../../topics/all.ts'
import { EventCodec } from '../../topics/avro.ts'
import { eventId } from '../../topics/cause.ts'
import { DmarcRecordsEnriched } from '../../topics/enriched.ts'
import dmarcReports from '../../topics/examples/DmarcReportRead.json' with { type: 'json' }
import tlsReports from '../../topics/examples/TlsReportRead.json' with { type: 'json' }
import type { LogEvent } from '../../topics/log.ts'
import { DmarcReportRead, TlsReportRead } from '../../topics/reports.ts'
import { openSqliteLog } from '../../topics/sqlite-log.ts'
import { makeChunk } from '../rules/chunks.ts'

const { ruleSet } = readRules(`version: 1
senders: [{ id: crm, ptr: [crm.example] }]
verdicts:
  - { id: passed, verdict: authenticated, when: passed }
  - { id: rest, verdict: unknown }
`)
const rules = compileRules(ruleSet!)

let folder: string
let log: Awaited<ReturnType<typeof openSqliteLog>>
let codec: EventCodec<AnyEventType>
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mailtrail-evaluate-'))
  log = await openSqliteLog({ path: join(folder, 'log.sqlite') })
  codec = await EventCodec.open(log, eventTypes)
})
afterEach(async () => {
  await log.close()
  await rm(folder, { recursive: true })
})

const logged = (value: Uint8Array, offset: number, key: string | null = null): LogEvent => ({
  topic: 'enriched.g1',
  partition: 0,
  offset,
  key,
  value,
  headers: {},
  timestamp: 1_790_000_000_000 + offset,
})
const signal = new AbortController().signal

describe('evaluate', () => {
  test('makes one event of each chunk, on its key and with its time, and none of the others', async () => {
    const first = makeChunk([{ dkim: 'pass' }, { observed: { ptr: [['mx.crm.example', true]] } }])
    const second = makeChunk([{ spf: 'pass' }], { chunk: 1, first: 2 })
    const events = [
      logged(codec.encode(DmarcRecordsEnriched, first), 0, first.report_key),
      logged(codec.encode(DmarcRecordsEnriched, second), 1, second.report_key),
      logged(codec.encode(DmarcReportRead, dmarcReports[0]! as DmarcReportRead), 2, first.report_key),
      logged(codec.encode(TlsReportRead, tlsReports[0]! as TlsReportRead), 3, 'tls'),
    ]
    const processor = evaluate({ rules, codec })
    expect({ from: processor.from, to: processor.to }).toEqual({ from: 'enriched', to: ['verdicts'] })
    const produced = await processor.handle(events, signal)
    expect(produced.map(({ topic, event }) => [topic, event.key, event.timestamp])).toEqual([
      ['verdicts', first.report_key, 1_790_000_000_000],
      ['verdicts', first.report_key, 1_790_000_000_001],
    ])
    const decoded = produced.map(({ event }) => codec.decode(event.value))
    const { mail_id, part, received_at, parser_version, report_key, variant, policy_domain, day } = first
    const shared = { mail_id, part, received_at, parser_version, report_key, variant, policy_domain, day }
    expect(decoded).toEqual([
      {
        type: 'DmarcRecordsEvaluated',
        data: {
          ...shared,
          id: eventId(mail_id, part, 'DmarcRecordsEvaluated', 0),
          rule_set: ruleSet!.id,
          chunk: 0,
          first: 0,
          records: {
            dict: ['', '198.51.100.7', 'crm', 'authenticated', 'passed', 'unknown', 'rest'],
            source_ip: [1, 1],
            messages: [1, 1],
            outcome: [1, 0],
            sender: [2, 2],
            verdict: [3, 5],
            rule: [4, 6],
            excluded: [0, 0],
          },
        },
      },
      {
        type: 'DmarcRecordsEvaluated',
        data: {
          ...shared,
          id: eventId(mail_id, part, 'DmarcRecordsEvaluated', 1),
          rule_set: ruleSet!.id,
          chunk: 1,
          first: 2,
          records: {
            dict: ['', '198.51.100.7', 'authenticated', 'passed'],
            source_ip: [1],
            messages: [1],
            outcome: [2],
            sender: [0],
            verdict: [2],
            rule: [3],
            excluded: [0],
          },
        },
      },
    ])
  })

  test('gives the same whether events come one by one or at once', async () => {
    const events = Array.from({ length: 20 }, (_, i) => {
      const chunk = makeChunk(
        Array.from({ length: 60 }, (_, row) => ({ count: row, dkim: row % 3 ? 'pass' : 'fail' })),
        { chunk: i },
      )
      return logged(codec.encode(DmarcRecordsEnriched, chunk), i, chunk.report_key)
    })
    const processor = evaluate({ rules, codec })
    const atOnce = await processor.handle(events, signal)
    const oneByOne = (await Promise.all(events.map((event) => processor.handle([event], signal)))).flat()
    expect(atOnce.map(({ event }) => codec.decode(event.value))).toEqual(
      oneByOne.map(({ event }) => codec.decode(event.value)),
    )
  })

  test('lets others have their turn while it works, and stops when told to', async () => {
    const chunk = makeChunk(Array.from({ length: 500 }, () => ({})))
    const value = codec.encode(DmarcRecordsEnriched, chunk)
    const events = Array.from({ length: 10 }, (_, i) => logged(value, i))
    const processor = evaluate({ rules, codec })
    let turns = 0
    const count = () => {
      turns++
      waiting = setImmediate(count)
    }
    let waiting = setImmediate(count)
    await processor.handle(events, signal)
    clearImmediate(waiting)
    expect(turns).toBeGreaterThanOrEqual(9)
    await expect(processor.handle(events, AbortSignal.abort())).rejects.toThrow('abort')
  })
})
