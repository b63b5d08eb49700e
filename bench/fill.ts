/** Fills a store with many records in no time, for benchmarks of queries. */
import { layoutOf, recreateStore } from '../projections/schema.ts'
import type { Store } from '../projections/store.ts'
import type { Generation } from '../topics/generation.ts'
import { verdictNames } from '../topics/verdicts.ts'

const RECORDS_A_REPORT = 60
export const DOMAINS = 2000
export const DAYS = 90
/** 2026-08-20 as days since 1970. */
export const FIRST_DAY = Date.UTC(2026, 7, 20) / 86_400_000

/** Records of the domain that has most: 2 % of 50 million, as the generator of report mail spreads them. */
const LARGEST_RECORDS = 1_100_000
const REPORTS_AN_INSERT = 4000
const INSERT_SECONDS = 600

/** Expressions of a report's number and of a record's. */
interface Made {
  readonly domain: string
  readonly day: string
  readonly key: string
  readonly variant: string
}

function reportOf(number: string, extra: number): Made {
  const place = `if(cityHash64(${number}, 1) % 10000 < ${extra}, 0, toUInt32(${DOMAINS} * pow((cityHash64(${number}, 2) % 100000) / 100000., 2)))`
  return {
    domain: `concat('domain', toString(${place}), '.example')`,
    day: `toDate(${FIRST_DAY} + cityHash64(${number}, 3) % ${DAYS})`,
    key: `SHA256(toString(${number}))`,
    variant: `substring(SHA256(concat('v', toString(${number}))), 1, 16)`,
  }
}

/** Seven of ten records come from 50,000 addresses, the others from anywhere. */
const host = 'toUInt32(cityHash64(number, 5) % if(number % 10 < 7, 50000, 4000000000))'
const address = `toIPv6(IPv4NumToString(${host}))`
const messages = '(1 + intDiv(cityHash64(number, 6) % 1000, 1 + cityHash64(number, 7) % 1000))'
const disposition = "['none', 'none', 'none', 'quarantine', 'reject'][1 + cityHash64(number, 8) % 5]"
const dkim = 'cityHash64(number, 9) % 10 < 8'
const spf = 'cityHash64(number, 10) % 10 < 7'
const outcome = `toUInt8(${dkim}) + 2 * toUInt8(${spf}) + multiIf(${disposition} = 'quarantine', 4, ${disposition} = 'reject', 8, 0)`
const verdict = `multiIf(cityHash64(number, 12) % 20 = 0, 'forwarded', ${spf} AND NOT (${dkim}) AND number % 3 = 0, 'signing_broken',
  ${dkim} OR ${spf}, 'authenticated', ['misconfigured', 'spoofed', 'unknown'][1 + cityHash64(number, 13) % 3])`
/** Most addresses belong to some sender. */
const sender = `if(${host} % 10 < 6, concat('sender-', toString(${host} % 80)), '')`

/**
 * Rows made by the store itself, inserted as ingestion inserts them: reports of 60 records, 2,000 domains of which the
 * first has most reports and the others fewer and fewer, 90 days.
 */
export async function fillStore(store: Store, generation: Generation, records: number): Promise<void> {
  const extra = Math.round(10_000 * Math.max(0, LARGEST_RECORDS / records - Math.sqrt(1 / DOMAINS)))
  await recreateStore(store, layoutOf(generation))
  const ofRecord = reportOf(`intDiv(number, ${RECORDS_A_REPORT})`, extra)
  const ofReport = reportOf('number', extra)
  for (let report = 0; report * RECORDS_A_REPORT < records; report += REPORTS_AN_INSERT) {
    const fromRecords = `FROM numbers(${report * RECORDS_A_REPORT}, ${REPORTS_AN_INSERT * RECORDS_A_REPORT})`
    const fromReports = `FROM numbers(${report}, ${REPORTS_AN_INSERT})`
    for (const statement of [
      ...factStatements(generation, ofRecord, ofReport, fromRecords, fromReports),
      ...verdictStatements(generation, ofRecord, ofReport, fromRecords, fromReports),
    ])
      await store.command(statement, { timeout: INSERT_SECONDS })
  }
}

function factStatements(
  { tables }: Generation,
  { domain, day, key, variant }: Made,
  report: Made,
  fromRecords: string,
  fromReports: string,
): string[] {
  const org = (number: string) => `concat('org', toString(cityHash64(${number}, 4) % 40))`
  return [
    `INSERT INTO ${tables.dmarc_records} (policy_domain, day, report_key, variant, record_index, org, source_ip, count,
       messages, disposition, dkim, spf, dkim_aligned, spf_aligned, header_from, dkim_domain, dkim_selector, dkim_result,
       dkim_human_result, spf_domain, spf_scope, spf_result, observed, ptr, ptr_names, asn, as_name, country)
     SELECT ${domain} AS domain, ${day}, ${key}, ${variant}, number % ${RECORDS_A_REPORT},
       ${org(`intDiv(number, ${RECORDS_A_REPORT})`)}, ${address}, ${messages} AS sent, sent, ${disposition},
       if(${dkim}, 'pass', 'fail') AS dkim_result, if(${spf}, 'pass', 'fail') AS spf_result, ${dkim}, ${spf}, domain,
       [domain], [concat('s', toString(number % 7))], [dkim_result], [''], ['mail.example'], [''], [spf_result],
       ${host} % 5 != 0 AS observed, if(observed, concat('mail', toString(${host}), '.example.net'), '') AS name,
       if(observed, [name], []), 1 + ${host} % 3000 AS asn, concat('Network ', toString(asn)),
       ['DE', 'US', 'FR', 'NL', 'CN', 'BR'][1 + ${host} % 6]
     ${fromRecords}`,
    `INSERT INTO ${tables.dmarc_reports} (policy_domain, day, report_key, variant, received_at, mail_id, part, org,
       org_name, report_id, p, pct, records, messages, passed, failed, parser_version,
       authentication, authentication_reason)
     SELECT ${report.domain}, ${report.day}, ${report.key}, ${report.variant},
       toDateTime64(1790000000 + number, 3, 'UTC'), SHA256(concat('m', toString(number))), '1',
       ${org('number')} AS org, org, toString(cityHash64(number, 11)), 'none', 100, ${RECORDS_A_REPORT},
       cityHash64(number, 6) % 10000, cityHash64(number, 6) % 9000, cityHash64(number, 6) % 1000, '1',
       'none', 'not_checked'
     ${fromReports}`,
  ]
}

function verdictStatements(
  { tables }: Generation,
  { domain, day, key, variant }: Made,
  report: Made,
  fromRecords: string,
  fromReports: string,
): string[] {
  return [
    `INSERT INTO ${tables.record_verdicts} (policy_domain, day, report_key, variant, record_index, source_ip, messages,
       outcome, sender, verdict, rule)
     SELECT ${domain}, ${day}, ${key}, ${variant}, number % ${RECORDS_A_REPORT}, ${address}, ${messages}, ${outcome},
       ${sender}, ${verdict} AS verdict, verdict
     ${fromRecords}`,
    `INSERT INTO ${tables.report_verdicts} (policy_domain, day, report_key, variant, chunk, records,
       ${verdictNames.join(', ')})
     SELECT ${report.domain}, ${report.day}, ${report.key}, ${report.variant}, 0, ${RECORDS_A_REPORT},
       ${verdictNames.map((_, index) => `cityHash64(number, ${20 + index}) % 1000`).join(', ')}
     ${fromReports}`,
  ]
}
