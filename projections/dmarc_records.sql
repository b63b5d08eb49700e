-- One row per record and variant of a report. Rows are facts: all that is not in the key is determined by it, so a row
-- that arrives again is the same row. A row counts when its report's winner is its variant (see winners.ts).
CREATE TABLE {table} (
  policy_domain LowCardinality(String),
  day Date,
  report_key FixedString(32),
  variant FixedString(16),
  record_index UInt32,
  org LowCardinality(String),
  source_ip IPv6,
  source_text String,                       -- the address as sent when it is none, else ''
  count Nullable(Float64),                  -- as sent; null when it was no number
  messages UInt32,                          -- what it adds to totals: count when plausible, else 0
  disposition LowCardinality(String),       -- '' = not said, here and below
  dkim LowCardinality(String),
  spf LowCardinality(String),
  dkim_aligned Bool,
  spf_aligned Bool,
  header_from LowCardinality(String),
  envelope_from LowCardinality(String),
  envelope_to LowCardinality(String),
  reason_type Array(LowCardinality(String)),
  reason_comment Array(LowCardinality(String)),
  dkim_domain Array(LowCardinality(String)),
  dkim_selector Array(LowCardinality(String)),
  dkim_result Array(LowCardinality(String)),
  dkim_human_result Array(LowCardinality(String)),
  spf_domain Array(LowCardinality(String)),
  spf_scope Array(LowCardinality(String)),
  spf_result Array(LowCardinality(String)),
  month UInt32 ALIAS toYYYYMM(day)
) ENGINE = ReplacingMergeTree
ORDER BY (policy_domain, day, variant, record_index)
SETTINGS {settings}
