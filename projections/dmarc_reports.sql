-- One row per delivery (mail and part) of an aggregate report, inserted after the rows of its records. The winner of a
-- report is its row with the smallest (received_at, variant), that is, the first in this table's order; the others are
-- duplicates or conflicts.
CREATE TABLE IF NOT EXISTS {table} (
  policy_domain LowCardinality(String),
  day Date,
  report_key FixedString(32),
  variant FixedString(16),
  received_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
  mail_id FixedString(32),
  part String CODEC(ZSTD(1)),
  org LowCardinality(String),
  org_name LowCardinality(String),
  email LowCardinality(String),
  extra_contact_info LowCardinality(String) CODEC(ZSTD(1)),
  report_id String CODEC(ZSTD(1)),
  begin Int64 CODEC(ZSTD(1)),
  end Int64 CODEC(ZSTD(1)),
  span_days UInt32,
  implausible_period Bool,
  version LowCardinality(String),
  generator LowCardinality(String),
  errors Array(String) CODEC(ZSTD(1)),
  adkim LowCardinality(String),
  aspf LowCardinality(String),
  p LowCardinality(String),
  sp LowCardinality(String),
  np LowCardinality(String),
  pct Nullable(Int32),
  fo LowCardinality(String),
  testing LowCardinality(String),
  discovery_method LowCardinality(String),
  records UInt32,
  messages UInt64 CODEC(T64, LZ4),
  passed UInt64 CODEC(T64, LZ4),
  full_pass UInt64 CODEC(T64, LZ4),
  dkim_only UInt64 CODEC(T64, LZ4),
  spf_only UInt64 CODEC(T64, LZ4),
  failed UInt64 CODEC(T64, LZ4),
  none UInt64 CODEC(T64, LZ4),
  quarantine UInt64 CODEC(T64, LZ4),
  reject UInt64 CODEC(T64, LZ4),
  warning_code Array(LowCardinality(String)) CODEC(ZSTD(1)),
  warning_detail Array(String) CODEC(ZSTD(1)),
  parser_version LowCardinality(String),
  authentication LowCardinality(String),     -- pass, fail, none
  authentication_reason LowCardinality(String),
  authentication_domain LowCardinality(String), -- '' = nobody vouches for the mail
  month UInt32 ALIAS toYYYYMM(day)
) ENGINE = {engine}
ORDER BY (policy_domain, day, report_key, received_at, variant, mail_id, part, parser_version)
SETTINGS {settings}
