-- One row per record and variant of a report. Rows are facts: all that is not in the key is determined by it, so a row
-- that arrives again is the same row. A row counts when its report's winner is its variant (see winners.ts). Not
-- partitioned: an insert of many months would become as many parts. What finds a record is LZ4, the rest ZSTD: 3.0 bytes
-- for an address instead of 5.2, and no slower to sum over. Names of machines are nearly all distinct, so they are no
-- LowCardinality (3.6 bytes instead of 5.7, and inserted twice as fast).
CREATE TABLE IF NOT EXISTS {table} (
  policy_domain LowCardinality(String),
  day Date,
  report_key FixedString(32),
  variant FixedString(16),
  record_index UInt32 CODEC(Delta, LZ4),
  org LowCardinality(String),
  source_ip IPv6 CODEC(ZSTD(1)),
  source_text String CODEC(ZSTD(1)),        -- the address as sent when it is none, else ''
  count Nullable(Float64) CODEC(ZSTD(1)),   -- as sent; null when it was no number
  messages UInt32 CODEC(T64, ZSTD(1)),      -- what it adds to totals: count when plausible, else 0
  disposition LowCardinality(String) CODEC(ZSTD(1)), -- '' = not said, here and below
  dkim LowCardinality(String) CODEC(ZSTD(1)),
  spf LowCardinality(String) CODEC(ZSTD(1)),
  dkim_aligned Bool CODEC(ZSTD(1)),
  spf_aligned Bool CODEC(ZSTD(1)),
  header_from LowCardinality(String) CODEC(ZSTD(1)),
  envelope_from LowCardinality(String) CODEC(ZSTD(1)),
  envelope_to LowCardinality(String) CODEC(ZSTD(1)),
  reason_type Array(LowCardinality(String)) CODEC(ZSTD(1)),
  reason_comment Array(LowCardinality(String)) CODEC(ZSTD(1)),
  dkim_domain Array(LowCardinality(String)) CODEC(ZSTD(1)),
  dkim_selector Array(LowCardinality(String)) CODEC(ZSTD(1)),
  dkim_result Array(LowCardinality(String)) CODEC(ZSTD(1)),
  dkim_human_result Array(LowCardinality(String)) CODEC(ZSTD(1)),
  spf_domain Array(LowCardinality(String)) CODEC(ZSTD(1)),
  spf_scope Array(LowCardinality(String)) CODEC(ZSTD(1)),
  spf_result Array(LowCardinality(String)) CODEC(ZSTD(1)),
  observed Bool CODEC(ZSTD(1)),             -- DNS answered about the address
  ptr String CODEC(ZSTD(1)),                -- first forward-confirmed name
  ptr_names Array(String) CODEC(ZSTD(1)),   -- all names, confirmed or not
  asn UInt32 CODEC(T64, ZSTD(1)),           -- 0 = not known
  as_name LowCardinality(String) CODEC(ZSTD(1)),
  country LowCardinality(String) CODEC(ZSTD(1)),
  month UInt32 ALIAS toYYYYMM(day)
) ENGINE = {engine}
ORDER BY (policy_domain, day, report_key, variant, record_index)
SETTINGS {settings}
