CREATE DATABASE IF NOT EXISTS mailtrail;

-- What the store says of itself; the last word under a key counts.
CREATE TABLE IF NOT EXISTS store_meta (key String, value String, written DateTime64(6))
ENGINE = MergeTree
ORDER BY key
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- Where each projection has got to: written after the rows, so that a store that lost rows lost the position too. A
-- position counts while the store is the one that it was written for: `incarnation` is drawn whenever the store is emptied.
CREATE TABLE IF NOT EXISTS positions (
  incarnation LowCardinality(String),
  generation UInt32,
  projected_table LowCardinality(String),
  topic LowCardinality(String),
  partition UInt16,
  next_offset UInt64
) ENGINE = ReplacingMergeTree(next_offset)
ORDER BY (incarnation, generation, projected_table, topic, partition)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_bytes_for_wide_part = 134217728, parts_to_delay_insert = 1000, parts_to_throw_insert = 3000, merge_selector_base = 20;

-- The heads of the log when the store was emptied: it is being filled until the positions are there.
CREATE TABLE IF NOT EXISTS rebuilds (
  incarnation LowCardinality(String),
  topic LowCardinality(String),
  partition UInt16,
  tables UInt8,                             -- how many are filled from the topic
  target UInt64,
  begun_at DateTime64(3, 'UTC')
) ENGINE = ReplacingMergeTree
ORDER BY (incarnation, topic, partition)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_bytes_for_wide_part = 134217728, parts_to_delay_insert = 1000, parts_to_throw_insert = 3000, merge_selector_base = 20;

-- One row per record and variant of a report. Rows are facts: all that is not in the key is determined by it, so a row
-- that arrives again is the same row. A row counts when its report's winner is its variant (see winners.ts). Not
-- partitioned: an insert of many months would become as many parts. What finds a record is LZ4, the rest ZSTD: 3.0 bytes
-- for an address instead of 5.2, and no slower to sum over. Names of machines are nearly all distinct, so they are no
-- LowCardinality (3.6 bytes instead of 5.7, and inserted twice as fast).
CREATE TABLE IF NOT EXISTS dmarc_records__g1 (
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
) ENGINE = ReplacingMergeTree
ORDER BY (policy_domain, day, report_key, variant, record_index)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_bytes_for_wide_part = 134217728, parts_to_delay_insert = 1000, parts_to_throw_insert = 3000, merge_selector_base = 20;

-- One row per delivery (mail and part) of an aggregate report, inserted after the rows of its records. The winner of a
-- report is its row with the smallest (received_at, variant), that is, the first in this table's order; the others are
-- duplicates or conflicts.
CREATE TABLE IF NOT EXISTS dmarc_reports__g1 (
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
) ENGINE = ReplacingMergeTree
ORDER BY (policy_domain, day, report_key, received_at, variant, mail_id, part, parser_version)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_bytes_for_wide_part = 134217728, parts_to_delay_insert = 1000, parts_to_throw_insert = 3000, merge_selector_base = 20;

-- One row per policy and variant of a TLS report.
CREATE TABLE IF NOT EXISTS tls_policies__g1 (
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
) ENGINE = ReplacingMergeTree
ORDER BY (policy_domain, day, report_key, variant, policy_index)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_bytes_for_wide_part = 134217728, parts_to_delay_insert = 1000, parts_to_throw_insert = 3000, merge_selector_base = 20;

-- One row per failure detail and variant of a TLS report; never summed into session totals (details may overlap).
CREATE TABLE IF NOT EXISTS tls_failures__g1 (
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
) ENGINE = ReplacingMergeTree
ORDER BY (policy_domain, day, report_key, variant, policy_index, detail_index)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_bytes_for_wide_part = 134217728, parts_to_delay_insert = 1000, parts_to_throw_insert = 3000, merge_selector_base = 20;

-- One row per delivery (mail and part) of a TLS report, inserted after the rows of its policies and details.
CREATE TABLE IF NOT EXISTS tls_reports__g1 (
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
) ENGINE = ReplacingMergeTree
ORDER BY (day, report_key, received_at, variant, mail_id, part, parser_version)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_bytes_for_wide_part = 134217728, parts_to_delay_insert = 1000, parts_to_throw_insert = 3000, merge_selector_base = 20;

-- One row per failure report and delivery of its mail; the row with the smallest received_at is shown.
CREATE TABLE IF NOT EXISTS failure_reports__g1 (
  reported_domain LowCardinality(String),
  day Date,                                 -- UTC day of received_at
  failure_id FixedString(32),
  received_at DateTime64(3, 'UTC'),
  mail_id FixedString(32),
  part String,
  failure_index UInt32,
  feedback_type LowCardinality(String),
  auth_failure Array(LowCardinality(String)),
  source_ip String,
  original_mail_from String,
  original_rcpt_to String,
  arrival String,
  delivery_result LowCardinality(String),
  identity_alignment LowCardinality(String),
  user_agent LowCardinality(String),
  incidents Float64,
  dkim_domain LowCardinality(String),
  dkim_selector LowCardinality(String),
  spf_dns String,
  subject String,
  message_id String,
  from String,
  warning_code Array(LowCardinality(String)),
  warning_detail Array(String),
  parser_version LowCardinality(String),
  authentication LowCardinality(String),     -- pass, fail, none
  authentication_reason LowCardinality(String),
  authentication_domain LowCardinality(String), -- '' = nobody vouches for the mail
  month UInt32 ALIAS toYYYYMM(day)
) ENGINE = ReplacingMergeTree
ORDER BY (reported_domain, day, failure_id, received_at, parser_version)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_bytes_for_wide_part = 134217728, parts_to_delay_insert = 1000, parts_to_throw_insert = 3000, merge_selector_base = 20;

-- One row per reading of a mail (a delivery, or a retry). Of several the one that found most is shown, under the
-- earliest received_at.
CREATE TABLE IF NOT EXISTS mail__g1 (
  mail_id FixedString(32),
  received_at DateTime64(3, 'UTC'),
  parser_version LowCardinality(String),
  kind LowCardinality(String),
  rejected UInt32,
  received_from LowCardinality(String),
  source String,
  envelope_from String,
  envelope_to String,
  ingest_partition UInt16,
  ingest_offset UInt64,
  from String,
  to String,
  subject String,
  date String,
  message_id String,
  size UInt64,
  found_kind Array(LowCardinality(String)),
  found_part Array(String),
  found_key Array(FixedString(32)),
  warning_code Array(LowCardinality(String)),
  warning_detail Array(String),
  authentication LowCardinality(String),     -- pass, fail, none
  authentication_reason LowCardinality(String),
  authentication_domain LowCardinality(String), -- '' = nobody vouches for the mail
  month UInt32 ALIAS toYYYYMM(received_at)
) ENGINE = ReplacingMergeTree
ORDER BY (mail_id, received_at, parser_version, kind, rejected, ingest_partition, ingest_offset)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_bytes_for_wide_part = 134217728, parts_to_delay_insert = 1000, parts_to_throw_insert = 3000, merge_selector_base = 20;

-- One row per reject of a mail's part. A reject is resolved when some reading of the same mail succeeded for that part:
-- the part is among the found ones, or the reading rejected nothing (see winners.ts).
CREATE TABLE IF NOT EXISTS rejects__g1 (
  mail_id FixedString(32),
  part String,
  code LowCardinality(String),
  received_at DateTime64(3, 'UTC'),
  parser_version LowCardinality(String),
  stage LowCardinality(String),
  detail String,
  deterministic Bool,
  ingest_partition UInt16,
  ingest_offset UInt64,
  size UInt64,
  month UInt32 ALIAS toYYYYMM(received_at)
) ENGINE = ReplacingMergeTree
ORDER BY (mail_id, part, code, received_at, parser_version, ingest_partition, ingest_offset)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_bytes_for_wide_part = 134217728, parts_to_delay_insert = 1000, parts_to_throw_insert = 3000, merge_selector_base = 20;

-- What a rule set says of each record and variant of a report, under the sort key of dmarc_records, with the three facts
-- that every answer about verdicts is counted by. A row counts when its report's winner is its variant and all chunks of
-- that report are judged (see winners.ts). With ZSTD a row takes 5.9 bytes instead of 9.4 and is no slower to sum over.
CREATE TABLE IF NOT EXISTS record_verdicts__g1 (
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
) ENGINE = ReplacingMergeTree
ORDER BY (policy_domain, day, report_key, variant, record_index)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_bytes_for_wide_part = 134217728, parts_to_delay_insert = 1000, parts_to_throw_insert = 3000, merge_selector_base = 20;

-- One row per chunk of a report and variant, inserted after the verdicts of its records: how many of them are judged, and
-- their messages by verdict. A report is judged when its chunks have as many records as the report.
CREATE TABLE IF NOT EXISTS report_verdicts__g1 (
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
) ENGINE = ReplacingMergeTree
ORDER BY (policy_domain, day, report_key, variant, chunk)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_bytes_for_wide_part = 134217728, parts_to_delay_insert = 1000, parts_to_throw_insert = 3000, merge_selector_base = 20;

-- One row per record and variant of a report. Rows are facts: all that is not in the key is determined by it, so a row
-- that arrives again is the same row. A row counts when its report's winner is its variant (see winners.ts). Not
-- partitioned: an insert of many months would become as many parts. What finds a record is LZ4, the rest ZSTD: 3.0 bytes
-- for an address instead of 5.2, and no slower to sum over. Names of machines are nearly all distinct, so they are no
-- LowCardinality (3.6 bytes instead of 5.7, and inserted twice as fast).
CREATE TABLE IF NOT EXISTS dmarc_records__g1 (
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
) ENGINE = ReplacingMergeTree
ORDER BY (policy_domain, day, report_key, variant, record_index)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_bytes_for_wide_part = 134217728, parts_to_delay_insert = 1000, parts_to_throw_insert = 3000, merge_selector_base = 20;

-- One row per delivery (mail and part) of an aggregate report, inserted after the rows of its records. The winner of a
-- report is its row with the smallest (received_at, variant), that is, the first in this table's order; the others are
-- duplicates or conflicts.
CREATE TABLE IF NOT EXISTS dmarc_reports__g1 (
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
) ENGINE = ReplacingMergeTree
ORDER BY (policy_domain, day, report_key, received_at, variant, mail_id, part, parser_version)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_bytes_for_wide_part = 134217728, parts_to_delay_insert = 1000, parts_to_throw_insert = 3000, merge_selector_base = 20;

-- One row per policy and variant of a TLS report.
CREATE TABLE IF NOT EXISTS tls_policies__g1 (
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
) ENGINE = ReplacingMergeTree
ORDER BY (policy_domain, day, report_key, variant, policy_index)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_bytes_for_wide_part = 134217728, parts_to_delay_insert = 1000, parts_to_throw_insert = 3000, merge_selector_base = 20;

-- One row per failure detail and variant of a TLS report; never summed into session totals (details may overlap).
CREATE TABLE IF NOT EXISTS tls_failures__g1 (
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
) ENGINE = ReplacingMergeTree
ORDER BY (policy_domain, day, report_key, variant, policy_index, detail_index)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_bytes_for_wide_part = 134217728, parts_to_delay_insert = 1000, parts_to_throw_insert = 3000, merge_selector_base = 20;

-- One row per delivery (mail and part) of a TLS report, inserted after the rows of its policies and details.
CREATE TABLE IF NOT EXISTS tls_reports__g1 (
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
) ENGINE = ReplacingMergeTree
ORDER BY (day, report_key, received_at, variant, mail_id, part, parser_version)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_bytes_for_wide_part = 134217728, parts_to_delay_insert = 1000, parts_to_throw_insert = 3000, merge_selector_base = 20;

-- One row per failure report and delivery of its mail; the row with the smallest received_at is shown.
CREATE TABLE IF NOT EXISTS failure_reports__g1 (
  reported_domain LowCardinality(String),
  day Date,                                 -- UTC day of received_at
  failure_id FixedString(32),
  received_at DateTime64(3, 'UTC'),
  mail_id FixedString(32),
  part String,
  failure_index UInt32,
  feedback_type LowCardinality(String),
  auth_failure Array(LowCardinality(String)),
  source_ip String,
  original_mail_from String,
  original_rcpt_to String,
  arrival String,
  delivery_result LowCardinality(String),
  identity_alignment LowCardinality(String),
  user_agent LowCardinality(String),
  incidents Float64,
  dkim_domain LowCardinality(String),
  dkim_selector LowCardinality(String),
  spf_dns String,
  subject String,
  message_id String,
  from String,
  warning_code Array(LowCardinality(String)),
  warning_detail Array(String),
  parser_version LowCardinality(String),
  authentication LowCardinality(String),     -- pass, fail, none
  authentication_reason LowCardinality(String),
  authentication_domain LowCardinality(String), -- '' = nobody vouches for the mail
  month UInt32 ALIAS toYYYYMM(day)
) ENGINE = ReplacingMergeTree
ORDER BY (reported_domain, day, failure_id, received_at, parser_version)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_bytes_for_wide_part = 134217728, parts_to_delay_insert = 1000, parts_to_throw_insert = 3000, merge_selector_base = 20;

-- One row per reading of a mail (a delivery, or a retry). Of several the one that found most is shown, under the
-- earliest received_at.
CREATE TABLE IF NOT EXISTS mail__g1 (
  mail_id FixedString(32),
  received_at DateTime64(3, 'UTC'),
  parser_version LowCardinality(String),
  kind LowCardinality(String),
  rejected UInt32,
  received_from LowCardinality(String),
  source String,
  envelope_from String,
  envelope_to String,
  ingest_partition UInt16,
  ingest_offset UInt64,
  from String,
  to String,
  subject String,
  date String,
  message_id String,
  size UInt64,
  found_kind Array(LowCardinality(String)),
  found_part Array(String),
  found_key Array(FixedString(32)),
  warning_code Array(LowCardinality(String)),
  warning_detail Array(String),
  authentication LowCardinality(String),     -- pass, fail, none
  authentication_reason LowCardinality(String),
  authentication_domain LowCardinality(String), -- '' = nobody vouches for the mail
  month UInt32 ALIAS toYYYYMM(received_at)
) ENGINE = ReplacingMergeTree
ORDER BY (mail_id, received_at, parser_version, kind, rejected, ingest_partition, ingest_offset)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_bytes_for_wide_part = 134217728, parts_to_delay_insert = 1000, parts_to_throw_insert = 3000, merge_selector_base = 20;

-- One row per reject of a mail's part. A reject is resolved when some reading of the same mail succeeded for that part:
-- the part is among the found ones, or the reading rejected nothing (see winners.ts).
CREATE TABLE IF NOT EXISTS rejects__g1 (
  mail_id FixedString(32),
  part String,
  code LowCardinality(String),
  received_at DateTime64(3, 'UTC'),
  parser_version LowCardinality(String),
  stage LowCardinality(String),
  detail String,
  deterministic Bool,
  ingest_partition UInt16,
  ingest_offset UInt64,
  size UInt64,
  month UInt32 ALIAS toYYYYMM(received_at)
) ENGINE = ReplacingMergeTree
ORDER BY (mail_id, part, code, received_at, parser_version, ingest_partition, ingest_offset)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_bytes_for_wide_part = 134217728, parts_to_delay_insert = 1000, parts_to_throw_insert = 3000, merge_selector_base = 20;

-- What a rule set says of each record and variant of a report, under the sort key of dmarc_records, with the three facts
-- that every answer about verdicts is counted by. A row counts when its report's winner is its variant and all chunks of
-- that report are judged (see winners.ts). With ZSTD a row takes 5.9 bytes instead of 9.4 and is no slower to sum over.
CREATE TABLE IF NOT EXISTS record_verdicts__g2 (
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
) ENGINE = ReplacingMergeTree
ORDER BY (policy_domain, day, report_key, variant, record_index)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_bytes_for_wide_part = 134217728, parts_to_delay_insert = 1000, parts_to_throw_insert = 3000, merge_selector_base = 20;

-- One row per chunk of a report and variant, inserted after the verdicts of its records: how many of them are judged, and
-- their messages by verdict. A report is judged when its chunks have as many records as the report.
CREATE TABLE IF NOT EXISTS report_verdicts__g2 (
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
) ENGINE = ReplacingMergeTree
ORDER BY (policy_domain, day, report_key, variant, chunk)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_bytes_for_wide_part = 134217728, parts_to_delay_insert = 1000, parts_to_throw_insert = 3000, merge_selector_base = 20;

CREATE OR REPLACE VIEW v_dmarc_records AS SELECT 'g2' AS generation, policy_domain, day, lower(hex(report_key)) AS report_key, lower(hex(variant)) AS variant, record_index, org, if(source_text != '', source_text, replaceRegexpOne(toString(source_ip), '^::ffff:([0-9.]+)$', '\\1')) AS source_ip, count, messages, nullIf(disposition, '') AS disposition, nullIf(dkim, '') AS dkim, nullIf(spf, '') AS spf, dkim_aligned, spf_aligned, nullIf(header_from, '') AS header_from, nullIf(envelope_from, '') AS envelope_from, nullIf(envelope_to, '') AS envelope_to, reason_type, reason_comment, dkim_domain, dkim_selector, dkim_result, dkim_human_result, spf_domain, spf_scope, spf_result, observed, nullIf(ptr, '') AS ptr, ptr_names, nullIf(asn, 0) AS asn, nullIf(as_name, '') AS as_name, nullIf(country, '') AS country, nullIf(sender, '') AS sender, nullIf(verdict, '') AS verdict, nullIf(rule, '') AS rule, nullIf(excluded, '') AS excluded FROM (SELECT * FROM (SELECT * FROM dmarc_records__g1 FINAL WHERE (1) AND (1) AND (report_key, variant) IN (
    SELECT report_key, variant FROM dmarc_reports__g1 WHERE 1
    ORDER BY policy_domain, day, report_key, received_at, variant, mail_id, part, parser_version LIMIT 1 BY policy_domain, day, report_key)) AS r
    ANY LEFT JOIN (SELECT policy_domain, day, report_key, variant, record_index, sender, verdict, rule, excluded FROM record_verdicts__g2 FINAL) AS v
      USING (policy_domain, day, report_key, variant, record_index) SETTINGS join_algorithm = 'full_sorting_merge');

CREATE OR REPLACE VIEW v_dmarc_reports AS SELECT 'g2' AS generation, policy_domain, day, lower(hex(report_key)) AS report_key, lower(hex(variant)) AS variant, received_at, lower(hex(mail_id)) AS mail_id, part, org, nullIf(org_name, '') AS org_name, nullIf(email, '') AS email, nullIf(extra_contact_info, '') AS extra_contact_info, report_id, fromUnixTimestamp64Second(begin, 'UTC') AS begin, fromUnixTimestamp64Second(end, 'UTC') AS end, span_days, implausible_period, nullIf(version, '') AS version, nullIf(generator, '') AS generator, errors, nullIf(adkim, '') AS adkim, nullIf(aspf, '') AS aspf, nullIf(p, '') AS p, nullIf(sp, '') AS sp, nullIf(np, '') AS np, pct, nullIf(fo, '') AS fo, nullIf(testing, '') AS testing, nullIf(discovery_method, '') AS discovery_method, records, messages, passed, full_pass, dkim_only, spf_only, failed, none, quarantine, reject, authenticated, forwarded, signing_broken, misconfigured, spoofed, unknown, warning_code, warning_detail, parser_version, authentication, authentication_reason, nullIf(authentication_domain, '') AS authentication_domain FROM (SELECT r.*, if(r.records = v.judged, v.authenticated, NULL) AS authenticated, if(r.records = v.judged, v.forwarded, NULL) AS forwarded, if(r.records = v.judged, v.signing_broken, NULL) AS signing_broken, if(r.records = v.judged, v.misconfigured, NULL) AS misconfigured, if(r.records = v.judged, v.spoofed, NULL) AS spoofed, if(r.records = v.judged, v.unknown, NULL) AS unknown FROM (SELECT * FROM dmarc_reports__g1 WHERE 1
    ORDER BY policy_domain, day, report_key, received_at, variant, mail_id, part, parser_version LIMIT 1 BY policy_domain, day, report_key) AS r
    LEFT JOIN (SELECT policy_domain, day, report_key, variant, sum(records) AS judged, sum(authenticated) AS authenticated, sum(forwarded) AS forwarded, sum(signing_broken) AS signing_broken, sum(misconfigured) AS misconfigured, sum(spoofed) AS spoofed, sum(unknown) AS unknown
      FROM report_verdicts__g2 FINAL GROUP BY policy_domain, day, report_key, variant) AS v
      USING (policy_domain, day, report_key, variant));

CREATE OR REPLACE VIEW v_tls_policies AS SELECT 'g2' AS generation, policy_domain, day, lower(hex(report_key)) AS report_key, lower(hex(variant)) AS variant, policy_index, org, nullIf(type, '') AS type, host_level, policy_string, mx_host, successful, failed FROM (SELECT * FROM tls_policies__g1 FINAL WHERE (1) AND (report_key, variant) IN (
    SELECT report_key, variant FROM tls_reports__g1 WHERE 1
    ORDER BY day, report_key, received_at, variant, mail_id, part, parser_version LIMIT 1 BY day, report_key));

CREATE OR REPLACE VIEW v_tls_failures AS SELECT 'g2' AS generation, policy_domain, day, lower(hex(report_key)) AS report_key, lower(hex(variant)) AS variant, policy_index, detail_index, org, nullIf(result_type, '') AS result_type, nullIf(sending_mta_ip, '') AS sending_mta_ip, nullIf(receiving_mx_hostname, '') AS receiving_mx_hostname, nullIf(receiving_mx_helo, '') AS receiving_mx_helo, nullIf(receiving_ip, '') AS receiving_ip, count, nullIf(additional_information, '') AS additional_information, nullIf(reason_code, '') AS reason_code FROM (SELECT * FROM tls_failures__g1 FINAL WHERE (1) AND (report_key, variant) IN (
    SELECT report_key, variant FROM tls_reports__g1 WHERE 1
    ORDER BY day, report_key, received_at, variant, mail_id, part, parser_version LIMIT 1 BY day, report_key));

CREATE OR REPLACE VIEW v_failure_reports AS SELECT 'g2' AS generation, nullIf(reported_domain, '') AS reported_domain, day, lower(hex(failure_id)) AS failure_id, received_at, lower(hex(mail_id)) AS mail_id, part, nullIf(feedback_type, '') AS feedback_type, auth_failure, nullIf(source_ip, '') AS source_ip, nullIf(original_mail_from, '') AS original_mail_from, nullIf(original_rcpt_to, '') AS original_rcpt_to, nullIf(arrival, '') AS arrival, nullIf(delivery_result, '') AS delivery_result, nullIf(identity_alignment, '') AS identity_alignment, nullIf(user_agent, '') AS user_agent, incidents, nullIf(dkim_domain, '') AS dkim_domain, nullIf(dkim_selector, '') AS dkim_selector, nullIf(spf_dns, '') AS spf_dns, nullIf(subject, '') AS subject, nullIf(message_id, '') AS message_id, nullIf(from, '') AS from, warning_code, warning_detail, parser_version, authentication, authentication_reason, nullIf(authentication_domain, '') AS authentication_domain FROM (SELECT * FROM failure_reports__g1 WHERE 1
    ORDER BY reported_domain, failure_id, received_at, parser_version DESC LIMIT 1 BY failure_id);

CREATE OR REPLACE VIEW v_rejects AS SELECT 'g2' AS generation, lower(hex(mail_id)) AS mail_id, part, code, received_at, stage, detail, deterministic, size, parser_version FROM (SELECT * FROM rejects__g1 WHERE (1)
    AND mail_id NOT IN (SELECT mail_id FROM mail__g1 WHERE rejected = 0 AND mail_id IN (SELECT mail_id FROM rejects__g1 WHERE 1))
    AND NOT (part = '' AND mail_id IN (
      SELECT mail_id FROM mail__g1 WHERE kind != 'rejected' AND mail_id IN (SELECT mail_id FROM rejects__g1 WHERE 1)))
    AND (mail_id, part) NOT IN (
      SELECT mail_id, arrayJoin(found_part) FROM mail__g1 WHERE mail_id IN (SELECT mail_id FROM rejects__g1 WHERE 1))
    ORDER BY mail_id, part, code, received_at, parser_version, ingest_partition, ingest_offset
    LIMIT 1 BY mail_id, part, code);

CREATE OR REPLACE VIEW v_mail AS SELECT 'g2' AS generation, lower(hex(mail_id)) AS mail_id, received_at, nullIf(received_from, '') AS received_from, kind, rejected, nullIf(source, '') AS source, nullIf(envelope_from, '') AS envelope_from, nullIf(envelope_to, '') AS envelope_to, nullIf(from, '') AS from, nullIf(to, '') AS to, nullIf(subject, '') AS subject, nullIf(date, '') AS date, nullIf(message_id, '') AS message_id, size, found_kind, found_part, arrayMap(key -> lower(hex(key)), found_key) AS found_key, warning_code, warning_detail, parser_version, authentication, authentication_reason, nullIf(authentication_domain, '') AS authentication_domain FROM (SELECT shown.* EXCEPT (received_at), earliest.received_at AS received_at FROM (
      SELECT * FROM mail__g1 WHERE 1 ORDER BY mail_id, length(found_part) DESC, rejected ASC, parser_version DESC, kind ASC, received_at ASC, ingest_partition ASC, ingest_offset ASC LIMIT 1 BY mail_id
    ) AS shown INNER JOIN (
      SELECT mail_id, min(received_at) AS received_at FROM mail__g1 WHERE 1 GROUP BY mail_id
    ) AS earliest USING (mail_id));
