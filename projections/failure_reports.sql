-- One row per failure report and delivery of its mail; the row with the smallest received_at is shown.
CREATE TABLE IF NOT EXISTS {table} (
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
) ENGINE = {engine}
ORDER BY (reported_domain, day, failure_id, received_at, parser_version)
SETTINGS {settings}
