-- One row per delivery (mail and part) of a TLS report, inserted after the rows of its policies and details.
CREATE TABLE IF NOT EXISTS {table} (
  day Date,
  report_key FixedString(32),
  variant FixedString(16),
  received_at DateTime64(3, 'UTC'),
  mail_id FixedString(32),
  part String,
  org LowCardinality(String),
  org_name LowCardinality(String),
  contact LowCardinality(String),
  report_id String,
  begin Int64,
  end Int64,
  span_days UInt32,
  implausible_period Bool,
  domains Array(LowCardinality(String)),
  policies UInt32,
  details UInt32,
  successful UInt64,
  failed UInt64,
  warning_code Array(LowCardinality(String)),
  warning_detail Array(String),
  parser_version LowCardinality(String),
  authentication LowCardinality(String),     -- pass, fail, none
  authentication_reason LowCardinality(String),
  authentication_domain LowCardinality(String), -- '' = nobody vouches for the mail
  month UInt32 ALIAS toYYYYMM(day)
) ENGINE = {engine}
ORDER BY (day, report_key, received_at, variant, mail_id, part, parser_version)
SETTINGS {settings}
