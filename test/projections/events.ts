/** Events as they are projected, from a few words: reports of records, TLS reports, mails, rejects. */

import type { AnyEventType } from '../../topics/all.ts'
import { type Authentication, NOT_CHECKED } from '../../topics/authentication.ts'
import type { EventCodec } from '../../topics/avro.ts'
import { eventId, hashOf } from '../../topics/cause.ts'
import { DmarcRecordsEnriched, type DmarcRecordsEnriched as Enriched } from '../../topics/enriched.ts'
import type { Generation } from '../../topics/generation.ts'
import type { NewEvent } from '../../topics/log.ts'
import { FailureReportRead, MailRead } from '../../topics/private.ts'
import { MailRejected } from '../../topics/rejects.ts'
import { DmarcReportRead, TlsPoliciesRead, TlsReportRead } from '../../topics/reports.ts'

export interface RecordShape {
  readonly source_ip: string
  readonly count: number | null
  readonly disposition?: string
  readonly dkim?: string
  readonly spf?: string
  readonly header_from?: string
  readonly reasons?: readonly { readonly type: string; readonly comment: string }[]
  readonly dkim_results?: readonly { readonly domain: string; readonly selector: string; readonly result: string }[]
}

/** A delivery of an aggregate report: the same `report_id` with other records is another variant. */
export interface DmarcDelivery {
  readonly report_id: string
  readonly policy_domain?: string
  readonly org?: string
  readonly day?: string
  readonly received_at?: number
  readonly mail?: string
  readonly part?: string
  readonly p?: string
  readonly records: readonly RecordShape[]
  /** Records a chunk; default all in one. */
  readonly chunk?: number
  /** False leaves out the closing event. */
  readonly closed?: boolean
  readonly implausible_period?: boolean
  /** Default: not checked. */
  readonly authentication?: Authentication
}

export type PlacedEvent = Omit<NewEvent, 'value'> & { readonly topic: string; readonly value: Buffer }

const RECEIVED = Date.UTC(2026, 9, 2, 6)
const passes = (record: RecordShape) => [record.dkim === 'pass', record.spf === 'pass'] as const
const messages = (record: RecordShape) =>
  record.count !== null && record.count >= 1 && record.count <= 1e9 ? Math.trunc(record.count) : 0

const nothingObserved: Enriched['observations'] = {
  epoch: 1,
  dict: [''],
  address: [],
  observed: [],
  ptr_names: [],
  ptr_name: [],
  ptr_confirmed: [],
  asn: [],
  as_name: [],
  country: [],
}

/** Makes events and frames them with the codec's schema ids. */
export class EventMaker {
  readonly #codec: EventCodec<AnyEventType>
  readonly #generation: Generation

  constructor(codec: EventCodec<AnyEventType>, generation: Generation) {
    this.#codec = codec
    this.#generation = generation
  }

  #cause(type: string, delivery: { mail?: string; part?: string; received_at?: number }, index = 0) {
    const mail_id = hashOf(delivery.mail ?? 'mail')
    const part = delivery.part ?? '1'
    return {
      id: eventId(mail_id, part, type, index),
      mail_id,
      part,
      received_at: delivery.received_at ?? RECEIVED,
      parser_version: '1',
    }
  }

  dmarc(delivery: DmarcDelivery): PlacedEvent[] {
    const topic = this.#generation.topics.enriched
    const org = delivery.org ?? 'receiver.example'
    const policy_domain = delivery.policy_domain ?? 'example.com'
    const day = delivery.day ?? '2026-10-01'
    const report_key = hashOf(org, delivery.report_id, policy_domain, day)
    const variant = hashOf(report_key, JSON.stringify([delivery.records, delivery.p])).slice(0, 32)
    const report = {
      report_key,
      variant,
      policy_domain,
      org,
      day,
      implausible_period: delivery.implausible_period ?? false,
    }
    const policy = { p: delivery.p ?? 'none', sp: null, np: null }
    const size = delivery.chunk ?? Math.max(delivery.records.length, 1)
    const events: PlacedEvent[] = []
    for (let first = 0; first < delivery.records.length; first += size) {
      const chunk = first / size
      const value = this.#codec.encode(DmarcRecordsEnriched, {
        ...this.#cause('DmarcRecordsRead', delivery, chunk),
        ...report,
        ...policy,
        chunk,
        first,
        records: recordColumns(delivery.records.slice(first, first + size)),
        observations: nothingObserved,
      })
      events.push({ topic, key: report_key, value })
    }
    if (delivery.closed === false) return events
    const begin = Date.parse(day) / 1000
    const value = this.#codec.encode(DmarcReportRead, {
      ...this.#cause('DmarcReportRead', delivery),
      ...report,
      ...policy,
      org_name: org,
      email: null,
      extra_contact_info: null,
      report_id: delivery.report_id,
      begin,
      end: begin + 86_399,
      span_days: 1,
      version: null,
      generator: null,
      errors: [],
      adkim: null,
      aspf: null,
      pct: 100,
      fo: null,
      testing: null,
      discovery_method: null,
      chunks: events.length,
      records: delivery.records.length,
      totals: totalsOf(delivery.records),
      warnings: [],
      ...(delivery.authentication ?? NOT_CHECKED),
    })
    return [...events, { topic, key: report_key, value }]
  }

  tls(delivery: {
    report_id: string
    domain?: string
    successful: number
    failed: number
    result_types?: readonly string[]
    received_at?: number
    mail?: string
    closed?: boolean
  }): PlacedEvent[] {
    const topic = this.#generation.topics.enriched
    const org = 'tls.example'
    const day = '2026-10-01'
    const domain = delivery.domain ?? 'example.com'
    const report_key = hashOf(org, delivery.report_id, domain)
    const details = delivery.result_types ?? []
    const variant = hashOf(report_key, `${delivery.successful}/${delivery.failed}/${details}`).slice(0, 32)
    const report = { report_key, variant, org, day, implausible_period: false }
    const chunk = this.#codec.encode(TlsPoliciesRead, {
      ...this.#cause('TlsPoliciesRead', delivery),
      ...report,
      chunk: 0,
      policies: [
        {
          policy_index: 0,
          type: 'sts',
          domain,
          host_level: false,
          policy_string: ['version: STSv1', 'mode: enforce'],
          mx_host: ['mx.example.com'],
          successful: delivery.successful,
          failed: delivery.failed,
        },
      ],
      details: details.map((result_type, detail_index) => ({
        policy_index: 0,
        detail_index,
        domain,
        result_type,
        sending_mta_ip: '192.0.2.1',
        receiving_mx_hostname: 'mx.example.com',
        receiving_mx_helo: null,
        receiving_ip: null,
        count: 1,
        additional_information: null,
        reason_code: null,
      })),
    })
    const events = [{ topic, key: report_key, value: chunk }]
    if (delivery.closed === false) return events
    const begin = Date.parse(day) / 1000
    const value = this.#codec.encode(TlsReportRead, {
      ...this.#cause('TlsReportRead', delivery),
      ...report,
      org_name: org,
      contact: null,
      report_id: delivery.report_id,
      begin,
      end: begin + 86_399,
      span_days: 1,
      domains: [domain],
      chunks: 1,
      policies: 1,
      details: details.length,
      successful: delivery.successful,
      failed: delivery.failed,
      warnings: [],
      ...NOT_CHECKED,
    })
    return [...events, { topic, key: report_key, value }]
  }

  mail(read: {
    mail: string
    kind: string
    found?: readonly string[]
    rejected?: number
    received_at?: number
    ingest_offset?: number
    subject?: string
  }): PlacedEvent {
    const cause = this.#cause('MailRead', { ...read, part: '' })
    const value = this.#codec.encode(MailRead, {
      ...cause,
      received_from: 'import',
      source: null,
      envelope_from: null,
      envelope_to: null,
      ingest_partition: 0,
      ingest_offset: read.ingest_offset ?? 0,
      from: 'a@example.net',
      to: null,
      subject: read.subject ?? null,
      date: null,
      message_id: null,
      size: 1000,
      kind: read.kind,
      found: (read.found ?? []).map((part) => ({ kind: 'dmarc', part, key: hashOf(part) })),
      rejected: read.rejected ?? 0,
      warnings: [],
      ...NOT_CHECKED,
    })
    return { topic: this.#generation.topics.private, key: cause.mail_id, value }
  }

  failure(read: { mail: string; domain?: string; received_at?: number; source_ip?: string }): PlacedEvent {
    const cause = this.#cause('FailureReportRead', read)
    const value = this.#codec.encode(FailureReportRead, {
      ...cause,
      index: 0,
      feedback_type: 'auth-failure',
      auth_failure: ['dmarc'],
      source_ip: read.source_ip ?? '192.0.2.7',
      reported_domain: read.domain ?? 'example.com',
      original_mail_from: null,
      original_rcpt_to: null,
      arrival: null,
      delivery_result: null,
      identity_alignment: null,
      user_agent: null,
      incidents: 1,
      dkim_domain: null,
      dkim_selector: null,
      spf_dns: null,
      subject: 'hello',
      message_id: null,
      from: null,
      warnings: [{ code: 'value_truncated', detail: 'subject' }],
      ...NOT_CHECKED,
    })
    return { topic: this.#generation.topics.private, key: cause.mail_id, value }
  }

  reject(read: {
    mail: string
    part?: string
    code?: string
    received_at?: number
    ingest_offset?: number
  }): PlacedEvent {
    const cause = this.#cause('MailRejected', { ...read, part: read.part ?? '' })
    const value = this.#codec.encode(MailRejected, {
      ...cause,
      stage: 'parse-mail',
      code: read.code ?? 'xml_malformed',
      detail: 'The report ends in the middle.',
      deterministic: true,
      ingest_partition: 0,
      ingest_offset: read.ingest_offset ?? 0,
      size: 1000,
    })
    return { topic: this.#generation.topics.rejects, key: cause.mail_id, value }
  }
}

function totalsOf(records: readonly RecordShape[]) {
  const sum = (counts: (record: RecordShape) => boolean) =>
    records.filter(counts).reduce((total, record) => total + messages(record), 0)
  const disposition = (name: string) => sum((record) => (record.disposition ?? 'none') === name)
  return {
    messages: sum(() => true),
    passed: sum((record) => passes(record).includes(true)),
    full_pass: sum((record) => passes(record).every((pass) => pass)),
    dkim_only: sum((record) => passes(record)[0] && !passes(record)[1]),
    spf_only: sum((record) => !passes(record)[0] && passes(record)[1]),
    failed: sum((record) => !passes(record).includes(true)),
    none: disposition('none'),
    quarantine: disposition('quarantine'),
    reject: disposition('reject'),
  }
}

function recordColumns(records: readonly RecordShape[]): Enriched['records'] {
  const dict = ['']
  const index = (value: string | undefined) => {
    const text = value ?? ''
    const known = dict.indexOf(text)
    return known >= 0 ? known : dict.push(text) - 1
  }
  const reasons = records.flatMap((record) => record.reasons ?? [])
  const results = records.flatMap((record) => record.dkim_results ?? [])
  return {
    dict,
    source_ip: records.map(({ source_ip }) => index(source_ip)),
    count: records.map(({ count }) => count),
    disposition: records.map(({ disposition }) => index(disposition ?? 'none')),
    dkim: records.map(({ dkim }) => index(dkim)),
    spf: records.map(({ spf }) => index(spf)),
    header_from: records.map(({ header_from }) => index(header_from ?? 'example.com')),
    envelope_from: records.map(() => 0),
    envelope_to: records.map(() => 0),
    reasons: records.map((record) => record.reasons?.length ?? 0),
    reason_type: reasons.map(({ type }) => index(type)),
    reason_comment: reasons.map(({ comment }) => index(comment)),
    dkim_results: records.map((record) => record.dkim_results?.length ?? 0),
    dkim_domain: results.map(({ domain }) => index(domain)),
    dkim_selector: results.map(({ selector }) => index(selector)),
    dkim_result: results.map(({ result }) => index(result)),
    dkim_human_result: results.map(() => 0),
    spf_results: records.map(() => 1),
    spf_domain: records.map(() => index('mail.example.com')),
    spf_scope: records.map(() => 0),
    spf_result: records.map(({ spf }) => index(spf ?? 'none')),
  }
}
