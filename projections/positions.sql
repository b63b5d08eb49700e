-- Where each projection has got to: written after the rows, so that a store that lost rows lost the position too.
CREATE TABLE IF NOT EXISTS {table} (
  generation UInt32,
  projected_table LowCardinality(String),
  topic LowCardinality(String),
  partition UInt16,
  next_offset UInt64
) ENGINE = ReplacingMergeTree(next_offset)
ORDER BY (generation, projected_table, topic, partition)
SETTINGS {settings}
