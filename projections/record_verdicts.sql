-- What a rule set says of each record and variant of a report, under the sort key of dmarc_records, with the three facts
-- that every answer about verdicts is counted by. A row counts when its report's winner is its variant and all chunks of
-- that report are judged (see winners.ts). With ZSTD a row takes 5.9 bytes instead of 9.4 and is no slower to sum over.
CREATE TABLE IF NOT EXISTS {table} (
  policy_domain LowCardinality(String),
  day Date,
  report_key FixedString(32),
  variant FixedString(16),
  record_index UInt32 CODEC(Delta, LZ4),
  source_ip IPv6 CODEC(ZSTD(1)),
  source_text String CODEC(ZSTD(1)),        -- the address as sent when it is none, else ''
  messages UInt32 CODEC(T64, ZSTD(1)),      -- what the record adds to totals
  outcome UInt8 CODEC(ZSTD(1)),             -- bits: 1 DKIM aligned, 2 SPF aligned, 4 quarantined, 8 rejected
  sender LowCardinality(String) CODEC(ZSTD(1)), -- '' = none, here and below
  verdict LowCardinality(String) CODEC(ZSTD(1)),
  rule LowCardinality(String) CODEC(ZSTD(1)),
  excluded LowCardinality(String) CODEC(ZSTD(1)), -- reason that leaves the record out of triage
  month UInt32 ALIAS toYYYYMM(day)
) ENGINE = {engine}
ORDER BY (policy_domain, day, report_key, variant, record_index)
SETTINGS {settings}
