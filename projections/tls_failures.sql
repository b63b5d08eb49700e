-- One row per failure detail and variant of a TLS report; never summed into session totals (details may overlap).
CREATE TABLE IF NOT EXISTS {table} (
  policy_domain LowCardinality(String),
  day Date,
  report_key FixedString(32),
  variant FixedString(16),
  policy_index UInt32,
  detail_index UInt32,
  org LowCardinality(String),
  result_type LowCardinality(String),
  sending_mta_ip String,
  receiving_mx_hostname LowCardinality(String),
  receiving_mx_helo LowCardinality(String),
  receiving_ip String,
  count Nullable(Float64),
  additional_information String,
  reason_code String,
  month UInt32 ALIAS toYYYYMM(day)
) ENGINE = {engine}
ORDER BY (policy_domain, day, report_key, variant, policy_index, detail_index)
SETTINGS {settings}
