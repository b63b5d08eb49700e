#!/usr/bin/env bash
# Run once by the ClickHouse image when its volume is empty: the user that answers are read with. It may read and nothing
# else, and one question can take neither all memory nor all time (docs/clickhouse.md says why these bounds).
set -euo pipefail
password="$(</run/secrets/clickhouse_password)"
reader="$(</run/secrets/clickhouse_read_password)"
clickhouse-client --host 127.0.0.1 --user mailtrail --password "$password" --multiquery <<SQL
CREATE SETTINGS PROFILE IF NOT EXISTS mailtrail_read SETTINGS
  readonly = 2,
  max_execution_time = 60 MIN 0 MAX 3600,
  max_memory_usage = 1000000000 MIN 1 MAX 1000000000,
  max_threads = 4 MIN 1 MAX 4,
  max_concurrent_queries_for_user = 32 READONLY,
  max_network_bandwidth_for_user = 0 READONLY;
CREATE USER IF NOT EXISTS mailtrail_read IDENTIFIED WITH sha256_password BY '$reader'
  SETTINGS PROFILE 'mailtrail_read';
GRANT SELECT ON mailtrail.* TO mailtrail_read;
SQL
