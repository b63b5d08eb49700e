/** Fills a store with many records in no time, for benchmarks of queries. */
import { recreateStore } from '../projections/schema.ts'
import type { Store } from '../projections/store.ts'
import type { Generation } from '../topics/generation.ts'

const RECORDS_A_REPORT = 60
export const DOMAINS = 2000
export const DAYS = 90
/** 2026-08-20 as days since 1970. */
export const FIRST_DAY = Date.UTC(2026, 7, 20) / 86_400_000

/** Records of the domain that has most: 2 % of 50 million, as the generator of report mail spreads them. */
const LARGEST_RECORDS = 1_100_000

/**
 * Rows made by the store itself, inserted as ingestion inserts them: reports of 60 records, 2,000 domains of which the
 * first has most reports and the others fewer and fewer, 90 days.
 */
export async function fillStore(store: Store, generation: Generation, records: number): Promise<void> {
  const { tables } = generation
  const spread = Math.sqrt(1 / DOMAINS)
  const extra = Math.round(10_000 * Math.max(0, LARGEST_RECORDS / records - spread))
  await recreateStore(store, generation)
  const domain = (report: string) =>
    `concat('domain', toString(if(cityHash64(${report}, 1) % 10000 < ${extra}, 0, toUInt32(${DOMAINS} * pow((cityHash64(${report}, 2) % 100000) / 100000., 2)))), '.example')`
  const day = (report: string) => `toDate(${FIRST_DAY} + cityHash64(${report}, 3) % ${DAYS})`
  const key = (report: string) => `SHA256(toString(${report}))`
  const variant = (report: string) => `substring(SHA256(concat('v', toString(${report}))), 1, 16)`
  const step = RECORDS_A_REPORT * 4000
  for (let from = 0; from < records; from += step) {
    const report = `intDiv(number, ${RECORDS_A_REPORT})`
    await store.command(
      `INSERT INTO ${tables.dmarc_records} (policy_domain, day, report_key, variant, record_index, org, source_ip, count,
         messages, disposition, dkim, spf, dkim_aligned, spf_aligned, header_from, dkim_domain, dkim_selector, dkim_result,
         dkim_human_result, spf_domain, spf_scope, spf_result)
       SELECT ${domain(report)} AS domain, ${day(report)}, ${key(report)}, ${variant(report)}, number % ${RECORDS_A_REPORT},
         concat('org', toString(cityHash64(${report}, 4) % 40)),
         toIPv6(IPv4NumToString(toUInt32(cityHash64(number, 5) % if(number % 10 < 7, 50000, 4000000000)))),
         1 + intDiv(cityHash64(number, 6) % 1000, 1 + cityHash64(number, 7) % 1000) AS sent, sent,
         ['none', 'none', 'none', 'quarantine', 'reject'][1 + cityHash64(number, 8) % 5],
         if(cityHash64(number, 9) % 10 < 8, 'pass', 'fail') AS dkim_result, if(cityHash64(number, 10) % 10 < 7, 'pass', 'fail') AS spf_result,
         dkim_result = 'pass', spf_result = 'pass', domain, [domain], [concat('s', toString(number % 7))], [dkim_result], [''],
         ['mail.example'], [''], [spf_result]
       FROM numbers(${from}, ${step})`,
      { timeout: 600 },
    )
    await store.command(
      `INSERT INTO ${tables.dmarc_reports} (policy_domain, day, report_key, variant, received_at, mail_id, part, org,
         org_name, report_id, p, pct, records, messages, passed, failed, parser_version)
       SELECT ${domain('number')}, ${day('number')}, ${key('number')}, ${variant('number')}, toDateTime64(1790000000 + number, 3, 'UTC'),
         SHA256(concat('m', toString(number))), '1', concat('org', toString(cityHash64(number, 4) % 40)) AS org, org,
         toString(cityHash64(number, 11)), 'none', 100, ${RECORDS_A_REPORT}, cityHash64(number, 6) % 10000,
         cityHash64(number, 6) % 9000, cityHash64(number, 6) % 1000, '1'
       FROM numbers(${from / RECORDS_A_REPORT}, ${step / RECORDS_A_REPORT})`,
      { timeout: 600 },
    )
  }
}
