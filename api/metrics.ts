/** What Prometheus reads. Each server has its own registry, so that two in one process do not mix. */
import type { FastifyInstance } from 'fastify'
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { MailBodies } from './mail-body.ts'
import type { StatusSource } from './stages.ts'

export interface Metrics {
  readonly contentType: string
  /** Looks at the stages, then gives everything in Prometheus's format. */
  text(): Promise<string>
  readonly requestSeconds: Histogram<'method' | 'route' | 'status'>
  readonly mailsAccepted: Counter<'duplicate'>
  readonly mailBytes: Counter
  readonly appendFailures: Counter<'code'>
  readonly conflicts: Gauge
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

export function createMetrics(
  status: () => StatusSource,
  bodies: MailBodies,
  observations: () => ObservationCounts,
): Metrics {
  const registry = new Registry()
  const registers = [registry]
  collectDefaultMetrics({ register: registry })
  const lag = new Gauge({
    name: 'mailtrail_stage_lag_events',
    help: 'Events that wait for a stage',
    labelNames: ['stage', 'generation', 'topic'],
    registers,
  })
  const lagSeconds = new Gauge({
    name: 'mailtrail_stage_lag_seconds',
    help: 'Age of the oldest event that waits for a stage',
    labelNames: ['stage', 'generation', 'topic'],
    registers,
  })
  const stagesReadable = new Gauge({
    name: 'mailtrail_stages_readable',
    help: '1 when the positions of all stages could be read, 0 when the log or the store did not answer',
    registers,
  })
  async function text(): Promise<string> {
    lag.reset()
    lagSeconds.reset()
    try {
      for (const { stage, generation, topic, lag: events, lag_seconds } of await status().stages()) {
        lag.set({ stage, generation, topic }, events)
        lagSeconds.set({ stage, generation, topic }, lag_seconds)
      }
      stagesReadable.set(1)
    } catch {
      // The scrape must say that the store is down, not fail because of it.
      stagesReadable.set(0)
    }
    return registry.metrics()
  }
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
      const { answered, unanswered, hits } = observations()
      this.reset()
      this.inc({ outcome: 'answered' }, answered)
      this.inc({ outcome: 'unanswered' }, unanswered)
      this.inc({ outcome: 'known' }, hits)
    },
  })
  return {
    contentType: registry.contentType,
    text,
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
    conflicts: new Gauge({
      name: 'mailtrail_report_conflicts',
      help: 'Reports that arrived with different contents under one identity; looked at once a minute',
      registers,
    }),
  }
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
