import { describe, expect, test } from 'vitest'
import { sniff } from '../../../processors/formats/inflate.ts'
import { defaultLimits } from '../../../processors/formats/limits.ts'
import type { DmarcRecord } from '../../../processors/formats/shapes.ts'
import { readTlsReport } from '../../../processors/formats/tls-report.ts'
import { plausibleCount } from '../../../topics/plausible-count.ts'
import { corpusFiles, type ExpectedAggregate, type ExpectedTls, hasCorpus, readAggregate, unpack } from './reading.ts'

const sum = (records: readonly DmarcRecord[], counts: (record: DmarcRecord) => boolean = () => true): number =>
  records.filter(counts).reduce((total, { count }) => total + plausibleCount(count), 0)

function aggregateOf(bytes: Uint8Array): ExpectedAggregate {
  const { report, records } = readAggregate(bytes)
  const first = records[0]!
  return {
    kind: 'aggregate',
    org: report.org_name ?? '',
    email: report.email,
    id: report.report_id,
    begin: report.begin,
    end: report.end,
    domain: report.policy.domain,
    p: report.policy.p!,
    sp: report.policy.sp,
    np: report.policy.np,
    adkim: report.policy.adkim,
    aspf: report.policy.aspf,
    records: report.records,
    messages: sum(records),
    dkim: sum(records, ({ dkim }) => dkim === 'pass'),
    spf: sum(records, ({ spf }) => spf === 'pass'),
    dmarc: sum(records, ({ dkim, spf }) => dkim === 'pass' || spf === 'pass'),
    first: {
      ip: first.source_ip,
      count: first.count,
      disposition: first.disposition,
      dkim: first.dkim,
      spf: first.spf,
      header_from: first.header_from,
    },
  }
}

function tlsOf(bytes: Uint8Array): ExpectedTls {
  const report = readTlsReport(bytes, { reportDomain: null }, defaultLimits)
  const iso = (seconds: number) => new Date(seconds * 1000).toISOString().replace('.000', '')
  return {
    kind: 'tls',
    org: report.org_name!,
    id: report.report_id,
    contact: report.contact!,
    begin: iso(report.begin),
    end: iso(report.end),
    policies: report.policies.map((policy) => ({
      domain: policy.domain,
      type: policy.type!,
      ok: policy.successful,
      failed: policy.failed,
      details: policy.details.map((detail) => [detail.result_type!, detail.count!]),
    })),
  }
}

describe.skipIf(!hasCorpus)('the corpus', () => {
  test.each(corpusFiles())('$name holds what expected.json says', async ({ bytes, expected }) => {
    const documents = await unpack(bytes)
    expect(documents).toHaveLength(expected.length)
    for (const [index, document] of documents.entries()) {
      const { note: _note, ...wanted } = expected[index] as { note?: string } & object
      const content = sniff(document)
      if (content === 'empty') expect(wanted).toEqual({ kind: 'rejected' })
      else expect(content === 'json' ? tlsOf(document) : aggregateOf(document)).toEqual(wanted)
    }
  })
})
