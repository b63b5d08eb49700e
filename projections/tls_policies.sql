-- One row per policy and variant of a TLS report.
CREATE TABLE IF NOT EXISTS {table} (
  policy_domain LowCardinality(String),
  day Date,
  report_key FixedString(32),
  variant FixedString(16),
  policy_index UInt32,
  org LowCardinality(String),
  type LowCardinality(String),
  host_level Bool,
  policy_string Array(String),
  mx_host Array(LowCardinality(String)),
  successful UInt64,
  failed UInt64,
  month UInt32 ALIAS toYYYYMM(day)
) ENGINE = {engine}
ORDER BY (policy_domain, day, report_key, variant, policy_index)
SETTINGS {settings}
