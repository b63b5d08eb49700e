/**
 * What Prometheus reads. Each server has its own registry, so that two in one process do not mix. Names of messaging and
 * of the database follow the OpenTelemetry conventions in Prometheus's spelling; what only mailtrail knows begins with
 * `mailtrail_`. docs/operations.md says what to do with them.
 */
import { statfs } from 'node:fs/promises'
import type { FastifyInstance } from 'fastify'
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { Store } from '../projections/store.ts'
import type { Generation, LogicalTopic } from '../topics/generation.ts'
import type { MailBodies } from './mail-body.ts'
import type { LogMeter } from './measured-log.ts'
import type { StoreMeter } from './measured-store.ts'
import type { StatusSource } from './stages.ts'

export interface Metrics {
  readonly contentType: string
  /** Looks at the stages, then gives everything in Prometheus's format. */
  text(): Promise<string>
  readonly requestSeconds: Histogram<'method' | 'route' | 'status'>
  readonly mailsAccepted: Counter<'duplicate'>
  readonly mailBytes: Counter
  readonly appendFailures: Counter<'code'>
  readonly mailsLimited: Counter<'limit'>
  readonly carrierMails: Gauge<'carrier'>
  readonly conflicts: Gauge
  readonly rejectedMails: Gauge<'code'>
}

/** How addresses were looked up since the start, by outcome. */
export interface ObservationCounts {
  /** DNS answered, be it that there is no name. */
  readonly answered: number
  /** No answer within the budget, or look-ups are off. */
  readonly unanswered: number
  /** Known already. */
  readonly hits: number
}

/** What is counted where it happens: wrap the log in `MeasuredLog` and the store in `measureStore` with it. */
export interface Meters extends LogMeter, StoreMeter {
  text(): Promise<string>
}

export interface MeterOptions {
  /** What the log is: `kafka`, `sqlite`. */
  readonly system: string
  /** Folder on the disk whose room is told. */
  readonly folder: string
}

const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]

export function openMeters({ system, folder }: MeterOptions): Meters {
  const registry = new Registry()
  const registers = [registry]
  const sent = new Counter({
    name: 'messaging_client_sent_messages_total',
    help: 'Events appended to a topic by this process',
    labelNames: ['messaging_system', 'messaging_destination_name'],
    registers,
  })
  const consumed = new Counter({
    name: 'messaging_client_consumed_messages_total',
    help: 'Events read from a topic by this process as a member of a group',
    labelNames: ['messaging_system', 'messaging_destination_name', 'messaging_consumer_group_name'],
    registers,
  })
  const processed = new Histogram({
    name: 'messaging_process_duration_seconds',
    help: 'From reading a batch of events to its commit, when all that came of it is durable',
    labelNames: ['messaging_system', 'messaging_destination_name', 'messaging_consumer_group_name'],
    buckets: SECONDS,
    registers,
  })
  const operations = new Histogram({
    name: 'messaging_client_operation_duration_seconds',
    help: 'Calls of the log: send until all events are durable, commit of a position',
    labelNames: ['messaging_system', 'messaging_destination_name', 'messaging_operation_name', 'error_type'],
    buckets: SECONDS,
    registers,
  })
  const statements = new Histogram({
    name: 'db_client_operation_duration_seconds',
    help: 'Statements of the store; streams are not among them',
    labelNames: ['db_system_name', 'db_operation_name', 'db_collection_name', 'error_type'],
    buckets: SECONDS,
    registers,
  })
  const rows = new Counter({
    name: 'mailtrail_store_rows_inserted_total',
    help: 'Rows that the store has taken from this process',
    labelNames: ['table'],
    registers,
  })
  diskGauges(folder, registers)
  const failed = (error: string | null) => (error === null ? {} : { error_type: error })
  const destination = (topic: string) => ({ messaging_system: system, messaging_destination_name: topic })
  const group = (topic: string, name: string) => ({ ...destination(topic), messaging_consumer_group_name: name })
  return {
    text: () => registry.metrics(),
    sent: (topic, events) => sent.inc(destination(topic), events),
    consumed: (topic, name, events) => consumed.inc(group(topic, name), events),
    processed: (topic, name, seconds) => processed.observe(group(topic, name), seconds),
    operated: (operation, topic, seconds, error) =>
      operations.observe({ ...destination(topic), messaging_operation_name: operation, ...failed(error) }, seconds),
    asked(operation, table, seconds, error) {
      const about = table === '' ? {} : { db_collection_name: table }
      statements.observe(
        { db_system_name: 'clickhouse', db_operation_name: operation, ...about, ...failed(error) },
        seconds,
      )
    },
    inserted: (table, count) => rows.inc({ table }, count),
  }
}

function diskGauges(folder: string, registers: Registry[]): void {
  const free = new Gauge({
    name: 'mailtrail_disk_free_bytes',
    help: 'Room on the disk of the data folder that we may use',
    registers,
    async collect() {
      const { bavail, blocks, bsize } = await statfs(folder)
      free.set(bavail * bsize)
      size.set(blocks * bsize)
    },
  })
  const size = new Gauge({ name: 'mailtrail_disk_size_bytes', help: 'Size of the disk of the data folder', registers })
}

export interface MetricsSource {
  status(): StatusSource
  observations(): ObservationCounts
  /** The live generation. */
  generation(): Generation
  rebuilding(): { readonly done: number; readonly total: number } | null
  readonly store: Store
  readonly version: string
  readonly parserVersion: string
  readonly meters?: Meters
}

export function createMetrics(source: MetricsSource, bodies: MailBodies): Metrics {
  const registry = new Registry()
  const registers = [registry]
  collectDefaultMetrics({ register: registry })
  const lookAtStages = stageGauges(source, registers)
  const lookAtStore = storeGauges(source, registers)
  pipelineGauges(source, bodies, registers)
  const mailsLimited = new Counter({
    name: 'mailtrail_http_mails_limited_total',
    help: 'Mails not taken because more came from a client or a domain than is allowed',
    labelNames: ['limit'],
    registers,
  })
  for (const limit of ['client', 'domain'] as const) mailsLimited.inc({ limit }, 0)
  return {
    contentType: registry.contentType,
    async text() {
      await Promise.all([lookAtStages(), lookAtStore()])
      const own = await registry.metrics()
      return source.meters === undefined ? own : `${own}\n${await source.meters.text()}`
    },
    requestSeconds: new Histogram({
      name: 'mailtrail_http_request_seconds',
      help: 'Time to answer, by route',
      labelNames: ['method', 'route', 'status'],
      buckets: [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30],
      registers,
    }),
    mailsAccepted: new Counter({
      name: 'mailtrail_http_mails_accepted_total',
      help: 'Mails answered with 202; duplicate="true" when they were known',
      labelNames: ['duplicate'],
      registers,
    }),
    mailBytes: new Counter({ name: 'mailtrail_http_mail_bytes_total', help: 'Bytes of accepted mails', registers }),
    appendFailures: new Counter({
      name: 'mailtrail_http_mails_refused_total',
      help: 'Mails not stored, by error code',
      labelNames: ['code'],
      registers,
    }),
    mailsLimited,
    carrierMails: new Gauge({
      name: 'mailtrail_carrier_mails',
      help: 'Mails received within the last hour by the domain of their From, the ten with most and other; looked at once a minute',
      labelNames: ['carrier'],
      registers,
    }),
    conflicts: new Gauge({
      name: 'mailtrail_report_conflicts',
      help: 'Reports that arrived with different contents under one identity; looked at once a minute',
      registers,
    }),
    rejectedMails: new Gauge({
      name: 'mailtrail_rejected_mails',
      help: 'Mails that could not be read and were not read later, by code; looked at once a minute',
      labelNames: ['code'],
      registers,
    }),
  }
}

/** Gauges of the stages, and what sets them. */
function stageGauges(source: MetricsSource, registers: Registry[]): () => Promise<void> {
  const labelNames = ['stage', 'generation', 'topic'] as const
  const lag = new Gauge({
    name: 'mailtrail_stage_lag_events',
    help: 'Events that wait for a stage',
    labelNames,
    registers,
  })
  const lagSeconds = new Gauge({
    name: 'mailtrail_stage_lag_seconds',
    help: 'Age of the oldest event that waits for a stage',
    labelNames,
    registers,
  })
  const live = new Gauge({
    name: 'mailtrail_stage_live',
    help: '1 when the live generation answers through the stage, 0 when it works for a replay or a former generation',
    labelNames: ['stage', 'generation'],
    registers,
  })
  const readable = new Gauge({
    name: 'mailtrail_stages_readable',
    help: '1 when the positions of all stages could be read, 0 when the log or the store did not answer',
    registers,
  })
  return async () => {
    for (const gauge of [lag, lagSeconds, live]) gauge.reset()
    try {
      for (const { stage, generation, topic, lag: events, lag_seconds } of await source.status().stages()) {
        lag.set({ stage, generation, topic }, events)
        lagSeconds.set({ stage, generation, topic }, lag_seconds)
        live.set({ stage, generation }, isLive(stage, generation, source.generation()) ? 1 : 0)
      }
      readable.set(1)
    } catch {
      // The scrape must say that the store is down, not fail because of it.
      readable.set(0)
    }
  }
}

/** What a stage writes, or what it projects, is named after the generation that it was made for. */
const WRITES: Readonly<Record<string, LogicalTopic>> = {
  'parse-mail': 'reports',
  enrich: 'enriched',
  evaluate: 'verdicts',
}

function isLive(stage: string, generation: string, live: Generation): boolean {
  const topic = WRITES[stage] ?? stage.replace(/^project-/, '')
  return Object.entries(live.topics).some(([name, physical]) => name === topic && physical.endsWith(`.${generation}`))
}

/** Seconds; a scrape waits no longer. */
const PROBE_SECONDS = 3

function storeGauges(source: MetricsSource, registers: Registry[]): () => Promise<void> {
  const up = new Gauge({ name: 'mailtrail_store_up', help: '1 when the store answers, 0 when it does not', registers })
  const isRebuilding = new Gauge({
    name: 'mailtrail_store_rebuilding',
    help: '1 while this process fills the store anew from the log',
    registers,
  })
  const done = new Gauge({
    name: 'mailtrail_store_rebuilt_ratio',
    help: 'How much of the log is in the store again; 1 when it is not being rebuilt',
    registers,
  })
  return async () => {
    const progress = source.rebuilding()
    isRebuilding.set(progress === null ? 0 : 1)
    done.set(progress === null || progress.total === 0 ? 1 : progress.done / progress.total)
    try {
      const signal = AbortSignal.timeout(PROBE_SECONDS * 1000)
      await source.store.query('SELECT 1', { timeout: PROBE_SECONDS, signal })
      up.set(1)
    } catch {
      // That is what the gauge is for.
      up.set(0)
    }
  }
}

function pipelineGauges(source: MetricsSource, bodies: MailBodies, registers: Registry[]): void {
  new Gauge({
    name: 'mailtrail_build_info',
    help: 'What runs here',
    labelNames: ['version', 'parser_version'],
    registers,
  }).set({ version: source.version, parser_version: source.parserVersion }, 1)
  new Gauge({
    name: 'mailtrail_generation_live',
    help: 'The generation that answers',
    labelNames: ['generation', 'rule_set'],
    registers,
    collect() {
      const { name, ruleSet } = source.generation()
      this.reset()
      this.set({ generation: name, rule_set: ruleSet ?? '' }, 1)
    },
  })
  new Gauge({
    name: 'mailtrail_http_mail_bytes_in_flight',
    help: 'Bytes of mails being received or stored',
    registers,
    collect() {
      this.set(bodies.bytesInFlight)
    },
  })
  new Counter({
    name: 'mailtrail_addresses_observed_total',
    help: 'Source addresses of records by what was found out about them: answered, unanswered, or known already',
    labelNames: ['outcome'],
    registers,
    collect() {
      const { answered, unanswered, hits } = source.observations()
      this.reset()
      this.inc({ outcome: 'answered' }, answered)
      this.inc({ outcome: 'unanswered' }, unanswered)
      this.inc({ outcome: 'known' }, hits)
    },
  })
}

/** Times every request by its route's pattern, never by the address asked for: that would be without bound. */
export function measureRequests(server: FastifyInstance, metrics: Metrics): void {
  server.addHook('onResponse', (request, reply, done) => {
    const route = request.routeOptions.url ?? 'unknown'
    metrics.requestSeconds.observe(
      { method: request.method, route, status: reply.statusCode },
      reply.elapsedTime / 1000,
    )
    done()
  })
}
