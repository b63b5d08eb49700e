-- One row per chunk of a report and variant, inserted after the verdicts of its records: how many of them are judged, and
-- their messages by verdict. A report is judged when its chunks have as many records as the report.
CREATE TABLE IF NOT EXISTS {table} (
  policy_domain LowCardinality(String),
  day Date,
  report_key FixedString(32),
  variant FixedString(16),
  chunk UInt32,
  records UInt32,
  authenticated UInt64 CODEC(T64, LZ4),
  forwarded UInt64 CODEC(T64, LZ4),
  signing_broken UInt64 CODEC(T64, LZ4),
  misconfigured UInt64 CODEC(T64, LZ4),
  spoofed UInt64 CODEC(T64, LZ4),
  unknown UInt64 CODEC(T64, LZ4),
  month UInt32 ALIAS toYYYYMM(day)
) ENGINE = {engine}
ORDER BY (policy_domain, day, report_key, variant, chunk)
SETTINGS {settings}
