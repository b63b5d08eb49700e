-- One row per reading of a mail (a delivery, or a retry). Of several the one that found most is shown, under the
-- earliest received_at.
CREATE TABLE IF NOT EXISTS {table} (
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
) ENGINE = {engine}
ORDER BY (mail_id, received_at, parser_version, kind, rejected, ingest_partition, ingest_offset)
SETTINGS {settings}
