-- One row per reject of a mail's part. A reject is resolved when some reading of the same mail succeeded for that part:
-- the part is among the found ones, or the reading rejected nothing (see winners.ts).
CREATE TABLE IF NOT EXISTS {table} (
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
) ENGINE = {engine}
ORDER BY (mail_id, part, code, received_at, parser_version, ingest_partition, ingest_offset)
SETTINGS {settings}
