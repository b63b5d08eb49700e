/**
 * `node bench/evaluate.ts`: records evaluated a second on one core under the shipped rules, from encoded events to
 * encoded events. The chunks have the statistics of the generator of report mail: nearly every address once, a third
 * of the records alike in all else; half of the sources have a confirmed name, every fourth that of a known sender.
 */
import { evaluate } from '../processors/evaluate.ts'
import { compileRules } from '../rules/compile.ts'
import { DEFAULT_RULES } from '../rules/default-rules.ts'
import { readRules } from '../rules/read.ts'
import { eventTypes } from '../topics/all.ts'
import { EventCodec } from '../topics/avro.ts'
import { eventId, hashOf } from '../topics/cause.ts'
import { DmarcRecordsEnriched } from '../topics/enriched.ts'
import type { LogEvent } from '../topics/log.ts'
import { ROUNDS, type Row, report } from './measure.ts'

const RECORDS = 200_000
const { ruleSet } = readRules(DEFAULT_RULES)
if (ruleSet === null) throw new Error('The shipped rules have an error; see mailtrail rules check.')
const rules = compileRules(ruleSet)

/** The same numbers in the same order each time. */
function makeRandom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}
const random = makeRandom(7)
const below = (limit: number) => Math.floor(random() * limit)
const pick = <T>(list: readonly T[]): T => list[below(list.length)]!

const knownNames = ruleSet.definition.senders.flatMap(({ ptr }) => ptr)
const ipv4 = () =>
  `${pick([11, 23, 40, 52, 77, 104, 149, 167, 185, 198, 209])}.${below(256)}.${below(256)}.${1 + below(254)}`
const ipv6 = () => `2a01:111:f400:${below(65536).toString(16)}::${(1 + below(0xfffe)).toString(16)}`

/** A dictionary with its index. */
class Words {
  readonly words = ['']
  readonly #index = new Map([['', 0]])
  of(word: string): number {
    const known = this.#index.get(word)
    if (known !== undefined) return known
    this.#index.set(word, this.words.length)
    return this.words.push(word) - 1
  }
}

function makeChunk(serial: number, size: number): DmarcRecordsEnriched {
  const domain = `d${String(Math.floor(100 * random() ** 2)).padStart(4, '0')}.example`
  const words = new Words()
  const seen = new Words()
  const records: DmarcRecordsEnriched['records'] = {
    dict: words.words,
    source_ip: [],
    count: [],
    disposition: [],
    dkim: [],
    spf: [],
    header_from: [],
    envelope_from: [],
    envelope_to: [],
    reasons: [],
    reason_type: [],
    reason_comment: [],
    dkim_results: [],
    dkim_domain: [],
    dkim_selector: [],
    dkim_result: [],
    dkim_human_result: [],
    spf_results: [],
    spf_domain: [],
    spf_scope: [],
    spf_result: [],
  }
  const observations: DmarcRecordsEnriched['observations'] = {
    epoch: 1,
    dict: seen.words,
    address: [],
    observed: [],
    ptr_names: [],
    ptr_name: [],
    ptr_confirmed: [],
    asn: [],
    as_name: [],
    country: [],
  }
  const policy = pick(['none', 'none', 'quarantine', 'reject'])
  for (let row = 0; row < size; row++) {
    const kind = random()
    const dkim = kind < 0.8
    const spf = kind < 0.65 || (kind > 0.85 && kind < 0.9)
    const passed = dkim || spf
    const address = random() < 0.12 ? ipv6() : ipv4()
    const entry = words.of(address)
    const isNew = !records.source_ip.includes(entry)
    records.source_ip.push(entry)
    records.count.push(1 + Math.floor(400 * random() ** 6))
    records.disposition.push(words.of(passed ? 'none' : policy))
    records.dkim.push(words.of(dkim ? 'pass' : 'fail'))
    records.spf.push(words.of(spf ? 'pass' : 'fail'))
    records.header_from.push(words.of(domain))
    records.envelope_from.push(0)
    records.envelope_to.push(0)
    const hasReason = !passed && random() < 0.1
    records.reasons.push(hasReason ? 1 : 0)
    if (hasReason) {
      records.reason_type.push(words.of(pick(['forwarded', 'mailing_list', 'local_policy'])))
      records.reason_comment.push(0)
    }
    const signer = dkim ? domain : random() < 0.5 ? pick(['sendgrid.example', 'lists.example', 'crm.example']) : null
    records.dkim_results.push(signer === null ? 0 : 1)
    if (signer !== null) {
      records.dkim_domain.push(words.of(signer))
      records.dkim_selector.push(words.of(pick(['s1', 's2', 'google', 'selector1', '20260101'])))
      records.dkim_result.push(words.of(dkim ? 'pass' : pick(['fail', 'pass', 'none', 'permerror'])))
      records.dkim_human_result.push(0)
    }
    records.spf_results.push(1)
    records.spf_domain.push(words.of(spf ? domain : pick(['bounce.crm.example', 'lists.example', `mail.${domain}`])))
    records.spf_scope.push(0)
    records.spf_result.push(words.of(spf ? 'pass' : pick(['fail', 'softfail', 'none', 'neutral', 'temperror'])))
    if (!isNew) continue
    const name = random()
    observations.address.push(entry)
    observations.observed.push(true)
    observations.ptr_names.push(name < 0.5 ? 1 : 0)
    if (name < 0.5) {
      const suffix = name < 0.25 && knownNames.length > 0 ? pick(knownNames) : 'hosting.example'
      observations.ptr_name.push(seen.of(`mail-${below(100_000)}.${suffix}`))
      observations.ptr_confirmed.push(true)
    }
    observations.asn.push(64496 + below(500))
    observations.as_name.push(seen.of(`NETWORK-${below(500)}`))
    observations.country.push(seen.of(pick(['DE', 'US', 'FR', 'NL'])))
  }
  const mail_id = hashOf('mail', String(serial))
  return {
    id: eventId(mail_id, '1', 'DmarcRecordsEnriched', 0),
    mail_id,
    part: '1',
    received_at: Date.UTC(2026, 9, 1),
    parser_version: '1',
    report_key: hashOf('report', String(serial)),
    variant: hashOf('variant', String(serial)).slice(0, 32),
    policy_domain: domain,
    org: 'google.com',
    day: '2026-10-01',
    implausible_period: false,
    p: policy,
    sp: policy,
    np: null,
    chunk: 0,
    first: 0,
    records,
    observations,
  }
}

/** A registry that numbers schemas; a benchmark needs no file. */
const registry = {
  ids: new Map<string, number>(),
  async register(subject: string) {
    const id = this.ids.get(subject) ?? this.ids.size + 1
    this.ids.set(subject, id)
    return id
  },
  async schema(id: number): Promise<never> {
    throw new Error(`No schema ${id} was written here.`)
  },
}

const codec = await EventCodec.open(registry, eventTypes)
const processor = evaluate({ rules, codec })
const signal = new AbortController().signal
const rows: Row[] = []
for (const size of [500, 44, 3]) {
  const count = Math.ceil(RECORDS / size)
  const chunks = Array.from({ length: count }, (_, serial) => makeChunk(serial, size))
  const events = chunks.map(
    (chunk, offset): LogEvent => ({
      topic: 'enriched.g1',
      partition: 0,
      offset,
      key: chunk.report_key,
      value: codec.encode(DmarcRecordsEnriched, chunk),
      headers: {},
      timestamp: chunk.received_at,
    }),
  )
  const whole: number[] = []
  const alone: number[] = []
  const cpu: number[] = []
  await processor.handle(events, signal)
  for (let round = 0; round < ROUNDS; round++) {
    let start = performance.now()
    const used = process.cpuUsage()
    const produced = await processor.handle(events, signal)
    const { user, system } = process.cpuUsage(used)
    whole.push((count * size) / ((performance.now() - start) / 1000))
    cpu.push((user + system) / (count * size))
    if (produced.length !== count) throw new Error(`${produced.length} of ${count} chunks were evaluated.`)
    start = performance.now()
    for (const chunk of chunks) rules.evaluate(chunk)
    alone.push((count * size) / ((performance.now() - start) / 1000))
  }
  const goal = { relation: '>=', value: 300_000 } as const
  const what = `chunks of ${size} records`
  rows.push({
    what: `evaluate, ${what}, decoding and encoding`,
    unit: 'records/s',
    values: whole,
    ...(size >= 44 ? { goal } : {}),
  })
  rows.push({ what: `evaluate, ${what}, CPU with garbage collection`, unit: 'µs/record', values: cpu })
  rows.push({ what: `evaluate, ${what}, rules alone`, unit: 'records/s', values: alone })
}
const { senders, verdicts } = ruleSet.definition
report('evaluate', `generated; ${senders.length} senders, ${verdicts.length} verdict rules`, rows)
