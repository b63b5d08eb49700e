-- Where each projection has got to: written after the rows, so that a store that lost rows lost the position too. A
-- position counts while the store is the one that it was written for: `incarnation` is drawn whenever the store is emptied.
CREATE TABLE IF NOT EXISTS {table} (
  incarnation LowCardinality(String),
  generation UInt32,
  projected_table LowCardinality(String),
  topic LowCardinality(String),
  partition UInt16,
  next_offset UInt64
) ENGINE = {engine}
ORDER BY (incarnation, generation, projected_table, topic, partition)
SETTINGS {settings}
