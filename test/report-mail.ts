/**
 * Report mail with its truth, made from a seed, for tests that need some thousands of mails and no more than this
 * checkout: aggregate reports, TLS reports, failure reports, other mail, damaged mail and mail that comes twice. (The
 * generator with real reporters' manners lies beside the checkout; test/truth.test.ts uses it.)
 */
import { createHash } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'

export interface DomainTruth {
  reports: number
  messages: number
  passed: number
  tls_successful: number
  tls_failed: number
}

/** What must be answered when all mails are in. */
export interface Truth {
  /** Mails written, and how many of them repeat an earlier one. */
  mails: number
  duplicates: number
  aggregate: { reports: number; records: number; messages: number; passed: number; dkim: number; spf: number }
  tls: { reports: number; successful: number; failed: number; details: number }
  failures: number
  other: number
  /** Mails in which something could not be read. */
  rejects: number
  domains: Map<string, DomainTruth>
}

export interface MadeMail {
  readonly name: string
  readonly bytes: Buffer
}

/** mulberry32: the same numbers from 0 to 1 for the same seed, on any machine. */
export function chance(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = state
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

const DAY = 86_400
/** Few, since lists are read day by day. */
const DAYS = 8
const FIRST_DAY = Date.UTC(2026, 9, 1) / 1000
const rfc5322 = (seconds: number) => new Date(seconds * 1000).toUTCString().replace('GMT', '+0000')

export const mailIdOf = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')

/** One attachment, or text, under the fields that every mail has. `at` in seconds. */
export function mailOf(
  subject: string,
  at: number,
  body: { type: string; name?: string; content: Buffer | string },
): Buffer {
  const { type, name, content } = body
  const text = typeof content === 'string'
  return Buffer.from(
    [
      `Received: from mail.reporter.example by mx.example.org with ESMTPS; ${rfc5322(at)}`,
      'From: <reports@reporter.example>',
      'To: <rua@example.org>',
      `Subject: ${subject}`,
      `Date: ${rfc5322(at)}`,
      'MIME-Version: 1.0',
      `Content-Type: ${type}${name === undefined ? '' : `; name="${name}"`}`,
      `Content-Transfer-Encoding: ${text ? '7bit' : 'base64'}`,
      '',
      text ? content : content.toString('base64').replace(/.{76}/g, '$&\r\n'),
      '',
    ].join('\r\n'),
  )
}

export interface MadeRecord {
  readonly source_ip: string
  readonly count: number
  readonly dkim: boolean
  readonly spf: boolean
}

/** An aggregate report as XML. `begin` in seconds; the period is a day. */
export function aggregateXml(report: {
  readonly id: string
  readonly domain: string
  readonly begin: number
  readonly records: readonly MadeRecord[]
  readonly prefix?: string
}): string {
  const { id, domain, begin, records, prefix } = report
  const result = (passed: boolean) => (passed ? 'pass' : 'fail')
  const rows = records.map(
    ({ source_ip, count, dkim, spf }) =>
      `<record><row><source_ip>${source_ip}</source_ip><count>${count}</count><policy_evaluated>` +
      `<disposition>none</disposition><dkim>${result(dkim)}</dkim><spf>${result(spf)}</spf></policy_evaluated></row>` +
      `<identifiers><header_from>${domain}</header_from></identifiers><auth_results><spf><domain>${domain}</domain>` +
      `<result>${result(spf)}</result></spf></auth_results></record>`,
  )
  const xml =
    `<?xml version="1.0"?>\n<feedback><report_metadata><org_name>reporter.example</org_name>` +
    `<email>reports@reporter.example</email><report_id>${id}</report_id><date_range><begin>${begin}</begin>` +
    `<end>${begin + DAY - 1}</end></date_range></report_metadata><policy_published><domain>${domain}</domain>` +
    `<adkim>r</adkim><aspf>r</aspf><p>none</p><sp>none</sp><pct>100</pct></policy_published>${rows.join('\n')}</feedback>\n`
  return prefix === undefined
    ? xml
    : xml
        .replace(/<(\/?)(?=[a-z])/g, `<$1${prefix}:`)
        .replace(`<${prefix}:feedback>`, `<${prefix}:feedback xmlns:${prefix}="urn:ietf:params:xml:ns:dmarc-2.0">`)
}

class Maker {
  readonly truth: Truth = {
    mails: 0,
    duplicates: 0,
    aggregate: { reports: 0, records: 0, messages: 0, passed: 0, dkim: 0, spf: 0 },
    tls: { reports: 0, successful: 0, failed: 0, details: 0 },
    failures: 0,
    other: 0,
    rejects: 0,
    domains: new Map(),
  }
  readonly #seed: number
  readonly #random: () => number
  #serial = 0

  constructor(seed: number) {
    this.#seed = seed
    this.#random = chance(seed)
  }

  below(limit: number): number {
    return Math.floor(this.#random() * limit)
  }

  /** A domain, a day and a name that no other report of this seed has. */
  #about() {
    const domain = `d${this.below(20)}.example`
    const begin = FIRST_DAY + this.below(DAYS) * DAY
    return { domain, begin, id: `${this.#seed}-${++this.#serial}`, at: begin + DAY + this.below(7200) }
  }

  #domain(domain: string): DomainTruth {
    const known = this.truth.domains.get(domain)
    if (known !== undefined) return known
    const fresh = { reports: 0, messages: 0, passed: 0, tls_successful: 0, tls_failed: 0 }
    this.truth.domains.set(domain, fresh)
    return fresh
  }

  aggregate(): Buffer {
    const about = this.#about()
    const records = Array.from({ length: 1 + this.below(this.below(40) === 0 ? 1200 : 6) }, () => ({
      source_ip: `198.51.${this.below(256)}.${1 + this.below(254)}`,
      count: 1 + this.below(50),
      dkim: this.below(10) < 8,
      spf: this.below(10) < 7,
    }))
    const { aggregate } = this.truth
    const domain = this.#domain(about.domain)
    aggregate.reports++
    domain.reports++
    for (const { count, dkim, spf } of records) {
      aggregate.records++
      aggregate.messages += count
      domain.messages += count
      if (dkim) aggregate.dkim += count
      if (spf) aggregate.spf += count
      if (dkim || spf) {
        aggregate.passed += count
        domain.passed += count
      }
    }
    const content = gzipSync(aggregateXml({ ...about, records }), { level: 1 })
    const name = `reporter.example!${about.domain}!${about.begin}!${about.begin + DAY - 1}.xml.gz`
    const subject = `Report domain: ${about.domain} Submitter: reporter.example Report-ID: ${about.id}`
    return mailOf(subject, about.at, { type: 'application/gzip', name, content })
  }

  tls(): Buffer {
    const { domain, begin, id, at } = this.#about()
    const day = new Date(begin * 1000).toISOString().slice(0, 10)
    const successful = this.below(1000)
    const details = Array.from({ length: this.below(3) }, () => ({
      'result-type': 'certificate-expired',
      'sending-mta-ip': `203.0.113.${this.below(256)}`,
      'receiving-mx-hostname': `mx.${domain}`,
      'failed-session-count': 1 + this.below(9),
    }))
    const failed = details.reduce((sum, detail) => sum + detail['failed-session-count'], 0)
    this.truth.tls.reports++
    this.truth.tls.successful += successful
    this.truth.tls.failed += failed
    this.truth.tls.details += details.length
    const known = this.#domain(domain)
    known.tls_successful += successful
    known.tls_failed += failed
    const report = {
      'organization-name': 'Reporter',
      'date-range': { 'start-datetime': `${day}T00:00:00Z`, 'end-datetime': `${day}T23:59:59Z` },
      'contact-info': 'tls@reporter.example',
      'report-id': id,
      policies: [
        {
          policy: { 'policy-type': 'no-policy-found', 'policy-domain': domain },
          summary: { 'total-successful-session-count': successful, 'total-failure-session-count': failed },
          ...(details.length > 0 ? { 'failure-details': details } : {}),
        },
      ],
    }
    const content = gzipSync(JSON.stringify(report), { level: 1 })
    const subject = `Report Domain: ${domain} Submitter: reporter.example Report-ID: <${id}>`
    return mailOf(subject, at, { type: 'application/tlsrpt+gzip', name: 'report.json.gz', content })
  }

  failure(): Buffer {
    const { domain, id, at } = this.#about()
    this.truth.failures++
    const feedback = [
      'Content-Type: message/feedback-report',
      '',
      'Feedback-Type: auth-failure',
      'User-Agent: Reporter/1.0',
      'Version: 1',
      `Source-IP: 203.0.113.${this.below(256)}`,
      `Reported-Domain: ${domain}`,
      'Auth-Failure: dmarc',
      '',
    ]
    const original = ['Content-Type: message/rfc822', '', `From: <billing@${domain}>`, `Subject: ${id}`, '', 'Pay.', '']
    const parts = [feedback, original].map((lines) => `--cut\r\n${lines.join('\r\n')}\r\n`)
    const type = 'multipart/report; report-type=feedback-report; boundary="cut"'
    return mailOf(`FW: ${id}`, at, { type, content: `${parts.join('')}--cut--` })
  }

  other(): Buffer {
    const { id, at } = this.#about()
    this.truth.other++
    return mailOf(`Cron: run ${id}`, at, { type: 'text/plain', content: `Nothing to report in run ${id}.` })
  }

  damaged(): Buffer {
    const { domain, id, at, begin } = this.#about()
    this.truth.rejects++
    const whole = aggregateXml({ id, domain, begin, records: [] })
    const content = Buffer.from(whole.slice(0, whole.indexOf('<policy_published>')))
    return mailOf(`Report domain: ${domain} Report-ID: ${id}`, at, { type: 'text/xml', name: 'cut.xml', content })
  }
}

/** Makes `count` mails. Same seed and count, same bytes. */
export function makeMails(seed: number, count: number): { readonly mails: readonly MadeMail[]; readonly truth: Truth } {
  const maker = new Maker(seed)
  const mails: MadeMail[] = []
  for (let n = 0; n < count; n++) {
    const lot = maker.below(100)
    let bytes: Buffer
    if (lot >= 97 && n > 0) {
      bytes = mails[maker.below(mails.length)]!.bytes
      maker.truth.duplicates++
    } else if (lot < 80) bytes = maker.aggregate()
    else if (lot < 90) bytes = maker.tls()
    else if (lot < 92) bytes = maker.failure()
    else if (lot < 95) bytes = maker.other()
    else bytes = maker.damaged()
    maker.truth.mails++
    mails.push({ name: `${String(n).padStart(6, '0')}.eml`, bytes })
  }
  return { mails, truth: maker.truth }
}

/** The mails as files in a folder. */
export async function writeMails(folder: string, mails: readonly MadeMail[]): Promise<void> {
  await mkdir(folder, { recursive: true })
  for (const { name, bytes } of mails) await writeFile(join(folder, name), bytes)
}
